#include "gst/shells.h"

#include <gst/video/video.h>

#include <optional>
#include <utility>

namespace gstmmap {

namespace {

// What people may have changed of a mini object, besides what it says.
struct Trace {
  gint lock;
  guint flags;
  guint more;  // whether it has qdata or somebody waits for its end
  explicit Trace(const GstMiniObject* object)
      : lock(object->lockstate), flags(object->flags), more(object->priv_uint) {}
  bool operator==(const Trace&) const = default;
};

// A buffer's own flags say what it holds, and are set with each.
Trace trace_of(GstBuffer* buffer) {
  Trace trace(GST_MINI_OBJECT_CAST(buffer));
  trace.flags = 0;
  return trace;
}

Trace trace_of(GstMemory* memory) { return Trace(GST_MINI_OBJECT_CAST(memory)); }

constexpr uint64_t kNoMetas = 0;

uint64_t metas_of(const mmaplink::Incoming& item) {
  return item.extra.empty() ? kNoMetas : item.extra_number;
}

GstVideoMeta* as_video_meta(GstMeta* meta) { return reinterpret_cast<GstVideoMeta*>(meta); }

// True where it has at most one meta, which is `first` then.
bool has_one_meta_at_most(GstBuffer* buffer, GstMeta*& first) {
  gpointer state = nullptr;
  first = gst_buffer_iterate_meta(buffer, &state);
  return first == nullptr || gst_buffer_iterate_meta(buffer, &state) == nullptr;
}

// GStreamer's own, of any buffer.
gboolean plain_dispose(GstMiniObject* object) {
  static const GstMiniObjectDisposeFunction call = [] {
    GstBuffer* buffer = gst_buffer_new();
    const auto found = GST_MINI_OBJECT_CAST(buffer)->dispose;
    gst_buffer_unref(buffer);
    return found;
  }();
  return call == nullptr || call(object);
}

}  // namespace

struct Shell {
  std::shared_ptr<Shells> home;  // while it is downstream
  GstBuffer* buffer;             // which owns the memory that owns this
  GstVideoMeta* meta;
  std::optional<GstVideoMeta> meta_as_made;
  uint64_t metas;  // which bytes they were made from, …
  size_t size;     // … for memory of this size
  Trace buffer_as_made;
  Trace memory_as_made;
};

Shells::~Shells() {
  for (auto& place : idle_)
    if (GstBuffer* buffer = place.exchange(nullptr)) gst_buffer_unref(buffer);
}

void Shells::keep(GstBuffer* buffer, const mmaplink::Incoming& item) {
  GstMemory* memory =
      gst_buffer_n_memory(buffer) == 1 ? gst_buffer_peek_memory(buffer, 0) : nullptr;
  GstMeta* meta = nullptr;
  if (memory == nullptr || !is_received(memory) || !has_one_meta_at_most(buffer, meta)) return;
  if (meta != nullptr && meta->info->api != GST_VIDEO_META_API_TYPE) return;
  GstVideoMeta* video = as_video_meta(meta);
  set_shell(memory,
            std::make_shared<Shell>(Shell{
                shared_from_this(), buffer, video, video ? std::optional(*video) : std::nullopt,
                metas_of(item), memory->size, trace_of(buffer), trace_of(memory)}));
  // Not GstBufferPool's: its queue wakes a file descriptor, and it clears what stays the same.
  GST_MINI_OBJECT_CAST(buffer)->dispose = dispose;
}

GstBuffer* Shells::take(mmaplink::Incoming& item, GiveBack& give_back) {
  if (!item.memory.arena || item.memory.arena->is_dmabuf()) return nullptr;
  const uint64_t metas = metas_of(item);
  for (auto& place : idle_) {
    if (place.load(std::memory_order_relaxed) == nullptr) continue;
    // SYNC: acquire, pairs with the release in take_back().
    GstBuffer* buffer = place.exchange(nullptr, std::memory_order_acquire);
    GstMemory* memory = gst_buffer_peek_memory(buffer, 0);
    Shell& shell = *shell_of(memory);
    if (shell.metas != metas || (metas != kNoMetas && shell.size != item.memory.size)) {
      gst_buffer_unref(buffer);
      continue;
    }
    fill_received(memory, std::move(item.memory), std::move(give_back));
    shell.home = shared_from_this();
    return buffer;
  }
  return nullptr;
}

// Called when nobody refers to a buffer any more. FALSE: it is not to be freed.
gboolean Shells::dispose(GstMiniObject* object) {
  auto* buffer = reinterpret_cast<GstBuffer*>(object);
  GstMemory* memory =
      gst_buffer_n_memory(buffer) == 1 ? gst_buffer_peek_memory(buffer, 0) : nullptr;
  Shell* shell = memory != nullptr ? shell_of(memory) : nullptr;
  if (shell == nullptr || shell->buffer != buffer) return plain_dispose(object);
  const auto home = std::exchange(shell->home, nullptr);
  if (home == nullptr || GST_MINI_OBJECT_REFCOUNT_VALUE(memory) != 1 ||
      trace_of(memory) != shell->memory_as_made || trace_of(buffer) != shell->buffer_as_made)
    return plain_dispose(object);
  GstMeta* meta = nullptr;
  if (!has_one_meta_at_most(buffer, meta) || as_video_meta(meta) != shell->meta ||
      (meta != nullptr && meta->info != shell->meta_as_made->meta.info))
    return plain_dispose(object);
  // Downstream may have written into it.
  if (meta != nullptr) *shell->meta = *shell->meta_as_made;
  empty_received(memory);
  gst_buffer_ref(buffer);
  if (!home->take_back(buffer)) gst_buffer_unref(buffer);  // which comes here again, without home
  return FALSE;
}

bool Shells::take_back(GstBuffer* buffer) {
  for (auto& place : idle_) {
    GstBuffer* expected = nullptr;
    // SYNC: release, pairs with the acquire in take().
    if (place.load(std::memory_order_relaxed) == nullptr &&
        place.compare_exchange_strong(expected, buffer, std::memory_order_release,
                                      std::memory_order_relaxed))
      return true;
  }
  return false;
}

}  // namespace gstmmap
