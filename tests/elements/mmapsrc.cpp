// mmapsrc: its memory and how long it lives, its states, time and end of stream.
#include "gst/mmap.h"
#include "tests/elements/support.h"

using test::Harness;
using test::Pipeline;
using test::Scene;

namespace {

// A frame of 60x48 in rows of 64 bytes: padding that GstVideoInfo alone does not tell.
constexpr auto kPadded = "video/x-raw,format=GRAY8,width=60,height=48,framerate=30/1";
constexpr gsize kTight = 60 * 48;

GstBuffer* padded_frame(const Harness& sink) {
  GstBuffer* buffer = sink.allocate(64 * 48);
  gst_buffer_memset(buffer, 0, 0xee, 64 * 48);
  for (gsize row = 0; row < 48; ++row)
    gst_buffer_memset(buffer, row * 64, static_cast<guint8>(row), 60);
  gsize offset[GST_VIDEO_MAX_PLANES] = {0};
  gint stride[GST_VIDEO_MAX_PLANES] = {64};
  gst_buffer_add_video_meta_full(buffer, GST_VIDEO_FRAME_FLAG_NONE, GST_VIDEO_FORMAT_GRAY8, 60, 48,
                                 1, offset, stride);
  return buffer;
}

}  // namespace

TEST(received_memory_is_read_only) {
  const Scene scene;
  const Harness sink(scene.sink());
  const Harness reader(scene.src());
  reader.play();
  sink.wait_for_clients(1);
  sink.push_number(1);
  const auto buffer = reader.pull();
  GstMemory* memory = gst_buffer_peek_memory(buffer.get(), 0);
  fail_unless(gst_is_mmap_memory(memory));
  fail_unless(GST_MEMORY_IS_READONLY(memory));
  GstMapInfo map;
  fail_if(gst_memory_map(memory, &map, GST_MAP_WRITE));
  fail_if(gst_memory_map(memory, &map, GST_MAP_READWRITE));
  fail_unless(gst_memory_map(memory, &map, GST_MAP_READ));
  gst_memory_unmap(memory, &map);
  // Whoever wants to write gets a copy, as with any memory.
  test::Ref<GstBuffer> writable(gst_buffer_copy_deep(buffer.get()));
  fail_unless(gst_buffer_map(writable.get(), &map, GST_MAP_WRITE));
  gst_buffer_unmap(writable.get(), &map);
}

TEST(memory_lies_at_the_same_place_on_both_sides) {
  const Scene scene;
  const Harness sink(scene.sink());
  const Harness reader(scene.src());
  reader.play();
  sink.wait_for_clients(1);
  std::vector<test::Ref<GstBuffer>> held;
  for (int i = 0; i < 6; ++i) {
    GstBuffer* sent = sink.acquire();
    const auto there = test::lies(gst_buffer_peek_memory(sent, 0));
    fail_unless_equals_int(sink.push(sent), GST_FLOW_OK);
    held.push_back(reader.pull());
    fail_unless(test::lies_still(there, gst_buffer_peek_memory(held.back().get(), 0)));
    for (size_t k = 0; k + 1 < held.size(); ++k)
      fail_if(there == test::lies(gst_buffer_peek_memory(held[k].get(), 0)),
              "frame %d was written over frame %zu that is held", i, k);
  }
  fail_unless_equals_uint64(sink.stat("bytes-copied"), 0);
}

TEST(frames_stay_readable_when_all_else_is_gone) {
  const Scene scene;
  std::vector<test::Ref<GstBuffer>> held;
  {
    const Harness reader(scene.src("on-disconnect=none"));
    {
      const Harness sink(scene.sink());
      reader.play();
      sink.wait_for_clients(1);
      for (guint64 i = 0; i < 4; ++i) {
        sink.push_number(i);
        held.push_back(reader.pull());
      }
    }
  }
  for (guint64 i = 0; i < 4; ++i) {
    const test::Ref<GstBuffer> wanted(test::numbered(i));
    GstMapInfo map;
    fail_unless(gst_buffer_map(wanted.get(), &map, GST_MAP_READ));
    fail_unless_equals_int(gst_buffer_memcmp(held[i].get(), 0, map.data, map.size), 0);
    gst_buffer_unmap(wanted.get(), &map);
  }
}

TEST(padded_frames_pass_where_downstream_knows_video_meta) {
  const Scene scene;
  const Harness sink(scene.sink(), kPadded);
  const Harness reader(scene.src());
  gst_harness_add_propose_allocation_meta(reader.get(), GST_VIDEO_META_API_TYPE, nullptr);
  reader.play();
  sink.wait_for_clients(1);
  GstBuffer* sent = padded_frame(sink);
  const auto there = test::lies(gst_buffer_peek_memory(sent, 0));
  fail_unless_equals_int(sink.push(sent), GST_FLOW_OK);
  const auto buffer = reader.pull();
  const GstVideoMeta* meta = gst_buffer_get_video_meta(buffer.get());
  fail_unless(meta != nullptr && meta->stride[0] == 64 && meta->width == 60);
  fail_unless(test::lies_still(there, gst_buffer_peek_memory(buffer.get(), 0)));
  fail_unless_equals_uint64(sink.stat("bytes-copied") + reader.stat("bytes-copied"), 0);
}

TEST(padded_frames_are_tightened_where_it_does_not) {
  const Scene scene;
  const Harness sink(scene.sink(), kPadded);
  const Harness reader(scene.src());
  reader.play();
  sink.wait_for_clients(1);
  fail_unless_equals_int(sink.push(padded_frame(sink)), GST_FLOW_OK);
  const auto buffer = reader.pull();
  GstMapInfo map;
  fail_unless(gst_buffer_map(buffer.get(), &map, GST_MAP_READ));
  fail_unless(map.size >= kTight);
  for (gsize i = 0; i < kTight; ++i) fail_unless_equals_int(map.data[i], static_cast<int>(i / 60));
  gst_buffer_unmap(buffer.get(), &map);
  fail_unless(reader.stat("buffers-copied") == 1 && reader.stat("bytes-copied") >= kTight);
}

TEST(num_buffers_ends_the_stream_here_only) {
  const Scene scene;
  const Harness sink(scene.sink());
  const Harness reader(scene.src("num-buffers=3"));
  reader.play();
  sink.wait_for_clients(1);
  for (guint64 i = 0; i < 3; ++i) sink.push_number(i);
  for (guint64 i = 0; i < 3; ++i) fail_unless_equals_uint64(reader.pull_number(), i);
  reader.pull_event(GST_EVENT_EOS);
  for (guint64 i = 0; i < 20; ++i) fail_unless_equals_int(sink.push_number(i), GST_FLOW_OK);
  sink.wait_for_clients(0);
  fail_unless_equals_int(gst_harness_buffers_in_queue(reader.get()), 0);
}

TEST(frames_stay_as_they_are_after_num_buffers) {
  const Scene scene;
  // Large enough for memory that is free to be written again at once.
  constexpr gsize kLarge = 1280 * 960 * 3 / 2;
  const Harness sink(scene.sink(), "video/x-raw,format=I420,width=1280,height=960,framerate=30/1");
  const Harness reader(scene.src("num-buffers=3"));
  const Harness other(scene.src());
  reader.play();
  other.play();
  sink.wait_for_clients(2);
  const auto push = [&](guint8 number) {
    GstBuffer* buffer = sink.acquire();
    gst_buffer_memset(buffer, 0, number, kLarge);
    fail_unless_equals_int(sink.push(buffer), GST_FLOW_OK);
    other.pull();
  };
  std::vector<test::Ref<GstBuffer>> held;
  for (guint8 i = 0; i < 3; ++i) {
    push(i);
    held.push_back(reader.pull());
  }
  reader.pull_event(GST_EVENT_EOS);
  sink.wait_for_clients(1);
  for (guint8 i = 100; i < 130; ++i) push(i);
  for (guint8 i = 0; i < 3; ++i) {
    const std::vector<guint8> wanted(kLarge, i);
    fail_unless_equals_int(gst_buffer_memcmp(held[i].get(), 0, wanted.data(), wanted.size()), 0);
  }
}

TEST(do_timestamp_replaces_the_senders) {
  const Scene scene;
  const Harness sink(scene.sink());
  const Harness reader(scene.src("do-timestamp=true"));
  reader.play();
  sink.wait_for_clients(1);
  gst_harness_set_time(reader.get(), 7 * GST_SECOND);
  sink.push_number(1);
  const auto buffer = reader.pull();
  fail_unless_equals_uint64(GST_BUFFER_PTS(buffer.get()), 7 * GST_SECOND);
  fail_unless_equals_uint64(GST_BUFFER_DTS(buffer.get()), GST_CLOCK_TIME_NONE);
  fail_unless_equals_uint64(GST_BUFFER_DURATION(buffer.get()), GST_SECOND / 30);
}

// What it looks for, what comes when it is not expected, and an end in the middle of looking.
TEST(a_reader_that_looks_for_frames_gets_them_all) {
  const Scene scene;
  const Harness sink(scene.sink());
  const Harness reader(scene.src("busy-poll=1000000000"));
  reader.play();
  sink.wait_for_clients(1);
  guint64 number = 0;
  for (const int together : {1, 1, 1, 1, 1, 1, 1, 1, 5, 1, 1, 7, 1, 1, 1}) {
    for (int i = 0; i < together; ++i) sink.push_number(number + static_cast<guint64>(i));
    for (int i = 0; i < together; ++i) fail_unless_equals_uint64(reader.pull_number(), number++);
  }
  fail_unless_equals_uint64(reader.stat("buffers"), number);
}

TEST(live_source_gives_nothing_in_paused) {
  const Scene scene;
  const Harness sink(scene.sink());
  const Pipeline live(scene.src("name=src ! fakesink async=false"));
  fail_unless_equals_int(live.set(GST_STATE_PAUSED), GST_STATE_CHANGE_NO_PREROLL);
  sink.wait_for_clients(1);
  sink.push_number(0);
  fail_unless_equals_uint64(test::stat(live.element("src"), "buffers"), 0);
  live.play();
  fail_unless(test::becomes([&] { return test::stat(live.element("src"), "buffers") == 1; }));
  fail_unless_equals_int(live.set(GST_STATE_PAUSED), GST_STATE_CHANGE_NO_PREROLL);
}

TEST(source_that_is_not_live_prerolls) {
  const Scene scene;
  const Harness sink(scene.sink());
  const Pipeline file(scene.src("is-live=false ! fakesink"));
  fail_unless_equals_int(file.set(GST_STATE_PAUSED), GST_STATE_CHANGE_ASYNC);
  sink.wait_for_clients(1);
  sink.push_number(0);
  fail_unless_equals_int(gst_element_get_state(file.get(), nullptr, nullptr, 10 * GST_SECOND),
                         GST_STATE_CHANGE_SUCCESS);
}

TEST(latency_query_says_live_without_delay) {
  const Scene scene;
  for (const bool live : {true, false}) {
    const Harness reader(scene.src(live ? "" : "is-live=false"));
    reader.play();
    const test::Ref<GstQuery> query(gst_query_new_latency());
    fail_unless(gst_pad_peer_query(reader.get()->sinkpad, query.get()));
    gboolean said = FALSE;
    GstClockTime least = 1;
    GstClockTime most = 0;
    gst_query_parse_latency(query.get(), &said, &least, &most);
    fail_unless_equals_int(said, live);
    fail_unless_equals_uint64(least, 0);
    fail_unless_equals_uint64(most, GST_CLOCK_TIME_NONE);
  }
}

TEST(source_waits_for_its_server) {
  const Scene scene;
  const Harness reader(scene.src());
  reader.play();
  // Said once, so that a person at a terminal knows.
  const test::Ref<GstMessage> message(
      gst_bus_timed_pop_filtered(reader.bus(), 10 * GST_SECOND, GST_MESSAGE_INFO));
  fail_unless(message != nullptr);
  GError* info = nullptr;
  gst_message_parse_info(message.get(), &info, nullptr);
  fail_unless(test::contains(info->message, scene.path()), "%s", info->message);
  g_error_free(info);

  const Harness sink(scene.sink("wait-for-connection=true"));
  sink.push_number(5);
  fail_unless_equals_uint64(reader.pull_number(), 5);
}

TEST(eos_asked_for_comes_without_a_server_too) {
  const Scene scene;
  const Pipeline pipeline(scene.src("! fakesink async=false"));
  pipeline.play();
  fail_unless(gst_element_send_event(pipeline.get(), gst_event_new_eos()));
  pipeline.wait_eos();
}

TEST(eos_asked_for_ends_a_running_stream) {
  const Scene scene;
  const Pipeline sender("videotestsrc is-live=true ! " + scene.sink());
  const Pipeline reader(scene.src("name=src ! fakesink async=false"));
  sender.play();
  reader.play();
  fail_unless(test::becomes([&] { return test::stat(reader.element("src"), "buffers") > 2; }));
  fail_unless(gst_element_send_event(reader.get(), gst_event_new_eos()));
  reader.wait_eos();
  fail_unless(sender.errors().empty());
}

// Base times differ, and what is shown is shown at the same instant all the same.
TEST(running_time_is_the_same_instant_on_both_sides) {
  const Scene scene;
  const Pipeline sender("videotestsrc is-live=true ! " + std::string(test::kVideo) + " ! " +
                        scene.sink());
  sender.play();
  const Pipeline reader(scene.src("! appsink name=out"));
  reader.play();
  GstSample* sample = nullptr;
  g_signal_emit_by_name(reader.element("out"), "try-pull-sample", 10 * GST_SECOND, &sample);
  fail_unless(sample != nullptr);
  const GstClockTime pts = GST_BUFFER_PTS(gst_sample_get_buffer(sample));
  const guint64 here =
      gst_segment_to_running_time(gst_sample_get_segment(sample), GST_FORMAT_TIME, pts) +
      gst_element_get_base_time(reader.get());
  fail_unless(gst_element_get_base_time(reader.get()) != gst_element_get_base_time(sender.get()));
  fail_unless_equals_uint64(here, pts + gst_element_get_base_time(sender.get()));
  gst_sample_unref(sample);
}
