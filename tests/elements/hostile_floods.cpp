// What a hostile peer may ask, say and leave undone as often as it can: all of it is its own
// affair. Upstream, the application and other peers are asked, told and kept waiting within bounds.
#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>

#include "gst/wire.h"
#include "tests/elements/forged_peer.h"

using gstmmap::Notice;
using mmaplink::Note;
using test::Feed;
using test::ForgedPeer;
using test::ForgedServer;
using test::Harness;
using test::kForSink;
using test::kReads;
using test::kSends;
using test::Play;
using test::Scene;

namespace {

using Bytes = std::vector<std::byte>;

// Upstream of a sink, where events stop until they are let go. Whoever is let go may come back from
// there later than the test goes on.
class Blocked {
 public:
  explicit Blocked(const Harness& sink) : pad_(GST_PAD(gst_object_ref(sink.get()->srcpad))) {
    using Shared = std::shared_ptr<State>;
    probe_ = gst_pad_add_probe(
        pad_, GST_PAD_PROBE_TYPE_EVENT_UPSTREAM,
        [](GstPad*, GstPadProbeInfo* info, gpointer state) {
          const Shared kept = *static_cast<Shared*>(state);
          return kept->see(GST_PAD_PROBE_INFO_EVENT(info));
        },
        new Shared(state_), [](gpointer state) { delete static_cast<Shared*>(state); });
  }
  Blocked(const Blocked&) = delete;
  Blocked& operator=(const Blocked&) = delete;
  ~Blocked() {
    release();
    gst_pad_remove_probe(pad_, probe_);
    gst_object_unref(pad_);
  }
  void release() {
    const std::lock_guard lock(state_->mutex);
    state_->open = true;
    state_->changed.notify_all();
  }
  // Custom events of that name.
  int count(const char* name) {
    const std::lock_guard lock(state_->mutex);
    return static_cast<int>(std::count(state_->seen.begin(), state_->seen.end(), name));
  }
  // Looked at first, so that nothing else is in the worker's way.
  bool waits() {
    const std::lock_guard lock(state_->mutex);
    return state_->waiting;
  }

 private:
  struct State {
    GstPadProbeReturn see(GstEvent* event) {
      const GstStructure* structure = gst_event_get_structure(event);
      if (structure == nullptr || GST_EVENT_TYPE(event) != GST_EVENT_CUSTOM_UPSTREAM)
        return GST_PAD_PROBE_OK;
      std::unique_lock lock(mutex);
      seen.emplace_back(gst_structure_get_name(structure));
      waiting = true;
      changed.wait(lock, [&] { return open; });
      return GST_PAD_PROBE_OK;
    }
    std::mutex mutex;
    std::condition_variable changed;
    bool open = false;
    bool waiting = false;
    std::vector<std::string> seen;
  };

  const std::shared_ptr<State> state_ = std::make_shared<State>();
  GstPad* const pad_;
  gulong probe_ = 0;
};

// For a custom event of that name; those before it are dropped.
void wait_upstream(const Harness& sink, const char* name) {
  for (;;) {
    const test::Ref<GstEvent> event(gst_harness_pull_upstream_event(sink.get()));
    fail_unless(event != nullptr, "no event %s came", name);
    if (gst_event_has_name(event.get(), name)) return;
  }
}

Bytes custom_event(const char* name) {
  GstEvent* event = gst_event_new_custom(GST_EVENT_CUSTOM_UPSTREAM, gst_structure_new_empty(name));
  const auto bytes = gstmmap::encode_event(event);
  gst_event_unref(event);
  fail_unless(bytes.has_value());
  return *bytes;
}

}  // namespace

// Upstream takes its time. A peer that asks for more than can be done is hung up on, and what it
// asked is not done any more; one that asks for little is not, and does not wait for all of that.
TEST(a_flood_of_requests_is_the_floods_own_affair) {
  const Scene scene;
  Play play(scene);
  Blocked upstream(play.sink);
  const auto events = static_cast<uint32_t>(Notice::event);
  ForgedPeer modest(scene.path());
  modest.join(play.sink);
  {
    ForgedPeer flood(scene.path());
    flood.join(play.sink);
    const Bytes event = custom_event("flood");
    flood.note(kForSink | events, event);
    fail_unless(play.until([&] { return upstream.waits(); }));
    for (int i = 0; i < 6000; ++i)
      if (!flood.send(Note{kForSink | events, event})) break;
    // While nothing of it can be done.
    modest.note(kForSink | events, custom_event("modest"));
    fail_unless(play.until([&] { return !flood.look(); }));
    fail_unless(flood.refusal() == "the peer asks more than can be answered");
  }
  for (int i = 0; i < 10; ++i) play.step();
  upstream.release();
  for (int i = 0; i < 20; ++i) modest.note(kForSink | events, custom_event("modest"));
  fail_unless(play.until([&] { return upstream.count("modest") == 21; }));
  fail_unless(modest.look(), "%s", modest.refusal().c_str());
  fail_unless_equals_int(upstream.count("flood"), 1);
}

// The same where few messages are as many bytes.
TEST(a_flood_of_bytes_is_bounded) {
  const Scene scene;
  Play play(scene);
  Blocked upstream(play.sink);
  const auto events = static_cast<uint32_t>(Notice::event);
  ForgedPeer peer(scene.path());
  peer.join(play.sink);
  peer.note(kForSink | events, custom_event("flood"));
  fail_unless(play.until([&] { return upstream.waits(); }));
  for (int i = 0; i < 200; ++i)
    if (!peer.send(Note{kForSink | events, Bytes(60000)})) break;
  fail_unless(play.until([&] { return !peer.look(); }));
  fail_unless(peer.refusal() == "the peer asks more than can be answered");
  upstream.release();
}

// Whoever reads nothing of what it is asked and told.
TEST(a_peer_that_does_not_read_its_messages_is_bounded) {
  const Scene scene;
  Play play(scene);
  GstQuery* query = gst_query_new_position(GST_FORMAT_TIME);
  const auto question = gstmmap::encode_question(query);
  gst_query_unref(query);
  Bytes asked = gstmmap::with_id(1, *question);
  ForgedPeer peer(scene.path());
  peer.join(play.sink);
  bool open = true;
  for (int i = 0; i < 2'000'000 && open; ++i) {
    open = peer.send(Note{kForSink | static_cast<uint32_t>(Notice::query), asked});
    if (i % 1000 == 0) play.step();
  }
  fail_if(open);
  fail_unless(play.until([&] { return play.sink.stat("peers") == 1; }));
}

namespace {

// One of two readers asks the same without end, by these events in turn. Upstream is asked
// `at_once` times, and then so many times a second; or not at all.
void flood_upstream(std::vector<GstEvent*> events, double at_once, double per_second) {
  const Scene scene;
  Play play(scene);
  std::vector<Bytes> all;
  for (GstEvent* event : events) {
    const auto bytes = gstmmap::encode_event(event);
    gst_event_unref(event);
    fail_unless(bytes.has_value());
    all.push_back(*bytes);
  }
  ForgedPeer peer(scene.path());
  peer.join(play.sink);
  while (GstEvent* one = gst_harness_try_pull_upstream_event(play.sink.get())) gst_event_unref(one);
  const gint64 begin = g_get_monotonic_time();
  double came = 0;
  const auto look = [&] {
    while (const auto one =
               test::Ref<GstEvent>(gst_harness_try_pull_upstream_event(play.sink.get())))
      ++came;
  };
  // As often as a peer may say anything; a machine that is slower than that hangs up.
  for (size_t i = 0; i < 5000 && peer.look(); ++i) {
    peer.note(kForSink | static_cast<uint32_t>(Notice::event), all[i % all.size()]);
    if (i % 100 != 0) continue;
    // The stream goes on meanwhile.
    const gint64 due = begin + static_cast<gint64>(i) * G_TIME_SPAN_SECOND / 10'000;
    do {
      play.step();
    } while (g_get_monotonic_time() < due);
  }
  look();
  const double seconds = static_cast<double>(g_get_monotonic_time() - begin) / G_TIME_SPAN_SECOND;
  const double most = at_once + per_second * seconds;
  fail_unless(came <= most + 1, "upstream was asked %.0f times in %.3f s, at most %.0f are right",
              came, seconds, most);
  fail_unless(came >= std::min(at_once, 1.0), "upstream was not asked at all");
}

GstEvent* key_unit(GstClockTime time, bool with_headers) {
  return gst_video_event_new_upstream_force_key_unit(time, static_cast<gboolean>(with_headers), 1);
}

}  // namespace

// Each frame of the stream is a key frame: what was asked for is there at once, and asked for
// again.
TEST(key_units_asked_for_without_end_are_some_in_a_second) {
  flood_upstream({key_unit(GST_CLOCK_TIME_NONE, true)}, 4, 4);
}

TEST(key_units_asked_for_in_all_ways_are_some_in_a_second) {
  flood_upstream({key_unit(GST_CLOCK_TIME_NONE, true), key_unit(GST_CLOCK_TIME_NONE, false),
                  key_unit(0, true), key_unit(GST_SECOND, false), key_unit(2 * GST_SECOND, true)},
                 4, 4);
}

TEST(negotiations_asked_for_without_end_are_one_in_a_second) {
  flood_upstream({gst_event_new_reconfigure()}, 2, 1);
}

TEST(navigation_without_end_is_bounded) {
  flood_upstream(
      {gst_event_new_navigation(gst_structure_new("application/x-gst-navigation", "event",
                                                  G_TYPE_STRING, "mouse-move", nullptr)),
       gst_event_new_custom(GST_EVENT_CUSTOM_UPSTREAM, gst_structure_new_empty("some"))},
      500, 250);
}

TEST(what_decides_for_others_does_not_come_from_one_of_them) {
  flood_upstream({gst_event_new_qos(GST_QOS_TYPE_UNDERFLOW, 2.0, 5, 100), gst_event_new_latency(5),
                  gst_event_new_latency(6),
                  gst_event_new_seek(1.0, GST_FORMAT_TIME, GST_SEEK_FLAG_FLUSH, GST_SEEK_TYPE_SET,
                                     0, GST_SEEK_TYPE_NONE, 0),
                  gst_event_new_step(GST_FORMAT_BUFFERS, 1, 1.0, FALSE, FALSE)},
                 0, 0);
}

namespace {

int count_messages(const Harness& harness, GstMessageType type) {
  int count = 0;
  while (const auto message = test::Ref<GstMessage>(gst_bus_pop_filtered(harness.bus(), type)))
    ++count;
  return count;
}

void ask_latency(const Harness& harness) {
  const test::Ref<GstQuery> query(gst_query_new_latency());
  gst_element_query(harness.element(), query.get());
}

}  // namespace

// One that never answers, and says something else each time, so that it is asked again. Others wait
// for it for a second, and a twentieth of the time then.
TEST(questions_that_one_of_two_does_not_answer_hold_up_nobody) {
  const Scene scene;
  Play play(scene);
  ForgedPeer peer(scene.path());
  peer.join(play.sink);
  const gint64 begin = g_get_monotonic_time();
  const auto is_open = [&] { return g_get_monotonic_time() - begin < 10 * G_TIME_SPAN_SECOND; };
  int asked = 0;
  for (; asked < 40 && is_open(); ++asked) {
    const size_t before = peer.questions().size();
    const test::Ref<GstCaps> caps(gst_pad_peer_query_caps(play.sink.get()->srcpad, nullptr));
    // The other one's answer counts.
    fail_unless(caps != nullptr && !gst_caps_is_empty(caps.get()));
    fail_unless(test::becomes([&] { return peer.look() && peer.questions().size() > before; }));
    peer.note(kForSink | static_cast<uint32_t>(Notice::event), custom_event("something"));
    wait_upstream(play.sink, "something");
    play.step();
  }
  fail_unless(asked == 40, "%d questions in 10 s", asked);
}

// An application that does not look is told once; when it has looked, again.
TEST(latencies_said_without_end_are_one_message) {
  const Scene scene;
  Play play(scene);
  ForgedPeer peer(scene.path());
  peer.join(play.sink);
  GstClockTime latency = 0;
  for (int round = 0; round < 3; ++round) {
    ask_latency(play.sink);
    count_messages(play.sink, GST_MESSAGE_LATENCY);
    for (int i = 0; i < 100; ++i) {
      GstEvent* event = gst_event_new_latency(++latency);
      peer.note(kForSink | static_cast<uint32_t>(Notice::event), *gstmmap::encode_event(event));
      gst_event_unref(event);
    }
    peer.note(kForSink | static_cast<uint32_t>(Notice::event), custom_event("last"));
    wait_upstream(play.sink, "last");
    fail_unless_equals_int(count_messages(play.sink, GST_MESSAGE_LATENCY), 1);
  }
  // What others see later by one of several.
  gst_harness_set_upstream_latency(play.sink.get(), 0);
  GstEvent* event = gst_event_new_latency(GST_CLOCK_TIME_NONE - 1);
  peer.note(kForSink | static_cast<uint32_t>(Notice::event), *gstmmap::encode_event(event));
  gst_event_unref(event);
  GstClockTime least = 0;
  fail_unless(test::becomes([&] {
    const test::Ref<GstQuery> query(gst_query_new_latency());
    gst_element_query(play.sink.element(), query.get());
    gst_query_parse_latency(query.get(), nullptr, &least, nullptr);
    return least > latency;
  }));
  fail_unless_equals_uint64(least, GST_SECOND);
}

TEST(latencies_of_a_sender_are_one_message) {
  const Scene scene;
  Feed feed(scene);
  feed.peer.publish_number(1);
  fail_unless_equals_uint64(feed.source.pull_number(), 1);
  count_messages(feed.source, GST_MESSAGE_LATENCY);
  for (int i = 0; i < 100; ++i) feed.peer.note(static_cast<uint32_t>(Notice::latency), {});
  // In order with those.
  GstEvent* event =
      gst_event_new_custom(GST_EVENT_CUSTOM_DOWNSTREAM_OOB, gst_structure_new_empty("last"));
  feed.peer.note(static_cast<uint32_t>(Notice::event), *gstmmap::encode_event(event));
  gst_event_unref(event);
  feed.source.pull_event(GST_EVENT_CUSTOM_DOWNSTREAM_OOB);
  fail_unless_equals_int(count_messages(feed.source, GST_MESSAGE_LATENCY), 1);
}

// Many who want to read, and do not say whether they take the stream. Nobody waits for them, who
// are given an hour: neither those who read nor those who come later.
TEST(joiners_that_do_not_answer_are_waited_for_by_nobody) {
  const Scene scene;
  Play play(scene, "query-timeout=3600000000000");
  std::deque<ForgedPeer> silent;
  for (int i = 0; i < 20; ++i) {
    silent.emplace_back(scene.path()).greet_server(kReads);
    fail_unless(
        test::becomes([&] { return silent.back().look() && !silent.back().questions().empty(); }));
  }
  const Harness late(scene.src());
  late.play();
  play.sink.wait_for_clients(2);
  for (const Harness* reader : {&late, static_cast<const Harness*>(&play.reader)}) {
    fail_unless(gst_harness_push_upstream_event(
        reader->get(),
        gst_event_new_custom(GST_EVENT_CUSTOM_UPSTREAM, gst_structure_new_empty("asked"))));
    wait_upstream(play.sink, "asked");
  }
  play.step();
  late.pull();
  // Half of them leave, and of the others each is a reader when it says anything to that.
  for (int i = 0; i < 10; ++i) silent.pop_front();
  for (ForgedPeer& peer : silent) fail_unless_equals_int(peer.decline(), 1);
  play.sink.wait_for_clients(12);
}

namespace {

Bytes encoded(GstMessage* message) {
  const test::Ref<GstMessage> own(message);
  const auto bytes = gstmmap::encode_message(message);
  fail_unless(bytes.has_value());
  return *bytes;
}

}  // namespace

// As many as there may be, and the error that ends it all; of the others those that were asked for.
TEST(messages_of_a_server_are_bounded) {
  const Scene scene;
  ForgedServer server(scene.path());
  const Harness sink(scene.sink("role=client remote-messages=wanted,other"));
  ForgedPeer peer(server.accept());
  peer.greet_client(kReads);
  const auto say = [&](GstMessage* message) {
    peer.note(kForSink | static_cast<uint32_t>(Notice::message), encoded(message));
  };
  for (const char* name : {"unwanted", "want", "r", "other"})
    say(gst_message_new_element(nullptr, gst_structure_new_empty(name)));
  const test::Ref<GstMessage> element(
      gst_bus_timed_pop_filtered(sink.bus(), 10 * GST_SECOND, GST_MESSAGE_ELEMENT));
  fail_unless(element != nullptr && gst_message_has_name(element.get(), "other"));
  const auto failed = [](const char* text) {
    return g_error_new_literal(GST_STREAM_ERROR, GST_STREAM_ERROR_DECODE, text);
  };
  GError* odd = failed("Something odd.");
  const gint64 begin = g_get_monotonic_time();
  for (int i = 0; i < 3000; ++i) say(gst_message_new_warning(nullptr, odd, nullptr));
  g_clear_error(&odd);
  GError* bad = failed("It is over.");
  for (int i = 0; i < 3; ++i) say(gst_message_new_error(nullptr, bad, nullptr));
  g_clear_error(&bad);
  int came = 0;
  for (;;) {
    const test::Ref<GstMessage> message(gst_bus_timed_pop_filtered(
        sink.bus(), 10 * GST_SECOND,
        static_cast<GstMessageType>(GST_MESSAGE_ERROR | GST_MESSAGE_WARNING)));
    fail_unless(message != nullptr, "no error came");
    if (GST_MESSAGE_TYPE(message.get()) == GST_MESSAGE_ERROR) break;
    ++came;
  }
  const double seconds = static_cast<double>(g_get_monotonic_time() - begin) / G_TIME_SPAN_SECOND;
  fail_unless(came >= 100 && came <= 201 + 100 * seconds, "%d in %.3f s", came, seconds);
}

// Where nobody reads them.
TEST(messages_that_nobody_reads_are_bounded) {
  const Scene scene;
  Feed feed(scene);
  const auto end_segments = [&] {
    for (int i = 0; i < 2000; ++i) {
      feed.peer.publish_event(gst_event_new_segment_done(GST_FORMAT_TIME, i));
      fail_unless(
          test::becomes([&] { return feed.peer.own().head - feed.peer.theirs().taken < 100; }));
    }
    fail_unless(test::becomes([&] { return feed.peer.theirs().taken == feed.peer.own().head; }));
    while (GstEvent* event = gst_harness_try_pull_event(feed.source.get())) gst_event_unref(event);
    return count_messages(feed.source, GST_MESSAGE_SEGMENT_DONE);
  };
  for (int i = 0; i < 2; ++i) {
    const int came = end_segments();
    fail_unless(came >= 1000 && came <= 1024, "%d", came);
  }
}

// Each has sent something before it went, and nobody reads any of it.
TEST(senders_that_come_and_go_without_end_leave_little) {
  const Scene scene;
  const Harness source(scene.src("role=server"));
  gst_element_set_state(source.element(), GST_STATE_PAUSED);
  const auto before = Scene::open_now();
  for (int i = 0; i < 200; ++i) {
    ForgedPeer peer(scene.path());
    peer.greet_server(kSends);
    peer.begin_stream();
    fail_unless(test::becomes([&] { return peer.look() && source.stat("peers") == 1; }));
    peer.hang_up();
    fail_unless(test::becomes([&] { return source.stat("peers") == 0; }));
  }
  const auto now = Scene::open_now();
  // Of each link two halves and an arena.
  fail_unless(now.mappings > before.mappings && now.mappings <= before.mappings + 3 * 16, "%s, %s",
              before.text().c_str(), now.text().c_str());
}
