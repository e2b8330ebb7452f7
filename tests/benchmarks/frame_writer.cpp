// Pacing and stamping; see frame_writer.h.

#include "frame_writer.h"

#include "stamp.h"
#include "usage_window.h"

namespace bench {

namespace {
constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr std::uint64_t kLate = 1'000'000;
constexpr std::uint64_t kHopelessFrames = 10;
}  // namespace

bool FrameWriter::write(void* frame, std::size_t size, const Settings& settings) {
  if (size < sizeof(Stamp)) return false;

  // Filled before its time comes, as a camera does: the work of filling is no
  // part of the latency.
  if (settings.touch) write_pattern(frame, size, next_);
  if (settings.fps > 0) wait_for_time(settings);

  if (next_ == settings.count_from) UsageWindow::of_process().open();
  write_stamp(frame, {next_, monotonic_ns()});
  ++next_;
  return true;
}

void FrameWriter::wait_for_time(const Settings& settings) {
  const std::uint64_t now = monotonic_ns();
  // Deadlines are multiples of the period from one start, so that no frame's
  // lateness shifts those after it.
  const std::uint64_t deadline =
      timetable_start_ns_ + (next_ - timetable_first_) * kSecond / settings.fps;
  if (now <= deadline) {
    sleep_until(deadline);
    return;
  }

  const bool counted = next_ > settings.count_from;
  if (now - deadline > kLate && counted) ++late_;
  // The first frames block until a peer is there. Catching up on that would
  // measure a burst instead of a paced stream.
  if (now - deadline > kHopelessFrames * kSecond / settings.fps) {
    timetable_start_ns_ = now;
    timetable_first_ = next_;
    if (counted) ++restarts_;
  }
}

}  // namespace bench
