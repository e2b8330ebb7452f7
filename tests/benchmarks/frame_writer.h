// What benchsrc does to each frame: fill it, wait for its time, stamp it.

#pragma once

#include <cstddef>
#include <cstdint>

namespace bench {

class FrameWriter {
 public:
  struct Settings {
    double warm_up = 0.5;      // seconds before frames count
    double seconds = 2;        // for which they count
    std::uint32_t frames = 0;  // in place of these: in all, of which the first tenth is warm-up
    unsigned fps = 0;          // 0: as fast as they are taken
    bool touch = false;
  };

  // False when there is no room for a stamp.
  bool write(void* frame, std::size_t size, const Settings& settings);

  // The last frame was written.
  bool finished() const { return finished_; }
  std::uint32_t written() const { return next_; }
  std::uint32_t counted() const { return counts_ ? next_ - first_counted_ : 0; }
  // Counted frames that left more than a millisecond after their time: here
  // the transport, or the machine, did not keep up.
  std::uint64_t late() const { return late_; }
  // How often the timetable began anew after the counted frames began.
  std::uint64_t restarts() const { return restarts_; }

 private:
  void wait_for_time(const Settings& settings);
  bool warm(std::uint64_t now, const Settings& settings) const;
  std::uint32_t flags_at(std::uint64_t now, const Settings& settings);

  std::uint32_t next_ = 0;
  std::uint32_t first_counted_ = 0;
  bool counts_ = false;
  bool finished_ = false;
  std::uint64_t flowing_since_ns_ = 0;
  std::uint64_t end_ns_ = 0;
  std::uint64_t timetable_start_ns_ = 0;
  std::uint32_t timetable_first_ = 0;
  std::uint64_t late_ = 0;
  std::uint64_t restarts_ = 0;
};

}  // namespace bench
