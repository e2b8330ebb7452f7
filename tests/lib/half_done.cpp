// Each half-done state in which a peer may die: brought about exactly, by a peer that is written by
// hand, whose socket is closed then. Whoever survives frees all, delivers what was published, wakes
// up and serves the next.
//
// Covered elsewhere, and not again here:
//   fewer descriptors than the message says     endpoint_peers.cpp  lost_descriptors_end_the_link
//   dead with all as it should be               endpoint_peers.cpp  a_sudden_end_is_seen_…
//   claimed, where the sender withdraws         lane_withdraw.cpp   a_slot_that_is_being_read_…
//   an arena that never comes, and no death     tests/elements/hostile_lane.cpp
//   indices that go on after the death          tests/elements/hostile_lane.cpp,
//   nothing_comes_from_… at any moment, with real processes          tests/processes/chaos.cpp
#include <sys/socket.h>

#include <cstring>

#include "lib/ticket.h"
#include "tests/lib/endpoint_user.h"
#include "tests/lib/sending.h"

namespace mmaplink::test {
namespace {

constexpr Lanes kReads{false, true};
constexpr Lanes kSends{true, false};

// A client by hand. Its end is its death: the kernel closes its socket, and nothing else is done.
struct Peer {
  explicit Peer(const std::string& path) : channel(must(connect_to(path))) {}

  void greet(Lanes lanes) {
    must(channel.send(Hello{kVersion, lanes}, half->fd.get()));
    g_assert_true(eventually([&] {
      must(channel.receive([&](Channel::Received received) {
        if (std::holds_alternative<Welcome>(received.message))
          map.emplace(must(map_sealed(received.fd, half->map.size())));
        return true;
      }));
      return map.has_value();
    }));
  }
  Half& own() { return *reinterpret_cast<Half*>(half->map.data()); }
  const Half& theirs() const { return *reinterpret_cast<const Half*>(map->data()); }

  // As a sender: a slot, without a word of it anywhere else.
  void write_slot(uint64_t index, uint64_t mark, uint32_t arena = 0) {
    Descriptor descriptor;
    descriptor.sequence = descriptor.first = index + 1;
    descriptor.ticket = index + 1;
    descriptor.pts = mark;
    descriptor.extra_from = static_cast<uint32_t>(ExtraFrom::slot);
    descriptor.arena = arena;
    descriptor.size = arena != 0 ? 16 : 0;
    own().slots[index % kSlots].descriptor = descriptor;
  }
  void publish(uint64_t index, uint64_t mark) {
    write_slot(index, mark);
    own().head = index + 1;
  }
  // As a receiver: takes that many, and has them.
  void take(uint64_t count) {
    own().claimed = count;
    own().taken = count;
  }
  uint64_t ticket(uint64_t index) const { return theirs().slots[index % kSlots].descriptor.ticket; }

  std::shared_ptr<SealedMemory> half = must(Link::make_half());
  Channel channel;
  std::optional<Mapping> map;
};

// --- a survivor that sends ----------------------------------------------------------------------

struct Sends {
  explicit Sends(Lanes lanes = kReads) {
    must(server.start());
    peer.emplace(path);
    peer->greet(lanes);
    link = server.link();
    sender->add(link);
  }
  ~Sends() { sender->stop(); }
  Sends(const Sends&) = delete;
  Sends& operator=(const Sends&) = delete;

  Sender::Published publish(Limits limits = {8, Leaky::none}) {
    Outgoing item = frame(static_cast<uint64_t>(published));
    item.hold = counting_hold(released);
    ++published;
    return sender->publish(*link, std::move(item), limits, {});
  }
  void publish_some(int count) {
    for (int i = 0; i < count; ++i) g_assert_true(publish() == Sender::Published::yes);
  }
  // As an element does it.
  size_t let_die() {
    peer.reset();
    g_assert_true(says(server.hung_up(), Failure::gone, "hung up"));
    g_assert_false(link->alive());
    return sender->remove(*link);
  }
  // Nothing is held, and the next reader gets what comes now.
  void check_free() {
    g_assert_cmpint(released, ==, published);
    g_assert_cmpuint(sender->in_flight(), ==, 0);
    Peer next(path);
    next.greet(kReads);
    link = server.link(1);
    sender->add(link);
    publish_some(1);
    g_assert_cmpuint(next.theirs().head, ==, 1);
    sender->remove(*link);
    g_assert_cmpint(released, ==, published);
  }

  TempDir directory;
  std::string path = directory.path("socket");
  Element server{path, Role::server, Side::sink};
  std::shared_ptr<Sender> sender = Sender::make(4 * kMega);
  std::optional<Peer> peer;
  std::shared_ptr<Link> link;
  std::atomic<int> released{0};
  std::atomic<int> published{0};
};

// Nobody is told of one who has not been let in, and the next is.
void check_before_handshake(const std::vector<std::byte>& said) {
  TempDir directory;
  const std::string path = directory.path("socket");
  Element server(path, Role::server, Side::sink);
  must(server.start());
  {
    const Fd socket = must(connect_to(path));
    if (!said.empty())
      g_assert_cmpint(send(socket.get(), said.data(), said.size(), MSG_NOSIGNAL), ==,
                      static_cast<gssize>(said.size()));
  }
  Peer next(path);
  next.greet(kReads);
  server.link();
  const auto told = server.user().told();
  g_assert_cmpuint(told.connected.size(), ==, 1);
  g_assert_cmpuint(told.disconnected.size(), ==, 0);
  g_assert_cmpuint(told.failed.size(), ==, 0);
}

void connected_and_nothing_said() { check_before_handshake({}); }

// What a whole greeting is, by a socket of our own; of that all but the last byte, and less.
void greeting_half_written() {
  SocketPair sockets;
  Channel channel(std::move(sockets.a));
  const auto half = must(Link::make_half());
  must(channel.send(Hello{kVersion, kReads}, half->fd.get()));
  std::vector<std::byte> bytes(4096);
  const ssize_t size = recv(sockets.b.get(), bytes.data(), bytes.size(), 0);
  g_assert_cmpint(size, >, 1);
  for (ssize_t some = 1; some < size; ++some)
    check_before_handshake({bytes.begin(), bytes.begin() + some});
}

void greeted_and_lanes_not_said() {
  Sends sends(Lanes{false, false});
  g_assert_false(sends.link->peer_lanes().receives);
  g_assert_cmpuint(sends.let_die(), ==, 0);
  sends.check_free();
}

void claimed_and_not_taken() {
  Sends sends;
  sends.publish_some(3);
  sends.peer->own().claimed = 1;
  g_assert_cmpuint(sends.let_die(), ==, 3);
  sends.check_free();
}

// The one that is being read can't be withdrawn, the next can.
void claimed_and_not_taken_with_a_leaky_queue() {
  Sends sends;
  sends.publish_some(3);
  sends.peer->own().claimed = 1;
  g_assert_true(sends.publish({2, Leaky::downstream}) == Sender::Published::dropped_oldest);
  g_assert_cmpint(sends.released, ==, 1);
  sends.let_die();
  sends.check_free();
}

void taken_and_held() {
  Sends sends;
  sends.publish_some(5);
  sends.peer->take(4);
  g_assert_cmpuint(sends.let_die(), ==, 5);
  sends.check_free();
}

void receipt_written_and_its_index_not_moved() {
  Sends sends;
  sends.publish_some(3);
  sends.peer->take(3);
  sends.peer->own().receipts[0] = sends.peer->ticket(0);
  sends.sender->collect();
  g_assert_cmpint(sends.released, ==, 0);
  g_assert_cmpuint(sends.let_die(), ==, 3);
  sends.check_free();
}

// Who waits for memory is not woken by the receipt, but by the death at the latest.
void receipt_index_moved_and_nobody_woken() {
  Sends sends;
  for (int i = 0; i < 4; ++i)
    g_assert_true(sends.sender->publish(*sends.link, frame_with(sends.sender->allocate(kMega, 1)),
                                        {}, {}) == Sender::Published::yes);
  sends.peer->take(4);
  Blocked<bool> blocked([&] { return sends.sender->allocate(kMega, 1).has_value(); });
  g_assert_false(blocked.done());
  sends.peer->own().receipts[0] = sends.peer->ticket(0);
  sends.peer->own().receipt_head = 1;
  sends.let_die();
  g_assert_true(blocked.get());
  sends.check_free();
}

// The publisher sleeps until it takes something, which it never will.
void dead_with_a_full_queue() {
  Sends sends;
  sends.publish_some(2);
  Blocked<Sender::Published> blocked([&] { return sends.publish({2, Leaky::none}); });
  g_assert_false(blocked.done());
  sends.let_die();
  g_assert_true(blocked.get() == Sender::Published::gone);
  sends.check_free();
}

void dead_while_it_waits_to_read() {
  Sends sends;
  sends.peer->own().reader_waiting = 1;
  sends.publish_some(2);  // wakes nobody
  g_assert_cmpuint(sends.let_die(), ==, 2);
  sends.check_free();
}

// --- a survivor that reads ----------------------------------------------------------------------

struct Reads {
  Reads() {
    must(server.start());
    peer.emplace(path);
    peer->greet(kSends);
    link = server.link();
  }
  ReceiveLane& lane() { return *link->receive_lane(); }
  ReceiveLane::Take take() { return must(lane().take(item)); }
  void take_frame(uint64_t mark) {
    g_assert_true(take() == ReceiveLane::Take::item);
    g_assert_cmpuint(item.descriptor.pts, ==, mark);
  }
  // As an element does it.
  void let_die() {
    peer.reset();
    g_assert_true(says(server.hung_up(), Failure::gone, "hung up"));
    lane().close();
    kick.kick();
  }
  // Nothing more comes, what is given back goes nowhere, and the next sender is read.
  void check_end() {
    g_assert_true(take() == ReceiveLane::Take::nothing);
    check_next();
  }
  void check_next() {
    lane().give_back(1);
    Peer next(path);
    next.greet(kSends);
    link = server.link(1);
    item = Incoming{};
    next.publish(0, 99);
    take_frame(99);
  }

  TempDir directory;
  std::string path = directory.path("socket");
  Element server{path, Role::server, Side::src};
  std::optional<Peer> peer;
  std::shared_ptr<Link> link;
  Incoming item;
  Kick kick;
};

void slot_written_and_head_not_moved() {
  Reads reads;
  reads.peer->publish(0, 7);
  reads.peer->write_slot(1, 8);
  reads.let_die();
  reads.take_frame(7);
  reads.check_end();
}

// The reader sleeps on it: the death wakes it, and it finds what was published.
void head_moved_and_nobody_woken() {
  Reads reads;
  const uint32_t seen = reads.kick.value();
  Blocked<bool> blocked([&] {
    reads.lane().wait(reads.kick, seen, Clock::now() + std::chrono::seconds(20));
    return true;
  });
  reads.peer->publish(0, 7);
  reads.let_die();
  g_assert_true(blocked.get());
  reads.take_frame(7);
  reads.check_end();
}

void dead_while_it_waits_for_room_and_receipts() {
  Reads reads;
  reads.peer->publish(0, 7);
  reads.peer->publish(1, 8);
  reads.peer->own().writer_wants = 1;
  reads.peer->own().receipts_waiting = 1;
  reads.let_die();
  reads.take_frame(7);  // and wakes nobody
  reads.lane().give_back(reads.item.descriptor.ticket);
  reads.take_frame(8);
  reads.check_end();
}

void arena_announced_and_nothing_in_it() {
  Reads reads;
  const auto arena = must(make_sealed("mmap-test", kMega));
  must(reads.peer->channel.send(ArenaMade{1, kMega}, arena.fd.get()));
  g_assert_true(eventually([&] { return reads.lane().usage().arenas == 1; }));
  reads.let_die();
  reads.check_end();
}

// It waits for an arena that nobody is left to announce. That is no frame, and nothing to wait for.
void arena_named_and_never_announced() {
  Reads reads;
  reads.peer->publish(0, 7);
  reads.peer->write_slot(1, 8, 5);
  reads.peer->own().head = 2;
  reads.take_frame(7);
  g_assert_true(reads.take() == ReceiveLane::Take::pending);
  reads.let_die();
  g_assert_true(reads.take() == ReceiveLane::Take::pending);
  g_assert_false(reads.link->alive());
  reads.check_next();
}

// Three of four are withdrawn, and what must arrive of them was not published again.
void dead_in_the_middle_of_a_withdrawal() {
  Reads reads;
  for (uint64_t i = 0; i < 4; ++i) reads.peer->publish(i, i);
  reads.peer->own().revoked = 3;
  reads.let_die();
  reads.take_frame(3);
  reads.check_end();
}

// What was withdrawn is being written over: its slot is torn, and nobody misses it.
void dead_while_it_writes_over_what_was_withdrawn() {
  Reads reads;
  for (uint64_t i = 0; i < kSlots; ++i) reads.peer->publish(i, i);
  reads.peer->own().revoked = 2;
  reads.peer->own().slots[0].descriptor.sequence = 0;
  reads.let_die();
  for (uint64_t i = 2; i < kSlots; ++i) reads.take_frame(i);
  reads.check_end();
}

}  // namespace
}  // namespace mmaplink::test

int main(int argc, char** argv) {
  using namespace mmaplink::test;
  return run_all(
      argc, argv,
      {{"/half-done/connected-and-nothing-said", connected_and_nothing_said},
       {"/half-done/greeting-half-written", greeting_half_written},
       {"/half-done/greeted-and-lanes-not-said", greeted_and_lanes_not_said},
       {"/half-done/claimed-and-not-taken", claimed_and_not_taken},
       {"/half-done/claimed-and-leaky", claimed_and_not_taken_with_a_leaky_queue},
       {"/half-done/taken-and-held", taken_and_held},
       {"/half-done/receipt-written", receipt_written_and_its_index_not_moved},
       {"/half-done/receipt-index-moved", receipt_index_moved_and_nobody_woken},
       {"/half-done/full-queue", dead_with_a_full_queue},
       {"/half-done/waits-to-read", dead_while_it_waits_to_read},
       {"/half-done/slot-written", slot_written_and_head_not_moved},
       {"/half-done/head-moved", head_moved_and_nobody_woken},
       {"/half-done/waits-for-room-and-receipts", dead_while_it_waits_for_room_and_receipts},
       {"/half-done/arena-announced", arena_announced_and_nothing_in_it},
       {"/half-done/arena-named", arena_named_and_never_announced},
       {"/half-done/withdrawal", dead_in_the_middle_of_a_withdrawal},
       {"/half-done/written-over", dead_while_it_writes_over_what_was_withdrawn}});
}
