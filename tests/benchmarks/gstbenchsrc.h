// benchsrc: pushes stamped frames, in memory that downstream proposed.
//
//   benchsrc seconds=2 width=1920 height=1080 format=I420 fps=60 ! ...
//   benchsrc frames=1000 size=4096 ! ...        application/octet-stream

#pragma once

#include <gst/base/gstpushsrc.h>

#include "json_line.h"

G_BEGIN_DECLS

#define GST_TYPE_BENCH_SRC (gst_bench_src_get_type())
G_DECLARE_FINAL_TYPE(GstBenchSrc, gst_bench_src, GST, BENCH_SRC, GstPushSrc)

G_END_DECLS

// What was pushed so far, and from which memory. Only while nothing flows.
bench::JsonLine gst_bench_src_report(GstBenchSrc* self);
