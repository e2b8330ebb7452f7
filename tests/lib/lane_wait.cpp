// The two ends of a lane waiting for each other: no wake-up is missed, whoever is faster.
#include <unistd.h>

#include <thread>

#include "tests/lib/helpers.h"

namespace mmaplink::test {
namespace {

using Take = ReceiveLane::Take;

Deadline far_away() { return Clock::now() + std::chrono::seconds(20); }

Outgoing frame_of_now(uint64_t mark) {
  Outgoing item = frame(mark);
  item.descriptor.published = monotonic_ns();
  return item;
}

// Each item is published only when the one before has been seen, so both sides sleep each time.
void wake_the_reader_by_every_item(uint64_t busy_poll) {
  Lane lane(Lane::Maps::two);
  lane.in().set_busy_poll(busy_poll);
  constexpr uint64_t kMany = 3000;
  std::atomic<uint64_t> seen{0};
  std::thread reader([&] {
    const Kick kick;
    const Deadline deadline = far_away();
    while (seen < kMany) {
      while (lane.take() == Take::item) seen = lane.item.descriptor.pts;
      if (seen < kMany) lane.in().wait(kick, kick.value(), deadline);
      g_assert_true(Clock::now() < deadline);
    }
  });
  for (uint64_t i = 1; i <= kMany; ++i) {
    g_assert_true(put(lane.out(), frame_of_now(i)));
    // Every few items the reader is let go to sleep for sure.
    if (i % 64 == 0)
      g_assert_true(eventually([&] { return seen == i && lane.out().peer_starves(); }));
  }
  reader.join();
}

void every_item_wakes_the_reader() { wake_the_reader_by_every_item(0); }
// It looks for some, and sleeps through others.
void every_item_wakes_a_reader_that_looks_too() { wake_the_reader_by_every_item(20'000); }

void a_reader_looks_for_what_is_due_and_a_kick_ends_that() {
  constexpr uint64_t kMany = 20;
  Lane lane;
  lane.in().set_busy_poll(1'000'000'000'000);  // longer than this test may take
  Kick kick;
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> seen{0};
  std::atomic<pid_t> thread{0};
  std::thread reader([&] {
    thread = gettid();
    for (;;) {
      const uint32_t kicks = kick.value();
      if (stop) return;
      while (lane.take() == Take::item) seen = lane.item.descriptor.pts;
      lane.in().wait(kick, kicks, far_away());
    }
  });
  for (uint64_t i = 1; i <= kMany; ++i) {
    g_assert_true(put(lane.out(), frame_of_now(i)));
    g_assert_true(eventually([&] { return seen == i; }));
  }
  for (int i = 0; i < 200; ++i) {
    g_assert_false(sleeps(thread));
    g_assert_cmpuint(lane.receiver_half().reader_waiting, ==, 0);
  }
  stop = true;
  kick.kick();
  reader.join();
}

void a_kick_ends_the_wait_of_a_reader() {
  Lane lane;
  Kick kick;
  std::atomic<bool> stop{false};
  std::thread reader([&] {
    const Deadline deadline = far_away();
    for (;;) {
      const uint32_t seen = kick.value();
      if (stop) return;
      lane.in().wait(kick, seen, deadline);
      g_assert_true(Clock::now() < deadline);
    }
  });
  g_assert_true(eventually([&] { return lane.receiver_half().reader_waiting != 0; }));
  stop = true;
  kick.kick();
  reader.join();
  g_assert_cmpuint(lane.receiver_half().reader_waiting, ==, 0);
}

void a_deadline_ends_every_wait() {
  Lane lane;
  const Kick kick;
  const Deadline past = Clock::now() - std::chrono::hours(1);
  for (int i = 0; i < 3; ++i) {
    lane.in().wait(kick, kick.value(), past);
    g_assert_true(put(lane.out(), frame(1), 3));
    lane.out().wait_for_room(1, kick, kick.value(), past);
  }
  g_assert_cmpuint(lane.receiver_half().reader_waiting, ==, 0);
  g_assert_cmpuint(lane.sender_half().writer_wants, ==, 0);
}

void a_reader_does_not_sleep_on_what_is_there() {
  Lane lane;
  const Kick kick;
  const Deadline deadline = far_away();
  g_assert_true(put(lane.out(), frame(1)));
  g_assert_true(put(lane.out(), frame(2)));
  for (int i = 0; i < 300; ++i) lane.in().wait(kick, kick.value(), deadline);
  g_assert_true(lane.take() == Take::item);
  for (int i = 0; i < 300; ++i) lane.in().wait(kick, kick.value(), deadline);
  g_assert_true(Clock::now() < deadline);
}

void a_starving_peer_is_seen() {
  Lane lane;
  Kick kick;
  g_assert_false(lane.out().peer_starves());
  std::atomic<bool> stop{false};
  std::thread reader([&] {
    for (;;) {
      const uint32_t seen = kick.value();
      if (stop) return;
      if (lane.take() == Take::nothing) lane.in().wait(kick, seen, far_away());
    }
  });
  for (uint64_t i = 1; i < 20; ++i) {
    g_assert_true(eventually([&] { return lane.out().peer_starves(); }));
    g_assert_true(put(lane.out(), frame(i)));
  }
  stop = true;
  kick.kick();
  reader.join();
  g_assert_true(put(lane.out(), frame(0)));
  g_assert_false(lane.out().peer_starves());
}

// The writer asks to be woken when as many are gone of a full queue of 8.
void expect_to_be_woken(uint64_t when_gone, bool is_fast) {
  constexpr size_t kMost = 8;
  Lane lane;
  for (uint64_t i = 0; i < kMost; ++i) g_assert_true(put(lane.out(), frame(i), kMost));
  Kick kick;
  std::thread writer([&] {
    const Deadline deadline = far_away();
    while (!put(lane.out(), frame(99), kMost)) {
      // To wait often is to be fast.
      for (int i = 0; is_fast && i < 100; ++i)
        lane.out().wait_for_room(kMost, kick, kick.value(), Clock::now());
      lane.out().wait_for_room(kMost, kick, kick.value(), deadline);
      g_assert_true(Clock::now() < deadline);
    }
  });
  g_assert_true(eventually([&] {
    if (lane.sender_half().writer_wants == when_gone) return true;
    if (is_fast) kick.kick();  // it was held up just then: once more
    return false;
  }));
  for (size_t i = 0; i < when_gone; ++i) g_assert_true(lane.take() == Take::item);
  writer.join();
  g_assert_cmpuint(lane.sender_half().writer_wants, ==, 0);
  g_assert_cmpuint(lane.take_all().back(), ==, 99);
}

void a_full_queue_wakes_a_fast_writer_when_half_empty() { expect_to_be_woken(4, true); }
void a_full_queue_wakes_a_slow_writer_at_once() { expect_to_be_woken(1, false); }

void every_item_taken_wakes_a_writer_of_one() {
  Lane lane(Lane::Maps::two);
  constexpr uint64_t kMany = 3000;
  std::thread writer([&] {
    const Kick kick;
    const Deadline deadline = far_away();
    for (uint64_t i = 0; i < kMany; ++i)
      while (!put(lane.out(), frame(i), 1)) {
        lane.out().wait_for_room(1, kick, kick.value(), deadline);
        g_assert_true(Clock::now() < deadline);
      }
  });
  const Kick kick;
  for (uint64_t next = 0; next < kMany;) {
    if (lane.take() == Take::nothing) {
      lane.in().wait(kick, kick.value(), far_away());
      continue;
    }
    g_assert_cmpuint(lane.item.descriptor.pts, ==, next++);
    if (next % 64 == 0 && next < kMany)
      g_assert_true(eventually([&] { return lane.sender_half().writer_wants != 0; }));
  }
  writer.join();
}

void a_kick_ends_the_wait_of_a_writer() {
  Lane lane;
  g_assert_true(put(lane.out(), frame(0), 1));
  Kick kick;
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    const Deadline deadline = far_away();
    for (;;) {
      const uint32_t seen = kick.value();
      if (stop) return;
      lane.out().wait_for_room(1, kick, seen, deadline);
      g_assert_true(Clock::now() < deadline);
    }
  });
  g_assert_true(eventually([&] { return lane.sender_half().writer_wants != 0; }));
  stop = true;
  kick.kick();
  writer.join();
}

// As the sender does that waits for receipts: watch, look once more, wait, stop watching.
void every_receipt_wakes_who_watches() {
  Lane lane(Lane::Maps::two);
  std::atomic<int> released{0};
  constexpr int kMany = 2000;
  std::thread watcher([&] {
    const Deadline deadline = far_away();
    while (released < kMany) {
      const WaitWord word = lane.out().watch_receipts();
      if (lane.drain() == 0) wait_any(std::array{word}, deadline);
      lane.out().stop_watching();
      lane.drain();
      g_assert_true(Clock::now() < deadline);
    }
  });
  for (int i = 1; i <= kMany; ++i) {
    Outgoing item = frame(0);
    item.hold = counting_hold(released);
    g_assert_true(put(lane.out(), std::move(item)));
    g_assert_true(lane.take() == Take::item);
    lane.in().give_back(lane.item.descriptor.ticket);
    if (i % 64 == 0) g_assert_true(eventually([&] { return released == i; }));
  }
  watcher.join();
  g_assert_cmpuint(lane.sender_half().receipts_waiting, ==, 0);
}

void watchers_are_counted() {
  Lane lane;
  lane.out().watch_receipts();
  lane.out().watch_receipts();
  lane.out().stop_watching();
  g_assert_cmpuint(lane.sender_half().receipts_waiting, !=, 0);
  lane.out().stop_watching();
  g_assert_cmpuint(lane.sender_half().receipts_waiting, ==, 0);
}

void latency_reaches_the_sender() {
  Lane lane(Lane::Maps::two);
  g_assert_cmpuint(lane.out().latency_p50(), ==, 0);
  for (int i = 0; i < 200; ++i) {
    Outgoing item = frame(0);
    // One in ten was published a second ago.
    item.descriptor.published = monotonic_ns() - (i % 10 == 0 ? 1'000'000'000 : 1000);
    g_assert_true(put(lane.out(), std::move(item)));
    g_assert_true(lane.take() == Take::item);
  }
  g_assert_cmpuint(lane.out().latency_p50(), >=, 1000);
  g_assert_cmpuint(lane.out().latency_p99(), >=, 1'000'000'000);
  g_assert_cmpuint(lane.out().latency_p50(), <=, lane.out().latency_p99());
  // A time to come, by a sender that does not care, counts as no time.
  Lane future;
  for (int i = 0; i < 64; ++i) {
    Outgoing item = frame(0);
    item.descriptor.published = ~uint64_t{0};
    g_assert_true(put(future.out(), std::move(item)));
    g_assert_true(future.take() == Take::item);
  }
  g_assert_cmpuint(future.in().latency().percentile(1.0), ==, 0);
}

}  // namespace
}  // namespace mmaplink::test

int main(int argc, char** argv) {
  using namespace mmaplink::test;
  return run_all(argc, argv,
                 {{"/lane-wait/every-item-wakes-the-reader", every_item_wakes_the_reader},
                  {"/lane-wait/every-item-wakes-a-reader-that-looks-too",
                   every_item_wakes_a_reader_that_looks_too},
                  {"/lane-wait/a-reader-looks-for-what-is-due-and-a-kick-ends-that",
                   a_reader_looks_for_what_is_due_and_a_kick_ends_that},
                  {"/lane-wait/a-kick-ends-the-wait-of-a-reader", a_kick_ends_the_wait_of_a_reader},
                  {"/lane-wait/a-deadline-ends-every-wait", a_deadline_ends_every_wait},
                  {"/lane-wait/a-reader-does-not-sleep-on-what-is-there",
                   a_reader_does_not_sleep_on_what_is_there},
                  {"/lane-wait/a-starving-peer-is-seen", a_starving_peer_is_seen},
                  {"/lane-wait/a-full-queue-wakes-a-fast-writer-when-half-empty",
                   a_full_queue_wakes_a_fast_writer_when_half_empty},
                  {"/lane-wait/a-full-queue-wakes-a-slow-writer-at-once",
                   a_full_queue_wakes_a_slow_writer_at_once},
                  {"/lane-wait/every-item-taken-wakes-a-writer-of-one",
                   every_item_taken_wakes_a_writer_of_one},
                  {"/lane-wait/a-kick-ends-the-wait-of-a-writer", a_kick_ends_the_wait_of_a_writer},
                  {"/lane-wait/every-receipt-wakes-who-watches", every_receipt_wakes_who_watches},
                  {"/lane-wait/watchers-are-counted", watchers_are_counted},
                  {"/lane-wait/latency-reaches-the-sender", latency_reaches_the_sender}});
}
