// The receiver's end against a sender with bad manners: what it writes into its half, and what it
// announces, is checked before any of it is used.
#include "lib/receive_lane.h"

#include <sys/resource.h>

#include <limits>
#include <thread>

#include "lib/ticket.h"
#include "tests/lib/helpers.h"

namespace mmaplink::test {
namespace {

using Take = ReceiveLane::Take;

// An item in the slot as a sender would have written it, and `edit` changes.
void forge(Lane& lane, const std::function<void(Descriptor&)>& edit) {
  const uint64_t head = lane.sender_half().head;
  Descriptor& descriptor = lane.sender_half().slots[head % kSlots].descriptor;
  descriptor = Descriptor{};
  descriptor.sequence = head + 1;
  descriptor.first = head + 1;
  descriptor.extra_from = static_cast<uint32_t>(ExtraFrom::slot);
  edit(descriptor);
  lane.sender_half().head = head + 1;
}

bool refused(Lane& lane, const std::string& text) {
  return fails(lane.in().take(lane.item), Failure::protocol, text);
}

Block announced_block(Lane& lane, size_t size) {
  const auto store = std::make_shared<ArenaStore>(64 << 20);
  Block block = must(store->allocate(size, 64));
  announce(lane.in(), *block.arena());
  return block;
}

void a_write_index_out_of_the_ring_is_refused() {
  for (const uint64_t forged : {kSlots + 1, ~uint64_t{0}, uint64_t{1} << 32, uint64_t{1} << 63}) {
    Lane lane;
    lane.sender_half().head = forged;
    g_assert_true(refused(lane, "the peer's write index left the ring"));
  }
  Lane lane;
  for (uint64_t i = 0; i < 10; ++i) g_assert_true(put(lane.out(), frame(i)));
  lane.take_all();
  lane.sender_half().head = 9;  // backwards
  g_assert_true(refused(lane, "the peer's write index left the ring"));
}

void a_withdrawal_that_explains_nothing_is_refused() {
  for (const uint64_t revoked : {uint64_t{0}, uint64_t{3}, kSlots, 3 * kSlots, ~uint64_t{0}}) {
    Lane lane;
    for (uint64_t i = 0; i < 10; ++i) g_assert_true(put(lane.out(), frame(i)));
    lane.take_all();
    lane.sender_half().head = 2 * kSlots + 20;
    lane.sender_half().revoked = revoked;
    g_assert_true(refused(lane, "the peer's write index left the ring"));
  }
}

// Found by a fuzzer: all was withdrawn up to there, and our own index came round with the next.
void a_write_index_near_the_end_of_numbers_is_refused() {
  for (const uint64_t head : {~uint64_t{0}, uint64_t{1} << 63}) {
    Lane lane;
    lane.sender_half().revoked = head;
    lane.sender_half().head = head;
    g_assert_true(refused(lane, "the peer's write index left the ring"));
  }
}

// The difference of the two is small there too, and would take our own index round.
void a_write_index_that_goes_back_is_refused() {
  for (const uint64_t head : {uint64_t{0}, uint64_t{9}}) {
    Lane lane;
    for (uint64_t i = 0; i < 10; ++i) g_assert_true(put(lane.out(), frame(i)));
    lane.take_all();
    lane.sender_half().revoked = ~uint64_t{0};
    lane.sender_half().head = head;
    g_assert_true(refused(lane, "the peer's write index left the ring"));
    g_assert_cmpuint(lane.receiver_half().taken, ==, 10);
  }
}

// Everything withdrawn that there is, and more: items are skipped, and no more than that.
void withdrawing_too_much_skips_items() {
  Lane lane;
  for (uint64_t i = 0; i < 10; ++i) g_assert_true(put(lane.out(), frame(i)));
  lane.sender_half().revoked = ~uint64_t{0};
  g_assert_true(lane.take() == Take::nothing);
  g_assert_true(put(lane.out(), frame(1)));
  g_assert_true(lane.take() == Take::nothing);
}

// By a peer that goes on for as long as we do: take() comes back to look at what else there is.
void withdrawing_without_end_is_no_prison() {
  Lane lane;
  lane.sender_half().revoked = ~uint64_t{0};
  std::atomic<bool> stop{false};
  std::thread peer([&] {
    while (!stop) lane.sender_half().head = lane.receiver_half().taken + kSlots / 2;
  });
  uint64_t most = 0;
  const bool enough = eventually([&] {
    for (int i = 0; i < 100; ++i) {
      const uint64_t before = lane.receiver_half().taken;
      g_assert_true(lane.take() == Take::nothing);
      most = std::max<uint64_t>(most, lane.receiver_half().taken - before);
    }
    return lane.receiver_half().taken > 100 * kSlots;
  });
  g_assert_true(enough);
  g_assert_cmpuint(most, <=, 2 * kSlots);
  stop = true;
  peer.join();
}

void a_wrong_sequence_is_refused() {
  for (const uint64_t sequence : {uint64_t{0}, uint64_t{2}, kSlots + 1, ~uint64_t{0}}) {
    Lane lane;
    forge(lane, [&](Descriptor& descriptor) { descriptor.sequence = sequence; });
    g_assert_true(refused(lane, "a descriptor is out of sequence"));
  }
}

void too_many_bytes_are_refused() {
  const std::string text = "a descriptor's bytes are too many";
  for (const uint32_t size : {static_cast<uint32_t>(kSlotExtra) + 1, 0xffffffffu, 0x80000000u}) {
    Lane lane;
    forge(lane, [&](Descriptor& descriptor) { descriptor.extra_size = size; });
    g_assert_true(refused(lane, text));
  }
  Lane lane;
  forge(lane, [](Descriptor& descriptor) {
    descriptor.extra_from = static_cast<uint32_t>(ExtraFrom::block);
    descriptor.extra_size = (16 << 20) + 1;
  });
  g_assert_true(refused(lane, text));
}

void bytes_of_no_kind_are_refused() {
  for (const uint32_t from : {3u, 77u, ~0u}) {
    Lane lane;
    forge(lane, [&](Descriptor& descriptor) { descriptor.extra_from = from; });
    g_assert_true(refused(lane, "a descriptor's bytes are too many, or none of their kind"));
  }
}

// "The same as before" where there was nothing before, or something else.
void bytes_of_before_must_have_been_there() {
  const auto from_before = [](uint32_t size) {
    return [size](Descriptor& descriptor) {
      descriptor.extra_from = static_cast<uint32_t>(ExtraFrom::before);
      descriptor.extra_size = size;
    };
  };
  for (const uint32_t size : {0u, 1u, 8u, 10000u}) {
    Lane lane;
    forge(lane, from_before(size));
    g_assert_true(refused(lane, "none of their kind"));
  }
  for (const uint32_t size : {0u, 7u, 9u, 1u << 30}) {
    Lane lane;
    forge(lane, [](Descriptor& descriptor) { descriptor.extra_size = 8; });
    g_assert_true(lane.take() == Take::item);
    forge(lane, from_before(size));
    g_assert_true(refused(lane, "none of their kind"));
  }
  // The bytes that are there may be those of an item that was withdrawn and skipped since.
  Lane lane;
  forge(lane, [](Descriptor& descriptor) { descriptor.extra_size = 8; });
  g_assert_true(lane.take() == Take::item);
  forge(lane, [](Descriptor& descriptor) { descriptor.extra_size = 300; });
  lane.sender_half().revoked = 2;
  forge(lane, from_before(8));
  const auto got = lane.in().take(lane.item);
  if (got) g_assert_cmpuint(lane.item.extra.size(), ==, lane.item.descriptor.extra_size);
}

void memory_outside_of_its_arena_is_refused() {
  constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();
  Lane first;
  const uint64_t whole = announced_block(first, 100).arena()->size();
  const struct {
    uint64_t offset, size;
  } places[] = {{0, whole + 1}, {whole, 1},           {whole - 1, 2}, {1, whole},
                {kMost, 1},     {1, kMost},           {kMost, 2},     {kMost, kMost},
                {whole + 1, 1}, {kMost - 4095, 4096}, {0, kMost}};
  for (const auto& place : places)
    for (const bool extra : {false, true}) {
      if (extra && place.size > (16 << 20)) continue;
      Lane lane;
      const Block block = announced_block(lane, 100);
      forge(lane, [&](Descriptor& descriptor) {
        if (extra) {
          descriptor.extra_from = static_cast<uint32_t>(ExtraFrom::block);
          descriptor.extra_arena = block.arena()->number();
          descriptor.extra_offset = place.offset;
          descriptor.extra_size = static_cast<uint32_t>(place.size);
        } else {
          descriptor.arena = block.arena()->number();
          descriptor.offset = place.offset;
          descriptor.size = place.size;
        }
      });
      g_assert_true(refused(lane, "a descriptor points outside of its arena"));
      g_assert_true(fails(lane.in().resolve(block.arena()->number(), place.offset, place.size),
                          Failure::protocol, "a descriptor points outside of its arena"));
    }
  // Its very ends are in it.
  Lane lane;
  const Block block = announced_block(lane, 100);
  const uint32_t number = block.arena()->number();
  for (const uint64_t offset : {uint64_t{0}, whole - 1}) {
    forge(lane, [&](Descriptor& descriptor) {
      descriptor.arena = number;
      descriptor.offset = offset;
      descriptor.size = offset == 0 ? whole : 1;
    });
    g_assert_true(lane.take() == Take::item);
  }
  g_assert_cmpuint(must(lane.in().resolve(number, whole, 0)).size, ==, 0);
  g_assert_true(must(lane.in().resolve(number + 1000, 0, 1)).arena == nullptr);
}

// Also where the arena is that of the item before, and where that one is retired meanwhile.
void the_arena_of_the_item_before_is_checked_again() {
  Lane lane;
  const Block block = announced_block(lane, 100);
  const uint32_t number = block.arena()->number();
  const auto item_at = [&](uint64_t offset) {
    forge(lane, [&](Descriptor& descriptor) {
      descriptor.arena = number;
      descriptor.offset = offset;
      descriptor.size = 100;
    });
  };
  item_at(0);
  item_at(64);
  g_assert_true(lane.take() == Take::item);
  g_assert_true(lane.take() == Take::item);
  const View kept = lane.item.memory;
  must(lane.in().retire_arena(number));
  item_at(0);
  g_assert_true(lane.take() == Take::pending);
  g_assert_cmpuint(kept.bytes().size(), ==, 100);  // still mapped
  g_assert_true(kept.bytes()[0] == block.data()[64]);
  announce(lane.in(), *block.arena());
  g_assert_true(lane.take() == Take::item);
  item_at(block.arena()->size() - 99);
  g_assert_true(refused(lane, "a descriptor points outside of its arena"));
}

void arenas_are_checked() {
  Lane lane;
  const auto memory = must(make_sealed("mmap-test", page_size()));
  const auto fd = [&] { return Fd(dup(memory.fd.get())); };
  must(lane.in().add_arena(5, fd(), page_size()));
  g_assert_true(fails(lane.in().add_arena(5, fd(), page_size()), Failure::protocol,
                      "an arena was announced twice"));
  g_assert_true(
      fails(lane.in().retire_arena(6), Failure::protocol, "an unknown arena was retired"));
  g_assert_true(fails(lane.in().add_arena(7, fd(), 2 * page_size()), Failure::protocol,
                      "the peer's memory is not of the size it announced"));
  g_assert_true(fails(lane.in().add_arena(7, Fd(), page_size()), Failure::protocol,
                      "the peer's memory is not sealed"));
  for (const uint64_t size : {uint64_t{64} << 30, ~uint64_t{0}})
    g_assert_true(fails(lane.in().add_arena(7, fd(), size), Failure::protocol,
                        "the peer announced more memory than a peer may"));
  g_assert_cmpuint(lane.in().usage().arenas, ==, 1);
  g_assert_cmpuint(lane.in().usage().bytes, ==, page_size());
  must(lane.in().retire_arena(5));
  g_assert_true(
      fails(lane.in().retire_arena(5), Failure::protocol, "an unknown arena was retired"));
  g_assert_cmpuint(lane.in().usage().arenas, ==, 0);
  g_assert_cmpuint(lane.in().usage().bytes, ==, 0);
  g_assert_cmpuint(memfd_mappings(), ==, 3);  // two halves and our own
}

void the_number_of_arenas_has_a_limit() {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  constexpr uint32_t kMost = kMostArenas;
  if (files.rlim_max < kMost + 100) {
    g_test_skip("needs more open files than the hard limit allows");
    return;
  }
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  Lane lane;
  const auto memory = must(make_sealed("mmap-test", page_size()));
  for (uint32_t i = 1; i <= kMost; ++i)
    must(lane.in().add_arena(i, Fd(dup(memory.fd.get())), page_size()));
  g_assert_true(fails(lane.in().add_arena(kMost + 1, Fd(dup(memory.fd.get())), page_size()),
                      Failure::protocol, "the peer announced more memory than a peer may"));
}

// Anything at all in the sender's half, at any time.
void random_halves_do_no_harm() {
  Random random;
  const auto store = std::make_shared<ArenaStore>(64 << 20);
  const Block block = must(store->allocate(50000, 64));
  for (int round = 0; round < 3000; ++round) {
    Lane lane;
    if (!random.one_in(4)) announce(lane.in(), *block.arena());
    Half& half = lane.sender_half();
    for (int i = 0; i < 40; ++i) {
      forge(lane, [&](Descriptor& descriptor) {
        const auto number = [&](uint64_t good) {
          return random.one_in(6) ? uint64_t{random.below(~0u)} << random.below(33) : good;
        };
        descriptor.sequence = number(descriptor.sequence);
        descriptor.ticket = number(random.below(8));
        descriptor.arena = random.one_in(6) ? random.below(4) : block.arena()->number();
        descriptor.extra_arena = descriptor.arena;
        descriptor.offset = number(random.below(60000));
        descriptor.size = number(random.below(50000));
        descriptor.extra_offset = number(random.below(60000));
        descriptor.extra_size = static_cast<uint32_t>(number(random.below(400)));
        descriptor.extra_from = random.below(4);
      });
      if (random.one_in(10)) half.revoked = half.revoked + random.below(4);
      if (random.one_in(50)) half.head = half.head + random.below(2000);
      if (random.one_in(50)) half.revoked = half.head - random.below(600);
      const auto got = lane.in().take(lane.item);
      if (!got) {
        g_assert_true(got.error().failure == Failure::protocol && !got.error().text.empty());
        break;
      }
      if (random.one_in(8)) lane.in().give_back(lane.item.descriptor.ticket);
      if (random.one_in(50)) (void)lane.in().retire_arena(block.arena()->number());
    }
  }
}

}  // namespace
}  // namespace mmaplink::test

int main(int argc, char** argv) {
  using namespace mmaplink::test;
  return run_all(
      argc, argv,
      {{"/receive-lane/a-write-index-out-of-the-ring-is-refused",
        a_write_index_out_of_the_ring_is_refused},
       {"/receive-lane/a-withdrawal-that-explains-nothing-is-refused",
        a_withdrawal_that_explains_nothing_is_refused},
       {"/receive-lane/a-write-index-near-the-end-of-numbers-is-refused",
        a_write_index_near_the_end_of_numbers_is_refused},
       {"/receive-lane/a-write-index-that-goes-back-is-refused",
        a_write_index_that_goes_back_is_refused},
       {"/receive-lane/withdrawing-too-much-skips-items", withdrawing_too_much_skips_items},
       {"/receive-lane/withdrawing-without-end-is-no-prison", withdrawing_without_end_is_no_prison},
       {"/receive-lane/a-wrong-sequence-is-refused", a_wrong_sequence_is_refused},
       {"/receive-lane/too-many-bytes-are-refused", too_many_bytes_are_refused},
       {"/receive-lane/bytes-of-no-kind-are-refused", bytes_of_no_kind_are_refused},
       {"/receive-lane/bytes-of-before-must-have-been-there", bytes_of_before_must_have_been_there},
       {"/receive-lane/memory-outside-of-its-arena-is-refused",
        memory_outside_of_its_arena_is_refused},
       {"/receive-lane/the-arena-of-the-item-before-is-checked-again",
        the_arena_of_the_item_before_is_checked_again},
       {"/receive-lane/arenas-are-checked", arenas_are_checked},
       {"/receive-lane/the-number-of-arenas-has-a-limit", the_number_of_arenas_has_a_limit},
       {"/receive-lane/random-halves-do-no-harm", random_halves_do_no_harm}});
}
