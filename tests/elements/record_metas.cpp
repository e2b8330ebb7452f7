// What a meta says, as text: its name, and its fields where the kind is known.
#include <gst/audio/audio.h>
#include <gst/rtp/gstrtpmeta.h>
#include <gst/video/gstvideoaffinetransformationmeta.h>
#include <gst/video/video-sei.h>

#include <algorithm>
#include <cstring>

#include "tests/elements/record.h"

namespace test {

namespace {

template <class... Values>
std::string words(const Values&... values) {
  std::string all;
  ((all += ":" + std::to_string(values)), ...);
  return all;
}

std::string bytes(const guint8* data, gsize size) {
  std::string all = ":";
  for (gsize i = 0; i < size; ++i) {
    constexpr auto kDigits = "0123456789abcdef";
    all += {kDigits[data[i] >> 4], kDigits[data[i] & 15]};
  }
  return all;
}

std::string of(const GstStructure* structure) {
  return ":" + (structure != nullptr ? taken(gst_structure_to_string(structure)) : "none");
}

std::string of(const GstVideoMeta& meta) {
  std::string all = words(meta.flags, meta.format, meta.id, meta.width, meta.height);
  for (guint i = 0; i < meta.n_planes; ++i) all += words(meta.offset[i], meta.stride[i]);
  return all;
}

std::string of(const GstVideoCropMeta& meta) {
  return words(meta.x, meta.y, meta.width, meta.height);
}

std::string of(const GstVideoAffineTransformationMeta& meta) {
  std::string all;
  for (const gfloat number : meta.matrix) all += words(number);
  return all;
}

std::string of(const GstVideoRegionOfInterestMeta& meta) {
  const gchar* type = g_quark_to_string(meta.roi_type);
  std::string all = std::string(":") + (type != nullptr ? type : "") +
                    words(meta.id, meta.parent_id, meta.x, meta.y, meta.w, meta.h);
  for (const GList* param = meta.params; param != nullptr; param = param->next)
    all += of(static_cast<const GstStructure*>(param->data));
  return all;
}

std::string of(const GstVideoCaptionMeta& meta) {
  return words(meta.caption_type) + bytes(meta.data, meta.size);
}

std::string of(const GstVideoTimeCodeMeta& meta) {
  const GstVideoTimeCodeConfig& config = meta.tc.config;
  std::string all = ":" + taken(gst_video_time_code_to_string(&meta.tc)) +
                    words(config.fps_n, config.fps_d, config.flags, meta.tc.field_count);
  if (GDateTime* jam = config.latest_daily_jam) all += ":" + taken(g_date_time_format_iso8601(jam));
  return all;
}

std::string of(const GstVideoBarMeta& meta) {
  return words(meta.field, meta.is_letterbox, meta.bar_data1, meta.bar_data2);
}

std::string of(const GstVideoAFDMeta& meta) { return words(meta.field, meta.spec, meta.afd); }

std::string of(const GstVideoSEIUserDataUnregisteredMeta& meta) {
  return bytes(meta.uuid, sizeof meta.uuid) + bytes(meta.data, meta.size);
}

std::string of(const GstAudioMeta& meta) {
  std::string all =
      std::string(":") + gst_audio_format_to_string(GST_AUDIO_INFO_FORMAT(&meta.info)) +
      words(meta.info.layout, meta.info.flags, meta.info.rate, meta.info.channels, meta.samples);
  for (gint i = 0; meta.offsets != nullptr && i < meta.info.channels; ++i)
    all += words(meta.offsets[i]);
  return all;
}

std::string of(const GstAudioClippingMeta& meta) {
  return words(meta.format, meta.start, meta.end);
}

std::string of(const GstAudioLevelMeta& meta) { return words(meta.level, meta.voice_activity); }

std::string of(const GstAudioDownmixMeta& meta) {
  std::string all = words(meta.from_channels, meta.to_channels);
  for (gint to = 0; to < meta.to_channels; ++to)
    for (gint from = 0; from < meta.from_channels; ++from) all += words(meta.matrix[to][from]);
  return all;
}

std::string of(const GstReferenceTimestampMeta& meta) {
  return ":" + taken(gst_caps_to_string(meta.reference)) + words(meta.timestamp, meta.duration);
}

std::string of(const GstProtectionMeta& meta) { return of(meta.info); }

std::string of(const GstRTPSourceMeta& meta) {
  std::string all = words(meta.ssrc_valid, meta.ssrc);
  for (guint i = 0; i < meta.csrc_count; ++i) all += words(meta.csrc[i]);
  return all;
}

struct Kind {
  const char* api;
  std::string (*text)(const GstMeta*);
};

template <class Meta>
std::string as(const GstMeta* meta) {
  return of(*reinterpret_cast<const Meta*>(meta));
}

constexpr Kind kKinds[] = {
    {"GstVideoMetaAPI", as<GstVideoMeta>},
    {"GstVideoCropMetaAPI", as<GstVideoCropMeta>},
    {"GstVideoAffineTransformationMetaAPI", as<GstVideoAffineTransformationMeta>},
    {"GstVideoRegionOfInterestMetaAPI", as<GstVideoRegionOfInterestMeta>},
    {"GstVideoCaptionMetaAPI", as<GstVideoCaptionMeta>},
    {"GstVideoTimeCodeMetaAPI", as<GstVideoTimeCodeMeta>},
    {"GstVideoBarMetaAPI", as<GstVideoBarMeta>},
    {"GstVideoAFDMetaAPI", as<GstVideoAFDMeta>},
    {"GstVideoSEIUserDataUnregisteredMetaAPI", as<GstVideoSEIUserDataUnregisteredMeta>},
    {"GstAudioMetaAPI", as<GstAudioMeta>},
    {"GstAudioClippingMetaAPI", as<GstAudioClippingMeta>},
    {"GstAudioLevelMetaAPI", as<GstAudioLevelMeta>},
    {"GstAudioDownmixMetaAPI", as<GstAudioDownmixMeta>},
    {"GstReferenceTimestampMetaAPI", as<GstReferenceTimestampMeta>},
    {"GstProtectionMetaAPI", as<GstProtectionMeta>},
    {"GstRTPSourceMetaAPI", as<GstRTPSourceMeta>},
};

// The buffer of a pool that this one shares memory with, which belongs to one process. From 1.26 on
// GStreamer adds it to each copy that shares.
bool is_parent(const GstMeta* meta) { return meta->info->api == GST_PARENT_BUFFER_META_API_TYPE; }

// mmapsink always offers it, so that padded frames pass. Where there is no padding it says nothing
// that the caps do not say.
bool repeats_caps(const GstMeta* meta) {
  if (meta->info->api != GST_VIDEO_META_API_TYPE) return false;
  const auto* video = reinterpret_cast<const GstVideoMeta*>(meta);
  GstVideoInfo plain;
  gst_video_info_set_format(&plain, video->format, video->width, video->height);
  return std::equal(video->stride, video->stride + video->n_planes, plain.stride) &&
         std::equal(video->offset, video->offset + video->n_planes, plain.offset);
}

}  // namespace

std::string text_of_metas(GstBuffer* buffer) {
  std::vector<std::string> metas;
  gpointer state = nullptr;
  while (GstMeta* meta = gst_buffer_iterate_meta(buffer, &state)) {
    if (repeats_caps(meta) || is_parent(meta)) continue;
    const std::string api = g_type_name(meta->info->api);
    const auto* kind = std::find_if(std::begin(kKinds), std::end(kKinds),
                                    [&](const Kind& known) { return known.api == api; });
    std::string text = api;
    if (kind != std::end(kKinds))
      text += kind->text(meta);
    else if (gst_meta_info_is_custom(meta->info))
      text += of(gst_custom_meta_get_structure(reinterpret_cast<GstCustomMeta*>(meta)));
    metas.push_back(std::move(text));
  }
  std::sort(metas.begin(), metas.end());
  std::string all;
  for (const auto& meta : metas) all += " " + meta;
  return all;
}

}  // namespace test
