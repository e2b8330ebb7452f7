// Where a buffer's samples lie, and what they sound like.
#include <gst/audio/audio.h>
#if GST_CHECK_VERSION(1, 24, 0)
#include <gst/audio/gstdsd.h>
#endif

#include <algorithm>
#include <array>
#include <vector>

#include "gst/wire-meta-kinds.h"

namespace gstmmap {

namespace {

// GstAudioInfo has positions for as many.
constexpr uint32_t kPositions = 64;
// GStreamer compares the place of each channel with that of each other.
constexpr uint32_t kMostChannels = 1024;

using Positions = std::array<int32_t, kPositions>;
using GstPositions = std::vector<GstAudioChannelPosition>;

bool is_position(int32_t position) {
  static const auto* const known =
      static_cast<GEnumClass*>(g_type_class_ref(GST_TYPE_AUDIO_CHANNEL_POSITION));
  return position >= known->minimum && position <= known->maximum;
}

GstAudioChannelPosition to_gst(int32_t position) {
  return static_cast<GstAudioChannelPosition>(position);
}

void put_offsets(const gsize* offsets, uint32_t channels, BytesOut& to) {
  for (uint32_t i = 0; i < channels; ++i) to.put(uint64_t{offsets[i]});
}

std::vector<gsize> get_offsets(uint32_t channels, BytesIn& from) {
  std::vector<gsize> offsets(channels);
  for (gsize& offset : offsets) offset = static_cast<gsize>(from.get<uint64_t>());
  return offsets;
}

// Each channel by itself in a plane of that many bytes: all inside the buffer, none over another.
bool planes_fit(std::vector<gsize> offsets, uint64_t plane, uint64_t size) {
  std::ranges::sort(offsets);
  for (size_t i = 0; i < offsets.size(); ++i) {
    const uint64_t end = i + 1 < offsets.size() ? offsets[i + 1] : size;
    if (offsets[i] > end || plane > end - offsets[i]) return false;
  }
  return true;
}

// --- GstAudioMeta -------------------------------------------------------------------------------

struct Audio {
  int32_t format;
  uint32_t flags;
  uint32_t layout;
  int32_t rate;
  uint32_t channels;
  uint32_t zero;
  uint64_t samples;
  Positions position;

  bool planar() const { return layout == GST_AUDIO_LAYOUT_NON_INTERLEAVED; }
};

bool positions_sound(const Audio& audio) {
  if (!std::ranges::all_of(audio.position, is_position)) return false;
  const auto is_none = [](int32_t one) { return one == GST_AUDIO_CHANNEL_POSITION_NONE; };
  if (audio.channels > kPositions) return std::ranges::all_of(audio.position, is_none);
  GstPositions positions(audio.channels);
  std::ranges::transform(audio.position.begin(), audio.position.begin() + audio.channels,
                         positions.begin(), to_gst);
  return gst_audio_check_valid_channel_positions(positions.data(),
                                                 static_cast<gint>(audio.channels), FALSE);
}

// nullptr where no buffer of this size can be so. `offsets` are there for planes only.
const GstAudioFormatInfo* format_of(const Audio& audio, const std::vector<gsize>& offsets,
                                    uint64_t size) {
  static auto* const formats = static_cast<GEnumClass*>(g_type_class_ref(GST_TYPE_AUDIO_FORMAT));
  if (audio.format <= GST_AUDIO_FORMAT_ENCODED || !g_enum_get_value(formats, audio.format))
    return nullptr;
  const auto* format = gst_audio_format_get_info(static_cast<GstAudioFormat>(audio.format));
  const auto width = static_cast<uint64_t>(GST_AUDIO_FORMAT_INFO_WIDTH(format)) / 8;
  if (width == 0 || audio.rate <= 0 || audio.channels == 0 || audio.channels > kMostChannels ||
      audio.layout > GST_AUDIO_LAYOUT_NON_INTERLEAVED ||
      (audio.flags & ~uint32_t{GST_AUDIO_FLAG_UNPOSITIONED}) != 0 || !positions_sound(audio))
    return nullptr;
  if (audio.samples > size / width) return nullptr;
  const bool fit = audio.planar() ? planes_fit(offsets, audio.samples * width, size)
                                  : audio.samples <= size / (width * audio.channels);
  return fit ? format : nullptr;
}

bool encode_audio(const GstAudioMeta& meta, GstBuffer* buffer, BytesOut& to) {
  const GstAudioInfo& info = meta.info;
  Audio audio{GST_AUDIO_INFO_FORMAT(&info),
              static_cast<uint32_t>(info.flags),
              static_cast<uint32_t>(info.layout),
              info.rate,
              static_cast<uint32_t>(info.channels),
              0,
              meta.samples,
              {}};
  audio.position.fill(GST_AUDIO_CHANNEL_POSITION_NONE);
  std::copy_n(info.position, std::min(audio.channels, kPositions), audio.position.begin());
  to.put(audio);
  std::vector<gsize> offsets;
  if (audio.planar()) {
    if (audio.channels > kMostChannels || meta.offsets == nullptr) return false;
    offsets.assign(meta.offsets, meta.offsets + audio.channels);
    put_offsets(meta.offsets, audio.channels, to);
  }
  return format_of(audio, offsets, gst_buffer_get_size(buffer)) != nullptr;
}

Taken decode_audio(BytesIn& from, GstBuffer* buffer) {
  const auto audio = from.get<Audio>();
  if (!from.good() || audio.channels > kMostChannels) return Taken::refused;
  std::vector<gsize> offsets;
  if (audio.planar()) offsets = get_offsets(audio.channels, from);
  const auto* format = format_of(audio, offsets, gst_buffer_get_size(buffer));
  if (!from.good() || format == nullptr) return Taken::refused;
  GstAudioInfo info;
  gst_audio_info_set_format(&info, format->format, audio.rate, static_cast<gint>(audio.channels),
                            nullptr);
  info.flags = static_cast<GstAudioFlags>(audio.flags);
  info.layout = static_cast<GstAudioLayout>(audio.layout);
  for (uint32_t i = 0; i < std::min(audio.channels, kPositions); ++i)
    info.position[i] = to_gst(audio.position[i]);
  const auto* meta = gst_buffer_add_audio_meta(buffer, &info, audio.samples,
                                               audio.planar() ? offsets.data() : nullptr);
  return meta != nullptr ? Taken::added : Taken::refused;
}

// --- GstAudioClippingMeta, GstAudioLevelMeta ----------------------------------------------------

struct Clipping {
  uint32_t format, zero;
  uint64_t start, end;
  // Formats above are made at run time: their numbers mean nothing elsewhere.
  bool sound() const { return format > GST_FORMAT_UNDEFINED && format <= GST_FORMAT_PERCENT; }
};

bool encode_clipping(const GstAudioClippingMeta& meta, GstBuffer*, BytesOut& to) {
  const Clipping clipping{static_cast<uint32_t>(meta.format), 0, meta.start, meta.end};
  to.put(clipping);
  return clipping.sound();
}

Taken decode_clipping(BytesIn& from, GstBuffer* buffer) {
  const auto clipping = from.get<Clipping>();
  if (!clipping.sound()) return Taken::skipped;
  gst_buffer_add_audio_clipping_meta(buffer, static_cast<GstFormat>(clipping.format),
                                     clipping.start, clipping.end);
  return Taken::added;
}

struct Level {
  uint32_t level, voice_activity;
};

bool encode_level(const GstAudioLevelMeta& meta, GstBuffer*, BytesOut& to) {
  to.put(Level{meta.level, meta.voice_activity != FALSE});
  return true;
}

Taken decode_level(BytesIn& from, GstBuffer* buffer) {
  const auto level = from.get<Level>();
  if (level.level > G_MAXUINT8) return Taken::refused;
  gst_buffer_add_audio_level_meta(buffer, static_cast<guint8>(level.level),
                                  level.voice_activity != 0);
  return Taken::added;
}

// --- GstAudioDownmixMeta ------------------------------------------------------------------------

struct Downmix {
  uint32_t from_channels, to_channels;
  bool sound() const {
    return from_channels >= 1 && from_channels <= kPositions && to_channels >= 1 &&
           to_channels <= kPositions;
  }
};

bool put_positions(const GstAudioChannelPosition* positions, uint32_t channels, BytesOut& to) {
  for (uint32_t i = 0; i < channels; ++i) to.put(static_cast<int32_t>(positions[i]));
  return std::all_of(positions, positions + channels, is_position);
}

bool encode_downmix(const GstAudioDownmixMeta& meta, GstBuffer*, BytesOut& to) {
  const Downmix mix{static_cast<uint32_t>(meta.from_channels),
                    static_cast<uint32_t>(meta.to_channels)};
  to.put(mix);
  if (!mix.sound()) return false;
  if (!put_positions(meta.from_position, mix.from_channels, to) ||
      !put_positions(meta.to_position, mix.to_channels, to))
    return false;
  for (uint32_t i = 0; i < mix.to_channels; ++i)
    for (uint32_t k = 0; k < mix.from_channels; ++k) to.put(meta.matrix[i][k]);
  return true;
}

// Empty where one of them is none.
GstPositions get_positions(uint32_t channels, BytesIn& from) {
  GstPositions positions;
  for (uint32_t i = 0; i < channels; ++i) {
    const auto position = from.get<int32_t>();
    if (!is_position(position)) return {};
    positions.push_back(to_gst(position));
  }
  return positions;
}

Taken decode_downmix(BytesIn& from, GstBuffer* buffer) {
  const auto mix = from.get<Downmix>();
  if (!mix.sound()) return Taken::refused;
  const auto from_position = get_positions(mix.from_channels, from);
  const auto to_position = get_positions(mix.to_channels, from);
  std::vector<gfloat> factors(size_t{mix.from_channels} * mix.to_channels);
  for (gfloat& factor : factors) factor = from.get<gfloat>();
  if (!from.good() || from_position.empty() || to_position.empty()) return Taken::refused;
  std::vector<const gfloat*> rows(mix.to_channels);
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = factors.data() + i * mix.from_channels;
  gst_buffer_add_audio_downmix_meta(buffer, from_position.data(),
                                    static_cast<gint>(mix.from_channels), to_position.data(),
                                    static_cast<gint>(mix.to_channels), rows.data());
  return Taken::added;
}

// --- GstDsdPlaneOffsetMeta ----------------------------------------------------------------------

#if GST_CHECK_VERSION(1, 24, 0)
struct Dsd {
  uint32_t channels, zero;
  uint64_t bytes_per_channel;
  bool sound(const std::vector<gsize>& offsets, uint64_t size) const {
    return channels >= 1 && bytes_per_channel >= 1 && planes_fit(offsets, bytes_per_channel, size);
  }
};

bool encode_dsd(const GstDsdPlaneOffsetMeta& meta, GstBuffer* buffer, BytesOut& to) {
  const Dsd dsd{static_cast<uint32_t>(meta.num_channels), 0, meta.num_bytes_per_channel};
  to.put(dsd);
  if (dsd.channels > kMostChannels) return false;
  put_offsets(meta.offsets, dsd.channels, to);
  return dsd.sound({meta.offsets, meta.offsets + dsd.channels}, gst_buffer_get_size(buffer));
}

Taken decode_dsd(BytesIn& from, GstBuffer* buffer) {
  const auto dsd = from.get<Dsd>();
  if (!from.good() || dsd.channels > kMostChannels) return Taken::refused;
  auto offsets = get_offsets(dsd.channels, from);
  if (!from.good() || !dsd.sound(offsets, gst_buffer_get_size(buffer))) return Taken::refused;
  gst_buffer_add_dsd_plane_offset_meta(buffer, static_cast<gint>(dsd.channels),
                                       dsd.bytes_per_channel, offsets.data());
  return Taken::added;
}
#endif

}  // namespace

std::span<const MetaKind> audio_metas() {
  static const auto kinds = std::to_array<MetaKind>({
    meta_kind<GstAudioMeta, encode_audio, decode_audio>(MetaTag::audio, GST_AUDIO_META_API_TYPE),
        meta_kind<GstAudioClippingMeta, encode_clipping, decode_clipping>(
            MetaTag::audio_clipping, GST_AUDIO_CLIPPING_META_API_TYPE),
        meta_kind<GstAudioLevelMeta, encode_level, decode_level>(MetaTag::audio_level,
                                                                 GST_AUDIO_LEVEL_META_API_TYPE),
        meta_kind<GstAudioDownmixMeta, encode_downmix, decode_downmix>(
            MetaTag::audio_downmix, GST_AUDIO_DOWNMIX_META_API_TYPE),
#if GST_CHECK_VERSION(1, 24, 0)
        meta_kind<GstDsdPlaneOffsetMeta, encode_dsd, decode_dsd>(
            MetaTag::dsd_planes, GST_DSD_PLANE_OFFSET_META_API_TYPE),
#endif
  });
  return kinds;
}

}  // namespace gstmmap
