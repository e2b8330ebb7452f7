// Times of what comes in and goes out again: in order, out of order, with pieces and with losses.
#include "lib/turnaround.h"

#include <atomic>
#include <thread>

#include "tests/lib/helpers.h"

namespace mmaplink::test {
namespace {

constexpr uint64_t kFrame = 40'000'000;

uint64_t longest(const Turnaround& of) { return of.times().percentile(1); }

void in_order() {
  Turnaround all;
  for (uint64_t i = 0; i < 1000; ++i) {
    all.came(i * kFrame, i * 100);
    // A lookahead of 50.
    if (i >= 50) all.went((i - 50) * kFrame, i * 100);
  }
  for (const double share : {0.0, 0.5, 1.0}) {
    g_assert_cmpuint(all.times().percentile(share), >=, 5000);
    g_assert_cmpuint(all.times().percentile(share), <=, 5000 * 9 / 8);
  }
}

void out_of_order() {
  Turnaround all;
  for (uint64_t i = 0; i < 300; ++i) all.came(i * kFrame, 1000 + i);
  // As with frames between others: these are the last of what is kept.
  for (const uint64_t i : {290u, 294u, 292u, 291u, 293u, 298u, 295u, 299u, 172u})
    all.went(i * kFrame, 1000 + i + 7);
  g_assert_cmpuint(all.times().percentile(0), ==, 7);
  g_assert_cmpuint(longest(all), ==, 7);
}

void pieces_count_each() {
  Turnaround all;
  all.came(0, 0);
  all.came(kFrame, 100);
  all.went(0, 4);
  all.went(0, 6);
  all.went(kFrame, 102);
  g_assert_cmpuint(all.times().percentile(0), ==, 2);
  g_assert_cmpuint(all.times().percentile(0.5), ==, 4);
  g_assert_cmpuint(longest(all), ==, 6);
}

void what_never_came_has_no_time() {
  Turnaround all;
  all.went(0, 10);
  for (uint64_t i = 0; i <= Turnaround::kKept; ++i) all.came(i, 0);
  all.went(UINT64_MAX, 10);
  all.went(0, 10);  // too long ago
  all.went(Turnaround::kKept + 1, 10);
  g_assert_cmpuint(longest(all), ==, 0);
  all.went(1, 10);
  g_assert_cmpuint(longest(all), >=, 10);
}

// What is overwritten while it is looked for has no time of another frame.
void two_threads() {
  Turnaround all;
  std::atomic<uint64_t> newest{0};
  std::atomic<bool> ends{false};
  std::thread receives([&] {
    for (uint64_t i = 1; !ends; ++i) {
      all.came(i, i);
      newest = i;
    }
  });
  for (int i = 0; i < 200'000; ++i) {
    const uint64_t now = newest;
    if (now > 100) all.went(now - 100, now - 100);
  }
  ends = true;
  receives.join();
  g_assert_cmpuint(longest(all), ==, 0);
}

}  // namespace
}  // namespace mmaplink::test

int main(int argc, char** argv) {
  using namespace mmaplink::test;
  return run_all(argc, argv,
                 {{"/turnaround/in-order", in_order},
                  {"/turnaround/out-of-order", out_of_order},
                  {"/turnaround/pieces-count-each", pieces_count_each},
                  {"/turnaround/what-never-came-has-no-time", what_never_came_has_no_time},
                  {"/turnaround/two-threads", two_threads}});
}
