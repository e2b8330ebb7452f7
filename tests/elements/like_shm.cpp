// After the cases of shmsink's and shmsrc's own suite.
#include <atomic>

#include "gst/mmap.h"
#include "tests/elements/like_support.h"

using test::Harness;
using test::Pipeline;
using test::Ref;
using test::Scene;

namespace {

// Which stay where they are: their reader takes no private copy.
constexpr auto kBytes = "audio/x-raw,format=U8,layout=interleaved,rate=8000,channels=1";

// A sender of bytes and its reader, which are connected.
struct Pair {
  explicit Pair(const Scene& scene, const char* properties = "")
      : sink(scene.sink(properties), kBytes), reader(scene.src()) {
    reader.play();
    sink.wait_for_clients(1);
  }
  Harness sink, reader;
};

// Downstream of a source that takes its first buffer and is busy with it until it is let go. One
// that only waited for more would be told that memory has run out.
struct Busy {
  std::atomic<bool> reached{false}, go{false};
  void put(const Harness& reader) {
    gst_pad_add_probe(
        reader.get()->sinkpad, GST_PAD_PROBE_TYPE_BUFFER,
        [](GstPad*, GstPadProbeInfo*, gpointer data) {
          auto& self = *static_cast<Busy*>(data);
          self.reached = true;
          fail_unless(test::becomes([&] { return self.go.load(); }));
          return GST_PAD_PROBE_OK;
        },
        this, nullptr);
  }
};

}  // namespace

TEST(system_memory_without_caps_crosses) {
  const Scene scene;
  const Harness sink(scene.sink("wait-for-connection=true"), nullptr);
  const Harness reader(scene.src());
  reader.play();
  GstSegment segment;
  gst_segment_init(&segment, GST_FORMAT_BYTES);
  sink.push_event(gst_event_new_stream_start("bytes"));
  sink.push_event(gst_event_new_segment(&segment));
  // Not by the harness, which wants caps.
  fail_unless_equals_int(gst_pad_push(sink.get()->srcpad, test::numbered(3, 1000)), GST_FLOW_OK);
  GstState state{};
  GstState pending{};
  fail_unless_equals_int(gst_element_get_state(sink.element(), &state, &pending, 10 * GST_SECOND),
                         GST_STATE_CHANGE_SUCCESS);
  fail_unless_equals_int(state, GST_STATE_PLAYING);
  fail_unless_equals_int(pending, GST_STATE_VOID_PENDING);
  const auto came = reader.pull();
  fail_unless_equals_uint64(gst_buffer_get_size(came.get()), 1000);
  fail_unless_equals_uint64(sink.stat("buffers-copied"), 1);
}

TEST(a_buffer_as_large_as_all_memory_crosses_without_a_copy) {
  constexpr gsize kAll = 8 << 20;
  const Scene scene;
  const Pair pair(scene, ("max-memory=" + std::to_string(kAll)).c_str());
  GstBuffer* buffer = pair.sink.allocate(kAll);
  fail_unless(buffer != nullptr);
  fail_unless(gst_is_mmap_memory(gst_buffer_peek_memory(buffer, 0)));
  const auto place = test::lies(gst_buffer_peek_memory(buffer, 0));
  fail_unless_equals_int(pair.sink.push(buffer), GST_FLOW_OK);
  const auto came = pair.reader.pull();
  fail_unless_equals_uint64(gst_buffer_get_size(came.get()), kAll);
  fail_unless(test::lies_still(place, gst_buffer_peek_memory(came.get(), 0)));
  fail_unless_equals_uint64(pair.sink.stat("bytes-copied"), 0);
}

// The allocator waits for memory of the arena; it gives nothing else.
TEST(with_all_memory_in_use_the_allocator_waits_for_more) {
  constexpr gsize kAll = 8 << 20;
  const Scene scene;
  const Pair pair(scene, ("max-memory=" + std::to_string(kAll)).c_str());
  Busy busy;
  busy.put(pair.reader);
  fail_unless_equals_int(pair.sink.push(pair.sink.allocate(kAll)), GST_FLOW_OK);
  fail_unless(test::becomes([&] { return busy.reached.load(); }));
  std::atomic<GstBuffer*> got{nullptr};
  std::thread wants([&] { got = pair.sink.allocate(kAll); });
  // There is nothing to wait for: that it does not come.
  g_usleep(200000);
  fail_unless(got.load() == nullptr, "memory came while there was none");
  busy.go = true;
  pair.reader.pull();
  wants.join();
  fail_unless(got.load() != nullptr);
  fail_unless(gst_is_mmap_memory(gst_buffer_peek_memory(got, 0)));
  fail_unless_equals_int(pair.sink.push(got), GST_FLOW_OK);
  pair.reader.pull();
  fail_unless_equals_uint64(pair.sink.stat("bytes-copied"), 0);
}

TEST(full_memory_stops_the_sender_and_a_reader_lets_it_go_on) {
  constexpr guint64 kFrames = 40;
  constexpr gsize kFrame = 1 << 20;
  const Scene scene;
  const Pair pair(scene, "max-memory=8388608 max-buffers=200");
  Busy busy;
  busy.put(pair.reader);
  std::atomic<guint64> pushed{0};
  std::thread pusher([&] {
    for (guint64 i = 0; i < kFrames; ++i) {
      fail_unless_equals_int(pair.sink.push(test::numbered(i, kFrame)), GST_FLOW_OK);
      ++pushed;
    }
  });
  fail_unless(test::becomes([&] { return busy.reached && pushed == 8; }), "%d were pushed",
              static_cast<int>(pushed.load()));
  g_usleep(200000);
  fail_unless_equals_uint64(pushed, 8);
  busy.go = true;
  for (guint64 i = 0; i < kFrames; ++i) fail_unless_equals_uint64(pair.reader.pull_number(), i);
  pusher.join();
  fail_unless_equals_uint64(pair.sink.stat("dropped"), 0);
}

TEST(a_live_reader_outlives_a_producer_without_caps) {
  const Scene scene;
  const Pipeline producer("fakesrc sizetype=fixed ! " + scene.sink());
  const Pipeline consumer(
      scene.src("is-live=true on-disconnect=none ! appsink name=out async=false "
                "enable-last-sample=false"));
  producer.play();
  test::reaches(consumer, GST_STATE_PLAYING);
  GstSample* sample = nullptr;
  g_signal_emit_by_name(consumer.element("out"), "try-pull-sample", 10 * GST_SECOND, &sample);
  fail_unless(sample != nullptr, "no sample came");
  fail_unless(gst_buffer_get_size(gst_sample_get_buffer(sample)) > 0);
  gst_sample_unref(sample);
  producer.stop();
  fail_unless(consumer.errors().empty());
}

TEST(stopping_after_the_end_is_no_error) {
  const Scene scene;
  const Pipeline pipeline("fakesrc num-buffers=5 sizetype=fixed ! " + scene.sink());
  GstBus* bus = gst_element_get_bus(pipeline.get());
  // Else a bus drops its messages in NULL.
  g_object_set(pipeline.get(), "auto-flush-bus", FALSE, nullptr);
  pipeline.play();
  pipeline.wait_eos();
  pipeline.stop();
  fail_unless(pipeline.errors().empty());
  gst_bus_set_flushing(bus, TRUE);
  gst_object_unref(bus);
}
