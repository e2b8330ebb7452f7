// The metas of a buffer as bytes.
#pragma once

#include <gst/gst.h>

#include <vector>

#include "gst/bytes.h"

namespace gstmmap {

void encode_metas(GstBuffer* buffer, std::vector<std::byte>& to);
// False where the bytes are no metas, or do not fit the buffer's memory.
bool decode_metas(BytesIn& from, GstBuffer* buffer);

}  // namespace gstmmap
