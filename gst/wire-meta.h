// The metas of a buffer as bytes: all that GStreamer could write down, but for those that hold
// memory or are tied to this process.
#pragma once

#include <gst/gst.h>

#include <vector>

#include "gst/bytes.h"

namespace gstmmap {

// What can't cross is left out, and named in the log (category mmapwire).
void encode_metas(GstBuffer* buffer, std::vector<std::byte>& to);
// False where the bytes are no metas, or do not fit the buffer's memory. What is unknown here is
// passed over.
bool decode_metas(BytesIn& from, GstBuffer* buffer);

}  // namespace gstmmap
