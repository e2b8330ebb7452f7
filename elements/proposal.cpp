#include "elements/proposal.h"

#include <gst/video/video.h>

#include <algorithm>
#include <bit>

#include "gst/gstmmapbufferpool.h"
#include "gst/gstmmapmemory-private.h"
#include "gst/udmabuf.h"
#include "lib/layout.h"

namespace gstmmap {

namespace {

// A peer may ask for much; what it asks of our memory is bounded.
constexpr uint32_t kMostPadding = 256;  // more than any block of a codec

gsize mask(gsize wanted) {
  return std::bit_ceil(std::min<gsize>(wanted, mmaplink::page_size() - 1) + 1) - 1;
}

void add_to(std::optional<Around>& all, const Around& one) {
  if (!all) all.emplace();
  for (size_t i = 0; i < one.padding.size(); ++i)
    all->padding[i] = std::max(all->padding[i], std::min(one.padding[i], kMostPadding));
  for (size_t i = 0; i < one.stride_align.size(); ++i)
    all->stride_align[i] =
        std::max(all->stride_align[i], static_cast<uint32_t>(mask(one.stride_align[i])));
}

}  // namespace

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
  if (const auto one = around_of(answered)) add_to(around, *one);
  if (!has_one_)
    for (guint i = 0; i < gst_query_get_n_allocation_metas(answered); ++i)
      metas.push_back(gst_query_parse_nth_allocation_meta(answered, i, nullptr));
  has_one_ = true;
  std::erase_if(metas,
                [&](GType api) { return !gst_query_find_allocation_meta(answered, api, nullptr); });
}

void answer_allocation(GstQuery* query, const std::shared_ptr<mmaplink::Sender>& sender,
                       GstAllocator* allocator, const Needs& needs, bool udmabuf) {
  GstCaps* caps = nullptr;
  gst_query_parse_allocation(query, &caps, nullptr);
  GstAllocationParams params;
  gst_allocation_params_init(&params);
  const gsize page = mmaplink::page_size();
  // What our memory has anyway is not asked for: a pool with GST_BUFFER_POOL_OPTION_VIDEO_ALIGNMENT
  // would pad each line up to it.
  const gsize align = mask(needs.params.align);
  params.align = align > kMemoryAlign ? align : 0;
  params.prefix = std::min<gsize>(needs.params.prefix, page);
  params.padding = std::min<gsize>(needs.params.padding, page);
  GstVideoInfo info;
  if (caps != nullptr && gst_video_info_from_caps(&info, caps) &&
      GST_VIDEO_INFO_FORMAT(&info) != GST_VIDEO_FORMAT_ENCODED) {
    const auto size = static_cast<guint>(GST_VIDEO_INFO_SIZE(&info));
    const guint64 room = sender->store()->max_memory() / std::max<guint>(size, 1);
    // Each dmabuf is announced by itself, and a peer takes only so many.
    const auto most =
        static_cast<guint>(std::clamp<guint64>(room, 1, mmaplink::kMostForeignArenas / 4));
    const guint64 affordable = udmabuf ? most : room / 2;
    const auto least =
        static_cast<guint>(std::max<guint64>(1, std::min<guint64>(needs.min_buffers, affordable)));
    GstBufferPool* pool = udmabuf ? udmabuf_pool_new(caps, size, least, most, params)
                                  : buffer_pool_new(sender, caps, size, least, params);
    if (pool != nullptr) {
      gst_query_add_allocation_pool(query, pool, size, least, udmabuf ? most : 0);
      gst_object_unref(pool);
    }
    const bool all_know = std::find(needs.metas.begin(), needs.metas.end(),
                                    GST_VIDEO_META_API_TYPE) != needs.metas.end();
    add_video_meta(query, all_know ? needs.around : std::nullopt);
  }
  for (const GType api : needs.metas)
    if (!gst_query_find_allocation_meta(query, api, nullptr))
      gst_query_add_allocation_meta(query, api, nullptr);
  gst_query_add_allocation_param(query, allocator, &params);
}

}  // namespace gstmmap
