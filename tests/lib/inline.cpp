// A direction that goes through the socket, from a link's sending end to its peer's receiving end:
// what comes is what was sent, no more of it goes ahead than may, and a peer that says or sends
// what can't be is found out.
#include <numeric>
#include <thread>

#include "tests/lib/helpers.h"

namespace mmaplink::test {
namespace {

using Room = SendLane::Room;
using Take = ReceiveLane::Take;

// Two links, all inline; a sends and b reads.
class Pair {
 public:
  Pair() {
    SocketPair sockets;
    const Modes modes{{false, "test"}, {false, "test"}};
    const auto make = [&](Fd socket) {
      return must(
          Link::make(std::make_shared<Channel>(std::move(socket)), nullptr, Fd(), Peer{}, modes));
    };
    a_ = make(std::move(sockets.a));
    b_ = make(std::move(sockets.b));
  }
  Link& a() { return *a_; }
  Link& b() { return *b_; }
  ReceiveLane& in() { return *b_->receive_lane(); }

  // As the endpoints' threads would, until nothing moves any more.
  void pump() {
    for (bool moved = true; moved;) {
      moved = read(*b_, *a_);
      moved = read(*a_, *b_) || moved;
    }
  }
  // Reads once what lies in the socket: whether there was anything.
  static bool read(Link& to, Link& from) {
    must(from.channel().flush());
    from.pump();
    bool any = false;
    must(to.channel().receive([&](Channel::Received received) {
      any = true;
      if (const auto* begins = std::get_if<ItemBegins>(&received.message)) {
        must(to.begin_item(*begins, kDefaultMemory));
      } else if (const auto* progress = std::get_if<Progress>(&received.message)) {
        ++told;
        must(to.take_progress(*progress));
      } else if (std::holds_alternative<Asks>(received.message)) {
        must(to.tell_receipts());
      } else if (std::holds_alternative<Withdrawn>(received.message)) {
        must(to.withdraw_items());
      }
      return true;
    }));
    to.pump();
    return any || from.channel().wants_to_write();
  }
  // b waits, with nothing to read.
  void wait() {
    const Kick kick;
    in().wait(kick, kick.value(), Clock::now());
    pump();
  }
  Take take() {
    const Take took = must(in().take(item));
    pump();
    return took;
  }
  // How many rows a has freed.
  size_t drain() {
    pump();
    std::vector<Held> freed;
    must(a_->send_lane().drain(freed));
    return freed.size();
  }
  // How often one has told the other of its progress since the last look.
  static size_t was_told() { return std::exchange(told, 0); }
  Incoming item;

 private:
  static inline size_t told = 0;
  std::shared_ptr<Link> a_;
  std::shared_ptr<Link> b_;
};

struct Payload {
  explicit Payload(size_t size, ArenaStore& from)
      : block(std::make_shared<Block>(must(from.allocate(size, 64)))) {
    std::iota(reinterpret_cast<uint8_t*>(block->data()),
              reinterpret_cast<uint8_t*>(block->data()) + size, static_cast<uint8_t>(size));
  }
  Place place() const { return {block->arena(), block->offset()}; }
  std::shared_ptr<Block> block;
};

Room send(Link& link, Outgoing item, const Payload* payload = nullptr, size_t most = kSlots,
          size_t ahead = 0, bool drops = false) {
  std::vector<Place> places;
  if (payload != nullptr) {
    places.push_back(payload->place());
    item.descriptor.arena = payload->block->arena()->number();
    item.descriptor.offset = payload->block->offset();
    item.descriptor.size = payload->block->size();
    item.hold = Hold(new std::shared_ptr<Block>(payload->block),
                     [](void* held) { delete static_cast<std::shared_ptr<Block>*>(held); });
  }
  return must(link.publish(item, places, most, ahead, drops));
}

bool same(std::span<const std::byte> one, std::span<const std::byte> other) {
  return std::equal(one.begin(), one.end(), other.begin(), other.end());
}

void bytes_arrive_and_are_given_back() {
  Pair pair;
  const auto store = std::make_shared<ArenaStore>(64 << 20);
  for (const size_t size : {size_t{1}, size_t{100}, kMostPart, kMostPart + 1, size_t{3000000}}) {
    const Payload payload(size, *store);
    pair.wait();
    g_assert_true(send(pair.a(), frame(size), &payload) == Room::yes);
    pair.pump();
    g_assert_true(pair.take() == Take::item);
    g_assert_cmpuint(pair.item.descriptor.pts, ==, size);
    g_assert_true(same(pair.item.memory.bytes(), {payload.block->data(), size}));
    g_assert_true(pair.item.memory.bytes().data() != payload.block->data());
    g_assert_cmpuint(pair.drain(), ==, 0);
    pair.in().give_back(pair.item.descriptor.ticket);
    g_assert_cmpuint(pair.drain(), ==, 1);
  }
}

void further_memories_and_extra_bytes_arrive() {
  Pair pair;
  const auto store = std::make_shared<ArenaStore>(64 << 20);
  const std::array payloads{Payload(100000, *store), Payload(7, *store), Payload(70000, *store)};
  Outgoing item = frame(1);
  std::vector<Place> places;
  for (const Payload& payload : payloads) places.push_back(payload.place());
  std::vector<std::byte> extra(sizeof(uint64_t) + 2 * sizeof(FurtherPlace) + 5, std::byte{9});
  const uint64_t more = 2;
  std::memcpy(extra.data(), &more, sizeof more);
  for (size_t i = 1; i < 3; ++i) {
    const Block& block = *payloads[i].block;
    const FurtherPlace place{block.offset(), block.size(), block.arena()->number(), 0};
    std::memcpy(extra.data() + sizeof more + (i - 1) * sizeof place, &place, sizeof place);
  }
  item.extra = extra;
  item.descriptor.arena = payloads[0].block->arena()->number();
  item.descriptor.offset = payloads[0].block->offset();
  item.descriptor.size = payloads[0].block->size();
  pair.wait();
  g_assert_true(must(pair.a().publish(item, places, kSlots)) == Room::yes);
  pair.pump();
  g_assert_true(pair.take() == Take::item);
  g_assert_cmpuint(pair.item.extra.size(), ==, extra.size());
  g_assert_true(pair.item.extra.back() == std::byte{9});
  g_assert_true(same(pair.item.memory.bytes(), {payloads[0].block->data(), 100000}));
  for (size_t i = 1; i < 3; ++i) {
    FurtherPlace place;
    std::memcpy(&place, pair.item.extra.data() + sizeof more + (i - 1) * sizeof place,
                sizeof place);
    const auto view = must(pair.in().resolve(place.arena, place.offset, place.size));
    g_assert_true(same(view.bytes(), {payloads[i].block->data(), payloads[i].block->size()}));
  }
}

void large_extra_bytes_arrive() {
  Pair pair;
  const auto store = std::make_shared<ArenaStore>(64 << 20);
  const std::string text(200000, 'x');
  Outgoing item = event(1);
  item.extra = as_bytes(text);
  item.extra_block = must(store->allocate(text.size(), 1));
  pair.wait();
  g_assert_true(send(pair.a(), std::move(item)) == Room::yes);
  pair.pump();
  g_assert_true(pair.take() == Take::item);
  g_assert_true(as_text(pair.item.extra) == text);
}

// So that limits and leaks are as exact as where all is mapped.
void nothing_goes_to_a_peer_that_has_not_waited() {
  Pair pair;
  for (uint64_t i = 0; i < 5; ++i) send(pair.a(), frame(i), nullptr, kSlots, 4);
  pair.pump();
  g_assert_true(pair.take() == Take::nothing);
  g_assert_false(pair.a().peer_starves());
  pair.wait();
  for (uint64_t i = 0; i < 5; ++i) {
    g_assert_true(pair.take() == Take::item);
    g_assert_cmpuint(pair.item.descriptor.pts, ==, i);
  }
  g_assert_false(pair.a().peer_starves());
  pair.wait();
  g_assert_true(pair.a().peer_starves());
}

void what_goes_ahead_counts_as_unread() {
  Pair pair;
  pair.wait();
  send(pair.a(), frame(0), nullptr, 3, 2);
  pair.pump();
  g_assert_true(pair.take() == Take::item);
  // Three may wait to be read, of which two go ahead.
  for (uint64_t i = 1; i < 4; ++i)
    g_assert_true(send(pair.a(), frame(i), nullptr, 3, 2) == Room::yes);
  pair.pump();
  g_assert_true(send(pair.a(), frame(4), nullptr, 3, 2) == Room::no);
  g_assert_true(pair.take() == Take::item);
  g_assert_true(send(pair.a(), frame(4), nullptr, 3, 2) == Room::yes);
  for (uint64_t i = 2; i < 5; ++i) {
    g_assert_true(pair.take() == Take::item);
    g_assert_cmpuint(pair.item.descriptor.pts, ==, i);
  }
}

// Where none go ahead the oldest can give way to the newest.
void without_going_ahead_one_at_a_time_is_sent() {
  Pair pair;
  pair.wait();
  for (uint64_t i = 0; i < 3; ++i) send(pair.a(), frame(i));
  pair.pump();
  g_assert_true(pair.take() == Take::item);
  std::vector<Held> freed;
  g_assert_true(pair.a().send_lane().withdraw_oldest(freed));
  pair.wait();
  g_assert_true(pair.take() == Take::item);
  g_assert_cmpuint(pair.item.descriptor.pts, ==, 2);
}

void what_was_withdrawn_is_not_read() {
  Pair pair;
  const auto store = std::make_shared<ArenaStore>(64 << 20);
  const Payload payload(3000000, *store);
  pair.wait();
  send(pair.a(), frame(0), &payload, kSlots, 8);
  pair.pump();
  g_assert_true(pair.take() == Take::item);
  pair.in().give_back(pair.item.descriptor.ticket);
  for (uint64_t i = 1; i < 4; ++i) send(pair.a(), frame(i), &payload, kSlots, 8);
  send(pair.a(), event(4), nullptr, kSlots, 8);
  // The large ones are still coming.
  Pair::read(pair.b(), pair.a());
  std::vector<Held> freed;
  pair.a().withdraw(freed);
  freed.clear();
  pair.wait();
  g_assert_true(pair.take() == Take::item);
  g_assert_cmpuint(pair.item.descriptor.pts, ==, 4);
  g_assert_true(pair.take() == Take::nothing);
  pair.wait();
  pair.drain();
  g_assert_cmpuint(pair.a().send_lane().held(), ==, 0);
  g_assert_cmpuint(payload.block.use_count(), ==, 1);
}

// Whose reader waits, and something to be sent.
struct WithPayload : Pair {
  WithPayload() { wait(); }
  const std::shared_ptr<ArenaStore> store = std::make_shared<ArenaStore>(64 << 20);
  const Payload payload{1000, *store};
};

// As it comes at the pace of a clock.
void one_item_after_the_other_is_told_of_once() {
  WithPayload pair;
  for (uint64_t i = 0; i < 5; ++i) {
    Pair::was_told();
    send(pair.a(), frame(i), &pair.payload, 8, 7);
    pair.pump();
    g_assert_true(pair.take() == Take::item);
    pair.in().give_back(pair.item.descriptor.ticket);
    pair.pump();
    g_assert_cmpuint(Pair::was_told(), ==, 0);
    pair.wait();
    g_assert_cmpuint(Pair::was_told(), ==, 1);
    g_assert_cmpuint(pair.drain(), ==, 1);
    g_assert_true(pair.a().peer_starves());
  }
}

void a_busy_reader_tells_of_several() {
  Pair pair;
  pair.wait();
  for (uint64_t i = 0; i < 6; ++i) send(pair.a(), frame(i), nullptr, 8, 7);
  pair.pump();
  Pair::was_told();
  for (const size_t told : {0, 0, 0, 1}) {
    g_assert_true(pair.take() == Take::item);
    g_assert_cmpuint(Pair::was_told(), ==, told);
  }
}

void a_sender_without_room_hears_of_each() {
  // One goes ahead, or what finds no room is dropped.
  for (const size_t ahead : {1, 7}) {
    Pair pair;
    pair.wait();
    for (uint64_t i = 0; i < ahead; ++i)
      g_assert_true(send(pair.a(), frame(i), nullptr, ahead + 1, ahead, true) == Room::yes);
    pair.pump();
    Pair::was_told();
    for (uint64_t i = 0; i < ahead; ++i) {
      g_assert_true(pair.take() == Take::item);
      g_assert_cmpuint(Pair::was_told(), ==, 1);
    }
  }
}

// One that reads slowly, by the clock, is seen to read: it is slow when a read takes over a
// millisecond.
void a_slow_reader_tells_of_each() {
  Pair pair;
  pair.wait();
  for (uint64_t i = 0; i < 8; ++i) send(pair.a(), frame(i), nullptr, 8, 7);
  pair.pump();
  Pair::was_told();
  for (int i = 0; i < 3; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    g_assert_true(pair.take() == Take::item);
    g_assert_cmpuint(Pair::was_told(), ==, 1);
  }
}

// A reader that is busy for ever does not keep what the sender wants.
void what_is_given_back_is_told_to_who_asks() {
  WithPayload pair;
  std::array<uint64_t, 3> tickets{};
  for (uint64_t i = 0; i < 3; ++i) send(pair.a(), frame(i), &pair.payload, 8, 7);
  pair.pump();
  for (uint64_t& ticket : tickets) {
    g_assert_true(pair.take() == Take::item);
    ticket = pair.item.descriptor.ticket;
  }
  pair.in().give_back(tickets[0]);
  g_assert_cmpuint(pair.drain(), ==, 0);
  for (int i = 0; i < 3; ++i) pair.a().ask_for_receipts();  // said once
  g_assert_cmpuint(pair.drain(), ==, 1);
  pair.in().give_back(tickets[1]);
  g_assert_cmpuint(pair.drain(), ==, 1);
  // The next one begins anew.
  send(pair.a(), frame(3), &pair.payload, 8, 7);
  pair.pump();
  pair.in().give_back(tickets[2]);
  g_assert_cmpuint(pair.drain(), ==, 0);
  pair.a().ask_for_receipts();
  g_assert_cmpuint(pair.drain(), ==, 1);
}

// By another thread than the one that reads, which sleeps.
void what_is_given_back_meanwhile_is_told_at_once() {
  WithPayload pair;
  send(pair.a(), frame(0), &pair.payload, 8, 7);
  pair.pump();
  g_assert_true(pair.take() == Take::item);
  pair.wait();
  std::thread([&] { pair.in().give_back(pair.item.descriptor.ticket); }).join();
  g_assert_cmpuint(pair.drain(), ==, 1);
}

// And nobody publishes any more.
void what_was_collected_arrives() {
  WithPayload pair;
  constexpr uint64_t kMany = 14;
  bool collected = false;
  for (uint64_t i = 0; i < kMany; ++i) {
    send(pair.a(), frame(i), &pair.payload, kSlots, 7);
    collected = collected || pair.a().send_lane().unread() > 0;
  }
  g_assert_true(collected);
  for (uint64_t i = 0; i < kMany; ++i) {
    pair.pump();
    g_assert_true(pair.take() == Take::item);
    g_assert_cmpuint(pair.item.descriptor.pts, ==, i);
    g_assert_true(same(pair.item.memory.bytes(), {pair.payload.block->data(), 1000}));
    pair.in().give_back(pair.item.descriptor.ticket);
  }
  pair.wait();
  g_assert_cmpuint(pair.drain(), ==, kMany);
}

// What must arrive waits for no others.
void events_are_not_collected() {
  Pair pair;
  pair.wait();
  for (uint64_t i = 0; i < 5; ++i) send(pair.a(), frame(i), nullptr, kSlots, 16);
  while (pair.a().send_lane().unread() == 0) send(pair.a(), frame(5), nullptr, kSlots, 16);
  send(pair.a(), event(6), nullptr, kSlots, 16);
  g_assert_cmpuint(pair.a().send_lane().unread(), ==, 0);
}

void a_control_message_waits_for_one_part_at_most() {
  Pair pair;
  const auto store = std::make_shared<ArenaStore>(64 << 20);
  const Payload payload(16 << 20, *store);
  pair.wait();
  send(pair.a(), frame(1), &payload);  // fills the socket
  must(pair.a().note(7, {}));
  bool noted = false;
  for (int reads = 0; !noted && reads < 100; ++reads) {
    must(pair.a().channel().flush());
    must(pair.b().channel().receive([&](Channel::Received received) {
      if (const auto* item = std::get_if<ItemBegins>(&received.message))
        must(pair.b().begin_item(*item, kDefaultMemory));
      noted = noted || std::holds_alternative<Note>(received.message);
      return !noted;
    }));
  }
  g_assert_true(noted);
  g_assert_true(pair.take() == Take::nothing);
  while (must(pair.in().take(pair.item)) == Take::nothing) pair.pump();
  g_assert_true(same(pair.item.memory.bytes(), {payload.block->data(), payload.block->size()}));
}

void memory_that_is_held_outlives_the_link() {
  std::optional<Pair> pair(std::in_place);
  const auto store = std::make_shared<ArenaStore>(64 << 20);
  const Payload payload(5000, *store);
  pair->wait();
  send(pair->a(), frame(1), &payload);
  pair->pump();
  g_assert_true(pair->take() == Take::item);
  const auto lane = pair->b().receive_lane();
  Incoming item = std::move(pair->item);
  pair.reset();
  g_assert_true(same(item.memory.bytes(), {payload.block->data(), 5000}));
  lane->give_back(item.descriptor.ticket);
}

// --- peers with bad manners
// ---------------------------------------------------------------------

struct Receiver {
  SocketPair sockets;
  std::shared_ptr<Channel> channel = std::make_shared<Channel>(std::move(sockets.a));
  InlineReceive in{channel, must(LocalLane::make())};

  Status begin(uint64_t size, uint32_t extra = 0) {
    Descriptor descriptor;
    descriptor.size = size;
    descriptor.extra_size = extra;
    return in.begin({descriptor, true}, kDefaultMemory);
  }
  Status fill(std::span<const std::byte> bytes) {
    if (auto begun = in.begin_part(bytes.size()); !begun) return begun;
    const auto space = in.space();
    std::memcpy(space.data(), bytes.data(), bytes.size());
    return in.filled(bytes.size());
  }
};

void items_out_of_turn_are_refused() {
  Receiver receiver;
  g_assert_true(fails(receiver.in.begin_part(1), Failure::protocol, "a part that is not due"));
  must(receiver.begin(100));
  g_assert_true(fails(receiver.begin(100), Failure::protocol, "began within another"));
  for (const size_t size : {0, 1, 99, 101})
    g_assert_true(fails(receiver.in.begin_part(size), Failure::protocol, "not due"));
  must(receiver.in.begin_part(100));
}

void items_that_are_too_large_are_refused() {
  g_assert_true(
      fails(Receiver().begin(kDefaultMemory + 1), Failure::protocol, "more than max-memory="));
  g_assert_true(fails(Receiver().begin(~uint64_t{0}), Failure::protocol, "more than max-memory="));
  g_assert_true(fails(Receiver().begin(1, ~0u), Failure::protocol, "own bytes are too many"));
  // Each of them may be, and their sum may not.
  Receiver receiver;
  const uint32_t more = kMostFurther;
  must(receiver.begin(kDefaultMemory, sizeof(uint64_t) + more * sizeof(FurtherPlace)));
  std::vector<std::byte> extra(sizeof(uint64_t) + more * sizeof(FurtherPlace));
  std::memcpy(extra.data(), &more, sizeof more);
  for (uint32_t i = 0; i < more; ++i) {
    const FurtherPlace place{0, kDefaultMemory, 0, 0};
    std::memcpy(extra.data() + sizeof(uint64_t) + i * sizeof place, &place, sizeof place);
  }
  g_assert_false(static_cast<bool>(receiver.fill(extra)));
}

void memories_that_can_not_be_are_refused() {
  const auto with = [](uint64_t more, size_t bytes, uint64_t size) {
    Receiver receiver;
    std::vector<std::byte> extra(bytes);
    std::memcpy(extra.data(), &more, std::min(bytes, sizeof more));
    const FurtherPlace place{0, size, 0, 0};
    if (bytes >= sizeof more + sizeof place)
      std::memcpy(extra.data() + sizeof more, &place, sizeof place);
    must(receiver.begin(10, static_cast<uint32_t>(bytes)));
    return receiver.fill(extra);
  };
  g_assert_true(fails(with(kMostFurther + 1, 1000, 1), Failure::protocol, "more memories"));
  g_assert_true(fails(with(~uint64_t{0}, 1000, 1), Failure::protocol, "more memories"));
  g_assert_true(fails(with(2, 8 + 24, 1), Failure::protocol, "more memories"));
  g_assert_true(fails(with(1, 8 + 24, 0), Failure::protocol, "of a size that can't be"));
  g_assert_true(fails(with(1, 8 + 24, ~uint64_t{0}), Failure::protocol, "of a size that"));
  g_assert_true(static_cast<bool>(with(1, 8 + 24, 5)));
  g_assert_true(static_cast<bool>(with(0, 8, 5)));
  g_assert_true(static_cast<bool>(with(0, 3, 5)));
}

void who_asks_again_and_again_is_refused() {
  Receiver receiver;
  must(receiver.in.asked());
  g_assert_true(fails(receiver.in.asked(), Failure::protocol, "asks again and again"));
  must(receiver.begin(0));
  must(receiver.in.asked());
}

void more_items_than_may_wait_are_refused() {
  Receiver receiver;
  for (size_t i = 0; i < 2 * kMostAhead; ++i) must(receiver.begin(0));
  g_assert_true(fails(receiver.begin(0), Failure::protocol, "the peer sent more than it may"));
}

void progress_that_can_not_be_is_refused() {
  SocketPair sockets;
  const auto lane = must(LocalLane::make());
  InlineSend out(std::make_shared<Channel>(std::move(sockets.a)), lane);
  SendLane sender(out.sender_half(), out.receiver_half());
  const auto says = [&](uint64_t claimed, bool waits, std::vector<uint64_t> tickets = {}) {
    return out.take({claimed, waits, std::move(tickets)});
  };
  g_assert_true(fails(says(1, false), Failure::protocol, "read what was not sent"));
  g_assert_true(fails(says(~uint64_t{0}, false), Failure::protocol, "read what was not sent"));
  g_assert_true(fails(says(0, false, {1}), Failure::protocol, "gave back what it does not hold"));
  g_assert_true(fails(says(0, false), Failure::protocol, "progress of the peer that is none"));
  must(says(0, true));
  g_assert_true(put(sender, frame(1)));
  must(out.pump(sender));
  must(says(1, true));
  g_assert_true(fails(says(0, true), Failure::protocol, "read what was not sent"));
  g_assert_true(fails(says(1, true), Failure::protocol, "again and again that it waits"));
}

void arenas_have_no_business_there() {
  Pair pair;
  g_assert_true(fails(pair.b().add_arena({1, 4096}, Fd()), Failure::protocol, "of what is inline"));
  g_assert_true(fails(pair.b().retire_arena({1}), Failure::protocol, "of what is inline"));
}

}  // namespace
}  // namespace mmaplink::test

int main(int argc, char** argv) {
  using namespace mmaplink::test;
  return run_all(
      argc, argv,
      {{"/inline/bytes-arrive-and-are-given-back", bytes_arrive_and_are_given_back},
       {"/inline/further-memories-and-extra-bytes-arrive", further_memories_and_extra_bytes_arrive},
       {"/inline/large-extra-bytes-arrive", large_extra_bytes_arrive},
       {"/inline/nothing-goes-to-a-peer-that-has-not-waited",
        nothing_goes_to_a_peer_that_has_not_waited},
       {"/inline/what-goes-ahead-counts-as-unread", what_goes_ahead_counts_as_unread},
       {"/inline/without-going-ahead-one-at-a-time-is-sent",
        without_going_ahead_one_at_a_time_is_sent},
       {"/inline/what-was-withdrawn-is-not-read", what_was_withdrawn_is_not_read},
       {"/inline/one-item-after-the-other-is-told-of-once",
        one_item_after_the_other_is_told_of_once},
       {"/inline/a-busy-reader-tells-of-several", a_busy_reader_tells_of_several},
       {"/inline/a-sender-without-room-hears-of-each", a_sender_without_room_hears_of_each},
       {"/inline/a-slow-reader-tells-of-each", a_slow_reader_tells_of_each},
       {"/inline/what-is-given-back-is-told-to-who-asks", what_is_given_back_is_told_to_who_asks},
       {"/inline/what-is-given-back-meanwhile-is-told-at-once",
        what_is_given_back_meanwhile_is_told_at_once},
       {"/inline/what-was-collected-arrives", what_was_collected_arrives},
       {"/inline/events-are-not-collected", events_are_not_collected},
       {"/inline/who-asks-again-and-again-is-refused", who_asks_again_and_again_is_refused},
       {"/inline/a-control-message-waits-for-one-part-at-most",
        a_control_message_waits_for_one_part_at_most},
       {"/inline/memory-that-is-held-outlives-the-link", memory_that_is_held_outlives_the_link},
       {"/inline/items-out-of-turn-are-refused", items_out_of_turn_are_refused},
       {"/inline/items-that-are-too-large-are-refused", items_that_are_too_large_are_refused},
       {"/inline/memories-that-can-not-be-are-refused", memories_that_can_not_be_are_refused},
       {"/inline/more-items-than-may-wait-are-refused", more_items_than_may_wait_are_refused},
       {"/inline/progress-that-can-not-be-is-refused", progress_that_can_not_be_is_refused},
       {"/inline/arenas-have-no-business-there", arenas_have_no_business_there}});
}
