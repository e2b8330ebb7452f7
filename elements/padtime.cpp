#include "elements/padtime.h"

GST_DEBUG_CATEGORY_EXTERN(gst_mmap_src_debug);
#define GST_CAT_DEFAULT gst_mmap_src_debug

namespace gstmmap {

void PadTime::forget() {
  is_set_ = false;
  own_.forget();
}

void PadTime::set(gint64 offset) {
  is_set_ = true;
  if (gst_pad_get_offset(pad_) == offset) return;
  GST_DEBUG_OBJECT(element_, "running time differs by %" GST_STIME_FORMAT, GST_STIME_ARGS(offset));
  gst_pad_set_offset(pad_, offset);
}

void PadTime::begin(const GstSegment& segment) {
  if (segment.format == GST_FORMAT_TIME) return;
  forget();
  if (gst_pad_get_offset(pad_) != 0) gst_pad_set_offset(pad_, 0);
}

void PadTime::apply(uint64_t base_time, GstClockTime at, const GstSegment& segment) {
  if (segment.format != GST_FORMAT_TIME) return;
  if (is_set_ && base_time == there_ && !own_.is_due()) return;
  const bool had_instant = there_ != mmaplink::kNoBaseTime;
  there_ = base_time;
  if (there_ == mmaplink::kKeepsTime) return set(0);
  if (there_ != mmaplink::kNoBaseTime) {
    if (const auto here = own_.look(element_)) set(static_cast<gint64>(there_ - *here));
    return;
  }
  if (is_set_ && !had_instant) return;
  const guint64 first = gst_segment_to_running_time(&segment, GST_FORMAT_TIME, at);
  const auto now = running_time();
  if (GST_CLOCK_TIME_IS_VALID(first) && now) set(static_cast<gint64>(*now - first));
}

std::optional<GstClockTime> PadTime::running_time() const {
  GstClock* clock = gst_element_get_clock(element_);
  if (clock == nullptr) return std::nullopt;
  const GstClockTime now = gst_clock_get_time(clock);
  gst_object_unref(clock);
  const GstClockTime base = gst_element_get_base_time(element_);
  if (now < base) return std::nullopt;
  return now - base;
}

}  // namespace gstmmap
