// What comes along with a frame: captions, time codes, and what its encoder had to say.
#include <gst/video/video-sei.h>
#include <gst/video/video.h>

#include <algorithm>
#include <array>

#include "gst/wire-meta-kinds.h"
#include "gst/wire-structure.h"

namespace gstmmap {

namespace {

std::span<const std::byte> bytes_of(const guint8* data, gsize size) {
  return std::as_bytes(std::span(data, size));
}

const guint8* data_of(std::span<const std::byte> bytes) {
  return reinterpret_cast<const guint8*>(bytes.data());
}

// --- GstVideoCaptionMeta ------------------------------------------------------------------------

bool is_caption(uint32_t type, size_t size) {
  return size > 0 && type >= GST_VIDEO_CAPTION_TYPE_CEA608_RAW &&
         type <= GST_VIDEO_CAPTION_TYPE_CEA708_CDP;
}

bool encode_caption(const GstVideoCaptionMeta& meta, GstBuffer*, BytesOut& to) {
  to.put(static_cast<uint32_t>(meta.caption_type));
  return is_caption(meta.caption_type, meta.size) && put_bytes(bytes_of(meta.data, meta.size), to);
}

Taken decode_caption(BytesIn& from, GstBuffer* buffer) {
  const auto type = from.get<uint32_t>();
  const auto data = get_bytes(from);
  if (!from.good()) return Taken::refused;
  if (!is_caption(type, data.size())) return Taken::skipped;
  gst_buffer_add_video_caption_meta(buffer, static_cast<GstVideoCaptionType>(type), data_of(data),
                                    data.size());
  return Taken::added;
}

// --- GstVideoTimeCodeMeta -----------------------------------------------------------------------

struct TimeCode {
  uint32_t fps_n, fps_d, flags;
  uint32_t hours, minutes, seconds, frames, field_count;
  uint32_t has_jam;
};

constexpr uint32_t kTimeCodeFlags =
    GST_VIDEO_TIME_CODE_FLAGS_DROP_FRAME | GST_VIDEO_TIME_CODE_FLAGS_INTERLACED;

bool encode_time_code(const GstVideoTimeCodeMeta& meta, GstBuffer*, BytesOut& to) {
  const GstVideoTimeCode& code = meta.tc;
  GDateTime* jam = code.config.latest_daily_jam;
  to.put(TimeCode{code.config.fps_n, code.config.fps_d, static_cast<uint32_t>(code.config.flags),
                  code.hours, code.minutes, code.seconds, code.frames, code.field_count,
                  jam != nullptr});
  return gst_video_time_code_is_valid(&code) && (jam == nullptr || put_date_time(jam, to));
}

Taken decode_time_code(BytesIn& from, GstBuffer* buffer) {
  const auto code = from.get<TimeCode>();
  const auto jam = code.has_jam != 0 ? get_date_time(from) : nullptr;
  if (!from.good() || (code.has_jam != 0 && !jam)) return Taken::refused;
  // This checks all of it, but for the flags.
  const bool added =
      (code.flags & ~kTimeCodeFlags) == 0 &&
      gst_buffer_add_video_time_code_meta_full(
          buffer, code.fps_n, code.fps_d, jam.get(), static_cast<GstVideoTimeCodeFlags>(code.flags),
          code.hours, code.minutes, code.seconds, code.frames, code.field_count) != nullptr;
  return added ? Taken::added : Taken::skipped;
}

// --- GstVideoBarMeta, GstVideoAFDMeta -----------------------------------------------------------

struct Bar {
  uint32_t field, is_letterbox, data1, data2;
};

bool encode_bar(const GstVideoBarMeta& meta, GstBuffer*, BytesOut& to) {
  to.put(Bar{meta.field, meta.is_letterbox != FALSE, meta.bar_data1, meta.bar_data2});
  return meta.field <= 1;
}

Taken decode_bar(BytesIn& from, GstBuffer* buffer) {
  const auto bar = from.get<Bar>();
  if (bar.field > 1) return Taken::skipped;
  gst_buffer_add_video_bar_meta(buffer, static_cast<guint8>(bar.field), bar.is_letterbox != 0,
                                bar.data1, bar.data2);
  return Taken::added;
}

struct Afd {
  uint32_t field, spec, value;
  // What gst_buffer_add_video_afd_meta() asserts: some values are reserved.
  bool sound() const {
    return field <= 1 && spec <= GST_VIDEO_AFD_SPEC_SMPTE_ST2016_1 && value <= 0xf && value != 1 &&
           (value < 5 || value > 7) && value != 12 &&
           (spec != GST_VIDEO_AFD_SPEC_DVB_ETSI || value != 0);
  }
};

bool encode_afd(const GstVideoAFDMeta& meta, GstBuffer*, BytesOut& to) {
  const Afd afd{meta.field, static_cast<uint32_t>(meta.spec), static_cast<uint32_t>(meta.afd)};
  to.put(afd);
  return afd.sound();
}

Taken decode_afd(BytesIn& from, GstBuffer* buffer) {
  const auto afd = from.get<Afd>();
  if (!afd.sound()) return Taken::skipped;
  gst_buffer_add_video_afd_meta(buffer, static_cast<guint8>(afd.field),
                                static_cast<GstVideoAFDSpec>(afd.spec),
                                static_cast<GstVideoAFDValue>(afd.value));
  return Taken::added;
}

// --- GstVideoSEIUserDataUnregisteredMeta --------------------------------------------------------

using Uuid = std::array<guint8, 16>;

bool encode_sei(const GstVideoSEIUserDataUnregisteredMeta& meta, GstBuffer*, BytesOut& to) {
  to.put(std::to_array(meta.uuid));
  return meta.size > 0 && put_bytes(bytes_of(meta.data, meta.size), to);
}

Taken decode_sei(BytesIn& from, GstBuffer* buffer) {
  auto uuid = from.get<Uuid>();
  const auto data = get_bytes(from);
  if (!from.good()) return Taken::refused;
  if (data.empty()) return Taken::skipped;
  // It copies what it takes without const.
  gst_buffer_add_video_sei_user_data_unregistered_meta(
      buffer, uuid.data(), const_cast<guint8*>(data_of(data)), data.size());
  return Taken::added;
}

// --- GstAncillaryMeta ---------------------------------------------------------------------------

#if GST_CHECK_VERSION(1, 24, 0)
struct Ancillary {
  uint32_t field, c_not_y_channel;
  uint16_t line, offset, did, sdid, data_count, checksum;
};

bool is_field(uint32_t field) {
  return field == GST_ANCILLARY_META_FIELD_PROGRESSIVE ||
         field == GST_ANCILLARY_META_FIELD_INTERLACED_FIRST ||
         field == GST_ANCILLARY_META_FIELD_INTERLACED_SECOND;
}

// Words of user data: the count has two bits of parity above.
size_t words_of(uint16_t data_count) { return data_count & 0xff; }

bool encode_ancillary(const GstAncillaryMeta& meta, GstBuffer*, BytesOut& to) {
  to.put(Ancillary{static_cast<uint32_t>(meta.field), meta.c_not_y_channel != FALSE, meta.line,
                   meta.offset, meta.DID, meta.SDID_block_number, meta.data_count, meta.checksum});
  const size_t words = words_of(meta.data_count);
  return is_field(meta.field) && (words == 0 || meta.data != nullptr) &&
         put_bytes(std::as_bytes(std::span(meta.data, words)), to);
}

Taken decode_ancillary(BytesIn& from, GstBuffer* buffer) {
  const auto in = from.get<Ancillary>();
  const auto data = get_bytes(from);
  if (!from.good() || data.size() != words_of(in.data_count) * sizeof(guint16))
    return Taken::refused;
  if (!is_field(in.field)) return Taken::skipped;
  GstAncillaryMeta* meta = gst_buffer_add_ancillary_meta(buffer);
  meta->field = static_cast<GstAncillaryMetaField>(in.field);
  meta->c_not_y_channel = in.c_not_y_channel != 0;
  meta->line = in.line;
  meta->offset = in.offset;
  meta->DID = in.did;
  meta->SDID_block_number = in.sdid;
  meta->data_count = in.data_count;
  meta->data = static_cast<guint16*>(g_memdup2(data.data(), data.size()));
  meta->checksum = in.checksum;
  return Taken::added;
}
#endif

}  // namespace

std::span<const MetaKind> video_data_metas() {
  static const auto kinds = std::to_array<MetaKind>({
    meta_kind<GstVideoCaptionMeta, encode_caption, decode_caption>(MetaTag::video_caption,
                                                                   GST_VIDEO_CAPTION_META_API_TYPE),
        meta_kind<GstVideoTimeCodeMeta, encode_time_code, decode_time_code>(
            MetaTag::video_time_code, GST_VIDEO_TIME_CODE_META_API_TYPE),
        meta_kind<GstVideoBarMeta, encode_bar, decode_bar>(MetaTag::video_bar,
                                                           GST_VIDEO_BAR_META_API_TYPE),
        meta_kind<GstVideoAFDMeta, encode_afd, decode_afd>(MetaTag::video_afd,
                                                           GST_VIDEO_AFD_META_API_TYPE),
        meta_kind<GstVideoSEIUserDataUnregisteredMeta, encode_sei, decode_sei>(
            MetaTag::video_sei, GST_VIDEO_SEI_USER_DATA_UNREGISTERED_META_API_TYPE),
#if GST_CHECK_VERSION(1, 24, 0)
        meta_kind<GstAncillaryMeta, encode_ancillary, decode_ancillary>(
            MetaTag::ancillary, GST_ANCILLARY_META_API_TYPE),
#endif
  });
  return kinds;
}

}  // namespace gstmmap
