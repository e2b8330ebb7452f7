// The control socket of a hostile peer: messages out of turn, cut short, too long, byte by byte and
// without end, with the wrong descriptors, in floods; other versions; connections that say nothing.
#include <sys/resource.h>

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>

#include "gst/wire.h"
#include "tests/elements/forged_peer.h"

using gstmmap::Notice;
using mmaplink::ArenaMade;
using mmaplink::ArenaRetired;
using mmaplink::build;
using mmaplink::Hello;
using mmaplink::kMaxMessage;
using mmaplink::kVersion;
using mmaplink::Lanes;
using mmaplink::Message;
using mmaplink::Note;
using mmaplink::page_size;
using mmaplink::Welcome;
using test::ForgedPeer;
using test::ForgedServer;
using test::Harness;
using test::kAllSeals;
using test::kForSink;
using test::kReads;
using test::kSends;
using test::Play;
using test::Scene;

namespace {

using Bytes = std::vector<std::byte>;

constexpr auto kNobodyAsked = "the peer sent descriptors nobody asked for";
constexpr auto kOutOfTurn = "a greeting out of turn";
constexpr auto kLength = "a control message of the wrong length";
constexpr auto kNoSense = "a notice that makes no sense";
constexpr auto kWithout = "a control message came without its descriptor";

// A message of any size, type and content.
Bytes message(uint32_t size, uint32_t type, size_t content = 0) {
  Bytes bytes(8 + content);
  std::memcpy(bytes.data(), &size, 4);
  std::memcpy(bytes.data() + 4, &type, 4);
  return bytes;
}

struct Attack {
  const char* name;
  std::function<void(ForgedPeer&)> does;
  const char* refusal;
};

// After the handshake, whichever way the data goes.
std::vector<Attack> out_of_order() {
  const auto bytes = [](Bytes all) {
    return [all = std::move(all)](ForgedPeer& peer) { peer.send_bytes(all); };
  };
  const auto fds = [](Message carries, size_t count) {
    return
        [=](ForgedPeer& peer) { peer.send(carries, std::vector<int>(count, peer.own_fd().get())); };
  };
  const uint64_t size = mmaplink::round_to_page(sizeof(mmaplink::Half));
  const Note nobodys_answer{static_cast<uint32_t>(Notice::answer), Bytes(9)};
  return {
      {"a second hello", fds(Hello{kVersion, kReads}, 1), kOutOfTurn},
      {"a welcome", fds(Welcome{kVersion, kReads}, 1), kOutOfTurn},
      {"a hello of another version", fds(Hello{kVersion + 1, kReads}, 1), kOutOfTurn},
      {"a hello without a half", fds(Hello{kVersion, kReads}, 0), kWithout},
      {"an arena without memory", fds(ArenaMade{1, size}, 0), kWithout},
      {"an arena with two", fds(ArenaMade{1, size}, 2), kNobodyAsked},
      {"an arena with as many as are read", fds(ArenaMade{1, size}, 16), kNobodyAsked},
      {"a note with a descriptor", fds(nobodys_answer, 1), kNobodyAsked},
      {"lanes with a descriptor", fds(Lanes{true, true}, 1), kNobodyAsked},
      {"more than is read at once", fds(ArenaMade{1, size}, 100),
       "descriptors from the peer were lost: too many at once, or the limit of open files is "
       "reached (ulimit -n)"},
      {"as many as one message may have", fds(Lanes{true, true}, 253),
       "descriptors from the peer were lost: too many at once, or the limit of open files is "
       "reached (ulimit -n)"},
      {"an arena twice",
       [=](ForgedPeer& peer) {
         for (int i = 0; i < 2; ++i) peer.send(ArenaMade{1, size}, {peer.own_fd().get()});
       },
       "an arena was announced twice"},
      {"an unknown arena retired", fds(ArenaRetired{1}, 0), "an unknown arena was retired"},
      {"an arena retired twice",
       [=](ForgedPeer& peer) {
         peer.send(ArenaMade{1, size}, {peer.own_fd().get()});
         for (int i = 0; i < 2; ++i) peer.send(ArenaRetired{1});
       },
       "an unknown arena was retired"},
      {"no size", bytes(message(0, 7)), "a control message of 0 bytes"},
      {"less than a header", bytes(message(7, 7)), "a control message of 7 bytes"},
      {"more than the most", bytes(message(kMaxMessage + 1, 7)),
       "a control message of 65537 bytes"},
      {"the largest size", bytes(message(~0u, 7)), "a control message of 4294967295 bytes"},
      {"type 0", bytes(message(8, 0)), "a control message of an unknown type"},
      {"type 8", bytes(message(8, 8)), "a control message of an unknown type"},
      {"the last type", bytes(message(8, ~0u)), "a control message of an unknown type"},
      {"lanes cut short", bytes(message(8, 4)), kLength},
      {"lanes too long", bytes(message(16, 4, 8)), kLength},
      {"an arena cut short", bytes(message(12, 5, 4)), kLength},
      {"an arena retired at length", bytes(message(1000, 6, 992)), kLength},
      {"a note without a kind", bytes(message(8, 7)), kLength},
      {"lanes there are none of",
       [](ForgedPeer& peer) {
         Bytes lanes = build(Lanes{true, true});
         lanes[8] = std::byte{4};
         peer.send_bytes(lanes);
       },
       kLength},
      {"another protocol",
       [](ForgedPeer& peer) {
         const std::string text = "GET / HTTP/1.1\r\n\r\n";
         peer.send_bytes(std::as_bytes(std::span(text)));
       },
       "a control message of 542393671 bytes"},
  };
}

}  // namespace

TEST(messages_to_a_sink_are_checked) {
  const Scene scene;
  Play play(scene);
  for (const auto& [name, does, refusal] : out_of_order()) play.attack(name, true, does, refusal);
}

TEST(messages_to_a_source_are_checked) {
  for (const auto& [name, does, refusal] : out_of_order()) test::attack_source(name, does, refusal);
}

TEST(what_comes_before_a_greeting_is_checked) {
  const Scene scene;
  Play play(scene);
  const std::string early = "a control message before the handshake";
  const auto fd = [](ForgedPeer& peer) { return std::vector{peer.own_fd().get()}; };
  play.attack(
      "lanes", false,
      [](ForgedPeer& peer) {
        peer.send(Lanes{true, true});
      },
      early);
  play.attack(
      "a note", false,
      [](ForgedPeer& peer) {
        peer.send(Note{3, Bytes(100)});
      },
      early);
  play.attack(
      "an arena", false,
      [&](ForgedPeer& peer) {
        peer.send(ArenaMade{1, page_size()}, fd(peer));
      },
      early);
  play.attack(
      "retired", false, [](ForgedPeer& peer) { peer.send(ArenaRetired{1}); }, early);
  play.attack(
      "a welcome", false,
      [&](ForgedPeer& peer) {
        peer.send(Welcome{kVersion, kReads}, fd(peer));
      },
      kOutOfTurn);
  play.attack(
      "a hello without a half", false,
      [](ForgedPeer& peer) {
        peer.send(Hello{kVersion, kReads});
      },
      kWithout);
  play.attack(
      "no magic", false,
      [&](ForgedPeer& peer) {
        Bytes hello = build(Hello{kVersion, kReads});
        hello[8] ^= std::byte{1};
        peer.send_bytes(hello, fd(peer));
      },
      "the peer does not speak this protocol");
  play.attack(
      "another byte order", false,
      [&](ForgedPeer& peer) {
        Bytes hello = build(Hello{kVersion, kReads});
        for (size_t i = 0; i + 4 <= hello.size(); i += 4) std::reverse(&hello[i], &hello[i] + 4);
        peer.send_bytes(hello, fd(peer));
      },
      "a control message of 335544320 bytes, or of another byte order");
  // Its own peer does not want it.
  play.attack(
      "a refusal", false, [](ForgedPeer& peer) { peer.send(mmaplink::Refuse{"no"}); }, "");
}

TEST(other_versions_are_refused_with_both_numbers) {
  const Scene scene;
  Play play(scene);
  for (const uint32_t version : {0u, kVersion + 1, ~0u}) {
    const std::string other = std::to_string(version);
    // What such a peer says besides is not for us to understand.
    Bytes hello = build(Hello{version, kReads});
    hello.resize(hello.size() + 100);
    const auto size = static_cast<uint32_t>(hello.size());
    std::memcpy(hello.data(), &size, sizeof size);
    play.attack(
        "another version", false,
        [&](ForgedPeer& peer) { peer.send_bytes(hello, {peer.own_fd().get()}); },
        "this server speaks version " + std::to_string(kVersion) +
            " of the link, the client version " + other);

    ForgedServer server(scene.path("forged"));
    const Harness source("mmapsrc socket-path=" + scene.path("forged"));
    source.play();
    ForgedPeer peer(server.accept());
    peer.send(Welcome{version, kSends}, {peer.own_fd().get()});
    const std::string text = "his client speaks version " + std::to_string(kVersion) +
                             " of the link, the server version " + other;
    fail_unless(peer.wait_hang_up() == "t" + text);
    fail_unless(test::contains(source.wait_error(), "T" + text));
  }
}

// The sizes and the messages of one that is right, one byte at a time.
TEST(byte_by_byte_is_as_good) {
  const Scene scene;
  Play play(scene);
  ForgedPeer peer(scene.path());
  const Bytes hello = build(Hello{kVersion, kReads});
  for (size_t i = 0; i < hello.size(); ++i) {
    peer.send_bytes(std::span(hello).subspan(i, 1),
                    i == 0 ? std::vector{peer.own_fd().get()} : std::vector<int>{});
    play.step();
  }
  fail_unless(play.until([&] { return peer.look() && !peer.fds.empty(); }));
  for (const std::byte& byte : build(Lanes{})) {
    peer.send_bytes({&byte, 1});
    play.step();
  }
  fail_unless(peer.look());
}

// One of the greatest length, of which the last byte never comes; and one before the greeting,
// which is given five seconds.
TEST(messages_without_end_cost_nobody_anything) {
  const Scene scene;
  Play play(scene);
  ForgedPeer never_greets(scene.path());
  never_greets.send_bytes(message(kMaxMessage, 1), {never_greets.own_fd().get()});
  const Scene::Open before = Scene::open_now();
  {
    ForgedPeer peer(scene.path());
    peer.join(play.sink);
    peer.send_bytes(message(kMaxMessage, 7));
    for (size_t i = 0; i < kMaxMessage - 9; ++i) {
      const std::byte byte{};
      fail_unless(peer.send_bytes({&byte, 1}));
      if (i % 1000 == 0) play.step();
    }
    fail_unless(peer.look());
  }
  fail_unless(play.until([&] { return play.sink.stat("peers") == 1; }));
  for (int i = 0; i < 5; ++i) play.step();
  const auto now = Scene::open_now();
  fail_unless(now.mappings <= before.mappings, "%s, %s", before.text().c_str(), now.text().c_str());
  fail_unless(test::becomes([&] {
    play.step();
    return !never_greets.look();
  }));
}

// For each kind there is, and some there are not.
TEST(notices_to_a_sink_are_checked) {
  const Scene scene;
  Play play(scene);
  for (uint32_t kind = 1; kind <= 12; ++kind) {
    const bool is_answer = kind == static_cast<uint32_t>(Notice::answer);
    for (const size_t size : {size_t{0}, size_t{3}, size_t{300}, kMaxMessage - 12}) {
      // An answer that nobody waits for may be anything.
      if (is_answer && size > 4) continue;
      play.attack(
          ("notice " + std::to_string(kind) + " of " + std::to_string(size)).c_str(), true,
          [&](ForgedPeer& peer) { peer.note(kForSink | kind, Bytes(size, std::byte{0xa5})); },
          is_answer ? "an answer that makes no sense" : kNoSense);
    }
  }
}

TEST(notices_to_a_source_are_checked) {
  for (const auto which : {Notice::eos_done, Notice::flow, Notice::event, Notice::event_asked,
                           Notice::query, Notice::flush_start, Notice::message})
    for (const size_t size : {size_t{3}, size_t{300}})
      test::attack_source(("notice " + std::to_string(static_cast<int>(which))).c_str(),
                          [&](ForgedPeer& peer) {
                            peer.note(static_cast<uint32_t>(which), Bytes(size, std::byte{0xa5}));
                          },
                          kNoSense);
}

namespace {

// Upstream of a sink, where events stop until they are let go.
class Blocked {
 public:
  explicit Blocked(const Harness& sink) : pad_(GST_PAD(gst_object_ref(sink.get()->srcpad))) {
    probe_ = gst_pad_add_probe(
        pad_, GST_PAD_PROBE_TYPE_EVENT_UPSTREAM,
        [](GstPad*, GstPadProbeInfo* info, gpointer self) {
          return static_cast<Blocked*>(self)->see(GST_PAD_PROBE_INFO_EVENT(info));
        },
        this, nullptr);
  }
  Blocked(const Blocked&) = delete;
  Blocked& operator=(const Blocked&) = delete;
  ~Blocked() {
    release();
    gst_pad_remove_probe(pad_, probe_);
    gst_object_unref(pad_);
  }
  void release() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  // Custom events of that name.
  int count(const char* name) {
    const std::lock_guard lock(mutex_);
    return static_cast<int>(std::count(seen_.begin(), seen_.end(), name));
  }
  // Looked at first, so that nothing else is in the worker's way.
  bool waits() {
    const std::lock_guard lock(mutex_);
    return waiting_;
  }

 private:
  GstPadProbeReturn see(GstEvent* event) {
    const GstStructure* structure = gst_event_get_structure(event);
    if (structure == nullptr || GST_EVENT_TYPE(event) != GST_EVENT_CUSTOM_UPSTREAM)
      return GST_PAD_PROBE_OK;
    std::unique_lock lock(mutex_);
    seen_.emplace_back(gst_structure_get_name(structure));
    waiting_ = true;
    changed_.wait(lock, [&] { return open_; });
    return GST_PAD_PROBE_OK;
  }

  GstPad* const pad_;
  gulong probe_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
  bool waiting_ = false;
  std::vector<std::string> seen_;
};

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
    play.step();
    g_usleep(10'000);
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
    test::Ref<GstEvent> event;
    do event.reset(gst_harness_pull_upstream_event(play.sink.get()));
    while (event != nullptr && !gst_event_has_name(event.get(), "last"));
    fail_unless(event != nullptr);
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
  const Harness source(scene.src("role=server"));
  source.play();
  ForgedPeer peer(scene.path());
  peer.greet_server(kSends);
  peer.begin_stream();
  peer.publish_number(1);
  fail_unless_equals_uint64(source.pull_number(), 1);
  count_messages(source, GST_MESSAGE_LATENCY);
  for (int i = 0; i < 100; ++i) peer.note(static_cast<uint32_t>(Notice::latency), {});
  // In order with those.
  GstEvent* event =
      gst_event_new_custom(GST_EVENT_CUSTOM_DOWNSTREAM_OOB, gst_structure_new_empty("last"));
  peer.note(static_cast<uint32_t>(Notice::event), *gstmmap::encode_event(event));
  gst_event_unref(event);
  source.pull_event(GST_EVENT_CUSTOM_DOWNSTREAM_OOB);
  fail_unless_equals_int(count_messages(source, GST_MESSAGE_LATENCY), 1);
}

// They are more than there may be connections, where we may have as many ourselves.
TEST(thousands_that_say_nothing) {
  const Scene scene;
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = std::min<rlim_t>(files.rlim_max, 4096);
  setrlimit(RLIMIT_NOFILE, &files);
  Play play(scene);
  const size_t most = std::min<size_t>(1200, files.rlim_cur / 2 - 100);
  std::deque<mmaplink::Fd> silent;
  for (int i = 0; i < 3000; ++i) {
    mmaplink::Fd socket;
    fail_unless(play.until([&] {  // while the backlog is full
      auto connected = mmaplink::connect_to(scene.path());
      if (connected) socket = std::move(*connected);
      return static_cast<bool>(socket);
    }));
    silent.push_back(std::move(socket));
    if (silent.size() > most) silent.pop_front();
    if (i % 10 == 0) play.step();
  }
  const Harness good(scene.src());
  good.play();
  fail_unless(play.until([&] { return play.sink.stat("peers") == 2; }));
  play.step();
  good.pull();
}
