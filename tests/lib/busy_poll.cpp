// When the next item is looked for: at a regular pace alone, early enough, and never for long.
#include "lib/busy_poll.h"

#include "tests/lib/helpers.h"

namespace mmaplink::test {
namespace {

constexpr uint64_t kUs = 1000;
constexpr uint64_t kFrame = 16'666 * kUs;
constexpr uint64_t kStart = 77'000'000 * kUs;
constexpr uint64_t kMost = 512 * kUs;

BusyPoll with(uint64_t most) {
  BusyPoll poll;
  poll.set_most(most);
  return poll;
}

bool looks_for_none(BusyPoll& poll) { return !poll.next(); }

void is_off_at_first() {
  BusyPoll poll;
  g_assert_false(poll.is_on());
  poll.set_most(kMost);
  g_assert_true(poll.is_on());
  poll.set_most(0);
  g_assert_false(poll.is_on());
}

void a_regular_pace_is_known_by_the_third() {
  BusyPoll poll = with(kMost);
  for (uint64_t i = 0; i < 3; ++i) {
    g_assert_true(looks_for_none(poll));
    poll.came(kStart + i * kFrame);
  }
  const auto [from, until] = poll.next().value();
  const uint64_t due = kStart + 3 * kFrame;
  g_assert_cmpuint(from, ==, due - kMost / 2);
  g_assert_cmpuint(until, ==, due + kMost / 2);
}

void what_is_not_regular_is_not_looked_for() {
  BusyPoll poll = with(kMost);
  uint64_t when = kStart;
  for (uint64_t i = 0; i < 100; ++i) {
    poll.came(when += i % 2 == 0 ? kFrame : 2 * kFrame);
    g_assert_true(looks_for_none(poll));
  }
}

// One that is missing, or a pause, and then as before.
void after_a_gap_it_is_known_again() {
  for (const uint64_t gap : {2 * kFrame, 600 * kFrame}) {
    BusyPoll poll = with(kMost);
    uint64_t when = kStart;
    for (int i = 0; i < 20; ++i) poll.came(when += kFrame);
    g_assert_false(looks_for_none(poll));
    poll.came(when += gap);
    g_assert_true(looks_for_none(poll));
    poll.came(when += kFrame);
    poll.came(when += kFrame);
    g_assert_false(looks_for_none(poll));
    g_assert_cmpuint(poll.next()->from, <, when + kFrame);
    g_assert_cmpuint(poll.next()->until, >, when + kFrame);
  }
}

void pieces_are_of_one_frame() {
  BusyPoll poll = with(kMost);
  for (uint64_t i = 0; i < 20; ++i)
    for (uint64_t piece = 0; piece < 5; ++piece) poll.came(kStart + i * kFrame + piece * 100 * kUs);
  const auto [from, until] = poll.next().value();
  g_assert_cmpuint(from, <, kStart + 20 * kFrame);
  g_assert_cmpuint(until, >, kStart + 20 * kFrame);
}

// Faster than it may look for one: it may look for the next when that one has come.
void a_fast_pace_too() {
  BusyPoll poll = with(kMost);
  for (uint64_t i = 0; i < 200; ++i) poll.came(kStart + i * 100 * kUs);
  const uint64_t now = kStart + 199 * 100 * kUs;
  g_assert_cmpuint(poll.next()->from, <=, now);
  g_assert_cmpuint(poll.next()->until, >, now + 100 * kUs);
}

void who_wakes_too_late_wakes_earlier() {
  BusyPoll poll = with(kMost);
  uint64_t when = kStart;
  uint64_t before = kMost / 2;
  const auto lead = [&] { return when + kFrame - poll.next()->from; };
  for (int i = 0; i < 3; ++i) poll.came(when += kFrame);
  for (int i = 0; i < 50; ++i, before = lead()) {
    poll.came(when += kFrame);
    g_assert_cmpuint(lead(), >=, before);
  }
  g_assert_cmpuint(before, ==, kMost / 4 * 3);
  for (int i = 0; i < 1000; ++i, before = lead()) {
    poll.looks(poll.next()->from);
    poll.came(when += kFrame);
    g_assert_cmpuint(lead(), <=, before);
  }
  g_assert_cmpuint(before, ==, 0);
}

// What comes before takes longer than a frame has.
void who_does_not_wait_wakes_no_earlier() {
  BusyPoll poll = with(kMost);
  for (uint64_t i = 0; i < 100; ++i) poll.came(kStart + i * kFrame);
  g_assert_cmpuint(poll.next()->from, ==, kStart + 100 * kFrame - kMost / 2);
}

// Timers that are up to 200 µs late: nearly all is seen at once, for not much more than that.
void late_timers_are_learned() {
  Random random;
  BusyPoll poll = with(kMost);
  constexpr int kMany = 20'000;
  int missed = 0;
  uint64_t looked = 0;
  for (int i = 0; i < kMany; ++i) {
    const uint64_t when = kStart + static_cast<uint64_t>(i) * kFrame;
    const auto window = poll.next();
    const uint64_t late = random.below(200) * kUs;
    if (window && window->from + late <= when) {
      poll.looks(window->from + late);
      looked += when - window->from - late;
    } else {
      ++missed;
    }
    poll.came(when);
  }
  g_assert_cmpint(missed, <, kMany / 20);
  g_assert_cmpuint(looked / kMany, <, 150 * kUs);
}

void whatever_a_peer_says_it_is_not_for_long() {
  Random random;
  BusyPoll poll = with(kMost);
  for (int i = 0; i < 200'000; ++i) {
    const uint64_t wild = uint64_t{random.below(UINT32_MAX)} << random.below(33);
    poll.came(random.one_in(3) ? UINT64_MAX - wild : wild);
    if (random.one_in(1000)) poll = with(kMost);
    const auto window = poll.next();
    g_assert_true(!window || window->until - window->from == kMost);
  }
}

}  // namespace
}  // namespace mmaplink::test

int main(int argc, char** argv) {
  using namespace mmaplink::test;
  return run_all(
      argc, argv,
      {{"/busy-poll/is-off-at-first", is_off_at_first},
       {"/busy-poll/a-regular-pace-is-known-by-the-third", a_regular_pace_is_known_by_the_third},
       {"/busy-poll/what-is-not-regular-is-not-looked-for", what_is_not_regular_is_not_looked_for},
       {"/busy-poll/after-a-gap-it-is-known-again", after_a_gap_it_is_known_again},
       {"/busy-poll/pieces-are-of-one-frame", pieces_are_of_one_frame},
       {"/busy-poll/a-fast-pace-too", a_fast_pace_too},
       {"/busy-poll/who-wakes-too-late-wakes-earlier", who_wakes_too_late_wakes_earlier},
       {"/busy-poll/who-does-not-wait-wakes-no-earlier", who_does_not_wait_wakes_no_earlier},
       {"/busy-poll/late-timers-are-learned", late_timers_are_learned},
       {"/busy-poll/whatever-a-peer-says-it-is-not-for-long",
        whatever_a_peer_says_it_is_not_for_long}});
}
