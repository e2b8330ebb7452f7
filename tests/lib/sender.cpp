// How a sink sends: waiting for room or doing without, and an end to every wait.
#include "lib/sender.h"

#include "tests/lib/sending.h"

namespace mmaplink::test {
namespace {

using Published = Sender::Published;
using Take = ReceiveLane::Take;
using Waited = Sender::Waited;

void publishes_and_stamps() {
  Sending sending;
  const uint64_t before = monotonic_ns();
  g_assert_true(sending.publish(frame(7)) == Published::yes);
  g_assert_true(sending.take() == Take::item);
  g_assert_cmpuint(sending.item.descriptor.pts, ==, 7);
  g_assert_cmpuint(sending.item.descriptor.published, >=, before);
  g_assert_cmpuint(sending.item.descriptor.published, <=, monotonic_ns());
}

void large_bytes_go_into_a_block() {
  Sending sending;
  for (const size_t size : {kSlotExtra, kSlotExtra + 1, size_t{100000}}) {
    const std::string text(size, 'x');
    Outgoing item = event(1);
    item.extra = as_bytes(text);
    g_assert_true(sending.publish(std::move(item)) == Published::yes);
    sending.pair.pump();
    g_assert_true(sending.take() == Take::item);
    g_assert_true(as_text(sending.item.extra) == text);
    g_assert_true((sending.item.descriptor.ticket != 0) == (size > kSlotExtra));
    if (size > kSlotExtra) sending.give_back();
  }
  sending.sender->collect();
  g_assert_cmpuint(sending.sender->in_flight(), ==, 0);
}

void blocks_while_the_queue_is_full() {
  Sending sending;
  const Limits limits{2, Leaky::none};
  for (uint64_t i = 0; i < 2; ++i)
    g_assert_true(sending.publish(frame(i), limits) == Published::yes);
  g_assert_true(sending.publish(event(2), limits) == Published::yes);  // does not count
  std::atomic<bool> taken{false};
  Blocked<bool> third([&] { return sending.publish(frame(3), limits) == Published::yes && taken; });
  g_assert_false(third.done());
  taken = true;
  g_assert_true(sending.take() == Take::item);
  g_assert_true(third.get());
  g_assert_true(sending.take_all() == (std::vector<uint64_t>{1, 2, 3}));
}

// What must arrive waits for as long as it takes, but for a question, which nobody waits for then.
void a_question_does_not_wait_for_ever() {
  Sending sending(1 << 20);
  Limits limits;
  for (uint64_t i = 0; i < kSlots; ++i)
    g_assert_true(sending.publish(event(i), limits) == Published::yes);
  limits.until = Clock::now() + std::chrono::milliseconds(50);
  g_assert_true(sending.publish(event(9999), limits) == Published::dropped);
  g_assert_true(Clock::now() >= limits.until);
  // Nor for memory to lie in.
  const auto all = must(sending.sender->store()->allocate(1 << 20, 1));
  const std::string text(2000, 'x');
  Outgoing large = event(1);
  large.extra = as_bytes(text);
  limits.until = Clock::now() + std::chrono::milliseconds(50);
  g_assert_true(sending.publish(std::move(large), limits) == Published::dropped);
  g_assert_cmpuint(sending.take_all().size(), ==, kSlots);
}

// Others go on without one that has stopped: not at once, and where there are none it is waited for.
void one_that_has_stopped_is_passed_over() {
  Sending sending;
  Limits limits{2, Leaky::none};
  for (uint64_t i = 0; i < 2; ++i)
    g_assert_true(sending.publish(frame(i), limits) == Published::yes);
  std::atomic<int> asked{0};
  std::atomic<bool> others_go_on{false};
  limits.patience = std::chrono::milliseconds(1);
  limits.passes_over = [&] { return ++asked, others_go_on.load(); };
  Blocked<bool> third([&] { return sending.publish(frame(2), limits) == Published::passed_over; });
  while (asked < 2) std::this_thread::yield();
  g_assert_false(third.done());
  others_go_on = true;
  g_assert_true(third.get());
  limits.patience = std::chrono::hours(1);
  Blocked<bool> fourth([&] { return sending.publish(frame(3), limits) == Published::yes; });
  g_assert_true(sending.take() == Take::item);
  g_assert_true(fourth.get());
  g_assert_true(sending.take_all() == (std::vector<uint64_t>{1, 3}));
}

void leaky_upstream_drops_the_newest() {
  std::atomic<int> released{0};
  Sending sending;
  const Limits limits{3, Leaky::upstream};
  for (uint64_t i = 0; i < 6; ++i) {
    Outgoing item = frame(i);
    item.hold = counting_hold(released);
    g_assert_true(sending.publish(std::move(item), limits) ==
                  (i < 3 ? Published::yes : Published::dropped));
  }
  g_assert_cmpint(released, ==, 3);
  g_assert_true(sending.publish(event(9), limits) == Published::yes);
  g_assert_true(sending.take_all() == (std::vector<uint64_t>{0, 1, 2, 9}));
}

void leaky_downstream_drops_the_oldest() {
  std::atomic<int> released{0};
  Sending sending;
  const Limits limits{3, Leaky::downstream};
  for (uint64_t i = 0; i < 2000; ++i) {
    Outgoing item = frame(i);
    item.hold = counting_hold(released);
    g_assert_true(sending.publish(std::move(item), limits) ==
                  (i < 3 ? Published::yes : Published::dropped_oldest));
  }
  g_assert_cmpint(released, ==, 1997);
  g_assert_true(sending.publish(event(9999), limits) == Published::yes);
  g_assert_true(sending.take_all() == (std::vector<uint64_t>{1997, 1998, 1999, 9999}));
  g_assert_true(sending.publish(frame(1), limits) == Published::yes);
}

// The reader makes room just as the sender would: nothing was dropped, and so it is said.
void what_was_not_dropped_is_not_counted() {
  Sending sending;
  const Limits limits{1, Leaky::downstream};
  Outgoing first = frame(0);
  // Let go of in the middle of the next publish(), and the queue is empty from then on.
  first.hold = Hold(&sending, [](void* data) { static_cast<Sending*>(data)->take(); });
  g_assert_true(sending.publish(std::move(first), limits) == Published::yes);
  g_assert_true(sending.take() == Take::item);
  g_assert_true(sending.publish(frame(1), limits) == Published::yes);
  sending.give_back();
  g_assert_true(sending.publish(frame(2), limits) == Published::yes);
  g_assert_cmpuint(sending.item.descriptor.pts, ==, 1);
  g_assert_true(sending.take_all() == std::vector<uint64_t>{2});
}

// The ring is full, and its reader sleeps in the middle of a slot: whatever is withdrawn makes no
// room. That costs the new frame, and the oldest maybe, but not all of them.
void a_reader_in_the_middle_does_not_cost_the_queue() {
  Sending sending;
  const Limits limits{2 * kSlots, Leaky::downstream};
  for (uint64_t i = 0; i < kSlots; ++i)
    g_assert_true(sending.publish(frame(i), limits) == Published::yes);
  sending.pair.half_of_b().claimed = 1;
  g_assert_true(sending.publish(frame(9999), limits) == Published::dropped);
  g_assert_cmpuint(sending.take_all().size(), >=, kSlots - 2);
}

// Events are not frames: they neither go nor make frames go where there are none.
void leaky_queues_keep_events() {
  for (const Leaky leaky : {Leaky::upstream, Leaky::downstream}) {
    Sending sending;
    const Limits limits{1, leaky};
    std::vector<uint64_t> expected;
    for (uint64_t i = 0; i < 40; ++i) {
      g_assert_true(sending.publish(event(1000 + i), limits) == Published::yes);
      expected.push_back(1000 + i);
      sending.publish(frame(i), limits);
    }
    std::vector<uint64_t> events;
    for (const uint64_t mark : sending.take_all())
      if (mark >= 1000) events.push_back(mark);
    g_assert_true(events == expected);
  }
  // A ring full of events has no room for a frame, and none of them goes for it.
  Sending sending;
  for (uint64_t i = 0; i < kSlots; ++i) sending.publish(event(i));
  g_assert_true(sending.publish(frame(0), {1, Leaky::downstream}) == Published::dropped);
  g_assert_cmpuint(sending.take_all().size(), ==, kSlots);
}

void an_interruption_ends_every_wait() {
  Sending sending(8 * kMega);
  const Limits limits{1, Leaky::none};
  g_assert_true(sending.publish(frame_with(sending.sender->allocate(8 * kMega, 64)), limits) ==
                Published::yes);
  Blocked<bool> published(
      [&] { return sending.publish(frame(1), limits) == Published::interrupted; });
  Blocked<bool> allocated([&] { return !sending.sender->allocate(100, 64).has_value(); });
  g_assert_false(published.done() || allocated.done());
  sending.sender->interrupt(true);
  g_assert_true(published.get() && allocated.get());
  // And those that come later, while it is set.
  g_assert_true(sending.publish(event(1), limits) == Published::interrupted);
  g_assert_false(sending.sender->allocate(100, 64).has_value());
  g_assert_true(sending.sender->wait_for_memory(sending.sender->progress()) == Waited::interrupted);
  sending.sender->interrupt(false);
  g_assert_true(sending.publish(event(1), limits) == Published::yes);
}

void a_dead_link_is_gone() {
  Sending sending;
  const Limits limits{1, Leaky::none};
  g_assert_true(sending.publish(frame(1), limits) == Published::yes);
  Blocked<bool> published([&] { return sending.publish(frame(2), limits) == Published::gone; });
  g_assert_false(published.done());
  sending.pair.a().end();
  sending.sender->remove(sending.pair.a());
  g_assert_true(published.get());
  g_assert_true(sending.publish(event(1), limits) == Published::gone);
}

void a_peer_with_bad_manners_is_hung_up_on() {
  Sending sending;
  g_assert_true(sending.publish(frame(1)) == Published::yes);
  sending.pair.b().receive_lane()->give_back(12345);
  sending.sender->collect();
  g_assert_true(sending.pair.a().hung_up_because() == "the peer gave back what it does not hold");
  sending.pair.pump();
  g_assert_cmpstr(std::get<Refuse>(sending.pair.to_b.at(0)).text.c_str(), ==,
                  "the peer gave back what it does not hold");
}

void each_reader_has_its_own_queue() {
  std::atomic<int> released{0};
  Sending sending;
  LinkPair other;
  sending.sender->add(other.shared_a());
  sending.sender->add(other.shared_a());
  g_assert_cmpuint(sending.sender->links().size(), ==, 2);
  const Limits limits{2, Leaky::upstream};
  for (int i = 0; i < 4; ++i)
    for (Link* link : {&sending.pair.a(), &other.a()}) {
      Outgoing item = frame(0);
      item.hold = counting_hold(released);
      const auto got = sending.sender->publish(*link, std::move(item), limits, {});
      g_assert_true(got == (i < 2 || link != &other.a() ? Published::yes : Published::dropped));
      if (link != &other.a()) g_assert_true(sending.take() == Take::item);
    }
  g_assert_cmpuint(sending.sender->in_flight(), ==, 6);
  g_assert_cmpuint(sending.sender->remove(other.a()), ==, 2);
  g_assert_cmpuint(sending.sender->in_flight(), ==, 4);
}

}  // namespace
}  // namespace mmaplink::test

int main(int argc, char** argv) {
  using namespace mmaplink::test;
  return run_all(
      argc, argv,
      {{"/sender/publishes-and-stamps", publishes_and_stamps},
       {"/sender/large-bytes-go-into-a-block", large_bytes_go_into_a_block},
       {"/sender/blocks-while-the-queue-is-full", blocks_while_the_queue_is_full},
       {"/sender/a-question-does-not-wait-for-ever", a_question_does_not_wait_for_ever},
       {"/sender/one-that-has-stopped-is-passed-over", one_that_has_stopped_is_passed_over},
       {"/sender/leaky-upstream-drops-the-newest", leaky_upstream_drops_the_newest},
       {"/sender/leaky-downstream-drops-the-oldest", leaky_downstream_drops_the_oldest},
       {"/sender/what-was-not-dropped-is-not-counted", what_was_not_dropped_is_not_counted},
       {"/sender/a-reader-in-the-middle-does-not-cost-the-queue",
        a_reader_in_the_middle_does_not_cost_the_queue},
       {"/sender/leaky-queues-keep-events", leaky_queues_keep_events},
       {"/sender/an-interruption-ends-every-wait", an_interruption_ends_every_wait},
       {"/sender/a-dead-link-is-gone", a_dead_link_is_gone},
       {"/sender/a-peer-with-bad-manners-is-hung-up-on", a_peer_with_bad_manners_is_hung_up_on},
       {"/sender/each-reader-has-its-own-queue", each_reader_has_its_own_queue}});
}
