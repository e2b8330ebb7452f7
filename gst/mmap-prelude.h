/* What every public header of libgstmmap begins with. */
#pragma once

#include <gst/gst.h>

#ifdef BUILDING_GST_MMAP
#define GST_MMAP_API extern __attribute__((visibility("default")))
#else
#define GST_MMAP_API extern
#endif
