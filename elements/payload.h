// A buffer on its way into the lanes: where its memory lies, or the one copy of it, the bytes that
// go with it, and what is to live until every reader has given it back.
//
// Owned by a sink and used by its streaming thread alone; kept from one buffer to the next for its
// memory.
#pragma once

#include <gst/gst.h>

#include <memory>
#include <vector>

#include "gst/wire-meta.h"
#include "lib/sender.h"

namespace gstmmap {

class Payload {
 public:
  // Finds the buffer's memory in the sender's arenas, or in what its readers can be handed (dmabufs
  // only if `dmabufs`), or copies it. False: no memory, which the sender has reported, or
  // interrupted.
  bool prepare(GstBuffer* buffer, mmaplink::Sender& sender, bool dmabufs, uint64_t base_time);

  // For one reader; refers to this payload until it is published.
  mmaplink::Outgoing outgoing(GstBuffer* buffer) const;
  const std::vector<mmaplink::Place>& places() const { return places_; }

  bool copied() const { return copy_ != nullptr; }

 private:
  bool find_in_place(GstBuffer* buffer, mmaplink::Sender& sender, bool dmabufs);
  bool is_foreign() const;
  bool copy(GstBuffer* buffer, mmaplink::Sender& sender);

  std::vector<mmaplink::Place> places_;
  std::vector<size_t> sizes_;
  std::shared_ptr<mmaplink::Block> copy_;
  mmaplink::Descriptor descriptor_;
  std::vector<std::byte> extra_;
  SameMetas same_;
};

}  // namespace gstmmap
