// Taking items back that nobody has begun to read (leaky downstream): what may be left out goes,
// what must arrive arrives, and nothing that the reader looks at is touched.
#include "lib/ticket.h"
#include "tests/lib/helpers.h"

namespace mmaplink::test {
namespace {

using Marks = std::vector<uint64_t>;
using Take = ReceiveLane::Take;

// Marks of events are above this.
constexpr uint64_t kEvents = 1000000;

bool withdraw(Lane& lane) {
  std::vector<Held> freed;
  return lane.out().withdraw_oldest(freed);
}

// Publishes what a leaky queue would: makes room by withdrawing.
void leak(Lane& lane, Outgoing item, size_t max_queued) {
  for (int tries = 0; must(lane.out().publish(item, max_queued)) == SendLane::Room::no; ++tries) {
    g_assert_cmpint(tries, <, 3);
    lane.drain();
    withdraw(lane);
  }
}

Marks only(const Marks& marks, bool events) {
  Marks left;
  for (const uint64_t mark : marks)
    if ((mark >= kEvents) == events) left.push_back(mark);
  return left;
}

void the_oldest_goes_first() {
  Lane lane(Lane::Maps::two);
  std::atomic<int> released{0};
  for (uint64_t i = 0; i < 5; ++i) {
    Outgoing item = frame(i);
    item.hold = counting_hold(released);
    g_assert_true(put(lane.out(), std::move(item)));
  }
  for (int i = 1; i <= 2; ++i) {
    std::vector<Held> freed;
    g_assert_true(lane.out().withdraw_oldest(freed));
    g_assert_cmpuint(freed.size(), ==, 1);
    g_assert_cmpint(released, ==, i - 1);  // by the caller, with no lock held
    freed.clear();
    g_assert_cmpint(released, ==, i);
  }
  g_assert_cmpuint(lane.out().held(), ==, 3);
  g_assert_true(lane.take_all() == (Marks{2, 3, 4}));
  lane.drain();
  g_assert_cmpint(released, ==, 5);
  g_assert_cmpuint(lane.out().held(), ==, 0);
}

void there_is_room_again() {
  Lane lane;
  for (uint64_t i = 0; i < 3; ++i) g_assert_true(put(lane.out(), frame(i), 3));
  g_assert_false(put(lane.out(), frame(3), 3));
  g_assert_true(withdraw(lane));
  g_assert_true(put(lane.out(), frame(3), 3));
  g_assert_false(put(lane.out(), frame(4), 3));
  g_assert_true(lane.take_all() == (Marks{1, 2, 3}));
}

void what_is_read_or_not_there_stays() {
  Lane lane;
  g_assert_false(withdraw(lane));
  g_assert_true(put(lane.out(), frame(1)));
  g_assert_true(lane.take() == Take::item);
  g_assert_false(withdraw(lane));
  g_assert_true(put(lane.out(), frame(2)));
  g_assert_true(put(lane.out(), frame(3)));
  g_assert_true(lane.take() == Take::item);
  g_assert_true(withdraw(lane));
  g_assert_false(withdraw(lane));
  g_assert_true(lane.take_all().empty());
  g_assert_true(put(lane.out(), frame(4)));
  g_assert_true(lane.take_all() == Marks{4});
}

// The reader gives no receipt twice, nor one for what the sender freed, that would be an error.
void skipped_receipts_are_no_error() {
  Lane lane;
  std::atomic<int> released{0};
  for (uint64_t i = 0; i < 100; ++i) {
    Outgoing item = frame(i);
    item.hold = counting_hold(released);
    g_assert_true(put(lane.out(), std::move(item)));
    if (i % 2 == 0) g_assert_true(withdraw(lane));
  }
  g_assert_cmpuint(lane.take_all().size(), ==, 50);
  g_assert_cmpuint(lane.in().usage().held, ==, 0);
  lane.drain();
  g_assert_cmpint(released, ==, 100);
  g_assert_false(lane.out().has_receipts(1));
}

// Something that must arrive stands in front: only the oldest frame goes all the same, and the
// others come with their bytes and holds as if nothing had been.
void the_oldest_goes_from_behind_events() {
  Lane lane(Lane::Maps::two);
  std::atomic<int> released{0};
  const Marks order{kEvents, kEvents + 1, 0, 1, 2, kEvents + 2, 3};
  for (const uint64_t mark : order) {
    const std::string text = "bytes of " + std::to_string(mark);
    Outgoing item = mark >= kEvents ? event(mark) : frame(mark);
    item.extra = as_bytes(text);
    item.descriptor.kind = static_cast<uint32_t>(mark + 1);
    if (item.droppable) item.hold = counting_hold(released);
    g_assert_true(put(lane.out(), std::move(item)));
  }
  for (int gone = 1; gone <= 2; ++gone) {
    g_assert_true(withdraw(lane));
    g_assert_cmpint(released, ==, gone);
  }
  Marks marks;
  while (lane.take() == Take::item) {
    const uint64_t mark = lane.item.descriptor.pts;
    marks.push_back(mark);
    g_assert_cmpuint(lane.item.descriptor.kind, ==, mark + 1);
    g_assert_true(as_text(lane.item.extra) == "bytes of " + std::to_string(mark));
    if (lane.item.descriptor.ticket != 0) lane.in().give_back(lane.item.descriptor.ticket);
    lane.drain();
  }
  g_assert_true(marks == (Marks{kEvents, kEvents + 1, 2, kEvents + 2, 3}));
  g_assert_cmpint(released, ==, 4);
  g_assert_cmpuint(lane.out().held(), ==, 0);
}

// Frames whose bytes are those of the frame before can't be published again.
void frames_that_repeat_go_from_behind_events() {
  Lane lane;
  const std::string text = "the same";
  g_assert_true(put(lane.out(), event(kEvents)));
  for (uint64_t i = 0; i < 4; ++i) {
    Outgoing item = frame(i);
    item.extra = as_bytes(text);
    item.may_repeat = true;
    g_assert_true(put(lane.out(), std::move(item)));
  }
  g_assert_true(put(lane.out(), event(kEvents + 1)));
  g_assert_true(withdraw(lane));
  g_assert_true(lane.take_all() == (Marks{kEvents, kEvents + 1}));
}

// An event that does not fit a slot holds its bytes in a block: under a ticket, as frames do.
void large_events_survive_with_their_bytes() {
  Lane lane(Lane::Maps::two);
  const auto store = std::make_shared<ArenaStore>(64 << 20);
  const std::string text(5000, 'e');
  Outgoing item = event(kEvents);
  item.extra = as_bytes(text);
  item.extra_block = must(store->allocate(text.size(), 1));
  announce(lane.in(), *item.extra_block->arena());
  g_assert_true(put(lane.out(), std::move(item)));
  g_assert_true(put(lane.out(), frame(1)));
  g_assert_true(withdraw(lane));
  g_assert_cmpuint(lane.out().held(), ==, 1);
  // The reader passes the slot that the event stood in, and comes to where it stands now. What it
  // says of the first must not free the block.
  g_assert_true(lane.take() == Take::item);
  lane.drain();
  g_assert_cmpuint(lane.out().held(), ==, 1);
  g_assert_true(as_text(lane.item.extra) == text);
  lane.in().give_back(lane.item.descriptor.ticket);
  lane.drain();
  g_assert_cmpuint(lane.out().held(), ==, 0);
  g_assert_true(lane.take() == Take::nothing);
}

void events_alone_are_left_where_they_are() {
  Lane lane;
  for (uint64_t i = 0; i < 10; ++i) g_assert_true(put(lane.out(), event(kEvents + i)));
  const uint64_t head = lane.sender_half().head;
  g_assert_false(withdraw(lane));
  g_assert_cmpuint(lane.sender_half().head, ==, head);
  g_assert_cmpuint(lane.take_all().size(), ==, 10);
}

// Publishing events again must not come round to a slot that the reader copies: the one it has
// claimed and not yet taken, or the next one, which it may claim between our look at its index and
// the withdrawal.
void a_slot_that_is_being_read_is_left_alone() {
  for (const uint64_t taken : {0, 1})
    for (const uint64_t waiting :
         {uint64_t{100}, uint64_t{254}, uint64_t{257}, uint64_t{258}, uint64_t{400}, kSlots - 2}) {
      Lane lane;
      for (uint64_t i = 0; i < waiting; ++i) g_assert_true(put(lane.out(), event(i)));
      g_assert_true(put(lane.out(), frame(0)));
      lane.receiver_half().claimed = 1;
      lane.receiver_half().taken = taken;
      withdraw(lane);
      g_assert_cmpuint(lane.sender_half().slots[taken].descriptor.sequence, ==, taken + 1);
    }
}

// The reader has claimed an event and not yet looked what is withdrawn. A withdrawal of what comes
// behind it must not look to it as if it were about the event.
void an_event_that_is_being_claimed_is_not_lost() {
  for (const bool behind_it : {false, true}) {
    Lane lane;
    g_assert_true(put(lane.out(), event(kEvents)));
    if (behind_it) g_assert_true(put(lane.out(), event(kEvents + 1)));
    g_assert_true(put(lane.out(), frame(1)));
    lane.receiver_half().claimed = 1;
    withdraw(lane);
    const Marks events = only(lane.take_all(), true);
    g_assert_true(events == (behind_it ? Marks{kEvents, kEvents + 1} : Marks{kEvents}));
  }
}

// The reader takes an event just before it is withdrawn, and the sender can't know: it publishes it
// again, and the reader knows it.
void an_event_that_was_taken_meanwhile_comes_once() {
  Lane lane;
  for (int round = 0; round < 3; ++round) {
    const uint64_t read = lane.receiver_half().taken;
    g_assert_true(put(lane.out(), event(kEvents)));
    g_assert_true(put(lane.out(), frame(1)));
    g_assert_true(lane.take() == Take::item);
    lane.receiver_half().claimed = read;
    lane.receiver_half().taken = read;
    g_assert_true(withdraw(lane));
    g_assert_true(put(lane.out(), event(kEvents + 1)));
    g_assert_true(lane.take_all() == (Marks{kEvents + 1}));
  }
}

void a_ring_full_of_events_stays_whole() {
  Lane lane(Lane::Maps::two);
  uint64_t sent = 0;
  Marks got;
  Random random;
  for (int round = 0; round < 200; ++round) {
    for (uint32_t i = random.below(600); i > 0; --i) {
      if (random.one_in(10)) {
        Outgoing item = frame(1);
        if (must(lane.out().publish(item, 2)) == SendLane::Room::no) withdraw(lane);
      } else if (put(lane.out(), event(kEvents + sent))) {
        ++sent;
      }
    }
    for (uint32_t i = random.below(400); i > 0 && lane.take() == Take::item; --i)
      got.push_back(lane.item.descriptor.pts);
  }
  const Marks rest = lane.take_all();
  got.insert(got.end(), rest.begin(), rest.end());
  const Marks events = only(got, true);
  g_assert_cmpuint(events.size(), ==, sent);
  for (uint64_t i = 0; i < sent; ++i) g_assert_cmpuint(events[i], ==, kEvents + i);
}

// Thousands of items are withdrawn while the reader looks away: the ring is written over many
// times, and the reader finds the newest.
void a_reader_that_looks_sometimes_finds_the_newest() {
  constexpr size_t kMost = 5;
  Lane lane(Lane::Maps::two);
  std::atomic<int> released{0};
  Random random;
  uint64_t sent = 0;
  uint64_t events = 0;
  uint64_t events_seen = 0;
  for (int look = 0; look < 60; ++look) {
    for (uint32_t i = 1 + random.below(look % 3 == 0 ? 20 : 3000); i > 0; --i) {
      if (random.one_in(500)) {
        leak(lane, event(kEvents + events++), kMost);
        continue;
      }
      Outgoing item = frame(sent++);
      item.hold = counting_hold(released);
      leak(lane, std::move(item), kMost);
    }
    const Marks marks = lane.take_all();
    const Marks frames = only(marks, false);
    g_assert_cmpuint(frames.size(), <=, kMost);
    g_assert_true(std::is_sorted(frames.begin(), frames.end()));
    if (!frames.empty()) g_assert_cmpuint(frames.back(), ==, sent - 1);
    for (const uint64_t mark : only(marks, true))
      g_assert_cmpuint(mark, ==, kEvents + events_seen++);
    g_assert_cmpuint(events_seen, ==, events);
    lane.drain();
    g_assert_cmpuint(lane.out().held(), ==, 0);
    g_assert_cmpuint(static_cast<uint64_t>(released.load()), ==, sent);
  }
}

// A reader that has claimed an item just before it was withdrawn: the sender leaves its row until
// the receipt, whatever the reader made of it.
void a_claimed_item_is_let_go_by_its_receipt() {
  Lane lane;
  std::atomic<int> released{0};
  Outgoing item = frame(1);
  item.hold = counting_hold(released);
  g_assert_true(put(lane.out(), std::move(item)));
  lane.receiver_half().claimed = 1;
  g_assert_false(withdraw(lane));
  g_assert_cmpuint(lane.out().held(), ==, 1);
  const uint64_t ticket = lane.sender_half().slots[0].descriptor.ticket;
  lane.in().give_back(ticket | kSkipped);
  lane.drain();
  g_assert_cmpint(released, ==, 1);
}

}  // namespace
}  // namespace mmaplink::test

int main(int argc, char** argv) {
  using namespace mmaplink::test;
  return run_all(
      argc, argv,
      {{"/lane-withdraw/the-oldest-goes-first", the_oldest_goes_first},
       {"/lane-withdraw/there-is-room-again", there_is_room_again},
       {"/lane-withdraw/what-is-read-or-not-there-stays", what_is_read_or_not_there_stays},
       {"/lane-withdraw/skipped-receipts-are-no-error", skipped_receipts_are_no_error},
       {"/lane-withdraw/the-oldest-goes-from-behind-events", the_oldest_goes_from_behind_events},
       {"/lane-withdraw/frames-that-repeat-go-from-behind-events",
        frames_that_repeat_go_from_behind_events},
       {"/lane-withdraw/large-events-survive-with-their-bytes",
        large_events_survive_with_their_bytes},
       {"/lane-withdraw/events-alone-are-left-where-they-are",
        events_alone_are_left_where_they_are},
       {"/lane-withdraw/a-slot-that-is-being-read-is-left-alone",
        a_slot_that_is_being_read_is_left_alone},
       {"/lane-withdraw/an-event-that-is-being-claimed-is-not-lost",
        an_event_that_is_being_claimed_is_not_lost},
       {"/lane-withdraw/an-event-that-was-taken-meanwhile-comes-once",
        an_event_that_was_taken_meanwhile_comes_once},
       {"/lane-withdraw/a-ring-full-of-events-stays-whole", a_ring_full_of_events_stays_whole},
       {"/lane-withdraw/a-reader-that-looks-sometimes-finds-the-newest",
        a_reader_that_looks_sometimes_finds_the_newest},
       {"/lane-withdraw/a-claimed-item-is-let-go-by-its-receipt",
        a_claimed_item_is_let_go_by_its_receipt}});
}
