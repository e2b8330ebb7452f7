// Metas that a peer could make up: what does not fit, makes no sense or never ends is refused, or
// passed over, before GStreamer minds it.
#include <gst/audio/audio.h>
#include <gst/video/video-sei.h>

#include <algorithm>
#include <cmath>

#include "gst/wire-meta-kinds.h"
#include "lib/receive_lane.h"
#include "tests/elements/metas_bytes.h"

using gstmmap::BytesIn;
using gstmmap::BytesOut;
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

// Places of numbers in the bytes of the first meta, whose header has eight.
constexpr size_t kVideoOffset = 32;
constexpr size_t kVideoStride = 64;
constexpr size_t kAudioRate = 20;
constexpr size_t kAudioSamples = 32;
constexpr size_t kAudioPosition = 40;

template <class T>
Bytes with(Bytes bytes, size_t at, T number) {
  fail_unless(at + sizeof number <= bytes.size());
  std::memcpy(bytes.data() + at, &number, sizeof number);
  return bytes;
}

}  // namespace

// A buffer of just the usual size, and layouts in it that would take a reader out.
TEST(frames_that_do_not_fit_are_refused) {
  const NoComplaints strict;
  const auto frame = [](GstVideoFormat format, const auto& check) {
    GstVideoInfo info;
    gst_video_info_set_format(&info, format, 96, 96);
    const auto buffer = new_buffer(info.size);
    gst_buffer_add_video_meta(buffer.get(), GST_VIDEO_FRAME_FLAG_NONE, format, 96, 96);
    const auto bytes = encoded(buffer);
    fail_unless(decodes(bytes, new_buffer(info.size)));
    check(bytes, info);
  };
  using Info = const GstVideoInfo&;
  // Its last row ends with the buffer.
  frame(GST_VIDEO_FORMAT_GRAY8, [](const Bytes& bytes, Info info) {
    fail_if(decodes(bytes, new_buffer(info.size - 1)));
    fail_if(decodes(with(bytes, kVideoOffset, uint64_t{1}), new_buffer(info.size)));
    fail_if(decodes(with(bytes, kVideoOffset, ~uint64_t{0}), new_buffer(info.size)));
    fail_if(decodes(with(bytes, kVideoStride, int32_t{97}), new_buffer(info.size)));
    fail_if(decodes(with(bytes, kVideoStride, int32_t{-1}), new_buffer(info.size)));
  });
  // One row for all is a layout, but there must be that row.
  frame(GST_VIDEO_FORMAT_v210, [](const Bytes& bytes, Info info) {
    const auto row = static_cast<gsize>(info.stride[0]);
    const auto same_row = with(bytes, kVideoStride, int32_t{0});
    fail_unless(decodes(same_row, new_buffer(row)));
    fail_if(decodes(same_row, new_buffer(row - 1)));
  });
  frame(GST_VIDEO_FORMAT_RGB8P, [](const Bytes& bytes, Info info) {
    fail_if(
        decodes(with(bytes, kVideoOffset + 8, uint64_t{info.size - 1023}), new_buffer(info.size)));
  });
  frame(GST_VIDEO_FORMAT_NV12_64Z32, [](const Bytes& bytes, Info info) {
    const gint columns = GST_VIDEO_TILE_X_TILES(info.stride[0]);
    const gint rows = GST_VIDEO_TILE_Y_TILES(info.stride[0]);
    const auto with_tiles = [&](gint x, gint y) {
      return with(bytes, kVideoStride, int32_t{GST_VIDEO_TILE_MAKE_STRIDE(x, y)});
    };
    const gsize much = 4 * info.size;
    fail_unless(decodes(with_tiles(columns + 2, rows + 1), new_buffer(much)));
    fail_if(decodes(with_tiles(columns - 2, rows), new_buffer(much)));
    fail_if(decodes(with_tiles(columns, rows - 1), new_buffer(much)));
    fail_if(decodes(with_tiles(columns + 1, rows), new_buffer(much)));
    fail_if(decodes(bytes, new_buffer(info.size - 1)));
  });
}

TEST(audio_that_does_not_fit_is_refused) {
  const NoComplaints strict;
  GstAudioInfo info;
  gst_audio_info_set_format(&info, GST_AUDIO_FORMAT_S16LE, 48000, 2, nullptr);
  for (const bool planar : {false, true}) {
    info.layout = planar ? GST_AUDIO_LAYOUT_NON_INTERLEAVED : GST_AUDIO_LAYOUT_INTERLEAVED;
    const auto large = new_buffer(4000);
    gst_buffer_add_audio_meta(large.get(), &info, 1000, nullptr);
    const auto bytes = encoded(large);
    fail_unless(decodes(bytes, new_buffer(4000)));
    fail_if(decodes(bytes, new_buffer(3999)));
  }
  // One channel over the other, or so far off that sums wrap.
  const auto buffer = new_buffer(4000);
  auto* meta = gst_buffer_add_audio_meta(buffer.get(), &info, 1000, nullptr);
  const auto sound = encoded(buffer);
  for (const gsize offset : {gsize{1999}, gsize{2001}, ~gsize{0}, ~gsize{0} - 1999}) {
    auto bytes = sound;
    std::memcpy(bytes.data() + bytes.size() - sizeof offset, &offset, sizeof offset);
    fail_if(decodes(bytes, new_buffer(4000)), "second channel at %zu", offset);
    meta->offsets[1] = offset;
    fail_unless(encoded(buffer).empty());
  }
}

TEST(audio_that_makes_no_sense_is_refused) {
  const NoComplaints strict;
  GstAudioInfo info;
  gst_audio_info_set_format(&info, GST_AUDIO_FORMAT_S16LE, 48000, 2, nullptr);
  const auto buffer = new_buffer();
  gst_buffer_add_audio_meta(buffer.get(), &info, 100, nullptr);
  const auto bytes = encoded(buffer);
  fail_unless(decodes(with(bytes, kAudioRate, int32_t{1}), new_buffer()));
  fail_if(decodes(with(bytes, kAudioRate, int32_t{0}), new_buffer()));
  fail_if(decodes(with(bytes, kAudioRate, int32_t{-1}), new_buffer()));
  // Wraps to little in bytes.
  fail_if(decodes(with(bytes, kAudioSamples, (uint64_t{1} << 63) + 1), new_buffer()));
  info.layout = GST_AUDIO_LAYOUT_NON_INTERLEAVED;
  const auto planar = new_buffer();
  gst_buffer_add_audio_meta(planar.get(), &info, 100, nullptr);
  fail_if(decodes(with(encoded(planar), kAudioSamples, (uint64_t{1} << 63) + 1), new_buffer()));
  for (const int32_t position : {1, 63, 64, 1000, -1, -4})  // the other's, and none
    fail_if(decodes(with(bytes, kAudioPosition, position), new_buffer()), "%d", position);
}

TEST(numbers_that_gstreamer_minds_are_seen_before) {
  const NoComplaints strict;
  const auto caps = test::Ref<GstCaps>(gst_caps_from_string("timestamp/x-unix"));
  auto buffer = new_buffer();
  gst_buffer_add_reference_timestamp_meta(buffer.get(), caps.get(), 1, 2);
  fail_if(decodes(with(encoded(buffer), 8, GST_CLOCK_TIME_NONE), new_buffer()));

  buffer = new_buffer();
  guint8 uuid[16] = {1};
  guint8 data[] = {1};
  gst_buffer_add_video_sei_user_data_unregistered_meta(buffer.get(), uuid, data, 1);
  auto sei = encoded(buffer);
  sei.pop_back();
  sei = with(with(sei, 24, uint32_t{0}), 4, static_cast<uint32_t>(sei.size() - 8));
  buffer = new_buffer();
  fail_unless(decodes(sei, buffer));
  fail_unless_equals_uint64(count(buffer), 0);

  // A meta's bytes hold nothing else.
  buffer = new_buffer();
  gst_buffer_add_audio_level_meta(buffer.get(), 1, TRUE);
  auto level = encoded(buffer);
  level.push_back(std::byte{0});
  fail_if(decodes(with(level, 4, static_cast<uint32_t>(level.size() - 8)), new_buffer()));
}

TEST(steps_of_ranges_are_sound) {
  const NoComplaints strict;
  const auto buffer = new_buffer();
  GValue range = G_VALUE_INIT;
  g_value_init(&range, GST_TYPE_INT64_RANGE);
  gst_value_set_int64_range_step(&range, -4, 8, 2);
  gst_structure_take_value(add_custom(buffer), "range", &range);
  const auto bytes = encoded(buffer);
  const size_t low = bytes.size() - 3 * sizeof(gint64);
  const size_t high = low + sizeof(gint64);
  const size_t step = high + sizeof(gint64);
  fail_unless(decodes(with(bytes, step, gint64{4}), new_buffer()));
  for (const gint64 odd : {gint64{-2}, gint64{-1}, gint64{0}, gint64{3}, G_MININT64})
    fail_if(decodes(with(with(bytes, step, odd), low, G_MININT64), new_buffer()));
  fail_if(decodes(with(bytes, high, gint64{-4}), new_buffer()));
}

TEST(dates_are_sound) {
  const NoComplaints strict;
  struct Time {
    gint64 seconds;
    gint32 microseconds, offset;
  };
  const auto reads = [](const Time& time) {
    Bytes bytes;
    BytesOut(bytes).put(time);
    BytesIn from(bytes);
    return gstmmap::get_date_time(from) != nullptr;
  };
  constexpr gint64 kFirst = -62135510400;  // 0001-01-02
  constexpr gint64 kLast = 253402214399;   // 9999-12-30, its last second
  for (const gint32 offset : {-86399, -1, 0, 86399})
    for (const gint64 seconds : {kFirst, gint64{0}, kLast})
      fail_unless(reads({seconds, 999999, offset}), "%" G_GINT64_FORMAT " %d", seconds, offset);
  for (const gint64 seconds : {kFirst - 1, kLast + 1, G_MININT64, G_MAXINT64})
    fail_if(reads({seconds, 0, 0}), "%" G_GINT64_FORMAT, seconds);
  for (const gint32 microseconds : {-1, 1000000, G_MININT32, G_MAXINT32})
    fail_if(reads({0, microseconds, 0}), "%d", microseconds);
  for (const gint32 offset : {-86400, 86400, G_MININT32, G_MAXINT32})
    fail_if(reads({0, 0, offset}), "%d", offset);

  const auto buffer = new_buffer();
  GstDateTime* when = gst_date_time_new(-2.5f, 2026, 11, 24, 10, 11, 12.5);
  gst_structure_set(add_custom(buffer), "when", GST_TYPE_DATE_TIME, when, nullptr);
  gst_date_time_unref(when);
  const auto bytes = encoded(buffer);
  const size_t seconds = bytes.size() - sizeof(gdouble);
  const size_t minutes = seconds - sizeof(gint32);
  fail_unless(decodes(with(bytes, minutes, gint32{720}), new_buffer()));
  for (const gint32 odd : {721, G_MAXINT32, G_MININT32})
    fail_if(decodes(with(bytes, minutes, odd), new_buffer()), "%d", odd);
  for (const double odd : {std::nan(""), HUGE_VAL, -HUGE_VAL, 1e300, 60.0})
    fail_if(decodes(with(bytes, seconds, odd), new_buffer()), "%g", odd);

  // Further east than gst_date_time_new() goes, and GStreamer has them all the same.
  GTimeZone* zone = g_time_zone_new_offset(13 * 60 * 60);
  when = gst_date_time_new_from_g_date_time(g_date_time_new(zone, 2026, 11, 24, 10, 11, 12.5));
  const auto east = new_buffer();
  gst_structure_set(add_custom(east), "when", GST_TYPE_DATE_TIME, when, nullptr);
  fail_unless(encoded(east).empty());
  gst_date_time_unref(when);
  g_time_zone_unref(zone);
}

TEST(unknown_custom_metas_and_kinds_are_passed_over) {
  const NoComplaints strict;
  const auto sent = new_buffer();
  gst_structure_set(add_custom(sent), "value", G_TYPE_INT, 5, nullptr);
  gst_buffer_add_audio_level_meta(sent.get(), 42, TRUE);
  auto bytes = encoded(sent);
  const std::string name = kCustom;
  const auto wanted = std::as_bytes(std::span(name));
  const auto at = std::search(bytes.begin(), bytes.end(), wanted.begin(), wanted.end());
  fail_unless(at != bytes.end());
  *at = std::byte{'X'};
  const auto came = new_buffer();
  fail_unless(decodes(bytes, came));
  fail_unless(count(came) == 1 && gst_buffer_get_audio_level_meta(came.get())->level == 42);
  // The first byte says which kind it is.
  bytes[0] = std::byte{250};
  const auto other = new_buffer();
  fail_unless(decodes(bytes, other));
  fail_unless_equals_uint64(count(other), 1);
}

#if GST_CHECK_VERSION(1, 24, 0)
TEST(no_other_way_in_for_what_is_checked) {
  const NoComplaints strict;
  const auto decodes_serialized = [](const std::string& text, const BufferRef& buffer) {
    Bytes bytes;
    BytesOut to(bytes);
    to.put(gstmmap::MetaTag::serialized);
    to.put(static_cast<uint32_t>(text.size() + sizeof(uint32_t)));
    gstmmap::put_bytes(std::as_bytes(std::span(text)), to);
    return decodes(bytes, buffer);
  };
  const auto serialized = [](uint32_t size, uint32_t name_size, const std::string& rest) {
    const uint32_t header[] = {GUINT32_TO_LE(size), GUINT32_TO_LE(name_size)};
    return std::string(reinterpret_cast<const char*>(header), sizeof header) + rest;
  };
  const auto named = [&](const std::string& name, const std::string& rest) {
    const std::string all = name + std::string(2, '\0') + rest;
    return serialized(static_cast<uint32_t>(all.size() + 8), static_cast<uint32_t>(name.size()),
                      all);
  };
  // Headers that GStreamer would follow anywhere.
  for (const uint32_t name_size : {0xffffffffu, 0xfffffff6u, 0x7fffffffu, 200u, 3u, 2u})
    fail_if(decodes_serialized(serialized(12, name_size, "abcd"), new_buffer()), "%u", name_size);
  for (const uint32_t size : {0u, 8u, 11u, 13u, 0xffffffffu})
    fail_if(decodes_serialized(serialized(size, 2, std::string("ab\0\0", 4)), new_buffer()));
  fail_if(decodes_serialized("", new_buffer()));
  // Not known here: passed over.
  const auto buffer = new_buffer();
  fail_unless(decodes_serialized(named("ab", "x"), buffer));
  fail_unless_equals_uint64(count(buffer), 0);
  // Known, and read by functions that check less.
  add_custom(new_buffer());
  fail_if(
      decodes_serialized(named(kCustom, std::string("x, a=(GstBuffer)zz;\0", 20)), new_buffer()));
  const auto sent = new_buffer();
  GstAudioInfo info;
  gst_audio_info_set_format(&info, GST_AUDIO_FORMAT_U8, 8000, 1, nullptr);
  info.layout = GST_AUDIO_LAYOUT_NON_INTERLEAVED;  // the other it can't write down
  gst_buffer_add_audio_meta(sent.get(), &info, 1, nullptr);
  gst_buffer_add_video_meta(sent.get(), GST_VIDEO_FRAME_FLAG_NONE, GST_VIDEO_FORMAT_GRAY8, 8, 8);
  gpointer state = nullptr;
  while (const GstMeta* meta = gst_buffer_iterate_meta(sent.get(), &state)) {
    GByteArray* array = g_byte_array_new();
    fail_unless(gst_meta_serialize_simple(meta, array));
    const std::string text(reinterpret_cast<const char*>(array->data), array->len);
    g_byte_array_unref(array);
    fail_if(decodes_serialized(text, new_buffer()), "%s", g_type_name(meta->info->type));
  }
}
#endif

TEST(number_and_size_of_metas_are_bounded) {
  const NoComplaints strict;
  const auto one = new_buffer();
  gst_buffer_add_audio_level_meta(one.get(), 1, TRUE);
  const auto bytes = encoded(one);
  Bytes many;
  for (int i = 0; i < 256; ++i) many.insert(many.end(), bytes.begin(), bytes.end());
  fail_unless(decodes(many, new_buffer()));
  many.insert(many.end(), bytes.begin(), bytes.end());
  fail_if(decodes(many, new_buffer()));

  // Of a region's params.
  for (const guint params : {1024u, 1025u}) {
    const auto buffer = new_buffer();
    auto* region = gst_buffer_add_video_region_of_interest_meta(buffer.get(), "r", 0, 0, 1, 1);
    for (guint i = 0; i < params; ++i)
      gst_video_region_of_interest_meta_add_param(region, gst_structure_new_empty("p"));
    auto params_bytes = encoded(buffer);
    fail_unless_equals_int(params_bytes.empty(), params > 1024);
    if (params > 1024) continue;
    fail_unless(decodes(params_bytes, new_buffer()));
    // One more, like the last.
    const Bytes last(params_bytes.end() - 9, params_bytes.end());
    params_bytes.insert(params_bytes.end(), last.begin(), last.end());
    const auto size = static_cast<uint32_t>(params_bytes.size() - 8);
    fail_if(decodes(with(with(params_bytes, 4, size), 32, uint32_t{1025}), new_buffer()));
  }

  const std::vector<guint8> data(6 << 20);
  const auto large = new_buffer();
  for (int i = 0; i < 3; ++i)
    gst_buffer_add_video_caption_meta(large.get(), GST_VIDEO_CAPTION_TYPE_CEA608_RAW, data.data(),
                                      data.size());
  gst_buffer_add_audio_level_meta(large.get(), 1, TRUE);
  const auto most = encoded(large);
  fail_unless(most.size() <= mmaplink::ReceiveLane::Limits{}.extra);
  const auto came = new_buffer();
  fail_unless(decodes(most, came));
  fail_unless_equals_uint64(count(came), 3);
}

TEST(depth_of_values_is_bounded) {
  const NoComplaints strict;
  for (const int depth : {5, 100}) {
    GValue value = G_VALUE_INIT;
    g_value_init(&value, G_TYPE_INT);
    for (int i = 0; i < depth; ++i) {
      GValue list = G_VALUE_INIT;
      gst_value_list_init(&list, 1);
      gst_value_list_append_and_take_value(&list, &value);
      value = list;
    }
    const auto buffer = new_buffer();
    gst_structure_take_value(add_custom(buffer), "deep", &value);
    fail_unless_equals_int(encoded(buffer).empty(), depth == 100);
  }
  // Lists within lists, with no end.
  const auto buffer = new_buffer();
  GValue empty = G_VALUE_INIT;
  gst_value_list_init(&empty, 0);
  gst_structure_take_value(add_custom(buffer), "deep", &empty);
  auto bytes = encoded(buffer);
  const std::byte list = bytes[bytes.size() - 5];  // its kind; then the number of values
  bytes.back() = bytes[bytes.size() - 2] = bytes[bytes.size() - 3] = std::byte{0};
  bytes[bytes.size() - 4] = std::byte{1};
  for (int i = 0; i < 1'000'000; ++i) {
    bytes.push_back(list);
    for (const int number : {1, 0, 0, 0}) bytes.push_back(static_cast<std::byte>(number));
  }
  const auto size = static_cast<uint32_t>(bytes.size() - 8);
  std::memcpy(bytes.data() + 4, &size, sizeof size);
  fail_if(decodes(bytes, new_buffer()));
}

#ifndef __SANITIZE_ADDRESS__  // it minds that GLib leaks its table of names whenever that grows
TEST(names_for_peers_run_out) {
  const NoComplaints strict;
  size_t taken = 0;
  for (size_t i = 0; i < 1'000'000; ++i) {
    Bytes bytes;
    BytesOut to(bytes);
    const std::string name = std::string(200, 'n') + std::to_string(i);
    fail_unless(gstmmap::put_name(name.c_str(), to));
    BytesIn from(bytes);
    if (gstmmap::get_name(from) == nullptr) break;
    ++taken;
  }
  fail_unless_equals_uint64(taken, 100'000);
  // Those that are known already cost nothing.
  Bytes bytes;
  BytesOut to(bytes);
  gstmmap::put_name((std::string(200, 'n') + "0").c_str(), to);
  BytesIn from(bytes);
  fail_unless(gstmmap::get_name(from) != nullptr);
}
#endif
