// mmapremote: the GObject. See remote.h for what it does.
#pragma once

#include <gst/gst.h>

#define GST_TYPE_MMAP_REMOTE (gst_mmap_remote_get_type())
G_DECLARE_FINAL_TYPE(GstMmapRemote, gst_mmap_remote, GST, MMAP_REMOTE, GstBin)
