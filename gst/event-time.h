// Running time in an event that goes from one pipeline into another.
#pragma once

#include <gst/gst.h>

namespace gstmmap {

// Takes the event and gives it back, or a copy; any thread. A key-unit request and a QoS event name
// a running time, and GStreamer keeps beside it by how much pads have moved it. Its parsers take
// each time for 0 where that is more than 0 (they compare one with a sign and one without; seen in
// 1.22), as it is in a pipeline that has started before its reader's. So the time itself is moved,
// and what is kept beside it is 0 once a pad has added `to_come` (ns). Other events stay as they
// are. Both numbers may be a peer's, and anything.
GstEvent* settle_running_time(GstEvent* event, gint64 to_come);

}  // namespace gstmmap
