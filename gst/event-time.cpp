#include "gst/event-time.h"

#include <gst/video/video.h>

#include <algorithm>

namespace gstmmap {

namespace {

// By as much as the sum of both, which may be anything. Not before `least`.
GstClockTime moved(GstClockTime time, gint64 one, gint64 other, GstClockTime least) {
  const guint64 by = static_cast<guint64>(one) + static_cast<guint64>(other);
  const bool is_back = static_cast<gint64>(by) < 0;
  const GstClockTime to = time + by;
  if (is_back ? to > time : to < time) return is_back ? least : time;
  return std::max(to, least);
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
  const gint64 moved_by = gst_event_get_running_time_offset(event);
  // GStreamer asserts that a QoS event's difference does not reach back before the beginning.
  const GstClockTime least = diff < 0 ? GstClockTime{0} - static_cast<GstClockTime>(diff) : 0;
  event = gst_event_make_writable(event);
  gst_structure_set(gst_event_writable_structure(event), field, GST_TYPE_CLOCK_TIME,
                    moved(time, moved_by, to_come, least), nullptr);
  gst_event_set_running_time_offset(event, static_cast<gint64>(0 - static_cast<guint64>(to_come)));
  return event;
}

}  // namespace gstmmap
