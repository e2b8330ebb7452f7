// benchsink: takes stamped frames as they come and checks and times them.
//
//   ... ! benchsink
//
// It synchronises on no clock: a latency is from benchsrc's push to render().

#pragma once

#include <gst/base/gstbasesink.h>

#include "json_line.h"

G_BEGIN_DECLS

#define GST_TYPE_BENCH_SINK (gst_bench_sink_get_type())
G_DECLARE_FINAL_TYPE(GstBenchSink, gst_bench_sink, GST, BENCH_SINK, GstBaseSink)

G_END_DECLS

// What arrived so far. Only while nothing flows.
bench::JsonLine gst_bench_sink_report(GstBenchSink* self);
