#include "elements/payload.h"

#include "gst/gstmmapbufferpool.h"
#include "gst/gstmmapmemory-private.h"
#include "gst/wire.h"

namespace gstmmap {

using mmaplink::Hold;
using mmaplink::Outgoing;
using mmaplink::Place;

bool Payload::prepare(GstBuffer* buffer, mmaplink::Sender& sender, uint64_t base_time) {
  copy_.reset();
  descriptor_ = {};
  // Our own pool reads receipts when it is asked for a frame.
  const bool our_pool = is_our_pool(buffer->pool);
  if (!our_pool) sender.collect();
  if (find_in_place(buffer, *sender.store())) {
    // A pool of somebody else may be waiting for this very buffer.
    if (buffer->pool != nullptr && !our_pool && !places_.empty()) sender.collect_always();
  } else if (!copy(buffer, sender)) {
    return false;
  }
  encode_buffer(buffer, places_, sizes_, descriptor_, extra_);
  descriptor_.base_time = base_time;
  return true;
}

bool Payload::find_in_place(GstBuffer* buffer, const mmaplink::ArenaStore& store) {
  places_.clear();
  sizes_.clear();
  const guint count = gst_buffer_n_memory(buffer);
  if (count > kMostMemories) return false;
  for (guint i = 0; i < count; ++i) {
    GstMemory* memory = gst_buffer_peek_memory(buffer, i);
    if (memory->size == 0) continue;
    auto place = memory_place(memory, store);
    if (!place) return false;
    sizes_.push_back(memory->size);
    places_.push_back(std::move(*place));
  }
  return true;
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
  Outgoing item;
  item.descriptor = descriptor_;
  item.extra = extra_;
  item.droppable = true;
  if (copy_)
    item.hold = Hold(new Copy(copy_), [](void* held) { delete static_cast<Copy*>(held); });
  else
    item.hold = Hold(gst_buffer_ref(buffer),
                     [](void* held) { gst_buffer_unref(static_cast<GstBuffer*>(held)); });
  return item;
}

}  // namespace gstmmap
