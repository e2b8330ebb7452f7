// Where a frame's planes lie, which part of it is meant, and what is to be seen where.
#include <gst/video/gstvideoaffinetransformationmeta.h>
#include <gst/video/video.h>

#include <algorithm>
#include <array>

#include "gst/wire-meta-kinds.h"
#include "gst/wire-structure.h"

namespace gstmmap {

namespace {

// --- GstVideoMeta -------------------------------------------------------------------------------

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

// nullptr for what is no raw format of this GStreamer.
const GstVideoFormatInfo* format_of(const Video& video) {
  // No other way to ask how many there are.
  static auto* const formats = static_cast<GEnumClass*>(g_type_class_ref(GST_TYPE_VIDEO_FORMAT));
  if (video.format <= GST_VIDEO_FORMAT_ENCODED || !g_enum_get_value(formats, video.format))
    return nullptr;
  return gst_video_format_get_info(static_cast<GstVideoFormat>(video.format));
}

// But for those that this GStreamer does not know.
GstVideoFrameFlags flags_of(const Video& video) {
  static const auto* const flags =
      static_cast<GFlagsClass*>(g_type_class_ref(GST_TYPE_VIDEO_FRAME_FLAGS));
  return static_cast<GstVideoFrameFlags>(static_cast<guint>(video.flags) & flags->mask);
}

// Strides of tiled formats are two numbers of tiles.
bool tiles_fit(const Video& video, const GstVideoFormatInfo* format, const GstVideoInfo& usual,
               uint64_t size) {
  for (guint plane = 0; plane < video.planes; ++plane) {
    const gint stride = video.stride[plane];
    const gint columns = GST_VIDEO_TILE_X_TILES(stride);
    const gint rows = GST_VIDEO_TILE_Y_TILES(stride);
    const uint64_t offset = video.offset[plane];
    if (stride < 0 || offset > size || columns < GST_VIDEO_TILE_X_TILES(usual.stride[plane]) ||
        rows < GST_VIDEO_TILE_Y_TILES(usual.stride[plane]))
      return false;
    // These go zig-zag over two by two.
    if (format->tile_mode == GST_VIDEO_TILE_MODE_ZFLIPZ_2X2 && columns % 2 != 0) return false;
    const auto tiles = static_cast<uint64_t>(columns) * static_cast<uint64_t>(rows);
    if (tiles * GST_VIDEO_FORMAT_INFO_TILE_SIZE(format, plane) > size - offset) return false;
  }
  return true;
}

// What a reader of a component touches at most: from its first row to the end of its last.
bool rows_fit(const Video& video, const GstVideoFormatInfo* format, guint component, uint64_t row,
              uint64_t size) {
  const guint plane = GST_VIDEO_FORMAT_INFO_PLANE(format, component);
  const auto rows = static_cast<uint64_t>(
      GST_VIDEO_FORMAT_INFO_SCALE_HEIGHT(format, component, static_cast<gint>(video.height)));
  const int32_t stride = video.stride[plane];
  const uint64_t offset = video.offset[plane];
  if (stride < 0 || offset > size) return false;
  const uint64_t last = rows > 0 ? (rows - 1) * static_cast<uint64_t>(stride) : 0;
  return last <= size - offset && row <= size - offset - last;
}

bool palette_fits(const Video& video, uint64_t size) {
  constexpr uint64_t kPalette = uint64_t{256} * 4;
  return video.offset[1] <= size && kPalette <= size - video.offset[1];
}

bool planes_fit(const Video& video, const GstVideoFormatInfo* format, uint64_t size) {
  constexpr uint32_t kMostPixels = G_MAXINT16 * 2u;
  if (video.planes != GST_VIDEO_FORMAT_INFO_N_PLANES(format) || video.planes == 0) return false;
  if (video.width == 0 || video.height == 0 || video.width > kMostPixels ||
      video.height > kMostPixels)
    return false;
  const bool palette = GST_VIDEO_FORMAT_INFO_HAS_PALETTE(format);
  const bool tiled = GST_VIDEO_FORMAT_INFO_IS_TILED(format);
  const guint components = palette ? 1 : GST_VIDEO_FORMAT_INFO_N_COMPONENTS(format);
  if (palette && !palette_fits(video, size)) return false;
  GstVideoInfo usual;
  usual.finfo = nullptr;
  for (guint i = 0; i < components; ++i) {
    const gint pixel = GST_VIDEO_FORMAT_INFO_PSTRIDE(format, i);
    // Pixels that share bytes, and tiles, leave only the usual layout to go by.
    if ((tiled || pixel <= 0) && usual.finfo == nullptr &&
        !gst_video_info_set_format(&usual, format->format, video.width, video.height))
      return false;
    if (tiled) return tiles_fit(video, format, usual, size);
    const auto columns =
        GST_VIDEO_FORMAT_INFO_SCALE_WIDTH(format, i, static_cast<gint>(video.width));
    const auto row = pixel > 0 ? columns * static_cast<uint64_t>(pixel)
                               : usual.stride[GST_VIDEO_FORMAT_INFO_PLANE(format, i)];
    if (!rows_fit(video, format, i, static_cast<uint64_t>(row), size)) return false;
  }
  return true;
}

bool encode_video(const GstVideoMeta& meta, GstBuffer* buffer, BytesOut& to) {
  Video video{};
  video.flags = meta.flags;
  video.format = meta.format;
  video.id = meta.id;
  video.width = meta.width;
  video.height = meta.height;
  video.planes = meta.n_planes;
  std::copy_n(meta.offset, GST_VIDEO_MAX_PLANES, video.offset);
  std::copy_n(meta.stride, GST_VIDEO_MAX_PLANES, video.stride);
  video.alignment = meta.alignment;
  to.put(video);
  const auto* format = format_of(video);
  return format != nullptr && planes_fit(video, format, gst_buffer_get_size(buffer));
}

Taken decode_video(BytesIn& from, GstBuffer* buffer) {
  const auto video = from.get<Video>();
  const auto* format = from.good() ? format_of(video) : nullptr;
  if (format == nullptr || !planes_fit(video, format, gst_buffer_get_size(buffer)))
    return Taken::refused;
  gsize offset[GST_VIDEO_MAX_PLANES];
  gint stride[GST_VIDEO_MAX_PLANES];
  std::copy_n(video.offset, GST_VIDEO_MAX_PLANES, offset);
  std::copy_n(video.stride, GST_VIDEO_MAX_PLANES, stride);
  GstVideoMeta* meta =
      gst_buffer_add_video_meta_full(buffer, flags_of(video), format->format, video.width,
                                     video.height, video.planes, offset, stride);
  if (meta == nullptr) return Taken::refused;
  meta->id = video.id;
  meta->alignment = video.alignment;
  return Taken::added;
}

// --- GstVideoCropMeta, GstVideoAffineTransformationMeta -----------------------------------------

struct Crop {
  uint32_t x, y, width, height;
};

bool encode_crop(const GstVideoCropMeta& meta, GstBuffer*, BytesOut& to) {
  to.put(Crop{meta.x, meta.y, meta.width, meta.height});
  return true;
}

Taken decode_crop(BytesIn& from, GstBuffer* buffer) {
  const auto crop = from.get<Crop>();
  GstVideoCropMeta* meta = gst_buffer_add_video_crop_meta(buffer);
  meta->x = crop.x;
  meta->y = crop.y;
  meta->width = crop.width;
  meta->height = crop.height;
  return Taken::added;
}

using Matrix = std::array<float, 16>;

bool encode_affine(const GstVideoAffineTransformationMeta& meta, GstBuffer*, BytesOut& to) {
  to.put(std::to_array(meta.matrix));
  return true;
}

Taken decode_affine(BytesIn& from, GstBuffer* buffer) {
  const auto matrix = from.get<Matrix>();
  std::ranges::copy(matrix, gst_buffer_add_video_affine_transformation_meta(buffer)->matrix);
  return Taken::added;
}

// --- GstVideoRegionOfInterestMeta ---------------------------------------------------------------

// GStreamer goes through all there are to append one.
constexpr uint32_t kMostParams = 1024;

struct Region {
  int32_t id, parent_id;
  uint32_t x, y, width, height;
  uint32_t params;
};

bool encode_region(const GstVideoRegionOfInterestMeta& meta, GstBuffer*, BytesOut& to) {
  const guint params = g_list_length(meta.params);
  const char* type = g_quark_to_string(meta.roi_type);
  to.put(Region{meta.id, meta.parent_id, meta.x, meta.y, meta.w, meta.h, params});
  if (params > kMostParams || !put_name(type != nullptr ? type : "", to)) return false;
  for (const GList* param = meta.params; param != nullptr; param = param->next)
    if (!put_structure(static_cast<const GstStructure*>(param->data), to)) return false;
  return true;
}

Taken decode_region(BytesIn& from, GstBuffer* buffer) {
  const auto region = from.get<Region>();
  const char* type = get_name(from);
  if (type == nullptr || region.params > kMostParams) return Taken::refused;
  auto* meta = gst_buffer_add_video_region_of_interest_meta_id(
      buffer, *type != '\0' ? g_quark_from_string(type) : 0, region.x, region.y, region.width,
      region.height);
  meta->id = region.id;
  meta->parent_id = region.parent_id;
  for (uint32_t i = 0; i < region.params; ++i) {
    auto param = get_structure(from);
    if (!param) return Taken::refused;
    gst_video_region_of_interest_meta_add_param(meta, param.release());
  }
  return Taken::added;
}

}  // namespace

std::span<const MetaKind> video_metas() {
  static const auto kinds = std::to_array<MetaKind>({
      meta_kind<GstVideoMeta, encode_video, decode_video>(MetaTag::video, GST_VIDEO_META_API_TYPE),
      meta_kind<GstVideoCropMeta, encode_crop, decode_crop>(MetaTag::video_crop,
                                                            GST_VIDEO_CROP_META_API_TYPE),
      meta_kind<GstVideoAffineTransformationMeta, encode_affine, decode_affine>(
          MetaTag::video_affine, GST_VIDEO_AFFINE_TRANSFORMATION_META_API_TYPE),
      meta_kind<GstVideoRegionOfInterestMeta, encode_region, decode_region>(
          MetaTag::video_region, GST_VIDEO_REGION_OF_INTEREST_META_API_TYPE),
  });
  return kinds;
}

}  // namespace gstmmap
