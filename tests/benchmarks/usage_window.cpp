// Differences of two getrusage() readings; see usage_window.h.

#include "usage_window.h"

#include "stamp.h"

namespace bench {

namespace {

double seconds(const timeval& from, const timeval& to) {
  return static_cast<double>(to.tv_sec - from.tv_sec) +
         static_cast<double>(to.tv_usec - from.tv_usec) / 1e6;
}

}  // namespace

UsageWindow& UsageWindow::of_process() {
  static UsageWindow window;
  return window;
}

UsageWindow::Reading UsageWindow::read() {
  Reading reading;
  getrusage(RUSAGE_SELF, &reading.usage);
  reading.at_ns = monotonic_ns();
  return reading;
}

void UsageWindow::open() {
  if (claimed_.test_and_set()) return;
  first_ = read();
  last_ = first_;
  opened_.store(true, std::memory_order_release);
}

void UsageWindow::close() {
  if (opened_.load(std::memory_order_acquire)) last_ = read();
}

double UsageWindow::wall_seconds() const {
  return static_cast<double>(last_.at_ns - first_.at_ns) / 1e9;
}

double UsageWindow::user_seconds() const {
  return seconds(first_.usage.ru_utime, last_.usage.ru_utime);
}

double UsageWindow::system_seconds() const {
  return seconds(first_.usage.ru_stime, last_.usage.ru_stime);
}

long UsageWindow::minor_faults() const { return last_.usage.ru_minflt - first_.usage.ru_minflt; }

long UsageWindow::voluntary_switches() const {
  return last_.usage.ru_nvcsw - first_.usage.ru_nvcsw;
}

long UsageWindow::involuntary_switches() const {
  return last_.usage.ru_nivcsw - first_.usage.ru_nivcsw;
}

}  // namespace bench
