// Metas cross with all of their fields, in order, and one that can't stops nothing.
#include <dlfcn.h>
#include <fcntl.h>
#include <gst/audio/audio.h>
#if GST_CHECK_VERSION(1, 24, 0)
#include <gst/audio/gstdsd.h>
#endif
#include <gst/rtp/gstrtpmeta.h>
#include <gst/video/gstvideoaffinetransformationmeta.h>
#include <gst/video/gstvideocodecalphameta.h>
#include <gst/video/video-sei.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <utility>

#include "tests/elements/support.h"

using test::Harness;
using test::Ref;
using test::Scene;

namespace {

// A reader that takes frames as they are.
struct Pair {
  explicit Pair(const Scene& scene) : sink(scene.sink()), reader(scene.src()) {
    gst_harness_add_propose_allocation_meta(reader.get(), GST_VIDEO_META_API_TYPE, nullptr);
    reader.play();
    sink.wait_for_clients(1);
  }
  Ref<GstBuffer> send(GstBuffer* buffer) const {
    fail_unless_equals_int(sink.push(buffer), GST_FLOW_OK);
    return reader.pull();
  }
  Harness sink, reader;
};

template <class Meta>
const Meta* find(const Ref<GstBuffer>& buffer, GType api) {
  const auto* meta = reinterpret_cast<const Meta*>(gst_buffer_get_meta(buffer.get(), api));
  fail_unless(meta != nullptr, "no %s came", g_type_name(api));
  return meta;
}

std::vector<std::string> names(GstBuffer* buffer) {
  std::vector<std::string> all;
  gpointer state = nullptr;
  while (const GstMeta* meta = gst_buffer_iterate_meta(buffer, &state))
    all.emplace_back(g_type_name(meta->info->type));
  return all;
}

void fail_unless_names(const Ref<GstBuffer>& buffer, const std::vector<std::string>& wanted) {
  std::string text;
  for (const auto& name : names(buffer.get())) text += name + " ";
  fail_unless(names(buffer.get()) == wanted, "came: %s", text.c_str());
}

GstCustomMeta* add_custom(GstBuffer* buffer, const char* name = "GstMmapTestMeta") {
  static const char* const tags[] = {nullptr};
  if (gst_meta_get_info(name) == nullptr)
    gst_meta_register_custom(name, const_cast<const char**>(tags), nullptr, nullptr, nullptr);
  return gst_buffer_add_custom_meta(buffer, name);
}

GstVideoMeta* add_video(GstBuffer* buffer) {
  return gst_buffer_add_video_meta(buffer, GST_VIDEO_FRAME_FLAG_NONE, GST_VIDEO_FORMAT_I420, 64,
                                   48);
}

// What category mmapwire says meanwhile. By way of a file: functions for it are never freed.
class Log {
 public:
  explicit Log(const Scene& scene)
      : path_(scene.directory() + "/log"), stderr_(dup(STDERR_FILENO)) {
    gst_debug_set_active(TRUE);
    gst_debug_set_color_mode(GST_DEBUG_COLOR_MODE_OFF);
    gst_debug_set_threshold_from_string("mmapwire:7", TRUE);
    const int file = open(path_.c_str(), O_WRONLY | O_CREAT, 0600);
    dup2(file, STDERR_FILENO);
    close(file);
  }
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;
  ~Log() { lines(); }
  // All of them, and no more come.
  std::vector<std::string> lines() {
    if (stderr_ >= 0) {
      dup2(stderr_, STDERR_FILENO);
      close(std::exchange(stderr_, -1));
      gst_debug_set_threshold_from_string("*:0", TRUE);
    }
    std::vector<std::string> all;
    std::ifstream file(path_);
    for (std::string line; std::getline(file, line);) all.push_back(line);
    return all;
  }

 private:
  std::string path_;
  int stderr_;
};

}  // namespace

// --- video --------------------------------------------------------------------------------------

TEST(matrix_crosses_bit_for_bit) {
  const Scene scene;
  const Pair pair(scene);
  GstBuffer* buffer = test::numbered(1);
  std::array<gfloat, 16> matrix{};
  for (size_t i = 0; i < matrix.size(); ++i) matrix[i] = 1.0f / static_cast<gfloat>(i + 3);
  std::ranges::copy(matrix, gst_buffer_add_video_affine_transformation_meta(buffer)->matrix);
  const auto came = pair.send(buffer);
  const auto* meta =
      find<GstVideoAffineTransformationMeta>(came, GST_VIDEO_AFFINE_TRANSFORMATION_META_API_TYPE);
  fail_unless(std::to_array(meta->matrix) == matrix);
}

TEST(regions_cross_with_their_params) {
  const Scene scene;
  const Pair pair(scene);
  GstBuffer* buffer = test::numbered(1);
  GstStructure* const params[] = {
      gst_structure_new("roi/x264enc", "delta-qp", G_TYPE_DOUBLE, -0.1, nullptr),
      gst_structure_new("detection", "label", G_TYPE_STRING, "a \"b\\c\", ;ä", "sure", G_TYPE_FLOAT,
                        0.75f, "none", G_TYPE_STRING, nullptr, nullptr)};
  auto* region = gst_buffer_add_video_region_of_interest_meta(buffer, "face", 1, 2, 30, 40);
  region->id = 7;
  region->parent_id = -3;
  for (const GstStructure* param : params)
    gst_video_region_of_interest_meta_add_param(region, gst_structure_copy(param));
  gst_buffer_add_video_region_of_interest_meta_id(buffer, 0, 5, 6, 7, 8);
  const auto came = pair.send(buffer);
  fail_unless_names(came, {"GstVideoRegionOfInterestMeta", "GstVideoRegionOfInterestMeta"});
  const auto* meta =
      find<GstVideoRegionOfInterestMeta>(came, GST_VIDEO_REGION_OF_INTEREST_META_API_TYPE);
  fail_unless_equals_string(g_quark_to_string(meta->roi_type), "face");
  fail_unless(meta->id == 7 && meta->parent_id == -3);
  fail_unless(meta->x == 1 && meta->y == 2 && meta->w == 30 && meta->h == 40);
  fail_unless_equals_int(g_list_length(meta->params), 2);
  for (guint i = 0; i < 2; ++i) {
    const auto* param = static_cast<GstStructure*>(g_list_nth_data(meta->params, i));
    fail_unless(gst_structure_is_equal(param, params[i]), "param %u", i);
    gst_structure_free(params[i]);
  }
  fail_unless(
      gst_structure_has_field(static_cast<GstStructure*>(meta->params->next->data), "none"));
  const auto* nameless = gst_buffer_get_video_region_of_interest_meta_id(came.get(), 0);
  fail_unless(nameless != nullptr && nameless->roi_type == 0 && nameless->x == 5);
}

TEST(time_codes_cross_with_their_daily_jam) {
  const Scene scene;
  const Pair pair(scene);
  for (const char* when : {"2026-11-24T04:05:06.123456+05:30", "1969-12-31T23:59:59.5-11:00", ""}) {
    GDateTime* jam = g_date_time_new_from_iso8601(when, nullptr);
    GstBuffer* buffer = test::numbered(1);
    fail_unless(gst_buffer_add_video_time_code_meta_full(
        buffer, 30000, 1001, jam,
        static_cast<GstVideoTimeCodeFlags>(GST_VIDEO_TIME_CODE_FLAGS_DROP_FRAME |
                                           GST_VIDEO_TIME_CODE_FLAGS_INTERLACED),
        12, 34, 56, 7, 1));
    const auto came = pair.send(buffer);
    const GstVideoTimeCode& code =
        find<GstVideoTimeCodeMeta>(came, GST_VIDEO_TIME_CODE_META_API_TYPE)->tc;
    fail_unless(code.config.fps_n == 30000 && code.config.fps_d == 1001);
    fail_unless_equals_int(code.config.flags, 3);
    fail_unless(code.hours == 12 && code.minutes == 34 && code.seconds == 56);
    fail_unless(code.frames == 7 && code.field_count == 1);
    GDateTime* there = code.config.latest_daily_jam;
    fail_unless_equals_int(there != nullptr, jam != nullptr);
    if (jam == nullptr) continue;
    fail_unless(g_date_time_equal(jam, there));
    fail_unless_equals_int64(g_date_time_get_utc_offset(jam), g_date_time_get_utc_offset(there));
    g_date_time_unref(jam);
  }
}

TEST(captions_bars_and_afd_cross) {
  const Scene scene;
  const Pair pair(scene);
  GstBuffer* buffer = test::numbered(1);
  const guint8 data[] = {0x96, 0x69, 0, 0xff};
  gst_buffer_add_video_caption_meta(buffer, GST_VIDEO_CAPTION_TYPE_CEA708_CDP, data, sizeof data);
  gst_buffer_add_video_bar_meta(buffer, 1, TRUE, 11, 22);
  gst_buffer_add_video_afd_meta(buffer, 1, GST_VIDEO_AFD_SPEC_SMPTE_ST2016_1,
                                GST_VIDEO_AFD_16_9_LETTER_14_9_CENTER);
  const auto came = pair.send(buffer);
  const auto* caption = find<GstVideoCaptionMeta>(came, GST_VIDEO_CAPTION_META_API_TYPE);
  fail_unless_equals_int(caption->caption_type, GST_VIDEO_CAPTION_TYPE_CEA708_CDP);
  fail_unless(caption->size == sizeof data && memcmp(caption->data, data, sizeof data) == 0);
  const auto* bar = find<GstVideoBarMeta>(came, GST_VIDEO_BAR_META_API_TYPE);
  fail_unless(bar->field == 1 && bar->is_letterbox && bar->bar_data1 == 11 && bar->bar_data2 == 22);
  const auto* afd = find<GstVideoAFDMeta>(came, GST_VIDEO_AFD_META_API_TYPE);
  fail_unless(afd->field == 1 && afd->spec == GST_VIDEO_AFD_SPEC_SMPTE_ST2016_1 &&
              afd->afd == GST_VIDEO_AFD_16_9_LETTER_14_9_CENTER);
}

TEST(unregistered_sei_crosses) {
  const Scene scene;
  const Pair pair(scene);
  GstBuffer* buffer = test::numbered(1);
  guint8 uuid[16];
  for (guint8 i = 0; i < 16; ++i) uuid[i] = static_cast<guint8>(200 + i);
  guint8 data[] = {1, 0, 2};
  gst_buffer_add_video_sei_user_data_unregistered_meta(buffer, uuid, data, sizeof data);
  const auto came = pair.send(buffer);
  const auto* meta = find<GstVideoSEIUserDataUnregisteredMeta>(
      came, GST_VIDEO_SEI_USER_DATA_UNREGISTERED_META_API_TYPE);
  fail_unless(memcmp(meta->uuid, uuid, sizeof uuid) == 0);
  fail_unless(meta->size == sizeof data && memcmp(meta->data, data, sizeof data) == 0);
}

// --- audio --------------------------------------------------------------------------------------

TEST(planes_of_audio_cross) {
  const Scene scene;
  const Pair pair(scene);
  constexpr gint kChannels = 6;
  const GstAudioChannelPosition position[] = {
      GST_AUDIO_CHANNEL_POSITION_FRONT_LEFT,   GST_AUDIO_CHANNEL_POSITION_FRONT_RIGHT,
      GST_AUDIO_CHANNEL_POSITION_FRONT_CENTER, GST_AUDIO_CHANNEL_POSITION_LFE1,
      GST_AUDIO_CHANNEL_POSITION_REAR_LEFT,    GST_AUDIO_CHANNEL_POSITION_REAR_RIGHT};
  GstAudioInfo info;
  gst_audio_info_set_format(&info, GST_AUDIO_FORMAT_S16LE, 44100, kChannels, position);
  info.layout = GST_AUDIO_LAYOUT_NON_INTERLEAVED;
  gsize offsets[] = {2000, 0, 1000, 500, 1500, 2500};
  GstBuffer* buffer = test::numbered(1);
  fail_unless(gst_buffer_add_audio_meta(buffer, &info, 250, offsets));
  const auto came = pair.send(buffer);
  const auto* meta = find<GstAudioMeta>(came, GST_AUDIO_META_API_TYPE);
  fail_unless(gst_audio_info_is_equal(&meta->info, &info));
  fail_unless_equals_int(meta->info.bpf, 12);
  fail_unless_equals_uint64(meta->samples, 250);
  for (gint i = 0; i < kChannels; ++i) fail_unless_equals_uint64(meta->offsets[i], offsets[i]);
}

TEST(interleaved_and_unpositioned_audio_crosses) {
  const Scene scene;
  const Pair pair(scene);
  for (const gint channels : {1, 2, 12, 100}) {
    GstAudioInfo info;
    gst_audio_info_set_format(&info, GST_AUDIO_FORMAT_F32BE, 8000, channels, nullptr);
    GstBuffer* buffer = test::numbered(1);
    fail_unless(gst_buffer_add_audio_meta(buffer, &info, 11, nullptr));
    const auto came = pair.send(buffer);
    const auto* meta = find<GstAudioMeta>(came, GST_AUDIO_META_API_TYPE);
    // is_equal() looks at more positions than there are with 100.
    fail_unless(channels > 64 || gst_audio_info_is_equal(&meta->info, &info));
    fail_unless(meta->info.finfo == info.finfo && meta->info.channels == channels &&
                meta->info.rate == 8000 && meta->info.flags == info.flags && meta->samples == 11);
  }
}

TEST(clipping_level_and_downmix_cross) {
  const Scene scene;
  const Pair pair(scene);
  GstBuffer* buffer = test::numbered(1);
  gst_buffer_add_audio_clipping_meta(buffer, GST_FORMAT_DEFAULT, 123, G_GUINT64_CONSTANT(1) << 60);
  gst_buffer_add_audio_level_meta(buffer, 90, TRUE);
  const GstAudioChannelPosition from[] = {GST_AUDIO_CHANNEL_POSITION_FRONT_LEFT,
                                          GST_AUDIO_CHANNEL_POSITION_FRONT_RIGHT,
                                          GST_AUDIO_CHANNEL_POSITION_LFE1};
  const GstAudioChannelPosition to[] = {GST_AUDIO_CHANNEL_POSITION_FRONT_LEFT,
                                        GST_AUDIO_CHANNEL_POSITION_FRONT_RIGHT};
  const gfloat left[] = {0.5f, 0.25f, -1.0f};
  const gfloat right[] = {0.1f, 0.2f, 0.3f};
  const gfloat* matrix[] = {left, right};
  gst_buffer_add_audio_downmix_meta(buffer, from, 3, to, 2, matrix);
  const auto came = pair.send(buffer);
  const auto* clipping = find<GstAudioClippingMeta>(came, GST_AUDIO_CLIPPING_META_API_TYPE);
  fail_unless(clipping->format == GST_FORMAT_DEFAULT && clipping->start == 123 &&
              clipping->end == G_GUINT64_CONSTANT(1) << 60);
  const auto* level = find<GstAudioLevelMeta>(came, GST_AUDIO_LEVEL_META_API_TYPE);
  fail_unless(level->level == 90 && level->voice_activity);
  const auto* mix = find<GstAudioDownmixMeta>(came, GST_AUDIO_DOWNMIX_META_API_TYPE);
  fail_unless(mix->from_channels == 3 && mix->to_channels == 2);
  fail_unless(memcmp(mix->from_position, from, sizeof from) == 0);
  fail_unless(memcmp(mix->to_position, to, sizeof to) == 0);
  fail_unless(memcmp(mix->matrix[0], left, sizeof left) == 0);
  fail_unless(memcmp(mix->matrix[1], right, sizeof right) == 0);
}

// --- of any media -------------------------------------------------------------------------------

TEST(reference_timestamps_cross) {
  const Scene scene;
  const Pair pair(scene);
  GstCaps* caps = gst_caps_from_string("timestamp/x-ntp, host=(string)pool.ntp.org, port=123");
  GstBuffer* buffer = test::numbered(1);
  gst_buffer_add_reference_timestamp_meta(buffer, caps, 1234567890123456789, GST_CLOCK_TIME_NONE);
  const auto came = pair.send(buffer);
  const auto* meta = find<GstReferenceTimestampMeta>(came, GST_REFERENCE_TIMESTAMP_META_API_TYPE);
  fail_unless(gst_caps_is_strictly_equal(meta->reference, caps));
  fail_unless_equals_uint64(meta->timestamp, 1234567890123456789);
  fail_unless_equals_uint64(meta->duration, GST_CLOCK_TIME_NONE);
  gst_caps_unref(caps);
}

TEST(protection_crosses_with_its_buffers) {
  const Scene scene;
  const Pair pair(scene);
  // As demuxers of Common Encryption write it.
  const char iv[] = "\0\1\2 eight";
  GstBuffer* iv_buffer = gst_buffer_new_memdup(iv, sizeof iv);
  GstBuffer* buffer = test::numbered(1);
  gst_buffer_add_protection_meta(
      buffer, gst_structure_new("application/x-cenc", "iv_size", G_TYPE_UINT, 8, "encrypted",
                                G_TYPE_BOOLEAN, TRUE, "iv", GST_TYPE_BUFFER, iv_buffer, nullptr));
  gst_buffer_unref(iv_buffer);
  const auto came = pair.send(buffer);
  const GstStructure* info = find<GstProtectionMeta>(came, GST_PROTECTION_META_API_TYPE)->info;
  fail_unless(gst_structure_has_name(info, "application/x-cenc"));
  guint size = 0;
  gboolean encrypted = FALSE;
  GstBuffer* there = nullptr;
  fail_unless(gst_structure_get(info, "iv_size", G_TYPE_UINT, &size, "encrypted", G_TYPE_BOOLEAN,
                                &encrypted, "iv", GST_TYPE_BUFFER, &there, nullptr));
  fail_unless(size == 8 && encrypted && gst_buffer_get_size(there) == sizeof iv);
  fail_unless_equals_int(gst_buffer_memcmp(there, 0, iv, sizeof iv), 0);
  gst_buffer_unref(there);
}

TEST(custom_metas_cross) {
  const Scene scene;
  const Pair pair(scene);
  GstBuffer* buffer = test::numbered(1);
  GstStructure* fields = gst_custom_meta_get_structure(add_custom(buffer));
  gst_structure_set(fields, "int", G_TYPE_INT, G_MININT, "text", G_TYPE_STRING, "tärgät",
                    "fraction", GST_TYPE_FRACTION, 30000, 1001, nullptr);
  const Ref<GstBuffer> kept(gst_buffer_ref(buffer));
  const auto came = pair.send(buffer);
  GstCustomMeta* meta = gst_buffer_get_custom_meta(came.get(), "GstMmapTestMeta");
  fail_unless(meta != nullptr);
  fail_unless(gst_structure_is_equal(gst_custom_meta_get_structure(meta), fields));
  fail_unless_equals_int(gst_structure_n_fields(fields), 3);
}

TEST(rtp_sources_cross_where_both_know_them) {
  const Scene scene;
  const Pair pair(scene);
  void* library = dlopen("libgstrtp-1.0.so.0", RTLD_NOW);
  fail_unless(library != nullptr, "%s", dlerror());
  auto* const add = reinterpret_cast<decltype(&gst_buffer_add_rtp_source_meta)>(
      dlsym(library, "gst_buffer_add_rtp_source_meta"));
  GstBuffer* buffer = test::numbered(1);
  const guint32 ssrc = 0x12345678;
  const guint32 csrc[] = {1, 2, 0xffffffff};
  const GType api = add(buffer, &ssrc, csrc, 3)->meta.info->api;
  const auto came = pair.send(buffer);
  const auto* meta = find<GstRTPSourceMeta>(came, api);
  fail_unless(meta->ssrc_valid && meta->ssrc == ssrc && meta->csrc_count == 3);
  fail_unless(memcmp(meta->csrc, csrc, sizeof csrc) == 0);
}

#if GST_CHECK_VERSION(1, 24, 0)
namespace {

// A meta of its own kind, as a plugin could have one.
struct OwnMeta {
  GstMeta meta;
  guint32 number;
};

gboolean init_own(GstMeta* meta, gpointer, GstBuffer*) {
  reinterpret_cast<OwnMeta*>(meta)->number = 0;
  return TRUE;
}

gboolean serialize_own(const GstMeta* meta, GstByteArrayInterface* data, guint8* version) {
  *version = 3;
  const guint32 number = reinterpret_cast<const OwnMeta*>(meta)->number;
  return gst_byte_array_interface_append_data(data, reinterpret_cast<const guint8*>(&number),
                                              sizeof number);
}

GstMeta* deserialize_own(const GstMetaInfo* info, GstBuffer* buffer, const guint8* data, gsize size,
                         guint8 version) {
  if (version != 3 || size != sizeof(guint32)) return nullptr;
  GstMeta* meta = gst_buffer_add_meta(buffer, info, nullptr);
  memcpy(&reinterpret_cast<OwnMeta*>(meta)->number, data, size);
  return meta;
}

}  // namespace

TEST(metas_that_serialize_themselves_cross) {
  const Scene scene;
  const Pair pair(scene);
  static const gchar* tags[] = {nullptr};
  const GType api = gst_meta_api_type_register("GstMmapOwnMetaAPI", tags);
  GstMetaInfo* made = gst_meta_info_new(api, "GstMmapOwnMeta", sizeof(OwnMeta));
  made->init_func = init_own;
  made->serialize_func = serialize_own;
  made->deserialize_func = deserialize_own;
  const GstMetaInfo* info = gst_meta_info_register(made);
  GstBuffer* buffer = test::numbered(1);
  for (const guint32 number : {7u, 8u})
    reinterpret_cast<OwnMeta*>(gst_buffer_add_meta(buffer, info, nullptr))->number = number;
  const auto came = pair.send(buffer);
  fail_unless_names(came, {"GstMmapOwnMeta", "GstMmapOwnMeta"});
  fail_unless_equals_int(find<OwnMeta>(came, api)->number, 7);
}

TEST(ancillary_data_crosses) {
  const Scene scene;
  const Pair pair(scene);
  GstBuffer* buffer = test::numbered(1);
  GstAncillaryMeta* sent = gst_buffer_add_ancillary_meta(buffer);
  const guint16 data[] = {0x101, 0x202, 0x3ff};
  sent->field = GST_ANCILLARY_META_FIELD_INTERLACED_SECOND;
  sent->c_not_y_channel = TRUE;
  sent->line = 11;
  sent->offset = 0xffe;
  sent->DID = 0x161;
  sent->SDID_block_number = 0x101;
  sent->data_count = 0x203;
  sent->data = static_cast<guint16*>(g_memdup2(data, sizeof data));
  sent->checksum = 0x2aa;
  const auto came = pair.send(buffer);
  const auto* meta = find<GstAncillaryMeta>(came, GST_ANCILLARY_META_API_TYPE);
  fail_unless(meta->field == GST_ANCILLARY_META_FIELD_INTERLACED_SECOND && meta->c_not_y_channel);
  fail_unless(meta->line == 11 && meta->offset == 0xffe && meta->DID == 0x161);
  fail_unless(meta->SDID_block_number == 0x101 && meta->checksum == 0x2aa);
  fail_unless(meta->data_count == 0x203 && memcmp(meta->data, data, sizeof data) == 0);
}

TEST(planes_of_dsd_cross) {
  const Scene scene;
  const Pair pair(scene);
  gsize offsets[] = {100, 0, 300};
  GstBuffer* buffer = test::numbered(1);
  fail_unless(gst_buffer_add_dsd_plane_offset_meta(buffer, 3, 100, offsets));
  const auto came = pair.send(buffer);
  const auto* meta = find<GstDsdPlaneOffsetMeta>(came, GST_DSD_PLANE_OFFSET_META_API_TYPE);
  fail_unless(meta->num_channels == 3 && meta->num_bytes_per_channel == 100);
  fail_unless(memcmp(meta->offsets, offsets, sizeof offsets) == 0);
}
#endif

// --- many, large, none --------------------------------------------------------------------------

TEST(order_is_kept) {
  const Scene scene;
  const Pair pair(scene);
  GstBuffer* buffer = test::numbered(1);
  const guint8 data[] = {1, 2, 3};
  for (guint i = 0; i < 3; ++i) {
    gst_buffer_add_video_region_of_interest_meta(buffer, "r", i, 0, 1, 1);
    gst_buffer_add_video_caption_meta(buffer, GST_VIDEO_CAPTION_TYPE_CEA608_RAW, data, i + 1);
    gst_structure_set(gst_custom_meta_get_structure(add_custom(buffer)), "i", G_TYPE_UINT, i,
                      nullptr);
  }
  add_video(buffer);
  const auto wanted = names(buffer);
  const auto came = pair.send(buffer);
  fail_unless_names(came, wanted);
  gpointer state = nullptr;
  for (guint i = 0; i < 3; ++i) {
    const GstMeta* meta = gst_buffer_iterate_meta(came.get(), &state);
    fail_unless_equals_int(reinterpret_cast<const GstVideoRegionOfInterestMeta*>(meta)->x, i);
    meta = gst_buffer_iterate_meta(came.get(), &state);
    fail_unless_equals_int(reinterpret_cast<const GstVideoCaptionMeta*>(meta)->size, i + 1);
    auto* custom = reinterpret_cast<GstCustomMeta*>(gst_buffer_iterate_meta(came.get(), &state));
    guint number = 99;
    gst_structure_get_uint(gst_custom_meta_get_structure(custom), "i", &number);
    fail_unless_equals_int(number, i);
  }
}

TEST(metas_cross_with_several_memories) {
  const Scene scene;
  const Pair pair(scene);
  GstBuffer* buffer = pair.sink.allocate(test::kVideoSize - 100);
  GstBuffer* more = pair.sink.allocate(100);
  buffer = gst_buffer_append(buffer, more);
  fail_unless_equals_int(gst_buffer_n_memory(buffer), 2);
  add_video(buffer);  // fits them both only
  gst_buffer_add_video_region_of_interest_meta(buffer, "r", 1, 0, 1, 1);
  const auto came = pair.send(buffer);
  fail_unless_equals_int(gst_buffer_n_memory(came.get()), 2);
  fail_unless_names(came, {"GstVideoMeta", "GstVideoRegionOfInterestMeta"});
}

TEST(large_metas_cross) {
  const Scene scene;
  const Pair pair(scene);
  std::vector<guint8> data(100 * 1000);
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<guint8>(i * 7 / 3);
  GstBuffer* buffer = test::numbered(1);
  gst_buffer_add_video_caption_meta(buffer, GST_VIDEO_CAPTION_TYPE_CEA708_RAW, data.data(),
                                    data.size());
  auto* region = gst_buffer_add_video_region_of_interest_meta(buffer, "r", 1, 0, 1, 1);
  for (guint i = 0; i < 200; ++i)
    gst_video_region_of_interest_meta_add_param(
        region, gst_structure_new("param", "i", G_TYPE_UINT, i, "text", G_TYPE_STRING,
                                  std::string(i, 'x').c_str(), nullptr));
  const auto came = pair.send(buffer);
  const auto* caption = find<GstVideoCaptionMeta>(came, GST_VIDEO_CAPTION_META_API_TYPE);
  fail_unless(caption->size == data.size());
  fail_unless_equals_int(memcmp(caption->data, data.data(), data.size()), 0);
  const auto* meta =
      find<GstVideoRegionOfInterestMeta>(came, GST_VIDEO_REGION_OF_INTEREST_META_API_TYPE);
  fail_unless_equals_int(g_list_length(meta->params), 200);
  guint i = 0;
  for (const GList* param = meta->params; param != nullptr; param = param->next, ++i) {
    const auto* structure = static_cast<const GstStructure*>(param->data);
    guint number = 0;
    fail_unless(gst_structure_get_uint(structure, "i", &number) && number == i);
    fail_unless(gst_structure_get_string(structure, "text") == std::string(i, 'x'));
  }
}

TEST(most_metas_cross_and_more_stop_nothing) {
  const Scene scene;
  const Pair pair(scene);
  GstBuffer* buffer = test::numbered(1);
  for (guint i = 0; i < 300; ++i) gst_buffer_add_audio_level_meta(buffer, i & 0x7f, FALSE);
  const auto came = pair.send(buffer);
  fail_unless_equals_int(names(came.get()).size(), 256);
  pair.sink.push_number(2);
  fail_unless_equals_uint64(pair.reader.pull_number(), 2);
}

TEST(what_can_not_cross_is_left_out_and_said_once) {
  const Scene scene;
  const Pair pair(scene);
  Log log(scene);
  for (int round = 0; round < 3; ++round) {
    GstBuffer* buffer = test::numbered(1);
    const Ref<GstBuffer> other(gst_buffer_new());
    gst_buffer_add_parent_buffer_meta(buffer, other.get());
    add_custom(buffer, "GstMmapTestFirst");
    gst_buffer_add_video_codec_alpha_meta(buffer, gst_buffer_new());
    gst_structure_set(gst_custom_meta_get_structure(add_custom(buffer)), "p", G_TYPE_POINTER,
                      &scene, nullptr);
    // Of what lies in the buffer these make no sense, and would be refused.
    auto* video = add_video(buffer);
    video->offset[2] = test::kVideoSize;
    GstAudioInfo info;
    gst_audio_info_set_format(&info, GST_AUDIO_FORMAT_U8, 8000, 2, nullptr);
    gst_buffer_add_audio_meta(buffer, &info, test::kVideoSize, nullptr);
    add_custom(buffer, "GstMmapTestLast");
    const auto came = pair.send(buffer);
    fail_unless_names(came, {"GstMmapTestFirst", "GstMmapTestLast"});
  }
  const auto said = log.lines();
  const char* const types[] = {"GstParentBufferMeta", "GstVideoCodecAlphaMeta", "GstMmapTestMeta",
                               "GstVideoMeta", "GstAudioMeta"};
  fail_unless_equals_int(said.size(), std::size(types));
  for (size_t i = 0; i < said.size(); ++i)
    fail_unless(test::contains(said[i], "INFO") &&
                    test::contains(said[i], std::string(": ") + types[i] + " does not cross"),
                "%s", said[i].c_str());
}
