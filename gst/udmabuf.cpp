#include "gst/udmabuf.h"

#include <gst/allocators/gstdmabuf.h>

#include "lib/dmabuf.h"
#include "lib/sealed.h"

GST_DEBUG_CATEGORY_STATIC(udmabuf_debug);
#define GST_CAT_DEFAULT udmabuf_debug

struct GstMmapUdmabufAllocator {
  GstDmaBufAllocator parent;
};
struct GstMmapUdmabufAllocatorClass {
  GstDmaBufAllocatorClass parent_class;
};

G_DEFINE_TYPE_WITH_CODE(GstMmapUdmabufAllocator, gst_mmap_udmabuf_allocator,
                        GST_TYPE_DMABUF_ALLOCATOR,
                        GST_DEBUG_CATEGORY_INIT(udmabuf_debug, "mmapudmabuf", 0,
                                                "dmabufs of ordinary memory"))

struct GstMmapUdmabufPool {
  GstVideoBufferPool parent;
  GstAllocator* allocator;  // owned
};
struct GstMmapUdmabufPoolClass {
  GstVideoBufferPoolClass parent_class;
};

G_DEFINE_TYPE(GstMmapUdmabufPool, gst_mmap_udmabuf_pool, GST_TYPE_VIDEO_BUFFER_POOL)

static GstMemory* udmabuf_alloc(GstAllocator* allocator, gsize size, GstAllocationParams* params) {
  const gsize whole = size + params->prefix + params->padding;
  auto made = mmaplink::make_dmabuf(whole);
  if (!made) {
    GST_ERROR_OBJECT(allocator, "%s", made.error().text.c_str());
    return nullptr;
  }
  // The memory closes it.
  GstMemory* memory =
      gst_dmabuf_allocator_alloc(allocator, made->release(), mmaplink::round_to_page(whole));
  if (memory != nullptr) gst_memory_resize(memory, static_cast<gssize>(params->prefix), size);
  return memory;
}

static void gst_mmap_udmabuf_allocator_class_init(GstMmapUdmabufAllocatorClass* klass) {
  GST_ALLOCATOR_CLASS(klass)->alloc = udmabuf_alloc;
}

static void gst_mmap_udmabuf_allocator_init(GstMmapUdmabufAllocator* self) {
  GST_OBJECT_FLAG_UNSET(self, GST_ALLOCATOR_FLAG_CUSTOM_ALLOC);
}

static GstMmapUdmabufPool* pool_cast(gpointer object) {
  return reinterpret_cast<GstMmapUdmabufPool*>(object);
}

static gboolean pool_set_config(GstBufferPool* pool, GstStructure* config) {
  // v4l2src asks for the allocator of our answer, which is that of the arenas; and where a frame
  // does not begin with its dmabuf, as a peer may want it by a prefix, it ends the process.
  GstAllocationParams params;
  gst_buffer_pool_config_get_allocator(config, nullptr, &params);
  params.prefix = 0;
  gst_buffer_pool_config_set_allocator(config, pool_cast(pool)->allocator, &params);
  return GST_BUFFER_POOL_CLASS(gst_mmap_udmabuf_pool_parent_class)->set_config(pool, config);
}

static void pool_finalize(GObject* object) {
  gst_clear_object(&pool_cast(object)->allocator);
  G_OBJECT_CLASS(gst_mmap_udmabuf_pool_parent_class)->finalize(object);
}

static void gst_mmap_udmabuf_pool_class_init(GstMmapUdmabufPoolClass* klass) {
  G_OBJECT_CLASS(klass)->finalize = pool_finalize;
  GST_BUFFER_POOL_CLASS(klass)->set_config = pool_set_config;
}

static void gst_mmap_udmabuf_pool_init(GstMmapUdmabufPool* self) {
  self->allocator =
      static_cast<GstAllocator*>(g_object_new(gst_mmap_udmabuf_allocator_get_type(), nullptr));
  gst_object_ref_sink(self->allocator);
}

namespace gstmmap {

GstBufferPool* udmabuf_pool_new(GstCaps* caps, guint size, guint least, guint most,
                                const GstAllocationParams& params) {
  auto* pool = static_cast<GstBufferPool*>(g_object_new(gst_mmap_udmabuf_pool_get_type(), nullptr));
  gst_object_ref_sink(pool);
  GstStructure* config = gst_buffer_pool_get_config(pool);
  gst_buffer_pool_config_set_params(config, caps, size, least, most);
  gst_buffer_pool_config_set_allocator(config, nullptr, &params);
  gst_buffer_pool_config_add_option(config, GST_BUFFER_POOL_OPTION_VIDEO_META);
  if (!gst_buffer_pool_set_config(pool, config)) gst_clear_object(&pool);
  return pool;
}

}  // namespace gstmmap
