#include "gst/around.h"

#include <string>

namespace gstmmap {

namespace {

constexpr std::array<const char*, 4> kPadding{"padding-top", "padding-bottom", "padding-left",
                                              "padding-right"};

std::string stride_of(size_t plane) { return "stride-align" + std::to_string(plane); }

}  // namespace

std::optional<Around> around_of(GstQuery* answered) {
  guint index = 0;
  const GstStructure* params = nullptr;
  if (gst_query_find_allocation_meta(answered, GST_VIDEO_META_API_TYPE, &index))
    gst_query_parse_nth_allocation_meta(answered, index, &params);
  if (params == nullptr) return std::nullopt;
  Around around{};
  bool any = false;
  for (size_t i = 0; i < kPadding.size(); ++i)
    any |= gst_structure_get_uint(params, kPadding[i], &around.padding[i]) != FALSE;
  for (size_t i = 0; i < around.stride_align.size(); ++i)
    any |= gst_structure_get_uint(params, stride_of(i).c_str(), &around.stride_align[i]) != FALSE;
  return any ? std::optional(around) : std::nullopt;
}

void add_video_meta(GstQuery* query, const std::optional<Around>& around) {
  if (!around) return gst_query_add_allocation_meta(query, GST_VIDEO_META_API_TYPE, nullptr);
  GstStructure* params = gst_structure_new_empty("video-meta");
  for (size_t i = 0; i < kPadding.size(); ++i)
    gst_structure_set(params, kPadding[i], G_TYPE_UINT, around->padding[i], nullptr);
  for (size_t i = 0; i < around->stride_align.size(); ++i)
    gst_structure_set(params, stride_of(i).c_str(), G_TYPE_UINT, around->stride_align[i], nullptr);
  gst_query_add_allocation_meta(query, GST_VIDEO_META_API_TYPE, params);
  gst_structure_free(params);
}

}  // namespace gstmmap
