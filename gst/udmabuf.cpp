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

static GstMemory* udmabuf_alloc(GstAllocator* allocator, gsize size, GstAllocationParams* params) {
  const gsize whole = size + params->prefix + params->padding;
  auto made = mmaplink::make_dmabuf(whole);
  if (!made) {
    GST_ERROR_OBJECT(allocator, "%s", made.error().text.c_str());
    return nullptr;
  }
  const int own = dup(made->get());  // the memory closes it
  GstMemory* memory =
      own >= 0 ? gst_dmabuf_allocator_alloc(allocator, own, mmaplink::round_to_page(whole))
               : nullptr;
  if (memory != nullptr) gst_memory_resize(memory, static_cast<gssize>(params->prefix), size);
  return memory;
}

static void gst_mmap_udmabuf_allocator_class_init(GstMmapUdmabufAllocatorClass* klass) {
  GST_ALLOCATOR_CLASS(klass)->alloc = udmabuf_alloc;
}

static void gst_mmap_udmabuf_allocator_init(GstMmapUdmabufAllocator* self) {
  GST_OBJECT_FLAG_UNSET(self, GST_ALLOCATOR_FLAG_CUSTOM_ALLOC);
}

namespace gstmmap {

GstBufferPool* udmabuf_pool_new(GstCaps* caps, guint size, guint least, guint most,
                                const GstAllocationParams& params) {
  auto* allocator =
      static_cast<GstAllocator*>(g_object_new(gst_mmap_udmabuf_allocator_get_type(), nullptr));
  gst_object_ref_sink(allocator);
  GstBufferPool* pool = gst_video_buffer_pool_new();
  GstStructure* config = gst_buffer_pool_get_config(pool);
  gst_buffer_pool_config_set_params(config, caps, size, least, most);
  gst_buffer_pool_config_set_allocator(config, allocator, &params);
  gst_buffer_pool_config_add_option(config, GST_BUFFER_POOL_OPTION_VIDEO_META);
  gst_object_unref(allocator);
  if (!gst_buffer_pool_set_config(pool, config)) gst_clear_object(&pool);
  return pool;
}

}  // namespace gstmmap
