// Reading of stamps; see frame_reader.h.

#include "frame_reader.h"

#include "stamp.h"
#include "usage_window.h"

namespace bench {

void FrameReader::prepare(const Settings& settings) {
  sequence_.expect(settings.expected_frames);
  latencies_.expect(settings.expected_frames);
}

void FrameReader::read(const void* frame, std::size_t size, std::uint64_t arrived_ns,
                       const Settings& settings) {
  ++arrived_;
  if (size < sizeof(Stamp)) {
    ++damaged_;
    return;
  }
  const Stamp stamp = read_stamp(frame);
  sequence_.arrived(stamp.sequence);
  if (settings.touch && !pattern_intact(frame, size, stamp.sequence)) ++damaged_;

  if (stamp.sequence < settings.count_from || stamp.sequence >= settings.expected_frames) return;
  // Not "equal": that very frame may be the one that was lost.
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
