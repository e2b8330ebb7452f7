#include "gst/gstmmapbufferpool.h"

#include "gst/gstmmapmemory-private.h"

using mmaplink::Sender;

struct GstMmapBufferPool {
  GstVideoBufferPool parent;
  std::shared_ptr<Sender> sender;
  guint size;               // of a frame
  GstAllocator* allocator;  // owned; fails where the sink's own would wait
};

struct GstMmapBufferPoolClass {
  GstVideoBufferPoolClass parent_class;
};

GType gst_mmap_buffer_pool_get_type(void);
G_DEFINE_TYPE(GstMmapBufferPool, gst_mmap_buffer_pool, GST_TYPE_VIDEO_BUFFER_POOL)

static GstMmapBufferPool* pool_cast(gpointer object) {
  return reinterpret_cast<GstMmapBufferPool*>(object);
}

static GstBufferPoolClass* parent_pool_class() {
  return static_cast<GstBufferPoolClass*>(gst_mmap_buffer_pool_parent_class);
}

static gboolean pool_set_config(GstBufferPool* pool, GstStructure* config) {
  // Whatever allocator is asked for, the frames of this pool lie in the arenas.
  GstAllocationParams params;
  gst_buffer_pool_config_get_allocator(config, nullptr, &params);
  gst_buffer_pool_config_set_allocator(config, pool_cast(pool)->allocator, &params);
  return parent_pool_class()->set_config(pool, config);
}

static GstFlowReturn pool_alloc_buffer(GstBufferPool* pool, GstBuffer** buffer,
                                       GstBufferPoolAcquireParams* params) {
  const GstFlowReturn flow = parent_pool_class()->alloc_buffer(pool, buffer, params);
  // GstBufferPool's way to say that there are as many as there may be: wait for one.
  return flow == GST_FLOW_ERROR ? GST_FLOW_EOS : flow;
}

static GstFlowReturn pool_acquire_buffer(GstBufferPool* pool, GstBuffer** buffer,
                                         // cppcheck-suppress constParameter ; the parent has it so
                                         GstBufferPoolAcquireParams* params) {
  Sender& sender = *pool_cast(pool)->sender;
  GstBufferPoolAcquireParams no_wait{};
  if (params != nullptr) no_wait = *params;
  const bool may_wait = (no_wait.flags & GST_BUFFER_POOL_ACQUIRE_FLAG_DONTWAIT) == 0;
  no_wait.flags =
      static_cast<GstBufferPoolAcquireFlags>(no_wait.flags | GST_BUFFER_POOL_ACQUIRE_FLAG_DONTWAIT);
  for (;;) {
    const uint64_t seen = sender.progress();
    sender.collect_some();
    const GstFlowReturn flow = parent_pool_class()->acquire_buffer(pool, buffer, &no_wait);
    if (flow == GST_FLOW_OK && gst_buffer_n_memory(*buffer) > 0 &&
        gstmmap::is_over(gst_buffer_peek_memory(*buffer, 0))) {
      // The parent frees a buffer that comes back with this flag, instead of keeping it.
      GST_BUFFER_FLAG_SET(*buffer, GST_BUFFER_FLAG_TAG_MEMORY);
      parent_pool_class()->release_buffer(pool, *buffer);
      continue;
    }
    if (flow != GST_FLOW_EOS || !may_wait) return flow;
    switch (sender.wait_for_memory(seen)) {
      case Sender::Waited::progress:
        break;
      case Sender::Waited::interrupted:
        return GST_FLOW_FLUSHING;
      case Sender::Waited::exhausted:
        return GST_FLOW_ERROR;
    }
  }
}

static void pool_release_buffer(GstBufferPool* pool, GstBuffer* buffer) {
  // The pool may be gone once its last buffer is back.
  const std::shared_ptr<Sender> sender = pool_cast(pool)->sender;
  parent_pool_class()->release_buffer(pool, buffer);
  sender->made_progress();
}

static void pool_flush_start(GstBufferPool* pool) {
  if (parent_pool_class()->flush_start != nullptr) parent_pool_class()->flush_start(pool);
  pool_cast(pool)->sender->made_progress();
}

static void pool_finalize(GObject* object) {
  GstMmapBufferPool* self = pool_cast(object);
  gst_clear_object(&self->allocator);
  self->sender->store()->no_longer_wants(self->size);
  // The parent frees what is left of the frames, which keep the sender by themselves.
  self->sender.~shared_ptr();
  G_OBJECT_CLASS(gst_mmap_buffer_pool_parent_class)->finalize(object);
}

static void gst_mmap_buffer_pool_class_init(GstMmapBufferPoolClass* klass) {
  G_OBJECT_CLASS(klass)->finalize = pool_finalize;
  GstBufferPoolClass* pool = GST_BUFFER_POOL_CLASS(klass);
  pool->set_config = pool_set_config;
  pool->alloc_buffer = pool_alloc_buffer;
  pool->acquire_buffer = pool_acquire_buffer;
  pool->release_buffer = pool_release_buffer;
  pool->flush_start = pool_flush_start;
}

static void gst_mmap_buffer_pool_init(GstMmapBufferPool* self) {
  new (&self->sender) std::shared_ptr<Sender>;
}

namespace gstmmap {

GstBufferPool* buffer_pool_new(std::shared_ptr<Sender> sender, GstCaps* caps, guint size,
                               guint min_buffers, const GstAllocationParams& params) {
  auto* self = pool_cast(g_object_new(gst_mmap_buffer_pool_get_type(), nullptr));
  gst_object_ref_sink(self);
  self->allocator = allocator_new(sender, WhenFull::fail);
  self->sender = std::move(sender);
  self->size = size;
  auto* pool = reinterpret_cast<GstBufferPool*>(self);
  GstStructure* config = gst_buffer_pool_get_config(pool);
  gst_buffer_pool_config_set_params(config, caps, size, min_buffers, 0);
  gst_buffer_pool_config_set_allocator(config, self->allocator, &params);
  gst_buffer_pool_config_add_option(config, GST_BUFFER_POOL_OPTION_VIDEO_META);
  if (!gst_buffer_pool_set_config(pool, config)) gst_clear_object(&pool);
  return pool;
}

bool is_our_pool(GstBufferPool* pool) {
  return pool != nullptr && G_TYPE_CHECK_INSTANCE_TYPE(pool, gst_mmap_buffer_pool_get_type());
}

}  // namespace gstmmap
