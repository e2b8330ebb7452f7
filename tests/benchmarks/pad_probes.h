// What bench hangs on the pads of its pipeline; none of it is there any more when frames count.

#pragma once

#include <gst/gst.h>

namespace bench {

// Holds the source back until so many readers have come, where one that comes late would miss
// frames. False where no element tells of its readers (the signal client-connected).
bool hold_for_readers(GstElement* pipeline, int readers);

// A process with neither source nor sink sees by the stamps of what comes to its element "relay"
// that frames count.
void watch_relay(GstElement* pipeline);

}  // namespace bench
