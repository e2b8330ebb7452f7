// The pool that mmapsink proposes with udmabuf=true: frames that are dmabufs, for drivers to write
// into. They cross as any dmabuf does.
#pragma once

#include <gst/video/video.h>

namespace gstmmap {

// With at most `most` frames, which it waits for as its users expect. Transfer full; configured for
// `caps`, not active. nullptr where they make no sense together.
GstBufferPool* udmabuf_pool_new(GstCaps* caps, guint size, guint least, guint most,
                                const GstAllocationParams& params);

}  // namespace gstmmap
