// mmapsink: who gets what (several readers, late ones, slow ones, none), what it answers upstream,
// and what it says about its readers.
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <memory>

#include "gst/mmap.h"
#include "tests/elements/support.h"

using test::Harness;
using test::Scene;

namespace {

// A reader that is connected, and takes nothing yet: a live source in PAUSED.
void pause(const Harness& reader) {
  fail_unless_equals_int(gst_element_set_state(reader.element(), GST_STATE_PAUSED),
                         GST_STATE_CHANGE_NO_PREROLL);
}

constexpr guint kWanted = 7;

// Downstream of a source: asks for kWanted buffers, aligned to 128.
GstPadProbeReturn ask_for_many(GstPad*, GstPadProbeInfo* info, gpointer) {
  GstQuery* query = GST_PAD_PROBE_INFO_QUERY(info);
  if (GST_QUERY_TYPE(query) != GST_QUERY_ALLOCATION) return GST_PAD_PROBE_OK;
  GstAllocationParams params;
  gst_allocation_params_init(&params);
  params.align = 127;
  gst_query_add_allocation_pool(query, nullptr, test::kVideoSize, kWanted, 0);
  gst_query_add_allocation_param(query, nullptr, &params);
  return GST_PAD_PROBE_HANDLED;
}

}  // namespace

TEST(four_readers_get_every_frame_in_order) {
  constexpr guint64 kFrames = 60;
  const Scene scene;
  const Harness sink(scene.sink());
  std::vector<std::unique_ptr<Harness>> readers;
  for (int i = 0; i < 4; ++i) {
    readers.push_back(std::make_unique<Harness>(scene.src()));
    readers.back()->play();
  }
  sink.wait_for_clients(4);
  fail_unless_equals_uint64(sink.stat("peers"), 4);
  for (guint64 i = 0; i < kFrames; ++i) fail_unless_equals_int(sink.push_number(i), GST_FLOW_OK);
  for (const auto& reader : readers)
    for (guint64 i = 0; i < kFrames; ++i) fail_unless_equals_uint64(reader->pull_number(), i);
  fail_unless_equals_uint64(sink.stat("buffers"), kFrames);
  fail_unless_equals_uint64(sink.stat("bytes"), kFrames * test::kVideoSize);
  fail_unless_equals_uint64(sink.stat("dropped"), 0);
  // One copy for all of them.
  fail_unless_equals_uint64(sink.stat("buffers-copied"), kFrames);
  fail_unless(sink.stat("latency-p99") >= sink.stat("latency-p50"));
}

TEST(late_reader_gets_caps_and_segment_first) {
  const Scene scene;
  const Harness sink(scene.sink());
  const Harness early(scene.src());
  early.play();
  sink.wait_for_clients(1);
  sink.push_event(gst_event_new_tag(gst_tag_list_new(GST_TAG_TITLE, "late", nullptr)));
  for (guint64 i = 0; i < 3; ++i) fail_unless_equals_int(sink.push_number(i), GST_FLOW_OK);

  const Harness late(scene.src());
  late.play();
  sink.wait_for_clients(2);
  for (guint64 i = 3; i < 6; ++i) fail_unless_equals_int(sink.push_number(i), GST_FLOW_OK);
  for (guint64 i = 0; i < 6; ++i) fail_unless_equals_uint64(early.pull_number(), i);
  for (guint64 i = 3; i < 6; ++i) fail_unless_equals_uint64(late.pull_number(), i);
  for (const GstEventType type :
       {GST_EVENT_STREAM_START, GST_EVENT_CAPS, GST_EVENT_SEGMENT, GST_EVENT_TAG}) {
    const test::Ref<GstEvent> event(gst_harness_pull_event(late.get()));
    fail_unless_equals_int(GST_EVENT_TYPE(event.get()), type);
  }
}

TEST(without_readers_buffers_are_dropped) {
  const Scene scene;
  const Harness sink(scene.sink());
  for (guint64 i = 0; i < 5; ++i) fail_unless_equals_int(sink.push_number(i), GST_FLOW_OK);
  fail_unless_equals_uint64(sink.stat("dropped"), 5);
  fail_unless_equals_uint64(sink.stat("in-flight"), 0);
  fail_unless_equals_uint64(sink.stat("arena-bytes"), 0);
}

TEST(wait_for_connection_keeps_the_first_buffer) {
  const Scene scene;
  const Harness sink(scene.sink("wait-for-connection=true"));
  std::thread pusher([&] {
    for (guint64 i = 0; i < 3; ++i) fail_unless_equals_int(sink.push_number(i), GST_FLOW_OK);
  });
  const Harness reader(scene.src());
  reader.play();
  for (guint64 i = 0; i < 3; ++i) fail_unless_equals_uint64(reader.pull_number(), i);
  pusher.join();
  fail_unless_equals_uint64(sink.stat("dropped"), 0);
}

TEST(wait_for_connection_ends_with_the_state) {
  const Scene scene;
  const test::Pipeline pipeline("videotestsrc ! " + scene.sink("name=s wait-for-connection=true"));
  pipeline.play();
  // Its pad has a stream: that thread is about to ask for caps, if it does not wait for them yet.
  GstPad* pad = gst_element_get_static_pad(pipeline.element("s"), "sink");
  fail_unless(test::becomes([&] {
    return test::Ref<GstEvent>(gst_pad_get_sticky_event(pad, GST_EVENT_STREAM_START, 0)) != nullptr;
  }));
  gst_object_unref(pad);
  pipeline.stop();
  pipeline.play();
  pipeline.stop();
}

TEST(leaky_upstream_keeps_the_oldest) {
  const Scene scene;
  const Harness sink(scene.sink("max-buffers=2 leaky-type=upstream"));
  const Harness reader(scene.src());
  pause(reader);
  sink.wait_for_clients(1);
  for (guint64 i = 0; i < 10; ++i) fail_unless_equals_int(sink.push_number(i), GST_FLOW_OK);
  fail_unless_equals_uint64(sink.stat("dropped"), 8);
  reader.play();
  fail_unless_equals_uint64(reader.pull_number(), 0);
  fail_unless_equals_uint64(reader.pull_number(), 1);
  fail_unless_equals_int(sink.push_number(77), GST_FLOW_OK);
  fail_unless_equals_uint64(reader.pull_number(), 77);
}

TEST(leaky_downstream_keeps_the_newest) {
  const Scene scene;
  const Harness sink(scene.sink("max-buffers=2 leaky-type=downstream"));
  const Harness reader(scene.src());
  pause(reader);
  sink.wait_for_clients(1);
  for (guint64 i = 0; i < 10; ++i) fail_unless_equals_int(sink.push_number(i), GST_FLOW_OK);
  fail_unless_equals_uint64(sink.stat("dropped"), 8);
  reader.play();
  fail_unless_equals_uint64(reader.pull_number(), 8);
  fail_unless_equals_uint64(reader.pull_number(), 9);
  // What had to arrive did.
  fail_unless_equals_int(GST_EVENT_TYPE(reader.pull_event(GST_EVENT_CAPS).get()), GST_EVENT_CAPS);
}

TEST(not_leaky_waits_and_drops_nothing) {
  const Scene scene;
  const Harness sink(scene.sink("max-buffers=2"));
  const Harness reader(scene.src());
  pause(reader);
  sink.wait_for_clients(1);
  std::atomic<guint64> pushed{0};
  std::thread pusher([&] {
    for (guint64 i = 0; i < 10; ++i) {
      fail_unless_equals_int(sink.push_number(i), GST_FLOW_OK);
      ++pushed;
    }
  });
  fail_unless(test::becomes([&] { return pushed == 2; }));
  reader.play();
  for (guint64 i = 0; i < 10; ++i) fail_unless_equals_uint64(reader.pull_number(), i);
  pusher.join();
  fail_unless_equals_uint64(sink.stat("dropped"), 0);
}

TEST(a_slow_reader_does_not_stop_a_leaky_one_from_its_frames) {
  const Scene scene;
  const Harness sink(scene.sink("max-buffers=2 leaky-type=downstream"));
  const Harness slow(scene.src());
  const Harness fast(scene.src());
  pause(slow);
  fast.play();
  sink.wait_for_clients(2);
  for (guint64 i = 0; i < 20; ++i) {
    fail_unless_equals_int(sink.push_number(i), GST_FLOW_OK);
    fail_unless_equals_uint64(fast.pull_number(), i);
  }
  slow.play();
  fail_unless_equals_uint64(slow.pull_number(), 18);
}

// It ends while the sender waits for room in its queue, and stays connected.
TEST(a_reader_that_wants_no_more_does_not_hold_the_sender_up) {
  const Scene scene;
  std::atomic<guint64> pushed{0};
  const Harness sink(scene.sink("max-buffers=2"));
  const Harness reader(scene.src("num-buffers=1"));
  gst_pad_add_probe(
      reader.get()->sinkpad, GST_PAD_PROBE_TYPE_BUFFER,
      [](GstPad*, GstPadProbeInfo*, gpointer data) {
        auto& count = *static_cast<std::atomic<guint64>*>(data);
        fail_unless(test::becomes([&] { return count >= 3; }));
        return GST_PAD_PROBE_OK;
      },
      &pushed, nullptr);
  reader.play();
  sink.wait_for_clients(1);
  std::thread pusher([&] {
    for (guint64 i = 0; i < 20; ++i) {
      fail_unless_equals_int(sink.push_number(i), GST_FLOW_OK);
      ++pushed;
    }
  });
  fail_unless(test::becomes([&] { return pushed == 20; }), "stuck after %d",
              static_cast<int>(pushed.load()));
  pusher.join();
  // What it has taken it may still read.
  fail_unless(test::becomes([&] { return sink.stat("in-flight") == 1; }));
  fail_unless_equals_uint64(reader.pull_number(), 0);
  fail_unless(test::becomes([&] { return sink.stat("in-flight") == 0; }));
}

TEST(allocation_offers_pool_allocator_and_video_meta) {
  const Scene scene;
  const Harness sink(scene.sink());
  const auto query = sink.ask_allocation();
  guint size = 0;
  guint min = 0;
  guint max = 1;
  GstBufferPool* pool = nullptr;
  fail_unless_equals_int(gst_query_get_n_allocation_pools(query.get()), 1);
  gst_query_parse_nth_allocation_pool(query.get(), 0, &pool, &size, &min, &max);
  fail_unless(pool != nullptr);
  fail_unless_equals_int(size, test::kVideoSize);
  fail_unless(min >= 2);
  fail_unless_equals_int(max, 0);
  fail_unless(gst_buffer_pool_has_option(pool, GST_BUFFER_POOL_OPTION_VIDEO_META));
  fail_unless(gst_buffer_pool_has_option(pool, GST_BUFFER_POOL_OPTION_VIDEO_ALIGNMENT));
  gst_object_unref(pool);
  fail_unless(gst_query_find_allocation_meta(query.get(), GST_VIDEO_META_API_TYPE, nullptr));
  GstAllocator* allocator = nullptr;
  fail_unless_equals_int(gst_query_get_n_allocation_params(query.get()), 1);
  gst_query_parse_nth_allocation_param(query.get(), 0, &allocator, nullptr);
  fail_unless(allocator != nullptr);
  GstMemory* memory = gst_allocator_alloc(allocator, 1000, nullptr);
  fail_unless(gst_is_mmap_memory(memory));
  gst_memory_unref(memory);
  gst_object_unref(allocator);
}

TEST(pool_follows_what_the_far_side_needs) {
  const Scene scene;
  const Harness sink(scene.sink());
  const Harness reader(scene.src());
  gst_pad_add_probe(reader.get()->sinkpad, GST_PAD_PROBE_TYPE_QUERY_DOWNSTREAM, ask_for_many,
                    nullptr, nullptr);
  reader.play();
  sink.wait_for_clients(1);
  const auto query = sink.ask_allocation();
  guint min = 0;
  guint max = 1;
  gst_query_parse_nth_allocation_pool(query.get(), 0, nullptr, nullptr, &min, &max);
  fail_unless(min >= kWanted, "a pool of at least %u", min);
  fail_unless_equals_int(max, 0);
  GstAllocationParams params;
  gst_query_parse_nth_allocation_param(query.get(), 0, nullptr, &params);
  fail_unless_equals_int(params.align & 127, 127);
}

TEST(frames_of_the_pool_are_not_copied_and_come_back) {
  const Scene scene;
  const Harness sink(scene.sink());
  const Harness reader(scene.src());
  reader.play();
  sink.wait_for_clients(1);
  constexpr int kFrames = 30;
  guint64 most_arenas = 0;
  for (int i = 0; i < kFrames; ++i) {
    fail_unless_equals_int(sink.push(sink.acquire()), GST_FLOW_OK);
    reader.pull();
    most_arenas = std::max(most_arenas, sink.stat("arenas"));
  }
  fail_unless_equals_uint64(sink.stat("bytes-copied"), 0);
  fail_unless_equals_uint64(sink.stat("buffers"), kFrames);
  fail_unless(most_arenas <= 3, "%" G_GUINT64_FORMAT " arenas", most_arenas);
}

TEST(in_flight_is_what_readers_hold) {
  const Scene scene;
  const Harness sink(scene.sink());
  const Harness reader(scene.src());
  reader.play();
  sink.wait_for_clients(1);
  {
    std::vector<test::Ref<GstBuffer>> held;
    for (guint64 i = 0; i < 5; ++i) {
      fail_unless_equals_int(sink.push_number(i), GST_FLOW_OK);
      held.push_back(reader.pull());
    }
    fail_unless_equals_uint64(sink.stat("in-flight"), 5);
    fail_unless_equals_uint64(reader.stat("in-flight"), 5);
  }
  fail_unless_equals_uint64(reader.stat("in-flight"), 0);
  fail_unless(test::becomes([&] { return sink.stat("in-flight") == 0; }), "%d in flight",
              static_cast<int>(sink.stat("in-flight")));
}

TEST(readers_are_announced_with_pid_and_uid) {
  const Scene scene;
  struct Heard {
    std::atomic<guint> came{0}, went{0}, notified{0};
  } heard;
  const Harness sink(scene.sink());
  const auto check = [](guint pid, guint uid) {
    fail_unless_equals_int(pid, getpid());
    fail_unless_equals_int(uid, getuid());
  };
  static const auto check_peer = check;
  g_signal_connect(sink.element(), "client-connected",
                   G_CALLBACK(+[](GstElement*, guint pid, guint uid, Heard* to) {
                     check_peer(pid, uid);
                     ++to->came;
                   }),
                   &heard);
  g_signal_connect(sink.element(), "client-disconnected",
                   G_CALLBACK(+[](GstElement*, guint pid, guint uid, Heard* to) {
                     check_peer(pid, uid);
                     ++to->went;
                   }),
                   &heard);
  g_signal_connect(sink.element(), "notify::num-clients",
                   G_CALLBACK(+[](GstElement*, GParamSpec*, Heard* to) { ++to->notified; }),
                   &heard);
  {
    const Harness reader(scene.src());
    reader.play();
    fail_unless(test::becomes([&] { return heard.came == 1 && heard.notified == 1; }));
    fail_unless_equals_int(heard.went, 0);
  }
  fail_unless(test::becomes([&] { return heard.went == 1 && heard.notified == 2; }));
  sink.wait_for_clients(0);
}

TEST(socket_has_the_mode_that_perms_says) {
  const Scene scene;
  for (const auto& [properties, mode] :
       {std::pair{"", 0600u}, std::pair{"perms=432", 0660u}, std::pair{"perms=511", 0777u}}) {
    const Harness sink(scene.sink(properties));
    struct stat st {};
    fail_unless_equals_int(::stat(scene.path().c_str(), &st), 0);
    fail_unless_equals_int(st.st_mode & 07777, mode);
  }
}

TEST(used_up_memory_is_an_error_that_says_why) {
  const Scene scene;
  constexpr auto kLarge = "video/x-raw,format=I420,width=640,height=480,framerate=30/1";
  const Harness sink(scene.sink("max-memory=4194304"), kLarge);
  const Harness reader(scene.src());
  reader.play();
  sink.wait_for_clients(1);
  // The harness keeps what comes, as an encoder keeps its reference frames.
  GstFlowReturn flow = GST_FLOW_OK;
  for (guint64 i = 0; i < 30 && flow == GST_FLOW_OK; ++i)
    flow = sink.push(test::numbered(i, 640 * 480 * 3 / 2));
  fail_unless_equals_int(flow, GST_FLOW_ERROR);
  const std::string error = sink.wait_error();
  const guint64 held = gst_harness_buffers_in_queue(reader.get());
  fail_unless(test::contains(error, "max-memory"), "%s", error.c_str());
  fail_unless(test::contains(error, "holds " + std::to_string(held) + " buffers"), "%s",
              error.c_str());
}
