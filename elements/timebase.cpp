#include "elements/timebase.h"

#include <algorithm>

#include "lib/futex.h"

namespace gstmmap {

namespace {

constexpr gint64 kEvery = G_USEC_PER_SEC;
constexpr gint64 kStep = GST_MSECOND / 2;

// The system clock itself: those of sound cards and networks are made from it, and any clock may be
// calibrated to follow another.
bool is_monotonic(GstClock* clock) {
  if (G_OBJECT_TYPE(clock) != GST_TYPE_SYSTEM_CLOCK) return false;
  GstClockType type;
  g_object_get(clock, "clock-type", &type, nullptr);
  GstClockTime internal = 0;
  GstClockTime external = 0;
  GstClockTime up = 1;
  GstClockTime down = 1;
  gst_clock_get_calibration(clock, &internal, &external, &up, &down);
  return type == GST_CLOCK_TYPE_MONOTONIC && internal == external && up == down;
}

// CLOCK_MONOTONIC less `clock`. A look at one of them takes time, or the thread was interrupted in
// between: the quickest of a few comparisons is the best.
guint64 compare(GstClock* clock) {
  constexpr int kTries = 5;
  guint64 best = G_MAXUINT64;
  guint64 difference = 0;
  for (int i = 0; i < kTries; ++i) {
    const guint64 before = mmaplink::monotonic_ns();
    const GstClockTime there = gst_clock_get_time(clock);
    const guint64 took = mmaplink::monotonic_ns() - before;
    if (took >= best) continue;
    best = took;
    difference = before + took / 2 - there;
  }
  return difference;
}

}  // namespace

std::optional<guint64> TimeBase::look(GstElement* element) {
  GstClock* clock = gst_element_get_clock(element);
  if (clock == nullptr) {
    forget();
    return std::nullopt;
  }
  const GstClockTime base = gst_element_get_base_time(element);
  if (is_monotonic(clock)) {
    value_ = base;
    next_ = G_MAXINT64;
  } else {
    const guint64 now = base + compare(clock);
    if (!value_ || ABS(static_cast<gint64>(now - *value_)) >= kStep) value_ = now;
    next_ = g_get_monotonic_time() + kEvery;
  }
  gst_object_unref(clock);
  return value_;
}

bool TimeBase::is_due() const { return next_ != G_MAXINT64 && g_get_monotonic_time() >= next_; }

void TimeBase::forget() {
  value_.reset();
  next_ = G_MAXINT64;
}

}  // namespace gstmmap
