#include "gst/event-time.h"

#include <gst/video/video.h>

#include <algorithm>

namespace gstmmap {

namespace {

// How far a negative number is below 0.
guint64 below_zero(gint64 number) {
  return number < 0 ? static_cast<guint64>(-(number + 1)) + 1 : 0;
}

// Not before `least`, nor past the end of time.
GstClockTime moved(GstClockTime time, gint64 by, GstClockTime least) {
  const guint64 back = below_zero(by);
  if (back > 0) return time > back ? std::max(time - back, least) : least;
  const auto ahead = static_cast<guint64>(by);
  return ahead < GST_CLOCK_TIME_NONE - time ? std::max(time + ahead, least) : time;
}

}  // namespace

GstEvent* settle_running_time(GstEvent* event, gint64 to_come) {
  const char* field = nullptr;
  gint64 diff = 0;
  if (GST_EVENT_TYPE(event) == GST_EVENT_QOS) {
    field = "timestamp";
    gst_event_parse_qos(event, nullptr, nullptr, &diff, nullptr);
  } else if (gst_video_event_is_force_key_unit(event)) {
    field = "running-time";
  }
  GstClockTime time = GST_CLOCK_TIME_NONE;
  if (field == nullptr ||
      !gst_structure_get_clock_time(gst_event_get_structure(event), field, &time) ||
      !GST_CLOCK_TIME_IS_VALID(time))
    return event;
  // Both may be anything: the sum wraps.
  const auto offset = static_cast<guint64>(gst_event_get_running_time_offset(event));
  const auto by = static_cast<gint64>(offset + static_cast<guint64>(to_come));
  if (offset == 0 && by == 0) return event;
  // GStreamer asserts that a QoS event's difference does not reach back before the beginning.
  const GstClockTime there = moved(time, by, below_zero(diff));
  event = gst_event_make_writable(event);
  gst_structure_set(gst_event_writable_structure(event), field, GST_TYPE_CLOCK_TIME, there,
                    nullptr);
  gst_event_set_running_time_offset(event, static_cast<gint64>(0 - static_cast<guint64>(to_come)));
  return event;
}

}  // namespace gstmmap
