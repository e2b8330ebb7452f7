// The bytes of metas, as they are and as a peer could garble them: none crashes, none makes
// GStreamer complain, and what is taken in can be read.
#include <gst/audio/audio.h>
#include <gst/video/gstvideoaffinetransformationmeta.h>
#include <gst/video/video-sei.h>

#include <algorithm>
#include <random>

#include "tests/elements/metas_bytes.h"

using test::add_custom;
using test::BufferRef;
using test::Bytes;
using test::count;
using test::decodes;
using test::encoded;
using test::kCustom;
using test::new_buffer;
using test::NoComplaints;

namespace {

constexpr auto kValues =
    "all, bool=(boolean)true, uchar=(guchar)250, int=(int)-7, uint=(uint)7, long=(glong)-8, "
    "ulong=(gulong)8, int64=(gint64)-9, uint64=(guint64)18446744073709551615, float=(float)0.1, "
    "double=(double)0.1, bits=(bitmask)0x1f, fraction=(fraction)-3/2, range=(int)[ 4, 8, 2 ], "
    "long-range=(gint64)[ 5, 10, 5 ], double-range=(double)[ 0.5, 1 ], "
    "fraction-range=(fraction)[ 1/3, 1/2 ], enum=(GstFormat)time, "
    "flags=(GstBufferFlags)GST_BUFFER_FLAG_GAP, set=(GstFlagSet)1:3, string=(string)\"a\\ b\", "
    "list=(int){ 1, [ 2, 3 ] }, array=< < (int)1, 2 >, < (int)3 > >, empty=(int)<  >, "
    "inner=(structure)[ in, deep=(structure)[ er, x=(int)1 ] ], any=(GstCaps)ANY, "
    "date=(date)2026-11-24, year=(datetime)2026, when=(datetime)2026-11-24T10:11Z, "
    "to-the-second=(datetime)2026-11-24T10:11:12.25+0430";
constexpr gint kFields = 36;

GstStructure* all_values() {
  GstStructure* structure = gst_structure_new_from_string(kValues);
  fail_unless(structure != nullptr);
  GstCaps* caps = gst_caps_from_string(
      "video/x-raw(memory:DMABuf, meta:GstVideoMeta), width=(int)[ 1, 9 ]; video/any(ANY)");
  GBytes* bytes = g_bytes_new("\0\1", 2);
  GDateTime* now = g_date_time_new_utc(2026, 11, 24, 1, 2, 3.25);
  gst_structure_set(structure, "bytes", G_TYPE_BYTES, bytes, "now", G_TYPE_DATE_TIME, now, "caps",
                    GST_TYPE_CAPS, caps, "char", G_TYPE_CHAR, -5, "no-string", G_TYPE_STRING,
                    nullptr, "no-date", G_TYPE_DATE, nullptr, "no-buffer", GST_TYPE_BUFFER, nullptr,
                    nullptr);
  g_bytes_unref(bytes);
  g_date_time_unref(now);
  gst_caps_unref(caps);
  fail_unless_equals_int(gst_structure_n_fields(structure), kFields);
  return structure;
}

// One of each.
BufferRef with_metas() {
  auto owned = new_buffer();
  GstBuffer* buffer = owned.get();
  const guint8 data[] = {1, 2, 3, 4};
  guint8 uuid[16] = {9};
  gst_buffer_add_video_meta(buffer, GST_VIDEO_FRAME_FLAG_NONE, GST_VIDEO_FORMAT_I420, 32, 16);
  gst_buffer_add_video_crop_meta(buffer);
  gst_buffer_add_video_affine_transformation_meta(buffer);
  gst_video_region_of_interest_meta_add_param(
      gst_buffer_add_video_region_of_interest_meta(buffer, "type", 1, 2, 3, 4), all_values());
  gst_buffer_add_video_caption_meta(buffer, GST_VIDEO_CAPTION_TYPE_CEA608_RAW, data, sizeof data);
  GDateTime* jam = g_date_time_new_utc(2026, 11, 24, 1, 2, 3.25);
  gst_buffer_add_video_time_code_meta_full(buffer, 25, 1, jam, GST_VIDEO_TIME_CODE_FLAGS_NONE, 1, 2,
                                           3, 4, 0);
  g_date_time_unref(jam);
  gst_buffer_add_video_bar_meta(buffer, 0, FALSE, 1, 2);
  gst_buffer_add_video_afd_meta(buffer, 0, GST_VIDEO_AFD_SPEC_ATSC_A53,
                                GST_VIDEO_AFD_4_3_FULL_16_9_FULL);
  gst_buffer_add_video_sei_user_data_unregistered_meta(buffer, uuid, const_cast<guint8*>(data), 4);
  GstAudioInfo info;
  gst_audio_info_set_format(&info, GST_AUDIO_FORMAT_S24LE, 48000, 10, nullptr);
  info.layout = GST_AUDIO_LAYOUT_NON_INTERLEAVED;
  gst_buffer_add_audio_meta(buffer, &info, 100, nullptr);
  gst_buffer_add_audio_clipping_meta(buffer, GST_FORMAT_TIME, 1, 2);
  gst_buffer_add_audio_level_meta(buffer, 1, TRUE);
  const GstAudioChannelPosition position[] = {GST_AUDIO_CHANNEL_POSITION_FRONT_LEFT,
                                              GST_AUDIO_CHANNEL_POSITION_FRONT_RIGHT};
  const gfloat row[] = {0.5f, 0.5f};
  const gfloat* rows[] = {row, row};
  gst_buffer_add_audio_downmix_meta(buffer, position, 2, position, 2, rows);
  GstCaps* caps = gst_caps_from_string("timestamp/x-ntp, host=pool.ntp.org");
  gst_buffer_add_reference_timestamp_meta(buffer, caps, 1, 2);
  gst_caps_unref(caps);
  gst_buffer_add_protection_meta(buffer, gst_structure_new("p", "k", G_TYPE_INT, 1, nullptr));
  gst_structure_set(add_custom(owned), "value", G_TYPE_INT, 5, nullptr);
  return owned;
}

bool same(const GValue* one, const GValue* other) {
  if (G_VALUE_TYPE(one) != G_VALUE_TYPE(other)) return false;
  if (g_value_fits_pointer(one) && g_value_peek_pointer(one) == nullptr)
    return g_value_peek_pointer(other) == nullptr;
  if (G_VALUE_HOLDS_CHAR(one)) return g_value_get_schar(one) == g_value_get_schar(other);
  if (G_VALUE_HOLDS(one, G_TYPE_DATE_TIME))
    return g_date_time_equal(static_cast<GDateTime*>(g_value_get_boxed(one)),
                             static_cast<GDateTime*>(g_value_get_boxed(other)));
  // Which GStreamer does not compare, or not all of.
  if (G_VALUE_HOLDS(one, G_TYPE_BYTES) || GST_VALUE_HOLDS_LIST(one)) return true;
  return gst_value_compare(one, other) == GST_VALUE_EQUAL;
}

// Reads all that the metas say is there.
void read_all(GstBuffer* buffer) {
  gpointer state = nullptr;
  while (GstMeta* meta = gst_buffer_iterate_meta(buffer, &state)) {
    if (meta->info->api == GST_AUDIO_META_API_TYPE) {
      GstAudioBuffer audio;
      const auto& info = reinterpret_cast<GstAudioMeta*>(meta)->info;
      if (!gst_audio_buffer_map(&audio, &info, buffer, GST_MAP_READ)) continue;
      guint sum = 0;
      for (gint i = 0; i < audio.n_planes; ++i) {
        const auto* plane = static_cast<const guint8*>(audio.planes[i]);
        for (gsize k = 0; k < GST_AUDIO_BUFFER_PLANE_SIZE(&audio); ++k) sum += plane[k];
      }
      fail_if(sum == 1);
      gst_audio_buffer_unmap(&audio);
    }
    if (meta->info->api != GST_VIDEO_META_API_TYPE) continue;
    const auto* video = reinterpret_cast<GstVideoMeta*>(meta);
    GstVideoInfo info;
    GstVideoFrame frame;
    gst_video_info_set_format(&info, video->format, video->width, video->height);
    if (!gst_video_frame_map_id(&frame, &info, buffer, video->id, GST_MAP_READ)) continue;
    const GstVideoFormatInfo* format = frame.info.finfo;
    std::vector<guint64> line(video->width + 64);  // of up to 64 bits
    for (gint y = 0; format->unpack_func != nullptr && y < frame.info.height; ++y)
      format->unpack_func(format, GST_VIDEO_PACK_FLAG_NONE, line.data(), frame.data,
                          frame.info.stride, 0, y, frame.info.width);
    gst_video_frame_unmap(&frame);
  }
}

}  // namespace

TEST(structures_come_back_equal) {
  const NoComplaints strict;
  const auto there = new_buffer();
  const auto here = new_buffer();
  GstStructure* sent = add_custom(there);
  GstStructure* all = all_values();
  for (gint i = 0; i < gst_structure_n_fields(all); ++i) {
    const char* name = gst_structure_nth_field_name(all, static_cast<guint>(i));
    gst_structure_set_value(sent, name, gst_structure_get_value(all, name));
  }
  fail_unless(decodes(encoded(there), here));
  const GstStructure* came =
      gst_custom_meta_get_structure(gst_buffer_get_custom_meta(here.get(), kCustom));
  for (gint i = 0; i < gst_structure_n_fields(all); ++i) {
    const char* name = gst_structure_nth_field_name(all, static_cast<guint>(i));
    const GValue* one = gst_structure_get_value(all, name);
    const GValue* other = gst_structure_get_value(came, name);
    fail_unless(other != nullptr && same(one, other), "%s", name);
  }
  gchar* one = gst_structure_to_string(sent);
  gchar* other = gst_structure_to_string(came);
  fail_unless_equals_string(one, other);
  g_free(one);
  g_free(other);
  gst_structure_free(all);
}

TEST(all_metas_come_back) {
  const NoComplaints strict;
  const auto sent = with_metas();
  const auto came = new_buffer();
  const auto bytes = encoded(sent);
  fail_unless(decodes(bytes, came));
  fail_unless_equals_uint64(count(sent), 16);
  fail_unless_equals_uint64(count(came), 16);
  fail_unless(encoded(came) == bytes);
}

TEST(what_is_cut_off_is_refused) {
  const NoComplaints strict;
  const auto bytes = encoded(with_metas());
  size_t accepted = 0;
  for (size_t size = 0; size < bytes.size(); ++size) {
    const auto buffer = new_buffer();
    // A copy of its own, for AddressSanitizer.
    const Bytes cut(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
    if (decodes(cut, buffer)) {
      fail_unless_equals_uint64(count(buffer), accepted);
      ++accepted;
    }
  }
  fail_unless_equals_uint64(accepted, 16);  // only between two metas
}

TEST(garbage_does_no_harm) {
  const NoComplaints strict;
  const auto bytes = encoded(with_metas());
  std::mt19937 random(20261124);
  const auto below = [&](size_t end) {
    return std::uniform_int_distribution<size_t>(0, end - 1)(random);
  };
  size_t good = 0;
  size_t bad = 0;
  for (int round = 0; round < 8000; ++round) {
    Bytes flipped = bytes;
    for (size_t flips = 1 + below(4); flips > 0; --flips) {
      const size_t at = below(flipped.size());
      switch (below(4)) {
        case 0:
          flipped[at] ^= static_cast<std::byte>(1u << below(8));
          break;
        case 1:
          flipped[at] = static_cast<std::byte>(below(256));
          break;
        case 2:  // a number, where many are
          for (size_t i = at & ~size_t{3}; i < (at & ~size_t{3}) + 4 && i < flipped.size(); ++i)
            flipped[i] = below(2) != 0 ? std::byte{0xff} : std::byte{0};
          break;
        default:
          flipped.erase(flipped.begin() + static_cast<std::ptrdiff_t>(at));
      }
    }
    const auto buffer = new_buffer();
    if (decodes(flipped, buffer)) {
      ++good;
      read_all(buffer.get());
      // What was taken can be sent on.
      const auto again = new_buffer();
      fail_unless(decodes(encoded(buffer), again));
      fail_unless_equals_uint64(count(again), count(buffer));
    } else {
      ++bad;
    }
  }
  fail_unless(good > 500 && bad > 500, "%zu good, %zu bad", good, bad);
}

// Each format with layouts that fit just so, or just not: what is accepted can be read.
TEST(planes_stay_inside_the_buffer) {
  const NoComplaints strict;
  std::mt19937 random(20261124);
  const auto below = [&](size_t end) {
    return std::uniform_int_distribution<size_t>(0, end - 1)(random);
  };
  auto* const formats = static_cast<GEnumClass*>(g_type_class_ref(GST_TYPE_VIDEO_FORMAT));
  for (gint format = GST_VIDEO_FORMAT_ENCODED + 1; g_enum_get_value(formats, format); ++format) {
    const auto* finfo = gst_video_format_get_info(static_cast<GstVideoFormat>(format));
    if (finfo->n_planes == 0) continue;
    // Of that one, GStreamer's unpacker reads behind the end of its own usual layout.
    const gsize beyond = finfo->format == GST_VIDEO_FORMAT_NV12_10BE_8L128 ? 65536 : 0;
    size_t good = 0;
    for (int round = 0; round < 300; ++round) {
      GstVideoInfo info;
      const auto width = static_cast<guint>(1 + below(200));
      const auto height = static_cast<guint>(1 + below(200));
      fail_unless(gst_video_info_set_format(&info, finfo->format, width, height));
      const auto large = new_buffer(info.size + 4096);
      auto* meta = gst_buffer_add_video_meta(large.get(), GST_VIDEO_FRAME_FLAG_NONE, finfo->format,
                                             width, height);
      const auto bytes = encoded(large);
      fail_unless(!bytes.empty(), "%s %ux%u: usual, and does not cross", finfo->name, width,
                  height);
      switch (below(4)) {
        case 0:
          break;
        case 1:
          meta->stride[below(finfo->n_planes)] += static_cast<gint>(below(64)) - 32;
          break;
        case 2:
          meta->stride[below(finfo->n_planes)] = static_cast<gint>(below(0x40004));
          break;
        default:
          meta->offset[below(finfo->n_planes)] = below(info.size + 8192);
      }
      const auto odd = encoded(large);
      // As many bytes as it should have, or about so.
      const gsize size = info.size - std::min<gsize>(info.size, below(2) * below(200));
      const auto buffer = new_buffer(size, beyond);
      const bool accepted = decodes(odd, buffer) && count(buffer) == 1;
      good += accepted;
      fail_unless(accepted || odd != bytes || size < info.size, "%s %ux%u", finfo->name, width,
                  height);
      if (accepted) read_all(buffer.get());
    }
    fail_unless(good > 30, "%s: %zu accepted", finfo->name, good);
  }
}
