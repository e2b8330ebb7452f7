// Percentiles by nearest rank; see latencies.h.

#include "latencies.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace bench {

std::size_t Latencies::bucket_of(std::uint64_t nanoseconds) {
  const auto bits = static_cast<unsigned>(std::bit_width(nanoseconds));
  if (bits <= kDigits) return nanoseconds;
  const unsigned shift = bits - kDigits - 1;
  // The first digit is always 1: it counts the exponent on.
  return (std::size_t{shift} << kDigits) + (nanoseconds >> shift);
}

double Latencies::middle_of(std::size_t bucket) {
  if (bucket < std::size_t{2} << kDigits) return static_cast<double>(bucket);
  const std::size_t shift = (bucket >> kDigits) - 1;
  const std::size_t digits = bucket - (shift << kDigits);
  return (static_cast<double>(digits) + 0.5) * std::exp2(static_cast<double>(shift));
}

void Latencies::add(std::uint64_t nanoseconds) {
  ++counts_[std::min(bucket_of(nanoseconds), counts_.size() - 1)];
  ++count_;
  max_ = std::max(max_, nanoseconds);
}

double Latencies::percentile_us(double share) const {
  if (count_ == 0) return 0;
  const auto rank = static_cast<std::uint64_t>(std::ceil(share * static_cast<double>(count_)));
  std::uint64_t seen = 0;
  std::size_t bucket = 0;
  while (bucket + 1 < counts_.size() && (seen += counts_[bucket]) < rank) ++bucket;
  return std::min(middle_of(bucket), static_cast<double>(max_)) / 1000;
}

}  // namespace bench
