// The outermost bin that an element is in: where its bus is, and the lock of its state.
#pragma once

#include <gst/gst.h>

namespace gstmmap {

// Transfer full; the element itself where it is in none. Any thread.
GstElement* top_of(GstElement* element);

}  // namespace gstmmap
