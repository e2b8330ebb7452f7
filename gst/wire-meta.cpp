#include "gst/wire-meta.h"

#include <gst/video/video.h>

#include <algorithm>
#include <cstdint>

namespace gstmmap {

namespace {

enum class Kind : uint32_t { video = 1, video_crop = 2 };

struct Header {
  uint32_t kind;
  uint32_t size;  // of what follows
};

struct Video {
  int32_t flags;
  int32_t format;
  int32_t id;
  uint32_t width;
  uint32_t height;
  uint32_t planes;
  uint64_t offset[GST_VIDEO_MAX_PLANES];
  int32_t stride[GST_VIDEO_MAX_PLANES];
  GstVideoAlignment alignment;
};

struct Crop {
  uint32_t x, y, width, height;
};

template <class T>
void put(BytesOut& to, Kind kind, const T& value) {
  to.put(Header{static_cast<uint32_t>(kind), sizeof value});
  to.put(value);
}

void encode_video(GstVideoMeta* meta, BytesOut& to) {
  Video video{};
  video.flags = meta->flags;
  video.format = meta->format;
  video.id = meta->id;
  video.width = meta->width;
  video.height = meta->height;
  video.planes = meta->n_planes;
  std::copy_n(meta->offset, GST_VIDEO_MAX_PLANES, video.offset);
  std::copy_n(meta->stride, GST_VIDEO_MAX_PLANES, video.stride);
  video.alignment = meta->alignment;
  put(to, Kind::video, video);
}

// Bytes from the first of a plane's rows to the end of its last, for formats whose components
// have this pixel stride: what a reader of that plane touches at most.
bool planes_fit(const Video& video, const GstVideoFormatInfo* format, uint64_t size) {
  if (video.planes != GST_VIDEO_FORMAT_INFO_N_PLANES(format)) return false;
  if (video.width == 0 || video.height == 0 || video.width > G_MAXINT16 * 2u ||
      video.height > G_MAXINT16 * 2u)
    return false;
  // Tiled formats code two numbers in a stride.
  if (GST_VIDEO_FORMAT_INFO_IS_TILED(format)) return true;
  for (guint i = 0; i < GST_VIDEO_FORMAT_INFO_N_COMPONENTS(format); ++i) {
    const guint plane = GST_VIDEO_FORMAT_INFO_PLANE(format, i);
    const auto rows = static_cast<uint64_t>(
        GST_VIDEO_FORMAT_INFO_SCALE_HEIGHT(format, i, static_cast<gint>(video.height)));
    const auto columns = static_cast<uint64_t>(
        GST_VIDEO_FORMAT_INFO_SCALE_WIDTH(format, i, static_cast<gint>(video.width)));
    // Complex formats (packed bits) have no pixel stride to go by.
    const uint64_t row = columns * static_cast<uint64_t>(
                                       std::max<gint>(GST_VIDEO_FORMAT_INFO_PSTRIDE(format, i), 0));
    const int32_t stride = video.stride[plane];
    const uint64_t offset = video.offset[plane];
    if (stride < 0 || offset > size) return false;
    const uint64_t last = rows > 0 ? (rows - 1) * static_cast<uint64_t>(stride) : 0;
    if (last > size - offset || row > size - offset - last) return false;
  }
  return true;
}

bool decode_video(const Video& video, GstBuffer* buffer) {
  // The formats this GStreamer knows, without a way to ask how many there are but this.
  if (video.format <= GST_VIDEO_FORMAT_ENCODED) return false;
  static auto* const formats = static_cast<GEnumClass*>(g_type_class_ref(GST_TYPE_VIDEO_FORMAT));
  if (g_enum_get_value(formats, video.format) == nullptr || video.planes == 0 ||
      video.planes > GST_VIDEO_MAX_PLANES)
    return false;
  const auto format = static_cast<GstVideoFormat>(video.format);
  if (!planes_fit(video, gst_video_format_get_info(format), gst_buffer_get_size(buffer)))
    return false;
  gsize offset[GST_VIDEO_MAX_PLANES];
  gint stride[GST_VIDEO_MAX_PLANES];
  std::copy_n(video.offset, GST_VIDEO_MAX_PLANES, offset);
  std::copy_n(video.stride, GST_VIDEO_MAX_PLANES, stride);
  GstVideoMeta* meta =
      gst_buffer_add_video_meta_full(buffer, static_cast<GstVideoFrameFlags>(video.flags), format,
                                     video.width, video.height, video.planes, offset, stride);
  if (meta == nullptr) return false;
  meta->id = video.id;
  meta->alignment = video.alignment;
  return true;
}

}  // namespace

void encode_metas(GstBuffer* buffer, std::vector<std::byte>& bytes) {
  BytesOut to(bytes);
  gpointer state = nullptr;
  while (GstMeta* meta = gst_buffer_iterate_meta(buffer, &state)) {
    if (meta->info->api == GST_VIDEO_META_API_TYPE) {
      encode_video(reinterpret_cast<GstVideoMeta*>(meta), to);
    } else if (meta->info->api == GST_VIDEO_CROP_META_API_TYPE) {
      const auto* crop = reinterpret_cast<GstVideoCropMeta*>(meta);
      put(to, Kind::video_crop, Crop{crop->x, crop->y, crop->width, crop->height});
    }
  }
}

bool decode_metas(BytesIn& from, GstBuffer* buffer) {
  while (!from.empty()) {
    const auto header = from.get<Header>();
    const auto bytes = from.take(header.size);
    if (!from.good()) return false;
    BytesIn body(bytes);
    if (header.kind == static_cast<uint32_t>(Kind::video)) {
      if (!decode_video(body.get<Video>(), buffer)) return false;
    } else if (header.kind == static_cast<uint32_t>(Kind::video_crop)) {
      const auto crop = body.get<Crop>();
      GstVideoCropMeta* meta = gst_buffer_add_video_crop_meta(buffer);
      meta->x = crop.x;
      meta->y = crop.y;
      meta->width = crop.width;
      meta->height = crop.height;
    } else {
      return false;
    }
    if (!body.complete()) return false;
  }
  return true;
}

}  // namespace gstmmap
