// Both elements by URI, for uridecodebin, playbin and whatever else takes one:
//
//   mmap:///run/camera?role=client&max-memory=65536
//
// The path is socket-path, the keys are other properties. A URI says which link is meant: its role
// and mmap are their defaults where it does not name them. Other properties stay as they are.
#pragma once

#include <gst/gst.h>

namespace gstmmap {

// For G_IMPLEMENT_INTERFACE of GST_TYPE_URI_HANDLER: for a source, and for a sink.
void init_uri_source(gpointer interface, gpointer data);
void init_uri_sink(gpointer interface, gpointer data);

}  // namespace gstmmap
