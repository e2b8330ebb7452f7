// Pacing and stamping; see frame_writer.h.

#include "frame_writer.h"

#include "push_times.h"
#include "stamp.h"
#include "usage_window.h"

namespace bench {

namespace {
constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr std::uint64_t kLate = 1'000'000;
constexpr std::uint64_t kHopelessFrames = 10;
// The first frames may wait for a peer, and a queue is filled before anything has to be given back.
constexpr std::uint32_t kFirstFlowing = 16;
constexpr std::uint32_t kLeastWarmUp = 50;

std::uint64_t nanoseconds(double seconds) { return static_cast<std::uint64_t>(seconds * 1e9); }
}  // namespace

bool FrameWriter::write(void* frame, std::size_t size, const Settings& settings) {
  if (size < sizeof(Stamp)) return false;

  // Filled before its time comes, as a camera does: the work of filling is no
  // part of the latency.
  if (settings.touch) write_pattern(frame, size, next_);
  if (settings.fps > 0) wait_for_time(settings);

  const std::uint32_t flags = flags_at(monotonic_ns(), settings);
  const Stamp stamp{next_, flags, monotonic_ns()};
  write_stamp(frame, stamp);
  PushTimes::of_process().pushed(stamp);
  ++next_;
  return true;
}

bool FrameWriter::warm(std::uint64_t now, const Settings& settings) const {
  if (settings.frames > 0) return next_ >= settings.frames / 10;
  return next_ >= kLeastWarmUp && now - flowing_since_ns_ >= nanoseconds(settings.warm_up);
}

std::uint32_t FrameWriter::flags_at(std::uint64_t now, const Settings& settings) {
  if (next_ == kFirstFlowing) flowing_since_ns_ = now;
  if (!counts_ && warm(now, settings)) {
    UsageWindow::of_process().open();
    counts_ = true;
    first_counted_ = next_;
    end_ns_ = monotonic_ns() + nanoseconds(settings.seconds);
  }
  const bool last = next_ + 1 == (settings.frames > 0 ? settings.frames : kMostFrames);
  const bool time_over = settings.frames == 0 && counts_ && now >= end_ns_;
  finished_ = last || time_over;
  if (finished_) UsageWindow::of_process().look_at_the_end();
  return (counts_ ? kCounted : 0u) | (finished_ ? kLast : 0u);
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

  if (now - deadline > kLate && counts_) ++late_;
  // The first frames block until a peer is there. Catching up on that would
  // measure a burst instead of a paced stream.
  if (now - deadline > kHopelessFrames * kSecond / settings.fps) {
    timetable_start_ns_ = now;
    timetable_first_ = next_;
    if (counts_) ++restarts_;
  }
}

}  // namespace bench
