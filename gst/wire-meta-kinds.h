// How each kind of meta goes as bytes, for wire-meta.cpp.
#pragma once

#include <gst/gst.h>

#include <cstdint>
#include <optional>
#include <span>

#include "gst/bytes.h"

namespace gstmmap {

// What kind it is, on the wire.
enum class MetaTag : uint32_t {
  video = 1,
  video_crop,
  video_affine,
  video_region,
  video_caption,
  video_time_code,
  video_bar,
  video_afd,
  video_sei,
  audio,
  audio_clipping,
  audio_level,
  audio_downmix,
  reference_timestamp,
  protection,
  rtp_source,
  custom,
  // Those below since GStreamer 1.24.
  ancillary,
  dsd_planes,
  serialized,  // by a function of its own
};

enum class Taken {
  added,
  skipped,  // this process has no such meta, or GStreamer does not take it: the buffer goes on
  refused,  // nobody writes such bytes, or they lie about the buffer's memory
};

struct MetaKind {
  MetaTag tag;
  GType api;
  // False where the meta can't cross: above all where decode() would refuse it.
  bool (*encode)(const GstMeta* meta, GstBuffer* buffer, BytesOut& to);
  Taken (*decode)(BytesIn& from, GstBuffer* buffer);
};

// A row of the table for a meta's own struct.
template <class Meta, bool (*encode)(const Meta&, GstBuffer*, BytesOut&),
          Taken (*decode)(BytesIn&, GstBuffer*)>
MetaKind meta_kind(MetaTag tag, GType api) {
  const auto encode_it = [](const GstMeta* meta, GstBuffer* buffer, BytesOut& to) {
    return encode(*reinterpret_cast<const Meta*>(meta), buffer, to);
  };
  return {tag, api, encode_it, decode};
}

std::span<const MetaKind> video_metas();
std::span<const MetaKind> video_data_metas();
std::span<const MetaKind> audio_metas();
std::span<const MetaKind> general_metas();

// For metas whose API is in none of those.
std::optional<MetaTag> tag_of(const GstMetaInfo* info);
// Whether the API has a row of its own: no other way in for it.
bool has_own_row(GType api);

GstDebugCategory* wire_category();

}  // namespace gstmmap
