#include "elements/payload.h"

#include <algorithm>

#include "gst/gstmmapbufferpool.h"
#include "gst/gstmmapmemory-private.h"
#include "gst/wire.h"

namespace gstmmap {

using mmaplink::Hold;
using mmaplink::Outgoing;
using mmaplink::Place;

bool Payload::prepare(GstBuffer* buffer, mmaplink::Sender& sender, bool dmabufs,
                      uint64_t base_time) {
  copy_.reset();
  descriptor_ = {};
  // Our own pool reads receipts when it is asked for a frame.
  const bool our_pool = is_our_pool(buffer->pool);
  if (!our_pool) sender.collect();
  if (find_in_place(buffer, sender, dmabufs)) {
    // A pool of somebody else may be waiting for this very buffer, here or in another process.
    if ((buffer->pool != nullptr && !our_pool && !places_.empty()) || is_foreign())
      sender.collect_always();
  } else if (!copy(buffer, sender)) {
    return false;
  }
  encode_buffer(buffer, places_, sizes_, descriptor_, extra_, same_);
  descriptor_.base_time = base_time;
  return true;
}

bool Payload::find_in_place(GstBuffer* buffer, mmaplink::Sender& sender, bool dmabufs) {
  places_.clear();
  sizes_.clear();
  const guint count = gst_buffer_n_memory(buffer);
  if (count > kMostMemories) return false;
  for (guint i = 0; i < count; ++i) {
    GstMemory* memory = gst_buffer_peek_memory(buffer, i);
    if (memory->size == 0) continue;
    auto place = memory_place(memory, sender, dmabufs);
    if (!place) return false;
    sizes_.push_back(memory->size);
    places_.push_back(std::move(*place));
  }
  return true;
}

// Whether any of it is memory that the sender has not made.
bool Payload::is_foreign() const {
  return std::any_of(places_.begin(), places_.end(),
                     [](const auto& place) { return place.use != nullptr; });
}

bool Payload::copy(GstBuffer* buffer, mmaplink::Sender& sender) {
  const gsize size = gst_buffer_get_size(buffer);
  auto block = sender.allocate(size, 1);
  if (!block) return false;
  gst_buffer_extract(buffer, 0, block->data(), size);
  copy_ = std::make_shared<mmaplink::Block>(std::move(*block));
  places_.assign(1, Place{copy_->arena(), copy_->offset()});
  sizes_.assign(1, size);
  return true;
}

Outgoing Payload::outgoing(GstBuffer* buffer) const {
  using Copy = std::shared_ptr<mmaplink::Block>;
  using Use = std::shared_ptr<const void>;
  struct Foreign {
    GstBuffer* buffer;
    Use first;
    std::vector<Use> others;
    Foreign(GstBuffer* held, const std::vector<Place>& places)
        : buffer(gst_buffer_ref(held)), first(places.front().use) {
      for (size_t i = 1; i < places.size(); ++i) others.push_back(places[i].use);
    }
    Foreign(const Foreign&) = delete;
    Foreign& operator=(const Foreign&) = delete;
    ~Foreign() { gst_buffer_unref(buffer); }
  };
  Outgoing item;
  item.descriptor = descriptor_;
  item.extra = extra_;
  item.droppable = true;
  if (copy_)
    item.hold = Hold(new Copy(copy_), [](void* held) { delete static_cast<Copy*>(held); });
  else if (is_foreign())
    item.hold =
        Hold(new Foreign(buffer, places_), [](void* held) { delete static_cast<Foreign*>(held); });
  else
    item.hold = Hold(gst_buffer_ref(buffer),
                     [](void* held) { gst_buffer_unref(static_cast<GstBuffer*>(held)); });
  return item;
}

}  // namespace gstmmap
