// Both ends of a lane together: what is published comes out, in order and bit for bit, and what is
// given back is let go of.
#include <cstring>
#include <thread>

#include "tests/lib/helpers.h"

namespace mmaplink::test {
namespace {

using Take = ReceiveLane::Take;

Descriptor random_descriptor(Random& random) {
  const auto word = [&] { return uint64_t{random.below(~0u)} << 32 | random.below(~0u); };
  Descriptor descriptor;
  descriptor.kind = random.below(~0u);
  descriptor.flags = random.below(~0u);
  descriptor.pts = word();
  descriptor.dts = word();
  descriptor.duration = word();
  descriptor.media_offset = word();
  descriptor.media_offset_end = word();
  descriptor.published = word();
  descriptor.base_time = word();
  return descriptor;
}

void fields_arrive_in_order_and_bit_for_bit() {
  // All of a ring between the two, many times over.
  Lane ring(Lane::Maps::two);
  Random expected(3);
  Random random(3);
  for (uint64_t index = 0; index < 10 * kSlots;) {
    for (uint64_t i = 0; i < kSlots; ++i) {
      Outgoing item;
      item.descriptor = random_descriptor(random);
      g_assert_true(put(ring.out(), std::move(item)));
    }
    for (uint64_t i = 0; i < kSlots; ++i) {
      g_assert_true(ring.take() == Take::item);
      Descriptor want = random_descriptor(expected);
      want.sequence = want.first = ++index;
      want.extra_from = ring.item.descriptor.extra_from;
      g_assert_cmpmem(&ring.item.descriptor, sizeof want, &want, sizeof want);
      g_assert_cmpuint(ring.item.memory.size, ==, 0);
      g_assert_true(ring.item.extra.empty());
    }
    g_assert_true(ring.take() == Take::nothing && ring.in().empty());
  }
}

std::string random_text(Random& random, size_t size) {
  std::string text(size, ' ');
  for (char& c : text) c = static_cast<char>(random.below(256));
  return text;
}

void bytes_arrive_in_the_slot() {
  Lane lane(Lane::Maps::two);
  Random random;
  for (size_t size = 0; size <= kSlotExtra; ++size) {
    const std::string text = random_text(random, size);
    Outgoing item = frame(size);
    item.extra = as_bytes(text);
    g_assert_true(put(lane.out(), std::move(item)));
    g_assert_true(lane.take() == Take::item);
    g_assert_true(as_text(lane.item.extra) == text);
    g_assert_cmpuint(lane.item.descriptor.ticket, ==, 0);  // nothing to give back
  }
}

void bytes_arrive_in_a_block() {
  Lane lane(Lane::Maps::two);
  const auto store = std::make_shared<ArenaStore>(64 << 20);
  Random random;
  for (const size_t size : {kSlotExtra + 1, size_t{5000}, size_t{1} << 20, size_t{3} << 20}) {
    const std::string text = random_text(random, size);
    Outgoing item = event(size);
    item.extra = as_bytes(text);
    item.extra_block = must(store->allocate(size, 1));
    const auto arena = item.extra_block->arena();
    g_assert_true(put(lane.out(), std::move(item)));
    g_assert_true(lane.take() == Take::pending);
    announce(lane.in(), *arena);
    g_assert_true(lane.take() == Take::item);
    g_assert_true(as_text(lane.item.extra) == text);
    // The block is held until the receipt, even though the bytes are copied.
    g_assert_cmpuint(lane.out().held(), ==, 1);
    lane.in().give_back(lane.item.descriptor.ticket);
    g_assert_cmpuint(lane.drain(), ==, 1);
    g_assert_cmpuint(lane.out().held(), ==, 0);
    must(lane.in().retire_arena(arena->number()));
    // A fresh arena for the next one.
    must(store->allocate(64 << 20, 1));
  }
}

void the_same_bytes_again_cross_once() {
  Lane lane(Lane::Maps::two);
  const std::string texts[] = {"one", "one", "two", "two", "two", "", "two", "one", "one"};
  const bool may_repeat[] = {true, true, true, true, false, true, true, true, true};
  for (size_t i = 0; i < std::size(texts); ++i) {
    Outgoing item = frame(i);
    item.extra = as_bytes(texts[i]);
    item.may_repeat = may_repeat[i];
    g_assert_true(put(lane.out(), std::move(item)));
  }
  size_t repeated = 0;
  for (const std::string& text : texts) {
    g_assert_true(lane.take() == Take::item);
    g_assert_true(as_text(lane.item.extra) == text);
    if (lane.item.descriptor.extra_from == static_cast<uint32_t>(ExtraFrom::before)) ++repeated;
  }
  g_assert_cmpuint(repeated, ==, 3);
}

void payload_is_seen_where_it_lies() {
  Lane lane(Lane::Maps::two);
  const auto store = std::make_shared<ArenaStore>(64 << 20);
  const Block first = must(store->allocate(1000, 64));
  const Block second = must(store->allocate(1000, 64));
  for (const Block* block : {&first, &second}) {
    std::memset(block->data(), block == &first ? 1 : 2, block->size());
    Outgoing item = frame(0);
    item.descriptor.arena = block->arena()->number();
    item.descriptor.offset = block->offset();
    item.descriptor.size = block->size();
    g_assert_true(put(lane.out(), std::move(item)));
  }
  announce(lane.in(), *first.arena());
  for (const Block* block : {&first, &second}) {
    g_assert_true(lane.take() == Take::item);
    const auto bytes = lane.item.memory.bytes();
    g_assert_cmpmem(bytes.data(), bytes.size(), block->data(), block->size());
    g_assert_true(bytes.data() != block->data());
    std::memset(block->data(), 9, block->size());  // the same memory, not a copy
    g_assert_true(bytes[999] == std::byte{9});
  }
}

// A descriptor may overtake the announcement of its arena, which comes by the control socket.
void an_item_waits_for_its_arena() {
  Lane lane;
  const auto store = std::make_shared<ArenaStore>(64 << 20);
  const Block block = must(store->allocate(100, 64));
  Outgoing item = frame(1);
  item.descriptor.arena = block.arena()->number();
  item.descriptor.offset = block.offset();
  item.descriptor.size = block.size();
  g_assert_true(put(lane.out(), std::move(item)));
  g_assert_true(put(lane.out(), frame(2)));
  for (int i = 0; i < 3; ++i) {
    g_assert_true(lane.take() == Take::pending);
    g_assert_false(lane.in().empty());
  }
  // Waiting does not end because there are items: whoever announces kicks.
  Kick kick;
  const uint32_t seen = kick.value();
  kick.kick();
  lane.in().wait(kick, seen, Deadline::max());
  announce(lane.in(), *block.arena());
  g_assert_true(lane.take_all() == (std::vector<uint64_t>{1, 2}));
}

void receipts_come_in_any_order() {
  Lane lane(Lane::Maps::two);
  std::atomic<int> released{0};
  Random random;
  std::vector<uint64_t> tickets;
  int sent = 0;
  for (int round = 0; round < 300; ++round) {
    for (uint32_t i = random.below(20); i > 0; --i, ++sent) {
      Outgoing item = frame(0);
      item.hold = counting_hold(released);
      g_assert_true(put(lane.out(), std::move(item)));
    }
    while (lane.take() == Take::item) tickets.push_back(lane.item.descriptor.ticket);
    g_assert_cmpuint(lane.in().usage().held, ==, tickets.size());
    g_assert_cmpint(released, ==, sent - static_cast<int>(tickets.size()));
    for (uint32_t i = random.below(20); i > 0 && !tickets.empty(); --i) {
      std::swap(tickets[random.below(static_cast<uint32_t>(tickets.size()))], tickets.back());
      lane.in().give_back(tickets.back());
      tickets.pop_back();
    }
    lane.drain();
    g_assert_cmpuint(lane.out().held(), ==, tickets.size());
    g_assert_false(lane.out().has_receipts(1));
  }
  for (const uint64_t ticket : tickets) lane.in().give_back(ticket);
  g_assert_true(tickets.empty() || lane.out().has_receipts(tickets.size()));
  lane.drain();
  g_assert_cmpint(released, ==, sent);
  g_assert_cmpuint(lane.in().usage().held, ==, 0);
}

void the_queue_limit_counts_what_may_be_left_out() {
  Lane lane;
  constexpr size_t kMost = 4;
  for (uint64_t i = 0; i < kMost; ++i) {
    g_assert_true(put(lane.out(), frame(i), kMost));
    g_assert_true(put(lane.out(), event(100 + i), kMost));
    g_assert_true(put(lane.out(), event(200 + i), kMost));
  }
  g_assert_false(put(lane.out(), frame(9), kMost));
  g_assert_true(put(lane.out(), event(300), kMost));
  g_assert_true(put(lane.out(), frame(10), kMost + 1));  // the limit of each call
  // What is being read no longer waits.
  g_assert_true(lane.take() == Take::item);
  g_assert_false(put(lane.out(), frame(11), kMost));
  lane.take_all();
  for (uint64_t i = 0; i < kMost; ++i) g_assert_true(put(lane.out(), frame(i), kMost));
  g_assert_false(put(lane.out(), frame(9), kMost));
}

void no_room_leaves_the_item_as_it_is() {
  Lane lane;
  std::atomic<int> released{0};
  g_assert_true(put(lane.out(), frame(1), 1));
  Outgoing item = frame(2);
  item.hold = counting_hold(released);
  g_assert_true(must(lane.out().publish(item, 1)) == SendLane::Room::no);
  g_assert_true(item.hold && released == 0 && lane.out().held() == 0);
  g_assert_true(lane.take_all() == std::vector<uint64_t>{1});
  g_assert_true(must(lane.out().publish(item, 1)) == SendLane::Room::yes);
  g_assert_true(!item.hold && released == 0 && lane.out().held() == 1);
  g_assert_true(lane.take_all() == std::vector<uint64_t>{2});
  g_assert_cmpuint(lane.drain(), ==, 1);
  g_assert_cmpint(released, ==, 1);
}

void the_ring_and_the_rows_have_an_end() {
  Lane lane;
  for (uint64_t i = 0; i < kSlots; ++i) g_assert_true(put(lane.out(), event(i)));
  g_assert_false(put(lane.out(), event(0)));
  g_assert_true(lane.take() == Take::item);
  g_assert_true(put(lane.out(), event(0)));
  g_assert_false(put(lane.out(), event(0)));
  lane.take_all();
  // A peer that takes everything and gives nothing back.
  std::atomic<int> released{0};
  std::vector<uint64_t> tickets;
  for (;;) {
    Outgoing item = frame(0);
    item.hold = counting_hold(released);
    if (!put(lane.out(), std::move(item))) break;
    g_assert_true(lane.take() == Take::item);
    tickets.push_back(lane.item.descriptor.ticket);
    g_assert_cmpuint(tickets.size(), <=, kRows);
  }
  g_assert_cmpuint(tickets.size(), ==, kRows);
  g_assert_cmpint(released, ==, 1);  // the one that found no room
  lane.in().give_back(tickets.back());
  g_assert_cmpuint(lane.drain(), ==, 1);
  g_assert_true(put(lane.out(), frame(0)));
  std::vector<Held> freed;
  g_assert_cmpuint(lane.out().free_all(freed), ==, kRows - 1);
}

void free_all_lets_go_of_everything() {
  std::atomic<int> released{0};
  const auto store = std::make_shared<ArenaStore>(64 << 20);
  std::string text(5000, 'x');
  Lane lane;
  for (int i = 0; i < 100; ++i) {
    Outgoing item = frame(0);
    item.hold = counting_hold(released);
    if (i % 10 == 0) {
      item.extra = as_bytes(text);
      item.extra_block = must(store->allocate(text.size(), 1));
      if (i == 0) announce(lane.in(), *item.extra_block->arena());
    }
    g_assert_true(put(lane.out(), std::move(item)));
    if (i < 50) g_assert_true(lane.take() == Take::item);
  }
  g_assert_cmpuint(lane.out().held(), ==, 100);
  std::vector<Held> freed;
  g_assert_cmpuint(lane.out().free_all(freed), ==, 100);
  g_assert_cmpuint(lane.out().held(), ==, 0);
  g_assert_cmpint(released, ==, 0);  // the caller drops them, with no lock held
  freed.clear();
  g_assert_cmpint(released, ==, 100);
  g_assert_cmpuint(lane.out().free_all(freed), ==, 0);
  // A receipt that it wrote before it went, and that is read now, is no error.
  lane.in().give_back(lane.item.descriptor.ticket);
  g_assert_cmpuint(lane.drain(), ==, 0);
}

// What was received lives on when its sender, and its lane's sender half, are gone.
void received_memory_outlives_the_sender() {
  auto lane = std::make_unique<Lane>(Lane::Maps::two);
  auto store = std::make_shared<ArenaStore>(64 << 20);
  std::optional<Block> block = must(store->allocate(100, 64));
  block->data()[99] = std::byte{7};
  Outgoing item = frame(1);
  item.descriptor.arena = block->arena()->number();
  item.descriptor.offset = block->offset();
  item.descriptor.size = 100;
  std::atomic<int> released{0};
  item.hold = counting_hold(released);
  announce(lane->in(), *block->arena());
  const uint32_t number = block->arena()->number();
  g_assert_true(put(lane->out(), std::move(item)));
  g_assert_true(lane->take() == Take::item);
  const Incoming got = std::move(lane->item);
  const auto in = lane->shared_in();
  lane.reset();
  block.reset();
  store.reset();
  g_assert_cmpint(released, ==, 1);
  must(in->retire_arena(number));
  g_assert_true(got.memory.bytes()[99] == std::byte{7});
  in->give_back(got.descriptor.ticket);  // too late for anyone, and harmless
}

}  // namespace
}  // namespace mmaplink::test

int main(int argc, char** argv) {
  using namespace mmaplink::test;
  return run_all(
      argc, argv,
      {{"/lane/fields-arrive-in-order-and-bit-for-bit", fields_arrive_in_order_and_bit_for_bit},
       {"/lane/bytes-arrive-in-the-slot", bytes_arrive_in_the_slot},
       {"/lane/bytes-arrive-in-a-block", bytes_arrive_in_a_block},
       {"/lane/the-same-bytes-again-cross-once", the_same_bytes_again_cross_once},
       {"/lane/payload-is-seen-where-it-lies", payload_is_seen_where_it_lies},
       {"/lane/an-item-waits-for-its-arena", an_item_waits_for_its_arena},
       {"/lane/receipts-come-in-any-order", receipts_come_in_any_order},
       {"/lane/the-queue-limit-counts-what-may-be-left-out",
        the_queue_limit_counts_what_may_be_left_out},
       {"/lane/no-room-leaves-the-item-as-it-is", no_room_leaves_the_item_as_it_is},
       {"/lane/the-ring-and-the-rows-have-an-end", the_ring_and_the_rows_have_an_end},
       {"/lane/free-all-lets-go-of-everything", free_all_lets_go_of_everything},
       {"/lane/received-memory-outlives-the-sender", received_memory_outlives_the_sender}});
}
