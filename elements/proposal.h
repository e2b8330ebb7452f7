// The answer to an ALLOCATION query: memory in the sender's arenas, as the readers need it.
#pragma once

#include <gst/gst.h>

#include <memory>

#include "gst/wire.h"
#include "lib/sender.h"

namespace gstmmap {

// Adds an allocator and, for raw video, a pool without a maximum and GstVideoMeta, so that padded
// frames pass as they are. The allocator is one of the sender's.
void answer_allocation(GstQuery* query, const std::shared_ptr<mmaplink::Sender>& sender,
                       GstAllocator* allocator, const Needs& needs);

}  // namespace gstmmap
