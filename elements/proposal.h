// The answer to an ALLOCATION query: memory in the sender's arenas, as the readers need it.
#pragma once

#include <gst/gst.h>

#include <memory>
#include <optional>
#include <vector>

#include "gst/around.h"
#include "lib/sender.h"

namespace gstmmap {

// What the far pipelines want of the buffers, all of them together.
class Needs {
 public:
  // What one of them answered to the same query.
  void add(GstQuery* answered);

  guint min_buffers = 2;
  GstAllocationParams params{};
  std::vector<GType> metas;  // that all of them know
  // The frames of raw video, where one of them says it: the most of each.
  std::optional<Around> around;

 private:
  bool has_one_ = false;
};

// Adds an allocator and, for raw video, a pool without a maximum and GstVideoMeta, so that padded
// frames pass as they are; other metas where the readers know them. Frames are to have something
// around them only where that costs no reader a copy. The allocator is one of the sender's. With
// `udmabuf` frames are dmabufs, as many as max-memory has room for.
void answer_allocation(GstQuery* query, const std::shared_ptr<mmaplink::Sender>& sender,
                       GstAllocator* allocator, const Needs& needs, bool udmabuf);

}  // namespace gstmmap
