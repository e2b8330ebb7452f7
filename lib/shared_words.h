// How a lane gets at the words that its peer sees too, sleeps on them, and locks.
//
// The lanes are templates over this, so that a test can decide who goes on at each of these steps
// and watch what comes of it (tests/lib/schedule.h). Everybody else uses SharedWords, of which
// nothing is left once it is compiled.
#pragma once

#include <sched.h>

#include <atomic>
#include <mutex>
#include <span>
#include <type_traits>

#include "lib/futex.h"
#include "lib/shared_copy.h"
#include "lib/spin.h"

namespace mmaplink {

struct SharedWords {
  using Mutex = std::mutex;

  template <class T>
  static T load(const std::atomic<T>& word, std::memory_order order) {
    return word.load(order);
  }
  template <class T>
  static void store(std::atomic<T>& word, std::type_identity_t<T> value, std::memory_order order) {
    word.store(value, order);
  }
  static void fence(std::memory_order order) { std::atomic_thread_fence(order); }

  // Of a slot.
  static uint64_t load(const uint64_t& word) { return __atomic_load_n(&word, __ATOMIC_RELAXED); }
  static void store(uint64_t& word, uint64_t value, std::memory_order order) {
    std::atomic_ref(word).store(value, order);
  }
  static void copy_in(void* to, const void* from, size_t size) { copy_from_shared(to, from, size); }
  static void copy_out(void* to, const void* from, size_t size) { copy_to_shared(to, from, size); }

  static void wait(std::span<const WaitWord> words, Deadline deadline) {
    wait_any(words, deadline);
  }
  static void wake(const std::atomic<uint64_t>& index) { mmaplink::wake(low_word(index), true); }

  static void yield() { sched_yield(); }

  template <class Ready>
  static bool look_on(Spinner& spinner, uint64_t count, Ready ready) {
    return spinner.wait(count, ready);
  }
  template <class Ready>
  static bool look_until(uint64_t until, Ready ready) {
    return mmaplink::look_until(until, ready);
  }
  static bool is_slow(const Spinner& spinner) { return spinner.is_slow(); }
};

}  // namespace mmaplink
