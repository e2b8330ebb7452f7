// What a consumer of raw video wants around each frame, which it says with the parameters of
// GstVideoMeta in its answer to an ALLOCATION query.
#pragma once

#include <gst/video/video.h>

#include <array>
#include <cstdint>
#include <optional>

namespace gstmmap {

// In pixels on each side, and of each plane the bits that its stride may not have.
struct Around {
  std::array<uint32_t, 4> padding;  // top, bottom, left, right
  std::array<uint32_t, GST_VIDEO_MAX_PLANES> stride_align;
};

std::optional<Around> around_of(GstQuery* answered);
void add_video_meta(GstQuery* query, const std::optional<Around>& around);

}  // namespace gstmmap
