// Latencies of single frames, counted in buckets of at most a fifth of a percent, and their
// percentiles: the memory is the same for any number of frames, and all of it touched beforehand,
// since a first touch later on would count as a page fault of the transport.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace bench {

class Latencies {
 public:
  void add(std::uint64_t nanoseconds);

  std::uint64_t count() const { return count_; }

  // The latency that this share (0 < share < 1) of all frames did not exceed; 0 when there is
  // none.
  double percentile_us(double share) const;
  double max_us() const { return static_cast<double>(max_) / 1000; }

 private:
  // As a floating-point number is: an exponent, and the digits after the first one.
  static constexpr unsigned kDigits = 9;
  static constexpr unsigned kExponents = 40;  // up to 600 seconds

  static std::size_t bucket_of(std::uint64_t nanoseconds);
  static double middle_of(std::size_t bucket);

  std::array<std::uint64_t, (kExponents - kDigits + 1) << kDigits> counts_{};
  std::uint64_t count_ = 0;
  std::uint64_t max_ = 0;
};

}  // namespace bench
