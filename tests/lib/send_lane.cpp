// The sender's end against a peer with bad manners: whatever it writes into its half is an error
// or without effect, and never more.
#include "lib/send_lane.h"

#include "lib/ticket.h"
#include "tests/lib/helpers.h"

namespace mmaplink::test {
namespace {

using Room = SendLane::Room;

// Makes the lane look at the peer's indices: an item for a queue that is never empty enough.
Result<Room> look(Lane& lane) {
  Outgoing item = frame(0);
  return lane.out().publish(item, 0);
}

bool index_refused(Lane& lane) {
  return fails(look(lane), Failure::protocol, "the peer's read index left the ring");
}

// A lane with items 0 … 9, of which the peer has taken five.
std::unique_ptr<Lane> half_read(std::atomic<int>& released) {
  auto lane = std::make_unique<Lane>();
  for (uint64_t i = 0; i < 10; ++i) {
    Outgoing item = frame(i);
    item.hold = counting_hold(released);
    g_assert_true(put(lane->out(), std::move(item)));
    if (i < 5) g_assert_true(lane->take() == ReceiveLane::Take::item);
  }
  g_assert_true(must(look(*lane)) == Room::no);  // and this has been seen
  return lane;
}

void indices_that_leave_the_ring_are_refused() {
  std::atomic<int> released{0};
  for (const uint64_t forged : {uint64_t{11}, uint64_t{10 + kSlots}, uint64_t{4}, uint64_t{0},
                                ~uint64_t{0}, uint64_t{1} << 63, uint64_t{1} << 32}) {
    auto lane = half_read(released);
    lane->receiver_half().claimed = forged;
    g_assert_true(index_refused(*lane));
    std::vector<Held> freed;
    g_assert_false(lane->out().withdraw_oldest(freed));
    lane = half_read(released);
    lane->receiver_half().claimed = 10;
    lane->receiver_half().taken = forged;
    g_assert_true(index_refused(*lane));
  }
  auto lane = half_read(released);
  lane->receiver_half().claimed = 10;
  lane->receiver_half().taken = 10;
  g_assert_true(must(look(*lane)) == Room::no);
}

// Taken before it was claimed: the slots would be written over while their items count as waiting.
void taken_beyond_claimed_is_refused() {
  std::atomic<int> released{0};
  auto lane = half_read(released);
  lane->receiver_half().taken = 6;
  g_assert_true(index_refused(*lane));
  // It would crash a leaky sender that publishes more events than the ring has slots.
  Lane other;
  std::vector<Held> freed;
  bool refused = false;
  for (uint64_t i = 0; i < 3 * kSlots && !refused; ++i) {
    Outgoing item = event(i);
    auto got = other.out().publish(item, 4);
    other.receiver_half().taken = i;
    if (!got) refused = true;
    if (i % 300 == 299) {
      Outgoing one = frame(0);
      if (!other.out().publish(one, 1)) refused = true;
      other.out().withdraw_oldest(freed);
    }
  }
  g_assert_true(refused);
}

void receipts_beyond_their_ring_are_refused() {
  std::atomic<int> released{0};
  for (const uint64_t forged : {kReceipts + 1, ~uint64_t{0}, uint64_t{1} << 63}) {
    const auto lane = half_read(released);
    released = 0;
    lane->receiver_half().receipt_head = forged;
    std::vector<Held> freed;
    g_assert_true(
        fails(lane->out().drain(freed), Failure::protocol, "the peer's receipts left their ring"));
    g_assert_true(freed.empty());
  }
}

void receipts_running_backwards_are_refused() {
  std::atomic<int> released{0};
  const auto lane = half_read(released);
  for (int i = 0; i < 3; ++i)
    lane->in().give_back(lane->sender_half().slots[static_cast<size_t>(i)].descriptor.ticket);
  g_assert_cmpuint(lane->drain(), ==, 3);
  lane->receiver_half().receipt_head = 2;
  std::vector<Held> freed;
  g_assert_true(
      fails(lane->out().drain(freed), Failure::protocol, "the peer's receipts left their ring"));
}

void wrong_receipts_are_refused() {
  std::atomic<int> released{0};
  const auto probe = half_read(released);
  const uint64_t ticket = probe->item.descriptor.ticket;
  const uint32_t row = ticket_row(ticket);
  const uint32_t generation = ticket_generation(ticket);
  for (const uint64_t forged :
       {uint64_t{0}, make_ticket(row, next_generation(generation)), make_ticket(row, 0),
        make_ticket(row + 1000, generation), make_ticket(~0u, generation), ~kSkipped}) {
    const auto lane = half_read(released);
    released = 0;
    lane->in().give_back(forged);
    std::vector<Held> freed;
    g_assert_true(fails(lane->out().drain(freed), Failure::protocol,
                        "the peer gave back what it does not hold"));
    g_assert_cmpuint(lane->out().held(), ==, 10);
    // With the mark of a skipped item it may be about one that is gone already.
    const auto other = half_read(released);
    other->in().give_back(forged | kSkipped);
    g_assert_cmpuint(other->drain(), ==, 0);
    g_assert_cmpuint(other->out().held(), ==, 10);
  }
}

void a_receipt_counts_once() {
  std::atomic<int> released{0};
  const auto lane = half_read(released);
  const uint64_t ticket = lane->item.descriptor.ticket;
  lane->in().give_back(ticket);
  g_assert_cmpuint(lane->drain(), ==, 1);
  lane->in().give_back(ticket);
  std::vector<Held> freed;
  g_assert_true(fails(lane->out().drain(freed), Failure::protocol,
                      "the peer gave back what it does not hold"));
  // Both at once, the good one counts.
  const auto twice = half_read(released);
  twice->in().give_back(twice->item.descriptor.ticket);
  twice->in().give_back(twice->item.descriptor.ticket);
  g_assert_false(static_cast<bool>(twice->out().drain(freed)));
  g_assert_cmpuint(freed.size(), ==, 1);
}

// The row serves again at once, under another generation: an old receipt does not free the new
// item.
void an_old_receipt_frees_no_newer_item() {
  Lane lane;
  std::atomic<int> released{0};
  uint64_t before = 0;
  for (int i = 0; i < 100; ++i) {
    Outgoing item = frame(0);
    item.hold = counting_hold(released);
    g_assert_true(put(lane.out(), std::move(item)));
    g_assert_true(lane.take() == ReceiveLane::Take::item);
    const uint64_t ticket = lane.item.descriptor.ticket;
    g_assert_cmpuint(ticket, !=, before);
    if (before != 0) {
      g_assert_cmpuint(ticket_row(ticket), ==, ticket_row(before));
      lane.in().give_back(before | kSkipped);
      g_assert_cmpuint(lane.drain(), ==, 0);
    }
    lane.in().give_back(ticket);
    g_assert_cmpuint(lane.drain(), ==, 1);
    before = ticket;
  }
}

void receipts_of_what_is_not_read_are_taken() {
  std::atomic<int> released{0};
  const auto lane = half_read(released);
  // Its own loss: the sender need not know what has been read.
  lane->in().give_back(lane->sender_half().slots[9].descriptor.ticket);
  g_assert_cmpuint(lane->drain(), ==, 1);
  g_assert_cmpuint(lane->out().held(), ==, 9);
}

void waiting_words_may_be_anything() {
  Lane lane;
  for (const uint32_t forged : {1u, 1u, 7u, ~0u, 0u}) {
    lane.receiver_half().reader_waiting = forged;
    lane.receiver_half().latency_p50 = ~uint64_t{0};
    g_assert_true(put(lane.out(), frame(forged)));
    g_assert_cmpuint(lane.out().latency_p50(), ==, ~uint64_t{0});
  }
  // A peer that says it read all, and waits: it is taken at its word.
  lane.receiver_half().reader_waiting = 1;
  g_assert_false(lane.out().peer_starves());
  lane.receiver_half().claimed = lane.sender_half().head.load();
  g_assert_true(lane.out().peer_starves());
}

// Anything at all in the peer's half, at any time.
void random_halves_do_no_harm() {
  Random random;
  std::atomic<int> released{0};
  const auto store = std::make_shared<ArenaStore>(64 << 20);
  const std::string large(1000, 'x');
  for (int round = 0; round < 150; ++round) {
    Lane lane;
    int sent = 0;
    released = 0;
    const auto forge = [&](std::atomic<uint64_t>& word) {
      const uint64_t head = lane.sender_half().head;
      const uint64_t values[] = {head, word + random.below(4), word - random.below(4),
                                 head - random.below(600), uint64_t{random.below(1000)}};
      word = random.one_in(200) ? uint64_t{random.below(~0u)} << random.below(33)
                                : values[random.below(5)];
    };
    Half& half = lane.receiver_half();
    for (int i = 0; i < 2000; ++i) {
      Outgoing item = random.one_in(3) ? event(0) : frame(0);
      if (random.one_in(2)) item.hold = counting_hold(released);
      if (item.hold) ++sent;
      if (!item.droppable && random.one_in(4)) {
        item.extra = as_bytes(large);
        item.extra_block = must(store->allocate(large.size(), 1));
      }
      (void)lane.out().publish(item, 1 + random.below(12));
      std::vector<Held> freed;
      if (random.one_in(4)) lane.out().withdraw_oldest(freed);
      if (random.one_in(4)) (void)lane.out().drain(freed);
      switch (random.below(8)) {
        case 0:
          forge(half.claimed);
          break;
        case 1:
          forge(half.taken);
          break;
        case 2:
          half.claimed = half.taken = lane.sender_half().head.load();
          break;
        case 3: {  // a receipt, sometimes one that is due
          const uint64_t slot = random.below(kSlots);
          half.receipts[half.receipt_head % kReceipts] =
              random.one_in(4) ? random.below(~0u)
                               : lane.sender_half().slots[slot].descriptor.ticket;
          ++half.receipt_head;
          break;
        }
        case 4:
          if (random.one_in(100)) forge(half.receipt_head);
          break;
        default:
          break;
      }
      g_assert_cmpuint(lane.out().held(), <=, kRows + kSlots);
    }
    std::vector<Held> freed;
    lane.out().free_all(freed);
    freed.clear();
    g_assert_cmpint(released, ==, sent);  // each once, and none twice
  }
}

}  // namespace
}  // namespace mmaplink::test

int main(int argc, char** argv) {
  using namespace mmaplink::test;
  return run_all(
      argc, argv,
      {{"/send-lane/indices-that-leave-the-ring-are-refused",
        indices_that_leave_the_ring_are_refused},
       {"/send-lane/taken-beyond-claimed-is-refused", taken_beyond_claimed_is_refused},
       {"/send-lane/receipts-beyond-their-ring-are-refused",
        receipts_beyond_their_ring_are_refused},
       {"/send-lane/receipts-running-backwards-are-refused",
        receipts_running_backwards_are_refused},
       {"/send-lane/wrong-receipts-are-refused", wrong_receipts_are_refused},
       {"/send-lane/a-receipt-counts-once", a_receipt_counts_once},
       {"/send-lane/an-old-receipt-frees-no-newer-item", an_old_receipt_frees_no_newer_item},
       {"/send-lane/receipts-of-what-is-not-read-are-taken",
        receipts_of_what_is_not_read_are_taken},
       {"/send-lane/waiting-words-may-be-anything", waiting_words_may_be_anything},
       {"/send-lane/random-halves-do-no-harm", random_halves_do_no_harm}});
}
