// The control socket of a hostile peer: messages out of turn, cut short, too long, byte by byte and
// without end, with the wrong descriptors, in floods; other versions; connections that say nothing.
#include <sys/resource.h>

#include <atomic>
#include <cstring>
#include <deque>

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
      {"a type that is none yet", bytes(message(8, 16)), "a control message of an unknown type"},
      {"a question for the status", fds(mmaplink::StatusAsk{mmaplink::kVersion}, 0),
       "a greeting out of turn"},
      {"a status", fds(mmaplink::StatusPart{true, "{}"}, 0), "a status that nobody asked for"},
      {"a file", fds(mmaplink::RegionFound{}, 0), "a file that nobody asked for"},
      {"an inline item", fds(mmaplink::ItemBegins{}, 0), "an inline item of what is mapped"},
      {"a part of one", bytes(message(16, 9, 8)), "a part of what is mapped"},
      {"an inline item cut short", bytes(message(100, 8, 92)), kLength},
      {"progress", fds(mmaplink::Progress{0, true, {}}, 0), "progress of what is mapped"},
      {"items withdrawn", fds(mmaplink::Withdrawn{}, 0), "inline items of what is mapped"},
      {"who wants memory", fds(mmaplink::Asks{}, 0), "receipts of what is mapped"},
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
      "a control message of " +
          std::to_string(GUINT32_SWAP_LE_BE(static_cast<guint32>(build(Hello{}).size()))) +
          " bytes, or of another byte order");
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

// An application counts them: each that came goes, and none that it has not heard of.
TEST(who_dies_while_it_is_told_of_has_gone) {
  const Scene scene;
  struct Count {
    std::atomic<int> came{0}, gone{0};
    std::atomic<bool> waits{false}, open{false};
  } count;
  Play play(scene);
  const auto hears = [&](const char* signal, void (*heard)(GstElement*, guint, guint, Count*)) {
    g_signal_connect(play.sink.element(), signal, G_CALLBACK(heard), &count);
  };
  hears("client-connected", [](GstElement*, guint, guint, Count* of) {
    ++of->came;
    fail_unless(of->came == of->gone + 1);
    of->waits = true;
    fail_unless(test::becomes([&] { return of->open.load(); }));
  });
  hears("client-disconnected", [](GstElement*, guint, guint, Count* of) { ++of->gone; });
  {
    ForgedPeer peer(scene.path());
    peer.greet_server(kReads);
    fail_unless(play.until([&] {
      fail_unless(peer.look(), "%s", peer.refusal().c_str());
      peer.decline();
      return count.waits.load();
    }));
  }
  play.sink.wait_for_clients(1);
  fail_unless_equals_int(count.gone, 0);
  count.open = true;
  fail_unless(test::becomes([&] { return count.gone == 1; }));
  fail_unless_equals_int(count.came, 1);
}

// Of a stream that has not ended: a sink that is to say when nobody reads any more says so.
TEST(the_end_of_a_stream_is_not_for_its_reader_to_say) {
  const Scene scene;
  const Harness sink(scene.sink("on-disconnect=error"));
  ForgedPeer peer(scene.path());
  peer.join(sink);
  for (const uint32_t seqnum : {0u, 1u, 77u})
    peer.note(kForSink | static_cast<uint32_t>(Notice::eos_done), gstmmap::encode(seqnum));
  peer.hang_up();
  sink.wait_error();
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
