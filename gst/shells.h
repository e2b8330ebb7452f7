// Received buffers that are used again. Frames of a stream are alike: a GstBuffer, one GstMemory
// and at most a GstVideoMeta. These are not made anew for each.
//
// Owned by whoever receives, and by its buffers while they are downstream. Threads: take() and
// keep() by the one that receives; buffers come back on any. What is idle holds nothing of the
// peer's, since both ticket and arena are let go of when downstream lets go of the buffer, as they
// would be without this; so nothing happens here when the peer dies. A rogue peer can have none
// made that it could not have made otherwise: a GstVideoMeta is used again for memory of the size
// that it was checked with.
#pragma once

#include <gst/gst.h>

#include <array>
#include <atomic>
#include <memory>

#include "gst/gstmmapmemory-private.h"

namespace gstmmap {

class Shells : public std::enable_shared_from_this<Shells> {
 public:
  Shells() = default;
  Shells(const Shells&) = delete;
  Shells& operator=(const Shells&) = delete;
  ~Shells();

  // A buffer over the item's memory, with what its bytes say, in place of one that would be made
  // from these. Transfer full; nullptr, and both are as before, where none is idle.
  GstBuffer* take(mmaplink::Incoming& item, GiveBack& give_back);
  // One that was made from the item, over such a memory, comes back here if it is left as it was.
  void keep(GstBuffer* buffer, const mmaplink::Incoming& item);

 private:
  static gboolean dispose(GstMiniObject* object);
  bool take_back(GstBuffer* buffer);

  // A sender has eight on the way, as a rule.
  static constexpr size_t kMost = 16;
  std::array<std::atomic<GstBuffer*>, kMost> idle_{};
};

}  // namespace gstmmap
