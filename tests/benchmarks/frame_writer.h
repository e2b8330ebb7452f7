// What benchsrc does to each frame: fill it, wait for its time, stamp it.

#pragma once

#include <cstddef>
#include <cstdint>

namespace bench {

class FrameWriter {
 public:
  struct Settings {
    std::uint64_t count_from = 200;
    unsigned fps = 0;  // 0: as fast as they are taken
    bool touch = false;
  };

  // False when there is no room for a stamp.
  bool write(void* frame, std::size_t size, const Settings& settings);

  std::uint64_t written() const { return next_; }
  // Counted frames that left more than a millisecond after their time: here
  // the transport, or the machine, did not keep up.
  std::uint64_t late() const { return late_; }
  // How often the timetable began anew after the counted frames began.
  std::uint64_t restarts() const { return restarts_; }

 private:
  void wait_for_time(const Settings& settings);

  std::uint64_t next_ = 0;
  std::uint64_t timetable_start_ns_ = 0;
  std::uint64_t timetable_first_ = 0;
  std::uint64_t late_ = 0;
  std::uint64_t restarts_ = 0;
};

}  // namespace bench
