// Where running time 0 of a pipeline lies on CLOCK_MONOTONIC, which all processes of a host share.
//
// Owned by an element, used by its streaming thread. The system clock runs on CLOCK_MONOTONIC by
// itself, and the answer is exact. Another clock (of a sound card, a network, the wall) is compared
// with it, again every second, since it drifts.
#pragma once

#include <gst/gst.h>

#include <optional>

namespace gstmmap {

class TimeBase {
 public:
  // ns, may lie before the machine's start (then as a number that wraps). Nothing while the element
  // has no clock, as before PLAYING. Measured values change in steps of at least half a
  // millisecond.
  std::optional<guint64> look(GstElement* element);
  // Whether look() would have more to say than last time: the time for another comparison.
  bool is_due() const;
  // The pipeline's base time or clock may have changed.
  void forget();

 private:
  std::optional<guint64> value_;
  gint64 next_ = G_MAXINT64;  // g_get_monotonic_time(), µs
};

}  // namespace gstmmap
