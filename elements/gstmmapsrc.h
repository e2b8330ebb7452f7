// mmapsrc: the GObject. See source.h for what it does.
#pragma once

#include <gst/gst.h>

#define GST_TYPE_MMAP_SRC (gst_mmap_src_get_type())
G_DECLARE_FINAL_TYPE(GstMmapSrc, gst_mmap_src, GST, MMAP_SRC, GstElement)

namespace gstmmap {
class Source;
Source& source_in(GstElement* element);  // for who has one inside
}  // namespace gstmmap
