// Metas of any media, and those that are known by name alone: custom ones, and what serializes
// itself.
#include <gst/rtp/gstrtpmeta.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <string_view>

#include "gst/wire-meta-kinds.h"
#include "gst/wire-structure.h"

namespace gstmmap {

namespace {

Taken skip(const char* name) {
  GST_CAT_DEBUG(wire_category(), "no meta %s in this process: left out", name);
  return Taken::skipped;
}

// --- GstReferenceTimestampMeta, GstProtectionMeta -----------------------------------------------

struct Reference {
  uint64_t timestamp, duration;
};

bool encode_reference(const GstReferenceTimestampMeta& meta, GstBuffer*, BytesOut& to) {
  to.put(Reference{meta.timestamp, meta.duration});
  return meta.timestamp != GST_CLOCK_TIME_NONE && put_caps(meta.reference, to);
}

Taken decode_reference(BytesIn& from, GstBuffer* buffer) {
  const auto in = from.get<Reference>();
  const auto caps = get_caps(from);
  if (!caps || in.timestamp == GST_CLOCK_TIME_NONE) return Taken::refused;
  gst_buffer_add_reference_timestamp_meta(buffer, caps.get(), in.timestamp, in.duration);
  return Taken::added;
}

bool encode_protection(const GstProtectionMeta& meta, GstBuffer*, BytesOut& to) {
  return put_structure(meta.info, to);
}

Taken decode_protection(BytesIn& from, GstBuffer* buffer) {
  auto info = get_structure(from);
  if (!info) return Taken::refused;
  gst_buffer_add_protection_meta(buffer, info.release());
  return Taken::added;
}

// --- GstRTPSourceMeta: by name, for want of its library -----------------------------------------

constexpr auto kRtpSource = "GstRTPSourceMeta";

bool is_rtp_source(const GstMetaInfo* info) {
  return info->size == sizeof(GstRTPSourceMeta) &&
         std::string_view(g_type_name(info->api)) == "GstRTPSourceMetaAPI";
}

struct RtpSource {
  uint32_t ssrc, ssrc_valid, count;
  std::array<uint32_t, GST_RTP_SOURCE_META_MAX_CSRC_COUNT> csrc;
};

bool encode_rtp_source(const GstRTPSourceMeta& meta, GstBuffer*, BytesOut& to) {
  RtpSource source{meta.ssrc, meta.ssrc_valid != FALSE, meta.csrc_count, {}};
  if (source.count > source.csrc.size()) return false;
  std::copy_n(meta.csrc, source.count, source.csrc.begin());
  to.put(source);
  return true;
}

Taken decode_rtp_source(BytesIn& from, GstBuffer* buffer) {
  const auto source = from.get<RtpSource>();
  if (source.count > source.csrc.size()) return Taken::refused;
  const GstMetaInfo* info = gst_meta_get_info(kRtpSource);
  if (info == nullptr || !is_rtp_source(info)) return skip(kRtpSource);
  auto* meta = reinterpret_cast<GstRTPSourceMeta*>(gst_buffer_add_meta(buffer, info, nullptr));
  meta->ssrc = source.ssrc;
  meta->ssrc_valid = source.ssrc_valid != 0;
  meta->csrc_count = source.count;
  std::ranges::copy(source.csrc, meta->csrc);
  return Taken::added;
}

// --- gst_meta_register_custom() -----------------------------------------------------------------

bool encode_custom(const GstCustomMeta& meta, GstBuffer*, BytesOut& to) {
  return put_text(g_type_name(meta.meta.info->type), to) &&
         put_fields(gst_custom_meta_get_structure(const_cast<GstCustomMeta*>(&meta)), to);
}

Taken decode_custom(BytesIn& from, GstBuffer* buffer) {
  const auto name = get_text(from);
  if (!name) return Taken::refused;
  // It isn't registered for the peer: that can't be undone, and the name may be wanted by others.
  const GstMetaInfo* info = gst_meta_get_info(name->c_str());
  if (info == nullptr || !gst_meta_info_is_custom(info)) return skip(name->c_str());
  GstCustomMeta* meta = gst_buffer_add_custom_meta(buffer, name->c_str());
  return get_fields(from, gst_custom_meta_get_structure(meta)) ? Taken::added : Taken::refused;
}

// --- what serializes itself ---------------------------------------------------------------------

#if GST_CHECK_VERSION(1, 24, 0)
struct ReleaseArray {
  void operator()(GByteArray* array) const { g_byte_array_unref(array); }
};

// GStreamer has a byte for the length of its header, and does not check the name's when it reads.
constexpr uint32_t kLongestName = 200;

// The name in bytes of gst_meta_serialize(): size, length of the name, name, 0, version, the rest.
std::optional<std::string> name_in(std::span<const std::byte> bytes) {
  BytesIn from(bytes);
  const auto size = GUINT32_FROM_LE(from.get<uint32_t>());
  const auto length = GUINT32_FROM_LE(from.get<uint32_t>());
  if (size != bytes.size() || length > kLongestName) return std::nullopt;
  BytesIn text(from.take(length));
  auto name = text.rest_as_text();
  const auto terminator = from.get<uint8_t>();
  from.get<uint8_t>();
  return text.good() && terminator == 0 && from.good() ? std::optional(std::move(name))
                                                       : std::nullopt;
}

bool encode_serialized(const GstMeta& meta, GstBuffer*, BytesOut& to) {
  const std::unique_ptr<GByteArray, ReleaseArray> array(g_byte_array_new());
  if (std::string_view(g_type_name(meta.info->type)).size() > kLongestName ||
      !gst_meta_serialize_simple(&meta, array.get()))
    return false;
  return put_bytes(std::as_bytes(std::span(array->data, array->len)), to);
}

Taken decode_serialized(BytesIn& from, GstBuffer* buffer) {
  const auto bytes = get_bytes(from);
  const auto name = name_in(bytes);
  if (!from.good() || !name) return Taken::refused;
  const GstMetaInfo* info = gst_meta_get_info(name->c_str());
  if (info == nullptr || info->deserialize_func == nullptr) return skip(name->c_str());
  // Those go by the checks above only.
  if (gst_meta_info_is_custom(info) || has_own_row(info->api)) return Taken::refused;
  guint32 consumed = 0;
  const auto* meta = gst_meta_deserialize(buffer, reinterpret_cast<const guint8*>(bytes.data()),
                                          bytes.size(), &consumed);
  if (meta == nullptr) return Taken::skipped;
  return consumed == bytes.size() ? Taken::added : Taken::refused;
}
#endif

}  // namespace

std::optional<MetaTag> tag_of(const GstMetaInfo* info) {
  if (gst_meta_info_is_custom(info)) return MetaTag::custom;
  if (is_rtp_source(info)) return MetaTag::rtp_source;
#if GST_CHECK_VERSION(1, 24, 0)
  if (info->serialize_func != nullptr) return MetaTag::serialized;
#endif
  return std::nullopt;
}

std::span<const MetaKind> general_metas() {
  static const auto kinds = std::to_array<MetaKind>({
    meta_kind<GstReferenceTimestampMeta, encode_reference, decode_reference>(
        MetaTag::reference_timestamp, GST_REFERENCE_TIMESTAMP_META_API_TYPE),
        meta_kind<GstProtectionMeta, encode_protection, decode_protection>(
            MetaTag::protection, GST_PROTECTION_META_API_TYPE),
        // Of no API of their own, or none that is known yet: see tag_of().
        meta_kind<GstRTPSourceMeta, encode_rtp_source, decode_rtp_source>(MetaTag::rtp_source,
                                                                          G_TYPE_INVALID),
        meta_kind<GstCustomMeta, encode_custom, decode_custom>(MetaTag::custom, G_TYPE_INVALID),
#if GST_CHECK_VERSION(1, 24, 0)
        meta_kind<GstMeta, encode_serialized, decode_serialized>(MetaTag::serialized,
                                                                 G_TYPE_INVALID),
#endif
  });
  return kinds;
}

}  // namespace gstmmap
