// The pool that mmapsink proposes for raw video: frames in its arenas, with GstVideoMeta and
// alignment as GstVideoBufferPool has them.
//
// It grows as long as max-memory lets it, since a far encoder may hold any number of frames, and
// reads what the peers gave back before it looks for a free frame. Where there is none and may be
// none added it waits as the pool's users expect, ended by flushing.
#pragma once

#include <gst/video/video.h>

#include <memory>

#include "lib/sender.h"

namespace gstmmap {

// Transfer full; configured for `caps`, not active.
GstBufferPool* buffer_pool_new(std::shared_ptr<mmaplink::Sender> sender, GstCaps* caps, guint size,
                               guint min_buffers, const GstAllocationParams& params);

// Whether a buffer belongs to a pool that reads receipts by itself.
bool is_our_pool(GstBufferPool* pool);

}  // namespace gstmmap
