#include "gst/wire-meta.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "gst/wire-meta-kinds.h"
#include "gst/wire-structure.h"
#include "lib/receive_lane.h"

namespace gstmmap {

namespace {

constexpr size_t kMostMetas = 256;

struct Header {
  uint32_t tag;
  uint32_t size;  // of what follows
};

// GstVideoMeta first: most buffers have no other.
const std::vector<MetaKind>& kinds() {
  static const auto all = [] {
    std::vector<MetaKind> made;
    for (const auto some : {video_metas(), video_data_metas(), audio_metas(), general_metas()})
      made.insert(made.end(), some.begin(), some.end());
    return made;
  }();
  return all;
}

const MetaKind* kind_of(uint32_t tag) {
  for (const MetaKind& kind : kinds())
    if (static_cast<uint32_t>(kind.tag) == tag) return &kind;
  return nullptr;
}

const MetaKind* kind_of(const GstMetaInfo* info) {
  for (const MetaKind& kind : kinds())
    if (kind.api == info->api) return &kind;
  const auto tag = tag_of(info);
  return tag ? kind_of(static_cast<uint32_t>(*tag)) : nullptr;
}

bool encode_meta(const GstMeta* meta, GstBuffer* buffer, std::vector<std::byte>& bytes) {
  const MetaKind* kind = kind_of(meta->info);
  if (kind == nullptr) return false;
  BytesOut to(bytes);
  const size_t begin = bytes.size();
  to.put(Header{static_cast<uint32_t>(kind->tag), 0});
  const size_t body = bytes.size();
  if (!kind->encode(meta, buffer, to) || bytes.size() > kMostBytes) {
    bytes.resize(begin);
    return false;
  }
  const auto size = static_cast<uint32_t>(bytes.size() - body);
  std::memcpy(bytes.data() + begin + offsetof(Header, size), &size, sizeof size);
  return true;
}

// Once for each type, or it would be said with every frame.
void say_left_out(const GstMetaInfo* info) {
  static const GQuark said = g_quark_from_static_string("gst-mmap-meta-left-out");
  if (g_type_get_qdata(info->type, said) != nullptr) return;
  g_type_set_qdata(info->type, said, GINT_TO_POINTER(1));
  GST_CAT_INFO(wire_category(), "%s does not cross", g_type_name(info->type));
}

}  // namespace

GstDebugCategory* wire_category() {
  static GstDebugCategory* const category = [] {
    GstDebugCategory* made = nullptr;
    GST_DEBUG_CATEGORY_INIT(made, "mmapwire", 0, "what mmapsink and mmapsrc send each other");
    return made;
  }();
  return category;
}

bool has_own_row(GType api) {
  return std::ranges::any_of(kinds(), [&](const MetaKind& kind) { return kind.api == api; });
}

void encode_metas(GstBuffer* buffer, std::vector<std::byte>& bytes) {
  size_t count = 0;
  gpointer state = nullptr;
  while (const GstMeta* meta = gst_buffer_iterate_meta(buffer, &state)) {
    if (count < kMostMetas && encode_meta(meta, buffer, bytes))
      ++count;
    else
      say_left_out(meta->info);
  }
}

bool SameMetas::look(GstBuffer* buffer, size_t size) {
  gpointer state = nullptr;
  const GstMeta* meta = gst_buffer_iterate_meta(buffer, &state);
  if (meta == nullptr || meta->info->api != GST_VIDEO_META_API_TYPE ||
      gst_buffer_iterate_meta(buffer, &state) != nullptr) {
    forget();
    return false;
  }
  GstVideoMeta now;
  std::memcpy(&now, meta, sizeof now);
  now.buffer = nullptr;
  const bool same = size == size_ && std::memcmp(&now, meta_.data(), sizeof now) == 0;
  if (same) return true;
  std::memcpy(meta_.data(), &now, sizeof now);
  size_ = size;
  return false;
}

bool decode_metas(BytesIn& from, GstBuffer* buffer) {
  for (size_t count = 0; !from.empty(); ++count) {
    const auto header = from.get<Header>();
    BytesIn body(from.take(header.size));
    if (!from.good() || count == kMostMetas) return false;
    const MetaKind* kind = kind_of(header.tag);
    const Taken taken = kind != nullptr ? kind->decode(body, buffer) : Taken::skipped;
    if (taken == Taken::refused || (taken == Taken::added && !body.complete())) return false;
  }
  return true;
}

}  // namespace gstmmap
