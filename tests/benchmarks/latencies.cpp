// Percentiles by nearest rank; see latencies.h.

#include "latencies.h"

#include <algorithm>
#include <cmath>

namespace bench {

double Latencies::percentile_us(double share) const {
  if (count_ == 0) return 0;
  std::vector<std::uint64_t> sorted(nanoseconds_.begin(),
                                    nanoseconds_.begin() + static_cast<std::ptrdiff_t>(count_));
  const double position = std::ceil(share * static_cast<double>(count_));
  const auto rank = std::clamp<std::size_t>(static_cast<std::size_t>(position), 1, count_) - 1;
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(rank),
                   sorted.end());
  return static_cast<double>(sorted[rank]) / 1000.0;
}

}  // namespace bench
