#include "elements/proposal.h"

#include <gst/video/video.h>

#include <algorithm>

#include "gst/gstmmapbufferpool.h"

namespace gstmmap {

void answer_allocation(GstQuery* query, const std::shared_ptr<mmaplink::Sender>& sender,
                       GstAllocator* allocator, const Needs& needs) {
  GstCaps* caps = nullptr;
  gst_query_parse_allocation(query, &caps, nullptr);
  GstAllocationParams params;
  gst_allocation_params_init(&params);
  // A peer may ask for much; what it asks of our memory is bounded.
  params.align = std::min<gsize>(needs.align, mmaplink::page_size() - 1) | 63;
  params.prefix = std::min<gsize>(needs.prefix, mmaplink::page_size());
  params.padding = std::min<gsize>(needs.padding, mmaplink::page_size());
  GstVideoInfo info;
  if (caps != nullptr && gst_video_info_from_caps(&info, caps) &&
      GST_VIDEO_INFO_FORMAT(&info) != GST_VIDEO_FORMAT_ENCODED) {
    const auto size = static_cast<guint>(GST_VIDEO_INFO_SIZE(&info));
    const guint64 affordable = sender->store()->max_memory() / 2 / std::max<guint>(size, 1);
    const auto least =
        static_cast<guint>(std::max<guint64>(1, std::min<guint64>(needs.min_buffers, affordable)));
    GstBufferPool* pool = buffer_pool_new(sender, caps, size, least, params);
    if (pool != nullptr) {
      gst_query_add_allocation_pool(query, pool, size, least, 0);
      gst_object_unref(pool);
    }
    gst_query_add_allocation_meta(query, GST_VIDEO_META_API_TYPE, nullptr);
    gst_query_add_allocation_meta(query, GST_VIDEO_CROP_META_API_TYPE, nullptr);
  }
  gst_query_add_allocation_param(query, allocator, &params);
}

}  // namespace gstmmap
