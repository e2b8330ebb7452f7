// The metas of a buffer as bytes: all that GStreamer could write down, but for those that hold
// memory or are tied to this process.
#pragma once

#include <gst/gst.h>
#include <gst/video/video.h>

#include <array>
#include <vector>

#include "gst/bytes.h"

namespace gstmmap {

// What can't cross is left out, and named in the log (category mmapwire).
void encode_metas(GstBuffer* buffer, std::vector<std::byte>& to);
// Whether a buffer's bytes would be those of the buffer before: most frames have a GstVideoMeta,
// which says the same of each. Of one thread.
class SameMetas {
 public:
  // Of one whose metas are all of its bytes: remembered for the next. No other has been since then.
  bool look(GstBuffer* buffer, size_t size);
  void forget() { size_ = 0; }

 private:
  std::array<std::byte, sizeof(GstVideoMeta)> meta_{};  // but for the buffer that it is in
  size_t size_ = 0;                                     // of the memory; 0: nothing is remembered
};

// False where the bytes are no metas, or do not fit the buffer's memory. What is unknown here is
// passed over.
bool decode_metas(BytesIn& from, GstBuffer* buffer);

}  // namespace gstmmap
