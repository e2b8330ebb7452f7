// The plugin "mmap".
#include <gst/gst.h>

#include "elements/gstmmapremote.h"
#include "elements/gstmmapsink.h"
#include "elements/gstmmapsrc.h"
#include "elements/latencytracer.h"

static gboolean plugin_init(GstPlugin* plugin) {
  gstmmap::register_latency_tracer(plugin);
  return gst_element_register(plugin, "mmapsink", GST_RANK_NONE, GST_TYPE_MMAP_SINK) &&
         gst_element_register(plugin, "mmapsrc", GST_RANK_NONE, GST_TYPE_MMAP_SRC) &&
         gst_element_register(plugin, "mmapremote", GST_RANK_NONE, GST_TYPE_MMAP_REMOTE);
}

#define PACKAGE "gst-mmap"
GST_PLUGIN_DEFINE(GST_VERSION_MAJOR, GST_VERSION_MINOR, mmap,
                  "Media between processes of one host, in shared memory", plugin_init,
                  GST_MMAP_VERSION, "LGPL", "gst-mmap", "gst-mmap")
