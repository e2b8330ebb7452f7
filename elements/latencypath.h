// What a buffer takes from the source of its path to the sink at the end of it, across all links
// between: the second record of the tracer "mmaplatency".
//
// In front of each buffer of a source goes a custom event with the source's name, its process, the
// time, and the buffer's PTS. Queues, encoders and links keep it in order with the buffer; a
// process that is not traced hands it on. A buffer that comes to a sink is of the event with its
// PTS, or of the one right in front of it where PTS are shifted on the way. Encoders that show
// frames in another order send several events in front of one packet, and none in front of others.
//
// Any streaming thread. A peer may send what it likes: what makes no sense gives no record.
#pragma once

// GStreamer keeps the interface of tracers open to change.
#define GST_USE_UNSTABLE_API
#include <gst/gst.h>
#include <gst/gsttracer.h>
#include <gst/gsttracerrecord.h>

namespace gstmmap {

// From now on, with hooks of that tracer. The record's values are the source's name, its pid, the
// sink's name, the PTS at the source, and the time between the two in ns; it is there as long as
// the process.
void trace_paths(GstTracer* tracer, GstTracerRecord* record);

}  // namespace gstmmap
