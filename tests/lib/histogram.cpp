// Percentiles of durations, off by at most an eighth.
#include "lib/histogram.h"

#include <algorithm>
#include <vector>

#include "tests/lib/helpers.h"

namespace mmaplink::test {
namespace {

void empty_is_zero() {
  const Histogram histogram;
  for (const double share : {0.0, 0.5, 1.0}) g_assert_cmpuint(histogram.percentile(share), ==, 0);
}

void small_ones_are_exact() {
  for (uint64_t value = 0; value < 16; ++value) {
    Histogram histogram;
    histogram.add(value);
    g_assert_cmpuint(histogram.percentile(0.5), ==, value);
  }
}

// The upper edge of a value's bucket is never below it, and an eighth above at the most.
void edges_are_near_the_value() {
  const auto check = [](uint64_t value) {
    Histogram histogram;
    histogram.add(value);
    const uint64_t edge = histogram.percentile(1.0);
    g_assert_cmpuint(edge, >=, value);
    g_assert_cmpuint(edge - value, <=, value / 8);
  };
  for (int shift = 3; shift < 43; ++shift)
    for (const int off : {-1, 0, 1}) check((uint64_t{1} << shift) + static_cast<uint64_t>(off));
  Random random;
  for (int i = 0; i < 20000; ++i) {
    const uint64_t value = uint64_t{random.below(0xffffffff)} << random.below(11);
    check(value);
  }
}

void huge_ones_land_in_the_last_bucket() {
  const uint64_t last = (uint64_t{1} << 43) - 1;
  for (const uint64_t value : {last, last + 1, uint64_t{1} << 60, ~uint64_t{0}}) {
    Histogram histogram;
    histogram.add(value);
    g_assert_cmpuint(histogram.percentile(1.0), ==, last);
  }
}

void percentiles_of_many() {
  Random random;
  Histogram histogram;
  std::vector<uint64_t> values;
  for (int i = 0; i < 10001; ++i) {
    values.push_back(uint64_t{1} << random.below(40) | random.below(1 << 20));
    histogram.add(values.back());
  }
  std::sort(values.begin(), values.end());
  for (const double share : {0.0, 0.01, 0.5, 0.9, 0.99, 1.0}) {
    const uint64_t exact = values[static_cast<size_t>(share * 10000)];
    const uint64_t got = histogram.percentile(share);
    g_assert_cmpuint(got, >=, exact);
    g_assert_cmpuint(got - exact, <=, exact / 8);
  }
}

}  // namespace
}  // namespace mmaplink::test

int main(int argc, char** argv) {
  using namespace mmaplink::test;
  return run_all(
      argc, argv,
      {{"/histogram/empty-is-zero", empty_is_zero},
       {"/histogram/small-ones-are-exact", small_ones_are_exact},
       {"/histogram/edges-are-near-the-value", edges_are_near_the_value},
       {"/histogram/huge-ones-land-in-the-last-bucket", huge_ones_land_in_the_last_bucket},
       {"/histogram/percentiles-of-many", percentiles_of_many}});
}
