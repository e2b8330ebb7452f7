#include "elements/tighten.h"

#include <algorithm>

namespace gstmmap {

void Tighten::set_caps(GstCaps* caps) {
  GstVideoInfo info;
  const bool raw = gst_video_info_from_caps(&info, caps) &&
                   GST_VIDEO_INFO_FORMAT(&info) != GST_VIDEO_FORMAT_ENCODED;
  video_.reset(raw ? gst_video_info_copy(&info) : nullptr);
}

GstBuffer* Tighten::apply(GstBuffer* buffer) const {
  if (knows_ || !video_) return buffer;
  const GstVideoMeta* meta = gst_buffer_get_video_meta(buffer);
  if (meta == nullptr) return buffer;
  const bool tight = std::equal(meta->stride, meta->stride + meta->n_planes, video_->stride) &&
                     std::equal(meta->offset, meta->offset + meta->n_planes, video_->offset);
  if (tight || meta->n_planes != GST_VIDEO_INFO_N_PLANES(video_.get())) return buffer;
  GstBuffer* copy = gst_buffer_new_allocate(nullptr, GST_VIDEO_INFO_SIZE(video_.get()), nullptr);
  GstVideoFrame from;
  GstVideoFrame to;
  if (copy == nullptr || !gst_video_frame_map(&from, video_.get(), buffer, GST_MAP_READ)) {
    gst_clear_buffer(&copy);
    return buffer;
  }
  if (gst_video_frame_map(&to, video_.get(), copy, GST_MAP_WRITE)) {
    gst_video_frame_copy(&to, &from);
    gst_video_frame_unmap(&to);
  }
  gst_video_frame_unmap(&from);
  gst_buffer_copy_into(
      copy, buffer,
      static_cast<GstBufferCopyFlags>(GST_BUFFER_COPY_FLAGS | GST_BUFFER_COPY_TIMESTAMPS |
                                      GST_BUFFER_COPY_META),
      0, static_cast<gsize>(-1));
  // It says where the rows lay.
  if (GstVideoMeta* copied = gst_buffer_get_video_meta(copy))
    gst_buffer_remove_meta(copy, &copied->meta);
  gst_buffer_unref(buffer);
  return copy;
}

}  // namespace gstmmap
