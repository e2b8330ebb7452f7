// Percentiles of durations in a fixed amount of memory: eight buckets for each doubling, so a
// percentile is off by at most an eighth. One writer; readers may look at any time.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>

namespace mmaplink {

class Histogram {
 public:
  void add(uint64_t ns) {
    auto& bucket = buckets_[index(ns)];
    bucket.store(bucket.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }

  // The upper edge of the bucket that holds the given share (0 … 1) of all values; 0 when empty.
  uint64_t percentile(double share) const {
    uint64_t total = 0;
    for (const auto& bucket : buckets_) total += bucket.load(std::memory_order_relaxed);
    if (total == 0) return 0;
    const auto wanted = static_cast<uint64_t>(share * static_cast<double>(total - 1)) + 1;
    uint64_t seen = 0;
    for (size_t i = 0; i < buckets_.size(); ++i) {
      seen += buckets_[i].load(std::memory_order_relaxed);
      if (seen >= wanted) return edge(i);
    }
    return edge(buckets_.size() - 1);
  }

 private:
  static constexpr int kDoublings = 40;  // up to 2^43 ns, more than two hours

  static size_t index(uint64_t ns) {
    if (ns < 8) return static_cast<size_t>(ns);
    const int exponent = static_cast<int>(std::bit_width(ns)) - 1;  // >= 3
    if (exponent - 3 >= kDoublings) return kDoublings * 8 + 7;
    const uint64_t step = (ns >> (exponent - 3)) & 7;
    return static_cast<size_t>(exponent - 2) * 8 + step;
  }
  static uint64_t edge(size_t i) {
    if (i < 8) return i;
    const int exponent = static_cast<int>(i / 8) + 2;
    return ((8 + i % 8 + 1) << (exponent - 3)) - 1;
  }

  std::array<std::atomic<uint64_t>, size_t{kDoublings + 1} * 8> buckets_{};
};

}  // namespace mmaplink
