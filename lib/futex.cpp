#include "lib/futex.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>

namespace mmaplink {

namespace {

constexpr size_t kMostWords = 128;
// Without futex_waitv (before Linux 5.16, or refused by a seccomp filter) only the first word is
// watched by the kernel, and with it only as many as it takes: others by looking again this often.
constexpr auto kSlice = std::chrono::milliseconds(5);

timespec to_timespec(std::chrono::nanoseconds ns) {
  return {static_cast<time_t>(ns.count() / 1'000'000'000),
          static_cast<long>(ns.count() % 1'000'000'000)};
}

void wait_first(const WaitWord& word, std::chrono::nanoseconds most) {
  const timespec timeout = to_timespec(std::max(most, std::chrono::nanoseconds(0)));
  const int op = FUTEX_WAIT | (word.shared ? 0 : FUTEX_PRIVATE_FLAG);
  syscall(SYS_futex, word.address, op, word.expected, &timeout, nullptr, 0);
}

}  // namespace

uint64_t monotonic_ns() {
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now().time_since_epoch())
          .count());
}

void wait_any(std::span<const WaitWord> words, Deadline deadline) {
  static std::atomic<bool> has_waitv{true};
  if (words.size() > kMostWords) {
    words = words.first(kMostWords);
    deadline = std::min(deadline, Clock::now() + kSlice);
  }
  if (has_waitv.load(std::memory_order_relaxed)) {
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-member-init): filled as far as the kernel looks
    std::array<futex_waitv, kMostWords> list;
    for (size_t i = 0; i < words.size(); ++i) {
      list[i] = {};
      list[i].val = words[i].expected;
      list[i].uaddr = reinterpret_cast<uintptr_t>(words[i].address);
      list[i].flags = FUTEX_32 | (words[i].shared ? 0 : FUTEX_PRIVATE_FLAG);
    }
    const timespec until = to_timespec(deadline.time_since_epoch());
    const long got =
        syscall(SYS_futex_waitv, list.data(), words.size(), 0, &until, CLOCK_MONOTONIC);
    if (got >= 0 || (errno != ENOSYS && errno != EPERM)) return;
    has_waitv.store(false, std::memory_order_relaxed);
  }
  wait_first(words.front(), std::min<std::chrono::nanoseconds>(kSlice, deadline - Clock::now()));
}

void wake(const void* address, bool shared) {
  syscall(SYS_futex, address, FUTEX_WAKE | (shared ? 0 : FUTEX_PRIVATE_FLAG), INT_MAX, nullptr,
          nullptr, 0);
}

}  // namespace mmaplink
