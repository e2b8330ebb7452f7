// The tracer "mmaplatency" (GST_TRACERS=mmaplatency), which logs records of GStreamer's tracers:
//   mmaplatency       for each buffer that came over a link, when it was published, received and
//                     given back
//   mmaplatency.path  for each buffer that came to a sink, how long ago its source pushed it, in
//                     whichever process (latencypath.h)
//
// Where it is not switched on it costs a look at a flag for each buffer.
#pragma once

#include <gst/gst.h>

#include <atomic>
#include <cstdint>

#include "lib/receive_lane.h"

namespace gstmmap {

// Of the process. Set by GStreamer as it begins.
inline std::atomic<bool> traces_latency{false};

// By the streaming thread, of a buffer that has just been received from `peer`. The record is
// logged when the last of its memories goes.
void trace_received(GstElement* element, pid_t peer, const mmaplink::Descriptor& descriptor,
                    GstBuffer* buffer);

void register_latency_tracer(GstPlugin* plugin);

}  // namespace gstmmap
