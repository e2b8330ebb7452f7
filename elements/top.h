// The outermost bin that an element is in: where its bus is, and the lock of its state.
#pragma once

#include <gst/gst.h>

namespace gstmmap {

// Transfer full; the element itself where it is in none. Any thread.
GstElement* top_of(GstElement* element);
// Whether all of it is on its way to READY or NULL.
bool is_being_stopped(GstElement* element);

}  // namespace gstmmap
