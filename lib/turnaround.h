// How long what came in over a link took to go out again over it: at a server the time of what lies
// between its two elements, an encoder's as a rule. One frame is told from another by the time at
// which it is due.
//
// One thread receives, one sends; readers may look at the times at any time. A frame that goes out
// and never came in costs a look at the last kKept.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "lib/histogram.h"

namespace mmaplink {

class Turnaround {
 public:
  static constexpr size_t kKept = 128;  // more than encoders look ahead, as a rule

  // By the thread that receives.
  void came(uint64_t due, uint64_t now) {
    const uint64_t count = count_.load(std::memory_order_relaxed);
    Entry& entry = entries_[count % kKept];
    entry.due.store(kNone, std::memory_order_relaxed);
    // Until both are there it is that of no frame.
    std::atomic_thread_fence(std::memory_order_release);
    entry.time.store(now, std::memory_order_relaxed);
    entry.due.store(due, std::memory_order_release);     // pairs with time_of()
    count_.store(count + 1, std::memory_order_release);  // pairs with went()
  }

  // By the thread that sends. Of several buffers of one frame, such as slices, each counts.
  void went(uint64_t due, uint64_t now) {
    const uint64_t count = count_.load(std::memory_order_acquire);  // pairs with came()
    const uint64_t first = count > kKept ? count - kKept : 0;
    if (last_ < first) last_ = first;
    // Most come in order: from the last one on, then what is before it.
    std::optional<uint64_t> came;
    uint64_t at = last_;
    for (; at < count && !came; ++at) came = time_of(at, due);
    if (came) last_ = at - 1;
    for (at = last_; at > first && !came; --at) came = time_of(at - 1, due);
    if (came) times_.add(now > *came ? now - *came : 0);
  }

  const Histogram& times() const { return times_; }

 private:
  static constexpr uint64_t kNone = UINT64_MAX;  // as GST_CLOCK_TIME_NONE
  struct Entry {
    std::atomic<uint64_t> due{kNone};
    std::atomic<uint64_t> time{0};
  };

  std::optional<uint64_t> time_of(uint64_t number, uint64_t due) const {
    const Entry& entry = entries_[number % kKept];
    if (due == kNone || entry.due.load(std::memory_order_acquire) != due) return std::nullopt;
    const uint64_t time = entry.time.load(std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_acquire);
    // It may have been overwritten just then.
    if (entry.due.load(std::memory_order_relaxed) != due) return std::nullopt;
    return time;
  }

  std::array<Entry, kKept> entries_;
  std::atomic<uint64_t> count_{0};
  uint64_t last_ = 0;  // of the sending thread
  Histogram times_;
};

}  // namespace mmaplink
