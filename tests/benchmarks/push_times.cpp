// See push_times.h.

#include "push_times.h"

namespace bench {

PushTimes& PushTimes::of_process() {
  static PushTimes times;
  return times;
}

void PushTimes::pushed(const Stamp& stamp) {
  if (stamp.has(kCounted) && first_counted_.load(std::memory_order_relaxed) == kNone)
    first_counted_.store(stamp.sequence, std::memory_order_relaxed);
  if (stamp.has(kLast)) last_.store(stamp.sequence, std::memory_order_relaxed);
  pushed_ns_[stamp.sequence % kKept].store(stamp.pushed_ns, std::memory_order_relaxed);
}

Stamp PushTimes::of(std::uint32_t sequence) const {
  const bool counted = sequence >= first_counted_.load(std::memory_order_relaxed);
  const bool last = sequence == last_.load(std::memory_order_relaxed);
  return {sequence, (counted ? kCounted : 0u) | (last ? kLast : 0u),
          pushed_ns_[sequence % kKept].load(std::memory_order_relaxed)};
}

}  // namespace bench
