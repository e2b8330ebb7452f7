// Readers that stop reading: they hold up nobody but themselves, and not for ever.
#include <atomic>
#include <deque>

#include "tests/elements/support.h"

using test::Harness;
using test::Ref;
using test::Scene;

namespace {

void pause(const Harness& reader) { gst_element_set_state(reader.element(), GST_STATE_PAUSED); }

// The next message that a peer was lost; fails where none comes.
Ref<GstMessage> wait_lost(const Harness& sink) {
  for (;;) {
    Ref<GstMessage> message(
        gst_bus_timed_pop_filtered(sink.bus(), 10 * GST_SECOND, GST_MESSAGE_ELEMENT));
    fail_unless(message != nullptr, "no peer was lost");
    if (gst_message_has_name(message.get(), "mmap-peer-lost")) return message;
  }
}

void check_lost(const Harness& sink, const char* reason, guint64 reclaimed) {
  const auto message = wait_lost(sink);
  const GstStructure* lost = gst_message_get_structure(message.get());
  guint pid = 0;
  guint uid = 0;
  guint64 count = 0;
  fail_unless(gst_structure_get(lost, "pid", G_TYPE_UINT, &pid, "uid", G_TYPE_UINT, &uid,
                                "buffers-reclaimed", G_TYPE_UINT64, &count, nullptr));
  fail_unless_equals_int(static_cast<int>(pid), getpid());
  fail_unless_equals_int(static_cast<int>(uid), static_cast<int>(getuid()));
  fail_unless_equals_uint64(count, reclaimed);
  const gchar* why = gst_structure_get_string(lost, "reason");
  fail_unless(test::contains(why, reason), "%s", why);
}

}  // namespace

TEST(one_of_sixteen_leaves_the_others_alone) {
  const Scene scene;
  const Harness sink(scene.sink("max-buffers=4"));
  const Harness stopped(scene.src());
  pause(stopped);
  std::deque<Harness> readers;
  for (int i = 0; i < 15; ++i) readers.emplace_back(scene.src()).play();
  sink.wait_for_clients(16);
  for (guint64 i = 0; i < 100; ++i) {
    fail_unless_equals_int(sink.push_number(i), GST_FLOW_OK);
    for (const auto& reader : readers) fail_unless_equals_uint64(reader.pull_number(), i);
  }
  fail_unless_equals_uint64(sink.stat("dropped"), 96);
  // It gets what was kept for it, and goes on with what comes now.
  stopped.play();
  for (guint64 i = 0; i < 4; ++i) fail_unless_equals_uint64(stopped.pull_number(), i);
  fail_unless_equals_int(sink.push_number(100), GST_FLOW_OK);
  const auto next = stopped.pull();
  fail_unless_equals_uint64(GST_BUFFER_OFFSET(next.get()), 100);
  fail_unless(GST_BUFFER_FLAG_IS_SET(next.get(), GST_BUFFER_FLAG_DISCONT));
  fail_unless(!GST_BUFFER_FLAG_IS_SET(readers.front().pull().get(), GST_BUFFER_FLAG_DISCONT));
}

TEST(one_that_missed_packets_goes_on_with_a_key_frame) {
  const Scene scene;
  const Harness sink(scene.sink("max-buffers=2"), "video/x-h264");
  const Harness stopped(scene.src());
  const Harness other(scene.src());
  pause(stopped);
  other.play();
  sink.wait_for_clients(2);
  const auto push = [&](guint64 number, bool is_key) {
    GstBuffer* buffer = test::numbered(number, 100);
    if (!is_key) GST_BUFFER_FLAG_SET(buffer, GST_BUFFER_FLAG_DELTA_UNIT);
    fail_unless_equals_int(sink.push(buffer), GST_FLOW_OK);
    fail_unless_equals_uint64(other.pull_number(), number);
  };
  for (guint64 i = 0; i < 5; ++i) push(i, i == 0);
  stopped.play();
  for (guint64 i = 0; i < 2; ++i) fail_unless_equals_uint64(stopped.pull_number(), i);
  push(5, false);
  push(6, true);
  push(7, false);
  fail_unless_equals_uint64(stopped.pull_number(), 6);
  fail_unless_equals_uint64(stopped.pull_number(), 7);
}

TEST(where_all_have_stopped_nothing_is_dropped) {
  const Scene scene;
  const Harness sink(scene.sink("max-buffers=2"));
  const Harness one(scene.src());
  const Harness other(scene.src());
  pause(one);
  pause(other);
  sink.wait_for_clients(2);
  std::atomic<guint64> pushed{0};
  std::thread pusher([&] {
    for (guint64 i = 0; i < 10; ++i, ++pushed)
      fail_unless_equals_int(sink.push_number(i), GST_FLOW_OK);
  });
  fail_unless(test::becomes([&] { return pushed == 2; }));
  // Longer than one that stops alone is waited for.
  g_usleep(400 * G_TIME_SPAN_MILLISECOND);
  fail_unless_equals_uint64(pushed, 2);
  fail_unless_equals_uint64(sink.stat("dropped"), 0);
  // It goes on as soon as one reads. The other is waited for, but only for so long.
  one.play();
  for (guint64 i = 0; i < 10; ++i) fail_unless_equals_uint64(one.pull_number(), i);
  pusher.join();
  other.play();
  for (guint64 i = 0; i < 2; ++i) fail_unless_equals_uint64(other.pull_number(), i);
}

TEST(eos_comes_for_those_who_read) {
  const Scene scene;
  const Harness sink(scene.sink());
  const Harness stopped(scene.src());
  const Harness reader(scene.src());
  pause(stopped);
  reader.play();
  sink.wait_for_clients(2);
  fail_unless_equals_int(sink.push_number(0), GST_FLOW_OK);
  sink.push_event(gst_event_new_eos());
  reader.pull_event(GST_EVENT_EOS);
  // The other one has it, too, when it looks.
  stopped.play();
  fail_unless_equals_uint64(stopped.pull_number(), 0);
  stopped.pull_event(GST_EVENT_EOS);
}

TEST(peer_timeout_ends_the_wait_for_a_full_reader) {
  const Scene scene;
  const Harness sink(scene.sink("max-buffers=2 peer-timeout=50000000"));
  const Harness stopped(scene.src());
  pause(stopped);
  sink.wait_for_clients(1);
  for (guint64 i = 0; i < 5; ++i) fail_unless_equals_int(sink.push_number(i), GST_FLOW_OK);
  check_lost(sink, "peer-timeout=50000000 ns", 2);
  sink.wait_for_clients(0);
  fail_unless_equals_uint64(sink.stat("in-flight"), 0);
  // The next one is served.
  const Harness next(scene.src());
  next.play();
  sink.wait_for_clients(1);
  fail_unless_equals_int(sink.push_number(9), GST_FLOW_OK);
  fail_unless_equals_uint64(next.pull_number(), 9);
}

TEST(peer_timeout_ends_the_wait_for_memory) {
  const Scene scene;
  const Harness sink(scene.sink("peer-timeout=50000000 max-memory=4194304"));
  const Harness reader(scene.src());
  reader.play();
  sink.wait_for_clients(1);
  std::vector<Ref<GstBuffer>> held;
  constexpr gsize kSize = 1 << 20;
  for (guint64 i = 0; i < 4; ++i) {
    fail_unless_equals_int(sink.push(test::numbered(i, kSize)), GST_FLOW_OK);
    held.push_back(reader.pull());
  }
  fail_unless_equals_int(sink.push(test::numbered(4, kSize)), GST_FLOW_OK);
  check_lost(sink, "peer-timeout=50000000 ns", 4);
}

TEST(peer_timeout_ends_the_wait_for_eos) {
  const Scene scene;
  const Harness sink(scene.sink("peer-timeout=50000000"));
  const Harness stopped(scene.src());
  pause(stopped);
  sink.wait_for_clients(1);
  fail_unless_equals_int(sink.push_number(0), GST_FLOW_OK);
  sink.push_event(gst_event_new_eos());
  check_lost(sink, "peer-timeout", 1);
}

TEST(more_than_max_clients_are_refused) {
  const Scene scene;
  const Harness sink(scene.sink("max-clients=2"));
  const Harness one(scene.src());
  {
    const Harness two(scene.src());
    one.play();
    two.play();
    sink.wait_for_clients(2);
    const Harness three(scene.src());
    three.play();
    const std::string why = three.wait_error();
    fail_unless(test::contains(why, "max-clients=2"), "%s", why.c_str());
  }
  sink.wait_for_clients(1);
  const Harness four(scene.src());
  four.play();
  sink.wait_for_clients(2);
}
