// mmapsink: the GObject. See sink.h for what it does.
#pragma once

#include <gst/base/gstbasesink.h>

#define GST_TYPE_MMAP_SINK (gst_mmap_sink_get_type())
G_DECLARE_FINAL_TYPE(GstMmapSink, gst_mmap_sink, GST, MMAP_SINK, GstBaseSink)

namespace gstmmap {
class Sink;
Sink& sink_in(GstElement* element);  // for who has one inside
}  // namespace gstmmap
