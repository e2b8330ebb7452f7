// Reading of stamps; see frame_reader.h.

#include "frame_reader.h"

#include "usage_window.h"

namespace bench {

namespace {
// Once the reader stands still for long enough that what is in front of it fills, as any stream's
// does some day: the memory that takes is had before frames count.
constexpr std::uint64_t kStandsStillAt = 20;
constexpr std::uint64_t kStandsStillNs = 100'000'000;
}  // namespace

void FrameReader::read(const void* frame, std::size_t size, std::uint64_t arrived_ns, bool touch) {
  if (size < sizeof(Stamp)) {
    ++frames_;
    ++damaged_;
    return;
  }
  const Stamp stamp = read_stamp(frame);
  if (touch && !pattern_intact(frame, size, stamp.sequence)) ++damaged_;
  arrived(stamp, arrived_ns);
}

void FrameReader::arrived(const Stamp& stamp, std::uint64_t arrived_ns) {
  if (++frames_ == kStandsStillAt) sleep_until(arrived_ns + kStandsStillNs);
  sequence_.arrived(stamp.sequence);
  if (stamp.has(kLast)) {
    UsageWindow::of_process().look_at_the_end();
    ended_ = true;
  }
  if (!stamp.has(kCounted)) return;
  // Whichever is the first of them: one may have been lost.
  if (first_counted_ns_ == 0) {
    UsageWindow::of_process().open();
    first_counted_ns_ = arrived_ns;
    return;
  }
  ++counted_;
  last_counted_ns_ = arrived_ns;
  latencies_.add(arrived_ns - stamp.pushed_ns);
}

void FrameReader::began(const Stamp& stamp, std::uint64_t arrived_ns) {
  if (stamp.sequence == last_begun_) return;
  last_begun_ = stamp.sequence;
  if (stamp.has(kCounted)) first_pieces_.add(arrived_ns - stamp.pushed_ns);
}

double FrameReader::counted_seconds() const {
  return counted_ == 0 ? 0 : static_cast<double>(last_counted_ns_ - first_counted_ns_) / 1e9;
}

}  // namespace bench
