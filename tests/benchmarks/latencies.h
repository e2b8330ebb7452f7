// Latencies of single frames, kept in memory that was touched beforehand, and
// their percentiles.

#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace bench {

class Latencies {
 public:
  // Writes the memory it takes: a first touch later on would be counted as a
  // page fault of the transport that is measured.
  void expect(std::size_t frames) { nanoseconds_.assign(frames, 0); }

  // What exceeds the expected number is left out.
  void add(std::uint64_t nanoseconds) {
    if (count_ < nanoseconds_.size()) nanoseconds_[count_++] = nanoseconds;
  }

  std::size_t count() const { return count_; }

  // The smallest latency that at least this share (0 < share <= 1) of all
  // frames did not exceed; 0 when there is none.
  double percentile_us(double share) const;

 private:
  std::vector<std::uint64_t> nanoseconds_;
  std::size_t count_ = 0;
};

}  // namespace bench
