// Looking on for some microseconds before going to sleep.
//
// Two processes that pass frames as fast as they can and sleep whenever a ring is empty or full can
// fall into step: each waits for the other to wake up, 50 µs and more on a virtual machine, and a
// queue of eight frames is gone in that time. A side that finds its peer moving more than one item
// in 20 µs therefore looks on, yielding its core, before it sleeps. A stream at the pace of a clock
// never gets there: it sleeps at once and costs nothing, but where busy_poll.h is asked for.
#pragma once

#include <sched.h>

#include <algorithm>
#include <cstdint>

#include "lib/futex.h"

namespace mmaplink {

// True as soon as `ready` is, false when it is that late (ns of CLOCK_MONOTONIC) and it is not.
template <class Ready>
bool look_until(uint64_t until, Ready ready) {
  constexpr int kLooks = 30;  // before the first yield
  for (int i = 0; i < kLooks; ++i) {
    if (ready()) return true;
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }
  while (monotonic_ns() < until) {
    if (ready()) return true;
    sched_yield();
  }
  return ready();
}

class Spinner {
 public:
  // True as soon as `ready` is; false when it is time to sleep. `count` is how many items there
  // have been so far.
  template <class Ready>
  bool wait(uint64_t count, Ready ready) {
    const uint64_t start = monotonic_ns();
    const uint64_t items = std::max<uint64_t>(count - last_count_, 1);
    const uint64_t each = std::min((start - last_ns_) / items, kMostCounted);
    average_ns_ = (average_ns_ * 7 + each) / 8;
    last_count_ = count;
    last_ns_ = start;
    if (average_ns_ > kBusy) return false;
    return look_until(start + kMost, ready);
  }

  // Whether an item takes so long, on average, that to sleep once for each costs nothing.
  bool is_slow() const { return average_ns_ > kSlow; }

 private:
  static constexpr uint64_t kSlow = 100'000;           // ns an item
  static constexpr uint64_t kBusy = 20'000;            // ns an item
  static constexpr uint64_t kMost = 100'000;           // ns of looking on
  static constexpr uint64_t kMostCounted = 1'000'000;  // ns: a pause is forgotten soon

  uint64_t last_count_ = 0;
  uint64_t last_ns_ = 0;
  uint64_t average_ns_ = kMostCounted;
};

}  // namespace mmaplink
