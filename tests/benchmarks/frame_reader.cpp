// Reading of stamps; see frame_reader.h.

#include "frame_reader.h"

#include "usage_window.h"

namespace bench {

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
  ++frames_;
  sequence_.arrived(stamp.sequence);
  ended_ = ended_ || stamp.has(kLast);
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

double FrameReader::counted_seconds() const {
  return counted_ == 0 ? 0 : static_cast<double>(last_counted_ns_ - first_counted_ns_) / 1e9;
}

}  // namespace bench
