#include "elements/proposal.h"

#include <gst/video/video.h>

#include <algorithm>
#include <bit>

#include "gst/gstmmapbufferpool.h"

namespace gstmmap {

void Needs::add(GstQuery* answered) {
  for (guint i = 0; i < gst_query_get_n_allocation_pools(answered); ++i) {
    guint min = 0;
    gst_query_parse_nth_allocation_pool(answered, i, nullptr, nullptr, &min, nullptr);
    min_buffers = std::max(min_buffers, min);
  }
  for (guint i = 0; i < gst_query_get_n_allocation_params(answered); ++i) {
    GstAllocationParams one;
    gst_query_parse_nth_allocation_param(answered, i, nullptr, &one);
    params.align |= one.align;
    params.prefix = std::max(params.prefix, one.prefix);
    params.padding = std::max(params.padding, one.padding);
  }
  if (!has_one_)
    for (guint i = 0; i < gst_query_get_n_allocation_metas(answered); ++i)
      metas.push_back(gst_query_parse_nth_allocation_meta(answered, i, nullptr));
  has_one_ = true;
  std::erase_if(metas,
                [&](GType api) { return !gst_query_find_allocation_meta(answered, api, nullptr); });
}

void answer_allocation(GstQuery* query, const std::shared_ptr<mmaplink::Sender>& sender,
                       GstAllocator* allocator, const Needs& needs) {
  GstCaps* caps = nullptr;
  gst_query_parse_allocation(query, &caps, nullptr);
  GstAllocationParams params;
  gst_allocation_params_init(&params);
  // A peer may ask for much; what it asks of our memory is bounded.
  const gsize page = mmaplink::page_size();
  params.align = std::bit_ceil(std::clamp<gsize>(needs.params.align, 63, page - 1) + 1) - 1;
  params.prefix = std::min<gsize>(needs.params.prefix, page);
  params.padding = std::min<gsize>(needs.params.padding, page);
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
  }
  for (const GType api : needs.metas)
    if (!gst_query_find_allocation_meta(query, api, nullptr))
      gst_query_add_allocation_meta(query, api, nullptr);
  gst_query_add_allocation_param(query, allocator, &params);
}

}  // namespace gstmmap
