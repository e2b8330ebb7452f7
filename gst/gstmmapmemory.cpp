// GstMmapMemory and its allocator: a GstMemory over a block of our own arena, or over a view of a
// peer's.
//
// Owner: whoever holds the GstMemory. Threads: any. When the peer dies nothing happens here: a
// block is ours, a view is mapped until it is dropped.
#include "gst/gstmmapmemory-private.h"

#include <gst/allocators/gstdmabuf.h>

#include <cstring>

namespace {

using gstmmap::GiveBack;
using gstmmap::WhenFull;
using mmaplink::Block;
using mmaplink::View;

struct Memory {
  GstMemory parent{};          // first: this is a GstMemory
  std::byte* data = nullptr;   // of offset 0
  std::optional<Block> block;  // a sender's own
  // A receiver's:
  View view;
  GiveBack give_back;
  std::shared_ptr<GiveBack> shared_give_back;
  std::shared_ptr<gstmmap::Shell> shell;  // see shells.h

  explicit Memory(GiveBack to_give_back = {}) : give_back(std::move(to_give_back)) {}
};

Memory* cast(GstMemory* memory) { return reinterpret_cast<Memory*>(memory); }
const Memory* owner_of(GstMemory* memory) { return cast(memory->parent ? memory->parent : memory); }

}  // namespace

struct _GstMmapAllocator {
  GstAllocator parent;
  std::shared_ptr<mmaplink::Sender> sender;
  WhenFull when_full;
};

struct _GstMmapAllocatorClass {
  GstAllocatorClass parent_class;
};

G_DEFINE_TYPE(GstMmapAllocator, gst_mmap_allocator, GST_TYPE_ALLOCATOR)

static GstMmapAllocator* allocator_cast(gpointer object) {
  return reinterpret_cast<GstMmapAllocator*>(object);
}

// Views need an allocator too: one for the process, which allocates nothing.
static GstAllocator* view_allocator() {
  static GstAllocator* const allocator = [] {
    auto* made = static_cast<GstAllocator*>(g_object_new(GST_TYPE_MMAP_ALLOCATOR, nullptr));
    gst_object_ref_sink(made);
    GST_OBJECT_FLAG_SET(made, GST_OBJECT_FLAG_MAY_BE_LEAKED);
    return made;
  }();
  return allocator;
}

static GstMemory* allocator_alloc(GstAllocator* allocator, gsize size,
                                  GstAllocationParams* params) {
  GstMmapAllocator* self = allocator_cast(allocator);
  if (!self->sender) return nullptr;
  const gsize most = size + params->prefix + params->padding;
  const gsize align = (params->align | gstmmap::kMemoryAlign) + 1;
  std::optional<Block> block;
  if (self->when_full == WhenFull::wait) {
    block = self->sender->allocate(most, align);
  } else {
    auto got = self->sender->store()->allocate(most, align);
    if (got)
      block.emplace(std::move(*got));
    else if (got.error().failure != mmaplink::Failure::limit)
      self->sender->no_memory(got.error());
  }
  if (!block) return nullptr;
  auto* memory = new Memory;
  memory->data = block->data();
  memory->block = std::move(block);
  if ((params->flags & GST_MEMORY_FLAG_ZERO_PREFIXED) != 0)
    std::memset(memory->data, 0, params->prefix);
  if ((params->flags & GST_MEMORY_FLAG_ZERO_PADDED) != 0)
    std::memset(memory->data + params->prefix + size, 0, params->padding);
  gst_memory_init(&memory->parent, params->flags, allocator, nullptr, most, align - 1,
                  params->prefix, size);
  return &memory->parent;
}

static void allocator_free(GstAllocator*, GstMemory* memory) { delete cast(memory); }

static gpointer memory_map(GstMemory* memory, gsize, GstMapFlags) { return cast(memory)->data; }

static void memory_unmap(GstMemory*) {}

static GstMemory* memory_share(GstMemory* memory, gssize offset, gssize size) {
  auto* part = new Memory;
  part->data = cast(memory)->data;
  GstMemory* parent = memory->parent ? memory->parent : memory;
  if (size < 0) size = static_cast<gssize>(memory->size) - offset;
  // What is shared is read-only, as for every allocator of GStreamer.
  gst_memory_init(&part->parent,
                  static_cast<GstMemoryFlags>(GST_MINI_OBJECT_FLAGS(parent) |
                                              GST_MINI_OBJECT_FLAG_LOCK_READONLY),
                  memory->allocator, parent, memory->maxsize, memory->align,
                  memory->offset + static_cast<gsize>(offset), static_cast<gsize>(size));
  return &part->parent;
}

// A copy of a sender's memory lies in its arenas too, while there is room: decoders of gst-libav
// copy each frame that they still refer to before they push it.
static GstMemory* memory_copy(GstMemory* memory, gssize offset, gssize size) {
  const gsize length =
      size < 0 ? memory->size - static_cast<gsize>(offset) : static_cast<gsize>(size);
  GstAllocator* allocator = owner_of(memory)->parent.allocator;
  const auto& sender = allocator_cast(allocator)->sender;
  GstMemory* copy = nullptr;
  if (sender) {
    // Without waiting: other memory does as well.
    if (auto block = sender->store()->allocate(length, gstmmap::kMemoryAlign + 1)) {
      auto* made = new Memory;
      made->data = block->data();
      made->block.emplace(std::move(*block));
      gst_memory_init(&made->parent, static_cast<GstMemoryFlags>(0), allocator, nullptr, length,
                      gstmmap::kMemoryAlign, 0, length);
      copy = &made->parent;
    }
  }
  if (copy == nullptr) copy = gst_allocator_alloc(nullptr, length, nullptr);
  GstMapInfo to;
  if (copy == nullptr || !gst_memory_map(copy, &to, GST_MAP_WRITE)) {
    if (copy != nullptr) gst_memory_unref(copy);
    return nullptr;
  }
  std::memcpy(to.data, cast(memory)->data + memory->offset + offset, length);
  gst_memory_unmap(copy, &to);
  return copy;
}

static void allocator_finalize(GObject* object) {
  // An empty one is as good as destroyed, which GCC 16 takes for happening twice.
  allocator_cast(object)->sender.reset();
  G_OBJECT_CLASS(gst_mmap_allocator_parent_class)->finalize(object);
}

static void gst_mmap_allocator_class_init(GstMmapAllocatorClass* klass) {
  G_OBJECT_CLASS(klass)->finalize = allocator_finalize;
  klass->parent_class.alloc = allocator_alloc;
  klass->parent_class.free = allocator_free;
}

static void gst_mmap_allocator_init(GstMmapAllocator* self) {
  new (&self->sender) std::shared_ptr<mmaplink::Sender>;
  GstAllocator* allocator = &self->parent;
  allocator->mem_type = GST_MMAP_MEMORY_TYPE;
  allocator->mem_map = memory_map;
  allocator->mem_unmap = memory_unmap;
  allocator->mem_share = memory_share;
  allocator->mem_copy = memory_copy;
  GST_OBJECT_FLAG_SET(allocator, GST_ALLOCATOR_FLAG_CUSTOM_ALLOC);
}

gboolean gst_is_mmap_memory(GstMemory* mem) {
  return mem != nullptr && G_TYPE_CHECK_INSTANCE_TYPE(mem->allocator, GST_TYPE_MMAP_ALLOCATOR);
}

gint gst_mmap_memory_get_fd(GstMemory* mem) {
  if (!gst_is_mmap_memory(mem)) return -1;
  const Memory* owner = owner_of(mem);
  return owner->block ? owner->block->arena()->fd().get() : owner->view.arena->fd.get();
}

guint64 gst_mmap_memory_get_offset(GstMemory* mem) {
  if (!gst_is_mmap_memory(mem)) return 0;
  const Memory* owner = owner_of(mem);
  return (owner->block ? owner->block->offset() : owner->view.offset) + mem->offset;
}

namespace gstmmap {

GstAllocator* allocator_new(std::shared_ptr<mmaplink::Sender> sender, WhenFull when_full) {
  auto* self = allocator_cast(g_object_new(GST_TYPE_MMAP_ALLOCATOR, nullptr));
  gst_object_ref_sink(self);
  self->sender = std::move(sender);
  self->when_full = when_full;
  return &self->parent;
}

mmaplink::Sender* allocator_sender(GstAllocator* allocator) {
  if (allocator == nullptr || !G_TYPE_CHECK_INSTANCE_TYPE(allocator, GST_TYPE_MMAP_ALLOCATOR))
    return nullptr;
  return allocator_cast(allocator)->sender.get();
}

bool is_over(GstMemory* memory) {
  const Memory* owner = gst_is_mmap_memory(memory) ? owner_of(memory) : nullptr;
  return owner != nullptr && owner->block && owner->block->arena()->is_over();
}

// Written by nobody: GST_MEMORY_FLAG_READONLY refuses the map, the mapping itself the write.
static void lie_over(Memory& memory, View view) {
  memory.data = const_cast<std::byte*>(view.bytes().data());
  memory.view = std::move(view);
}

static GstMemory* init_received(Memory* memory, View view) {
  const size_t size = view.size;
  lie_over(*memory, std::move(view));
  gst_memory_init(&memory->parent, GST_MEMORY_FLAG_READONLY, view_allocator(), nullptr, size, 0, 0,
                  size);
  return &memory->parent;
}

bool is_received(GstMemory* memory) {
  return memory->allocator == view_allocator() && memory->parent == nullptr &&
         !cast(memory)->shared_give_back;
}

void empty_received(GstMemory* memory) {
  cast(memory)->view = View{};
  cast(memory)->give_back = GiveBack();
}

void fill_received(GstMemory* memory, View view, GiveBack give_back) {
  memory->offset = 0;
  memory->size = memory->maxsize = view.size;
  lie_over(*cast(memory), std::move(view));
  cast(memory)->give_back = std::move(give_back);
}

Shell* shell_of(GstMemory* memory) {
  return memory->allocator == view_allocator() ? cast(memory)->shell.get() : nullptr;
}

void set_shell(GstMemory* memory, std::shared_ptr<Shell> shell) {
  cast(memory)->shell = std::move(shell);
}

namespace {

// What a GstMemory of GStreamer's own, over a peer's dmabuf, keeps.
struct Kept {
  View view;
  GiveBack give_back;
  std::shared_ptr<GiveBack> shared_give_back;
};

GstMemory* new_dmabuf_memory(std::unique_ptr<Kept> kept) {
  static GstAllocator* const allocator = [] {
    GstAllocator* made = gst_dmabuf_allocator_new();
    GST_OBJECT_FLAG_SET(made, GST_OBJECT_FLAG_MAY_BE_LEAKED);
    return made;
  }();
  const View& view = kept->view;
  GstMemory* memory = gst_dmabuf_allocator_alloc_with_flags(
      allocator, view.arena->fd.get(), view.arena->size(), GST_FD_MEMORY_FLAG_DONT_CLOSE);
  if (memory == nullptr) return nullptr;
  gst_memory_resize(memory, static_cast<gssize>(view.offset), view.size);
  GST_MINI_OBJECT_FLAG_SET(memory, GST_MEMORY_FLAG_READONLY);
  gst_mini_object_set_qdata(GST_MINI_OBJECT(memory), g_quark_from_static_string("mmap-received"),
                            kept.release(), [](gpointer data) { delete static_cast<Kept*>(data); });
  return memory;
}

}  // namespace

GstMemory* memory_new_received(View view, GiveBack give_back) {
  if (view.arena->is_dmabuf())
    return new_dmabuf_memory(
        std::unique_ptr<Kept>(new Kept{std::move(view), std::move(give_back), nullptr}));
  return init_received(new Memory(std::move(give_back)), std::move(view));
}

GstMemory* memory_new_received(View view, std::shared_ptr<GiveBack> give_back) {
  if (view.arena->is_dmabuf())
    return new_dmabuf_memory(
        std::unique_ptr<Kept>(new Kept{std::move(view), GiveBack(), std::move(give_back)}));
  auto* memory = new Memory;
  memory->shared_give_back = std::move(give_back);
  return init_received(memory, std::move(view));
}

std::optional<mmaplink::Place> memory_place(GstMemory* memory, mmaplink::Sender& sender,
                                            bool dmabufs) {
  const mmaplink::ArenaStore& store = *sender.store();
  if (gst_is_mmap_memory(memory)) {
    const Memory* owner = owner_of(memory);
    if (!owner->block)
      return sender.foreign().find(owner->view, owner->view.offset + memory->offset);
    // Another sender's arena is for its own readers alone.
    const auto* made_by = allocator_sender(owner->parent.allocator);
    if (made_by == nullptr || made_by->store().get() != &store || owner->block->arena()->is_over())
      return std::nullopt;
    return mmaplink::Place{owner->block->arena(), owner->block->offset() + memory->offset};
  }
  // Of these nothing is in our own arenas; and to map one costs something.
  if (gst_is_dmabuf_memory(memory)) {
    if (!dmabufs) return std::nullopt;
    return sender.foreign().find_dmabuf(gst_dmabuf_memory_get_fd(memory), memory->offset,
                                        memory->size);
  }
  if (gst_is_fd_memory(memory)) {
    auto place = sender.foreign().find(gst_fd_memory_get_fd(memory), memory->offset, memory->size);
    if (place) return place;
  }
  GstMapInfo info;
  if (!gst_memory_map(memory, &info, GST_MAP_READ)) return std::nullopt;
  auto place = store.find(info.data, info.size);
  gst_memory_unmap(memory, &info);
  return place;
}

}  // namespace gstmmap
