// A hostile peer at a link that goes both ways: what it does on one lane does not get at the other,
// and the next one finds a server as new.
#include <algorithm>
#include <array>

#include "gst/wire.h"
#include "tests/elements/forged_peer.h"

using gstmmap::Item;
using gstmmap::Notice;
using mmaplink::Descriptor;
using mmaplink::Lanes;
using test::ForgedPeer;
using test::ForgedServer;
using test::Harness;
using test::kForSink;
using test::Pipeline;
using test::Scene;

namespace {

using Bytes = std::vector<std::byte>;

constexpr Lanes kBoth{true, true};

// As much as is read of it.
void send_on(ForgedPeer& peer, uint64_t& next) {
  if (peer.own().head - peer.theirs().taken < 100) peer.publish_number(next++);
}

// Reads what comes back, as a peer that is well, and declines what it is asked.
void read_back(ForgedPeer& peer) {
  peer.decline();
  const uint64_t head = peer.theirs().head;
  for (uint64_t i = peer.own().taken; i < head; ++i) {
    const auto& slot = peer.theirs().slots[i % mmaplink::kSlots];
    const uint64_t ticket = slot.descriptor.ticket;
    peer.own().claimed = i + 1;
    peer.own().taken = i + 1;
    if (ticket != 0) peer.give_back(ticket);
  }
}

struct Attack {
  const char* name;
  std::function<void(ForgedPeer&)> does;
  const char* refusal;
};

// Of one that has sent some frames already, and reads what comes back.
std::vector<Attack> attacks() {
  const auto publish = [](uint32_t kind, Bytes bytes) {
    return [kind, bytes](ForgedPeer& peer) {
      Descriptor descriptor;
      descriptor.kind = kind;
      peer.publish(descriptor, bytes);
    };
  };
  const auto say = [](uint32_t kind) {
    return [kind](ForgedPeer& peer) { peer.note(kind, Bytes(300, std::byte{0xa5})); };
  };
  const auto event = static_cast<uint32_t>(Notice::event);
  return {
      {"an item of no kind", publish(77, Bytes(8)), "a descriptor of an unknown kind"},
      {"an event", publish(static_cast<uint32_t>(Item::event), Bytes(300, std::byte{0xff})),
       "an event that makes no sense"},
      {"an event past the lane for the source", say(event), "a notice that makes no sense"},
      {"an event past the lane for the sink", say(kForSink | event),
       "a notice that makes no sense"},
      {"a receipt for what it has not got", [](ForgedPeer& peer) { peer.give_back(1u << 20); },
       "the peer gave back what it does not hold"},
      {"receipts without end", [](ForgedPeer& peer) { peer.own().receipt_head = 1u << 30; },
       "the peer's receipts left their ring"},
      {"it writes too far", [](ForgedPeer& peer) { peer.own().head = 1u << 30; },
       "the peer's write index left the ring"},
      {"an arena that is there", [](ForgedPeer& peer) { peer.announce(1, 64 << 10); },
       "an arena was announced twice"},
  };
}

// Frames go to the server and come back, one by one, and they are its own.
void check_good_client(const Scene& scene, const char* after) {
  const Harness back(scene.src());
  const Harness sink(scene.sink("role=client"));
  back.play();
  for (guint64 i = 200; i < 220; ++i) {
    fail_unless_equals_int(sink.push_number(i), GST_FLOW_OK);
    const guint64 came = back.pull_number();
    fail_unless(came == i, "after %s: %" G_GUINT64_FORMAT " came, not %" G_GUINT64_FORMAT, after,
                came, i);
  }
  const test::Ref<GstMessage> error(gst_bus_pop_filtered(back.bus(), GST_MESSAGE_ERROR));
  fail_unless(error == nullptr, "after %s", after);
}

std::string server_line(const Scene& scene, const std::string& properties = "") {
  return scene.src("role=server mmap=yes ! identity ! ") + scene.sink("name=sink " + properties);
}

guint clients(const Pipeline& server) {
  guint count = 0;
  g_object_get(server.element("sink"), "num-clients", &count, nullptr);
  return count;
}

}  // namespace

TEST(clients_of_a_pair_are_checked) {
  const Scene scene;
  const Pipeline server(server_line(scene));
  server.play();
  check_good_client(scene, "nothing");
  for (const auto& [name, does, refusal] : attacks()) {
    const auto before = Scene::open_now();
    {
      ForgedPeer peer(scene.path());
      peer.greet_server(kBoth);
      peer.begin_stream();
      uint64_t next = 0;
      fail_unless(test::becomes([&] {
                    send_on(peer, next);
                    read_back(peer);
                    return !peer.look() || peer.own().taken > 20;
                  }),
                  "%s: nothing comes back", name);
      does(peer);
      fail_unless(test::becomes([&] {
                    if (peer.own().head < 1u << 30) send_on(peer, next);
                    if (peer.own().receipt_head < 1u << 30) read_back(peer);
                    return !peer.look();
                  }),
                  "%s: it is not hung up on", name);
      fail_unless(peer.refusal() == refusal, "%s: hung up with '%s'", name, peer.refusal().c_str());
    }
    check_good_client(scene, name);
    fail_unless(test::becomes([&] {
                  const auto now = Scene::open_now();
                  return now.files <= before.files && now.mappings <= before.mappings;
                }),
                "%s: %s before, %s after", name, before.text().c_str(),
                Scene::open_now().text().c_str());
  }
  fail_unless(server.errors().empty());
}

// It sends, and takes nothing of what comes back: all of the server waits for it, until it goes.
TEST(a_client_that_reads_nothing_back_holds_up_its_own_turn) {
  const Scene scene;
  const Pipeline server(server_line(scene));
  server.play();
  for (const bool says_goodbye : {false, true}) {
    ForgedPeer peer(scene.path());
    peer.greet_server(kBoth);
    peer.begin_stream();
    uint64_t next = 0;
    // Until nothing more is read: what waits to go back is max-buffers, and one is on its way.
    fail_unless(test::becomes([&] {
      fail_unless(peer.look(), "%s", peer.refusal().c_str());
      peer.decline();
      send_on(peer, next);
      return peer.own().head - peer.theirs().taken >= 100;
    }));
    if (says_goodbye) peer.send(Lanes{});
    peer.hang_up();
    check_good_client(scene, "one that read nothing");
  }
}

TEST(a_client_that_reads_nothing_back_is_hung_up_on_in_time) {
  const Scene scene;
  const Pipeline server(server_line(scene, "peer-timeout=50000000"));
  server.play();
  ForgedPeer peer(scene.path());
  peer.greet_server(kBoth);
  peer.begin_stream();
  uint64_t next = 0;
  fail_unless(test::becomes([&] {
    peer.decline();
    send_on(peer, next);
    return !peer.look();
  }));
  fail_unless(test::contains(peer.refusal(), "peer-timeout=50000000"), "%s",
              peer.refusal().c_str());
  check_good_client(scene, "one that was too slow");
}

// What it has at its ends changes without end: each time it is another reader, or none.
TEST(lanes_that_come_and_go_without_end) {
  const Scene scene;
  const Pipeline server(server_line(scene));
  server.play();
  ForgedPeer peer(scene.path());
  peer.greet_server(kBoth);
  peer.begin_stream();
  uint64_t next = 0;
  for (int i = 0; i < 2000; ++i) {
    peer.send(i % 2 == 0 ? Lanes{true, false} : kBoth);
    if (i % 10 == 0) send_on(peer, next);
    if (!peer.look()) break;
  }
  fail_unless(test::becomes([&] {
    send_on(peer, next);
    read_back(peer);
    return !peer.look() || clients(server) == 1;
  }));
  fail_unless(peer.look(), "%s", peer.refusal().c_str());
  peer.hang_up();
  check_good_client(scene, "lanes that came and went");
}

// That its stream is over, that it has enough, and how long it takes: nothing to the next one.
TEST(what_a_client_says_of_its_end_is_nothing_to_the_next) {
  const Scene scene;
  const Pipeline server(server_line(scene));
  server.play();
  const std::array<std::pair<Notice, Bytes>, 3> all = {
      {{Notice::eos_done, gstmmap::encode(uint32_t{0})},
       {Notice::flow, gstmmap::encode(gstmmap::Flow{GST_FLOW_EOS})},
       {Notice::flow, gstmmap::encode(gstmmap::Flow{GST_FLOW_ERROR})}}};
  for (const auto& [kind, bytes] : all) {
    ForgedPeer peer(scene.path());
    peer.greet_server(kBoth);
    peer.begin_stream();
    fail_unless(test::becomes([&] {
      peer.decline();
      return peer.look() && clients(server) == 1;
    }));
    peer.note(kForSink | static_cast<uint32_t>(kind), bytes);
    uint64_t next = 0;
    for (int i = 0; i < 50; ++i) {
      send_on(peer, next);
      g_usleep(1000);
    }
    peer.hang_up();
    check_good_client(scene, "what it said");
  }
  fail_unless(server.errors().empty());
}

// The same of a server: its client has one error, and ends.
TEST(servers_of_a_pair_are_checked) {
  for (const Attack& attack : attacks()) {
    const char* const name = attack.name;  // for clang 14, which captures no structured bindings
    const char* const refusal = attack.refusal;
    const Scene scene;
    ForgedServer server(scene.path());
    const Harness back(scene.src());
    const Harness sink(scene.sink("role=client"));
    back.play();
    ForgedPeer peer(server.accept());
    peer.greet_client(kBoth);
    peer.begin_stream();
    uint64_t next = 0;
    sink.wait_for_clients(1);
    fail_unless_equals_int(sink.push_number(0), GST_FLOW_OK);
    fail_unless(test::becomes([&] {
      fail_unless(peer.look(), "%s: %s", name, peer.refusal().c_str());
      read_back(peer);
      return peer.own().taken > 3;
    }));
    for (int i = 0; i < 5; ++i) {
      send_on(peer, next);
      back.pull();
    }
    attack.does(peer);
    GstFlowReturn flow = GST_FLOW_OK;
    fail_unless(test::becomes([&] {
                  if (flow == GST_FLOW_OK) flow = sink.push_number(1);
                  if (peer.own().receipt_head < 1u << 30) read_back(peer);
                  return !peer.look();
                }),
                "%s: it is not hung up on", name);
    fail_unless(peer.refusal() == refusal, "%s: hung up with '%s'", name, peer.refusal().c_str());
    const std::string error = back.wait_error();
    fail_unless(test::contains(error, refusal), "%s: %s", name, error.c_str());
    back.pull_event(GST_EVENT_EOS);
    fail_unless(test::becomes([&] { return sink.push_number(2) == GST_FLOW_ERROR; }), "%s", name);
  }
}
