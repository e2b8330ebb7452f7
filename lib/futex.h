// Waiting for a word in memory to change, and waking who waits (futex(2), futex_waitv(2)).
//
// A word may lie in the peer's half, mapped read-only: FUTEX_WAIT and FUTEX_WAKE only read it.
// Every wait has an end, and most waits watch two things at once: the peer's word, and a Kick of
// our own process for flush, unlock and hang-up.
#pragma once

#include <atomic>
#include <bit>
#include <chrono>
#include <cstdint>
#include <span>

namespace mmaplink {

using Clock = std::chrono::steady_clock;  // CLOCK_MONOTONIC, as futex_waitv wants it
using Deadline = Clock::time_point;

uint64_t monotonic_ns();

struct WaitWord {
  const void* address;  // of 32 bits, aligned
  uint32_t expected;
  bool shared;  // may be woken from another process
};

// Returns when one of the words differs from what is expected, a wake-up arrives, the deadline
// passes, or for no reason at all: look again, whatever it was. At most 128 words
// (FUTEX_WAITV_MAX).
void wait_any(std::span<const WaitWord> words, Deadline deadline);

void wake(const void* address, bool shared);

// The half of a 64-bit index that a futex can watch.
inline const void* low_word(const std::atomic<uint64_t>& index) {
  const auto* word = reinterpret_cast<const char*>(&index);
  return std::endian::native == std::endian::little ? word : word + 4;
}

// Wakes threads of this process. kick() from any thread; a waiter reads value() first, looks at
// what it waits for, and then waits with word(value).
class Kick {
 public:
  uint32_t value() const { return count_.load(std::memory_order_acquire); }  // pairs with kick()
  WaitWord word(uint32_t seen) const { return {&count_, seen, false}; }
  void kick() {
    count_.fetch_add(1, std::memory_order_release);
    wake(&count_, false);
  }

 private:
  std::atomic<uint32_t> count_{0};
};

}  // namespace mmaplink
