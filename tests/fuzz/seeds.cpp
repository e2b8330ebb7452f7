// Makes a corpus to begin with, from our own encoders:
//
//   fuzz-seeds DIRECTORY
//
// What the fuzzers found besides is merged into it: run.sh --merge.
#include "tests/fuzz/seeds.h"

#include <gst/audio/audio.h>
#include <gst/video/gstvideoaffinetransformationmeta.h>
#include <gst/video/video-sei.h>
#include <gst/video/video.h>

#include <filesystem>
#include <fstream>
#include <functional>

#include "gst/wire-meta.h"
#include "gst/wire-stream.h"
#include "gst/wire-structure.h"
#include "gst/wire-value.h"
#include "gst/wire.h"
#include "tests/fuzz/buffers.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/gst.h"

namespace fuzz {

void Corpus::add(const std::string& target, const std::string& name,
                 const std::vector<std::byte>& bytes) const {
  const auto directory = std::filesystem::path(directory_) / target;
  std::filesystem::create_directories(directory);
  std::ofstream file(directory / name, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  check(file.good(), "a file of the corpus");
}

namespace {

using gstmmap::BytesOut;
using Out = std::vector<std::byte>;

// As tests/elements/metas_bytes.cpp, one of each type.
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
constexpr const char* kCaps[] = {
    "video/x-raw, format=I420, width=64, height=48, framerate=30/1",
    "audio/x-raw, format=S16LE, layout=interleaved, channels=2, channel-mask=(bitmask)0x3",
    "video/x-raw(memory:DMABuf, meta:GstVideoMeta), width=(int)[ 1, 9 ]; video/any(ANY)",
    "video/x-h264, stream-format=avc, alignment=au, codec_data=(buffer)0164001f",
    "ANY",
    "EMPTY",
};

Own<GstCaps> caps_of(const char* text) { return Own<GstCaps>(gst_caps_from_string(text)); }

Own<GstStructure> all_values() {
  Own<GstStructure> structure(gst_structure_new_from_string(kValues));
  const auto caps = caps_of(kCaps[2]);
  GBytes* bytes = g_bytes_new("\0\1", 2);
  GDateTime* now = g_date_time_new_utc(2026, 11, 24, 1, 2, 3.25);
  gst_structure_set(structure.get(), "bytes", G_TYPE_BYTES, bytes, "now", G_TYPE_DATE_TIME, now,
                    "caps", GST_TYPE_CAPS, caps.get(), "char", G_TYPE_CHAR, -5, "no-string",
                    G_TYPE_STRING, nullptr, "no-buffer", GST_TYPE_BUFFER, nullptr, nullptr);
  g_bytes_unref(bytes);
  g_date_time_unref(now);
  return structure;
}

GstTagList* new_tags() {
  GstTagList* tags = gst_tag_list_new(GST_TAG_TITLE, "title", GST_TAG_BITRATE, 1000u,
                                      GST_TAG_TRACK_PEAK, 0.5, nullptr);
  GstBuffer* buffer = gst_buffer_new_memdup("cover", 5);
  const auto caps = caps_of("image/png");
  GstSample* cover = gst_sample_new(buffer, caps.get(), nullptr,
                                    gst_structure_new("info", "a", G_TYPE_INT, 1, nullptr));
  GstDateTime* time = gst_date_time_new_ymd(2026, 11, 24);
  gst_tag_list_add(tags, GST_TAG_MERGE_APPEND, GST_TAG_IMAGE, cover, GST_TAG_DATE_TIME, time,
                   GST_TAG_ARTIST, "one", GST_TAG_ARTIST, "other", nullptr);
  gst_date_time_unref(time);
  gst_sample_unref(cover);
  gst_buffer_unref(buffer);
  return tags;
}

GstStream* new_stream(const char* id) {
  const auto caps = caps_of(kCaps[0]);
  GstStream* stream = gst_stream_new(id, caps.get(), GST_STREAM_TYPE_VIDEO, GST_STREAM_FLAG_SELECT);
  const Own<GstTagList> tags(new_tags());
  gst_stream_set_tags(stream, tags.get());
  return stream;
}

GstStreamCollection* new_streams() {
  GstStreamCollection* streams = gst_stream_collection_new("upstream");
  gst_stream_collection_add_stream(streams, new_stream("one"));
  gst_stream_collection_add_stream(streams, new_stream("two"));
  return streams;
}

GstToc* new_toc() {
  GstToc* toc = gst_toc_new(GST_TOC_SCOPE_GLOBAL);
  gst_toc_set_tags(toc, new_tags());
  GstTocEntry* edition = gst_toc_entry_new(GST_TOC_ENTRY_TYPE_EDITION, "edition");
  for (const char* name : {"a", "b"}) {
    GstTocEntry* chapter = gst_toc_entry_new(GST_TOC_ENTRY_TYPE_CHAPTER, name);
    gst_toc_entry_set_start_stop_times(chapter, 1, 2);
    gst_toc_entry_set_loop(chapter, GST_TOC_LOOP_FORWARD, 3);
    gst_toc_entry_append_sub_entry(edition, chapter);
  }
  gst_toc_append_entry(toc, edition);
  return toc;
}

// --- events -------------------------------------------------------------------------------------

void add_event(const Corpus& corpus, const std::string& name, GstEvent* event) {
  const Own<GstEvent> owned(event);
  const auto bytes = gstmmap::encode_event(event);
  check(bytes.has_value(), name.c_str());
  corpus.add("events", name, *bytes);
}

void add_events(const Corpus& corpus) {
  const auto add = [&](GstEvent* event, const char* more = "") {
    add_event(corpus, std::string(GST_EVENT_TYPE_NAME(event)) + more, event);
  };
  GstEvent* start = gst_event_new_stream_start("id");
  gst_event_set_group_id(start, 4);
  GstStream* stream = new_stream("id");
  gst_event_set_stream(start, stream);
  gst_object_unref(stream);
  add(start);
  GstStreamCollection* streams = new_streams();
  add(gst_event_new_stream_collection(streams));
  gst_object_unref(streams);
  add(gst_event_new_stream_group_done(3));
  for (size_t i = 0; i < 2; ++i)
    add(gst_event_new_caps(caps_of(kCaps[i]).get()), std::to_string(i).c_str());
  GstSegment segment;
  gst_segment_init(&segment, GST_FORMAT_TIME);
  segment.rate = -2;
  segment.stop = 5 * GST_SECOND;
  add(gst_event_new_segment(&segment));
  add(gst_event_new_tag(new_tags()));
  GstToc* toc = new_toc();
  add(gst_event_new_toc(toc, TRUE));
  gst_toc_unref(toc);
  add(gst_event_new_toc_select("a"));
  GstBuffer* data = gst_buffer_new_memdup("data", 4);
  add(gst_event_new_protection("system", data, "origin"));
  gst_buffer_unref(data);
  add(gst_event_new_gap(1, 2));
  add(gst_event_new_segment_done(GST_FORMAT_TIME, 9));
  add(gst_event_new_instant_rate_change(2, GST_SEGMENT_FLAG_TRICKMODE));
  add(gst_event_new_instant_rate_sync_time(2, 1, 2));
  add(gst_event_new_buffer_size(GST_FORMAT_BYTES, 1, 2, TRUE));
  add(gst_event_new_latency(7));
  add(gst_event_new_qos(GST_QOS_TYPE_UNDERFLOW, 0.5, -3, 9));
  add(gst_event_new_seek(1.5, GST_FORMAT_TIME, GST_SEEK_FLAG_FLUSH, GST_SEEK_TYPE_SET, 1,
                         GST_SEEK_TYPE_END, 2));
  add(gst_event_new_step(GST_FORMAT_BUFFERS, 1, 1, TRUE, FALSE));
  GList* ids = g_list_append(nullptr, const_cast<char*>("one"));
  add(gst_event_new_select_streams(ids));
  g_list_free(ids);
  add(gst_event_new_eos());
  add(gst_event_new_reconfigure());
  add(gst_event_new_navigation(all_values().release()));
  for (const auto type :
       {GST_EVENT_CUSTOM_UPSTREAM, GST_EVENT_CUSTOM_DOWNSTREAM, GST_EVENT_CUSTOM_DOWNSTREAM_OOB,
        GST_EVENT_CUSTOM_DOWNSTREAM_STICKY, GST_EVENT_CUSTOM_BOTH, GST_EVENT_CUSTOM_BOTH_OOB})
    add(gst_event_new_custom(type, gst_structure_new("own", "a", G_TYPE_INT, 1, nullptr)));
}

// --- queries ------------------------------------------------------------------------------------

void add_query(const Corpus& corpus, GstQuery* query, const std::function<void(GstQuery*)>& answer,
               const char* more = "") {
  const Own<GstQuery> owned(query);
  const auto question = gstmmap::encode_question(query);
  answer(query);
  const auto answered = gstmmap::encode_answer(query);
  check(question.has_value() && answered.has_value(), GST_QUERY_TYPE_NAME(query));
  Out out;
  put(out, static_cast<uint16_t>(question->size()));
  out.insert(out.end(), question->begin(), question->end());
  out.insert(out.end(), answered->begin(), answered->end());
  corpus.add("queries", std::string(GST_QUERY_TYPE_NAME(query)) + more, out);
}

void add_queries(const Corpus& corpus) {
  const auto add = [&](GstQuery* query, const std::function<void(GstQuery*)>& answer,
                       const char* more = "") { add_query(corpus, query, answer, more); };
  const auto caps = caps_of(kCaps[0]);
  const auto several = caps_of(kCaps[2]);
  add(gst_query_new_latency(), [](GstQuery* q) { gst_query_set_latency(q, TRUE, 1, 2); });
  add(gst_query_new_drain(), [](GstQuery*) {});
  add(gst_query_new_formats(),
      [](GstQuery* q) { gst_query_set_formats(q, 2, GST_FORMAT_TIME, GST_FORMAT_BYTES); });
  add(gst_query_new_segment(GST_FORMAT_TIME),
      [](GstQuery* q) { gst_query_set_segment(q, 1, GST_FORMAT_TIME, 1, 2); });
  add(gst_query_new_position(GST_FORMAT_TIME),
      [](GstQuery* q) { gst_query_set_position(q, GST_FORMAT_TIME, 1); });
  add(gst_query_new_duration(GST_FORMAT_TIME),
      [](GstQuery* q) { gst_query_set_duration(q, GST_FORMAT_TIME, 1); });
  add(gst_query_new_seeking(GST_FORMAT_TIME),
      [](GstQuery* q) { gst_query_set_seeking(q, GST_FORMAT_TIME, TRUE, 1, 2); });
  add(gst_query_new_convert(GST_FORMAT_TIME, 1, GST_FORMAT_BYTES),
      [](GstQuery* q) { gst_query_set_convert(q, GST_FORMAT_TIME, 1, GST_FORMAT_BYTES, 2); });
  add(gst_query_new_caps(several.get()),
      [&](GstQuery* q) { gst_query_set_caps_result(q, caps.get()); });
  add(
      gst_query_new_caps(nullptr),
      [&](GstQuery* q) { gst_query_set_caps_result(q, several.get()); }, "-unfiltered");
  add(gst_query_new_accept_caps(caps.get()),
      [](GstQuery* q) { gst_query_set_accept_caps_result(q, TRUE); });
  add(gst_query_new_allocation(caps.get(), TRUE), [](GstQuery* q) {
    GstAllocationParams params;
    gst_allocation_params_init(&params);
    params.align = 63;
    gst_query_add_allocation_param(q, nullptr, &params);
    gst_query_add_allocation_pool(q, nullptr, 5000, 3, 0);
    gst_query_add_allocation_meta(q, GST_VIDEO_META_API_TYPE, nullptr);
    gst_query_add_allocation_meta(q, GST_VIDEO_CROP_META_API_TYPE, nullptr);
  });
  add(
      gst_query_new_allocation(caps.get(), FALSE),
      [](GstQuery* q) {
        GstStructure* around = gst_structure_new("video-meta", "padding-top", G_TYPE_UINT, 16,
                                                 "stride-align0", G_TYPE_UINT, 63, nullptr);
        gst_query_add_allocation_meta(q, GST_VIDEO_META_API_TYPE, around);
        gst_structure_free(around);
      },
      "-padded");
  add(gst_query_new_context("type"), [](GstQuery* q) {
    GstContext* context = gst_context_new("type", TRUE);
    gst_structure_set(gst_context_writable_structure(context), "a", G_TYPE_INT, 1, nullptr);
    gst_query_set_context(q, context);
    gst_context_unref(context);
  });
  add(gst_query_new_uri(), [](GstQuery* q) {
    gst_query_set_uri(q, "file:///one");
    gst_query_set_uri_redirection(q, "file:///two");
  });
  add(gst_query_new_bitrate(), [](GstQuery* q) { gst_query_set_bitrate(q, 1000); });
  add(gst_query_new_buffering(GST_FORMAT_PERCENT), [](GstQuery* q) {
    gst_query_set_buffering_percent(q, TRUE, 10);
    gst_query_set_buffering_range(q, GST_FORMAT_PERCENT, 1, 2, 3);
    gst_query_add_buffering_range(q, 1, 2);
    gst_query_add_buffering_range(q, 3, 4);
  });
  add(gst_query_new_custom(GST_QUERY_CUSTOM, all_values().release()), [](GstQuery* q) {
    gst_structure_set(gst_query_writable_structure(q), "answer", G_TYPE_INT, 1, nullptr);
  });
}

// --- messages and the rest ----------------------------------------------------------------------

// A first byte, and what follows it.
void add_tagged(const Corpus& corpus, const char* target, const std::string& name, uint8_t which,
                const Out& bytes) {
  Out out;
  put(out, which);
  out.insert(out.end(), bytes.begin(), bytes.end());
  corpus.add(target, name, out);
}

void add_messages(const Corpus& corpus) {
  GError* error = g_error_new_literal(GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_READ, "text");
  GstMessage* const messages[] = {
      gst_message_new_error(nullptr, error, "debug"),
      gst_message_new_warning(nullptr, error, nullptr),
      gst_message_new_element(nullptr, all_values().release()),
  };
  for (GstMessage* message : messages) {
    add_tagged(corpus, "messages", GST_MESSAGE_TYPE_NAME(message), 0,
               *gstmmap::encode_message(message));
    gst_message_unref(message);
  }
  g_error_free(error);
  add_tagged(corpus, "messages", "flow", 1, gstmmap::encode(gstmmap::Flow{GST_FLOW_EOS}));
  add_tagged(corpus, "messages", "seqnum", 2, gstmmap::encode(uint32_t{9}));
  add_tagged(corpus, "messages", "flush-start", 3, gstmmap::encode(gstmmap::FlushStart{1, 2}));
  add_tagged(corpus, "messages", "flush-stop", 4, gstmmap::encode(gstmmap::FlushStop{1, 2, 1}));
  add_tagged(corpus, "messages", "id", 5, gstmmap::with_id(3, {}));
}

void add_structures(const Corpus& corpus) {
  const auto add = [&](const std::string& name, uint8_t which, const auto& encode) {
    Out bytes;
    BytesOut to(bytes);
    encode(to);
    add_tagged(corpus, "structures", name, which, bytes);
  };
  const auto values = all_values();
  add("structure", 0, [&](BytesOut& to) { gstmmap::put_structure(values.get(), to); });
  for (size_t i = 0; i < std::size(kCaps); ++i)
    add("caps" + std::to_string(i), 1,
        [&](BytesOut& to) { gstmmap::put_caps(caps_of(kCaps[i]).get(), to); });
  for (gint i = 0; i < gst_structure_n_fields(values.get()); ++i) {
    const char* name = gst_structure_nth_field_name(values.get(), static_cast<guint>(i));
    add(std::string("value-") + name, 2, [&](BytesOut& to) {
      gstmmap::put_value(gst_structure_get_value(values.get(), name), to, gstmmap::kDeepest);
    });
  }
  const Own<GstTagList> tags(new_tags());
  add("tags", 3, [&](BytesOut& to) { gstmmap::put_tags(tags.get(), to); });
  GstStreamCollection* streams = new_streams();
  add("streams", 4, [&](BytesOut& to) { gstmmap::put_streams(streams, to); });
  gst_object_unref(streams);
  GstToc* toc = new_toc();
  add("toc", 5, [&](BytesOut& to) { gstmmap::put_toc(toc, to); });
  gst_toc_unref(toc);
  GDateTime* now = g_date_time_new_utc(2026, 11, 24, 1, 2, 3.25);
  add("date-time", 6, [&](BytesOut& to) { gstmmap::put_date_time(now, to); });
  g_date_time_unref(now);
}

// --- buffers ------------------------------------------------------------------------------------

void add_buffer(const Corpus& corpus, const std::string& name, uint16_t size, int more,
                const std::function<void(GstBuffer*)>& add_metas) {
  const Own<GstBuffer> buffer(gst_buffer_new_allocate(nullptr, size, nullptr));
  add_metas(buffer.get());
  Out out;
  put(out, Shape{1, GST_BUFFER_FLAG_DISCONT, 64, size});
  put(out, static_cast<uint64_t>(more));
  for (int i = 0; i < more; ++i) {
    put(out, uint64_t{64});  // where, how much, in which
    put(out, uint64_t{100});
    put(out, uint32_t{2});
    put(out, uint32_t{0});
  }
  gstmmap::encode_metas(buffer.get(), out);
  corpus.add("buffers", name, out);
}

void add_video_metas(GstBuffer* buffer) {
  const guint8 data[] = {1, 2, 3, 4};
  guint8 uuid[16] = {9};
  gst_buffer_add_video_crop_meta(buffer);
  gst_buffer_add_video_affine_transformation_meta(buffer);
  gst_video_region_of_interest_meta_add_param(
      gst_buffer_add_video_region_of_interest_meta(buffer, "type", 1, 2, 3, 4),
      all_values().release());
  gst_buffer_add_video_caption_meta(buffer, GST_VIDEO_CAPTION_TYPE_CEA608_RAW, data, sizeof data);
  GDateTime* jam = g_date_time_new_utc(2026, 11, 24, 1, 2, 3.25);
  gst_buffer_add_video_time_code_meta_full(buffer, 25, 1, jam, GST_VIDEO_TIME_CODE_FLAGS_NONE, 1, 2,
                                           3, 4, 0);
  g_date_time_unref(jam);
  gst_buffer_add_video_bar_meta(buffer, 0, FALSE, 1, 2);
  gst_buffer_add_video_afd_meta(buffer, 0, GST_VIDEO_AFD_SPEC_ATSC_A53,
                                GST_VIDEO_AFD_4_3_FULL_16_9_FULL);
  gst_buffer_add_video_sei_user_data_unregistered_meta(buffer, uuid, const_cast<guint8*>(data), 4);
}

void add_audio_metas(GstBuffer* buffer) {
  gst_buffer_add_audio_clipping_meta(buffer, GST_FORMAT_TIME, 1, 2);
  gst_buffer_add_audio_level_meta(buffer, 1, TRUE);
  const GstAudioChannelPosition position[] = {GST_AUDIO_CHANNEL_POSITION_FRONT_LEFT,
                                              GST_AUDIO_CHANNEL_POSITION_FRONT_RIGHT};
  const gfloat row[] = {0.5f, 0.5f};
  const gfloat* rows[] = {row, row};
  gst_buffer_add_audio_downmix_meta(buffer, position, 2, position, 2, rows);
}

void add_other_metas(GstBuffer* buffer) {
  gst_buffer_add_reference_timestamp_meta(buffer, caps_of("timestamp/x-ntp").get(), 1, 2);
  gst_buffer_add_protection_meta(buffer, gst_structure_new("p", "k", G_TYPE_INT, 1, nullptr));
  const gchar* tags[] = {nullptr};
  gst_meta_register_custom(kCustomMeta, tags, nullptr, nullptr, nullptr);
  gst_structure_set(gst_custom_meta_get_structure(gst_buffer_add_custom_meta(buffer, kCustomMeta)),
                    "value", G_TYPE_INT, 5, nullptr);
}

void add_buffers(const Corpus& corpus) {
  add_buffer(corpus, "plain", 100, 0, [](GstBuffer*) {});
  add_buffer(corpus, "memories", 100, 3, [](GstBuffer*) {});
  add_buffer(corpus, "video", 4096, 1, add_video_metas);
  add_buffer(corpus, "audio", 4096, 0, add_audio_metas);
  add_buffer(corpus, "other", 0, 0, add_other_metas);
  // Small frames of each format, and samples in both layouts.
  auto* formats = static_cast<GEnumClass*>(g_type_class_ref(GST_TYPE_VIDEO_FORMAT));
  for (int format = GST_VIDEO_FORMAT_ENCODED + 1; g_enum_get_value(formats, format); ++format) {
    GstVideoInfo info;
    if (!gst_video_info_set_format(&info, static_cast<GstVideoFormat>(format), 32, 16) ||
        info.size > kArenaSize - 64)
      continue;
    add_buffer(corpus, std::string("video-") + info.finfo->name, static_cast<uint16_t>(info.size),
               0, [&](GstBuffer* buffer) {
                 gst_buffer_add_video_meta(buffer, GST_VIDEO_FRAME_FLAG_NONE, info.finfo->format,
                                           32, 16);
               });
  }
  g_type_class_unref(formats);
  for (const auto layout : {GST_AUDIO_LAYOUT_INTERLEAVED, GST_AUDIO_LAYOUT_NON_INTERLEAVED})
    add_buffer(corpus, "samples-" + std::to_string(layout), 4096, 0, [&](GstBuffer* buffer) {
      GstAudioInfo info;
      gst_audio_info_set_format(&info, GST_AUDIO_FORMAT_S24LE, 48000, 10, nullptr);
      info.layout = layout;
      gst_buffer_add_audio_meta(buffer, &info, 100, nullptr);
    });
}

// --- text ---------------------------------------------------------------------------------------

void add_texts(const Corpus& corpus) {
  constexpr const char* kUris[] = {
      "mmap:///tmp/camera",
      "mmap:///tmp/cam%20era?role=client&max-memory=65536",
      "mmap:///tmp/camera?role=server&mmap=both&on-disconnect=eos",
      "mmap:///a?connection-timeout=-1&query-timeout=0x10",
      "mmap:///a?max-buffers=4294967297&leaky-type=downstream&wait-for-connection=true",
      "mmap:///a?is-live=false&role",
      "mmap://user@host:1/a",
      "mmap:///a#b",
      "mmap:a",
      "mmap:///a?=&&;=%",
      "mmap:///%00%zz",
      "mmap:///a?b=%c0",
  };
  constexpr const char* kWords[] = {"auto", "yes", "both", "no", "read", "/tmp/a", "ja", ""};
  const auto add = [&](const std::string& name, uint8_t which, const char* text) {
    const auto bytes = std::as_bytes(std::span(text, std::strlen(text)));
    add_tagged(corpus, "uri", name, which, Out(bytes.begin(), bytes.end()));
  };
  for (size_t i = 0; i < std::size(kUris); ++i)
    add("uri" + std::to_string(i), static_cast<uint8_t>(i % 2), kUris[i]);
  for (size_t i = 0; i < std::size(kWords); ++i)
    add("word" + std::to_string(i), static_cast<uint8_t>(2 + i % 2), kWords[i]);
  constexpr const char* kLines[] = {
      R"({"time":123456789,"pid":7,"element":"sink","direction":"send","peer-pid":8,"buffers":9})",
      R"({"peer-place":"vsock CID 3","arena-bytes":4194304,"latency-p50":36863,"caps":"a, b=c"})",
      R"( { "a" : "\u00e9\ud834\udd1e\n\"" , "left-out" : 18446744073709551615 } )",
      "{}\n{\"a\":\"\x1b[2J\xff\"}\nno JSON\n{\"a\":1e5}",
  };
  for (size_t i = 0; i < std::size(kLines); ++i) {
    const auto bytes = std::as_bytes(std::span(kLines[i], std::strlen(kLines[i])));
    corpus.add("status", "line" + std::to_string(i), Out(bytes.begin(), bytes.end()));
  }
}

}  // namespace

}  // namespace fuzz

int main(int argc, char** argv) {
  fuzz::check(argc == 2, "fuzz-seeds DIRECTORY");
  LLVMFuzzerInitialize(&argc, &argv);
  const fuzz::Corpus corpus(argv[1]);
  fuzz::add_events(corpus);
  fuzz::add_queries(corpus);
  fuzz::add_messages(corpus);
  fuzz::add_structures(corpus);
  fuzz::add_buffers(corpus);
  fuzz::add_texts(corpus);
  fuzz::add_links(corpus);
  return 0;
}
