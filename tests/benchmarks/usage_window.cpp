// Differences of two getrusage() readings; see usage_window.h.

#include "usage_window.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "stamp.h"

namespace bench {

namespace {

double seconds(const timeval& from, const timeval& to) {
  return static_cast<double>(to.tv_sec - from.tv_sec) +
         static_cast<double>(to.tv_usec - from.tv_usec) / 1e6;
}

// Not of statm, which is exact to some hundred KiB only, from Linux 6.2 on; and without taking
// memory for it.
long resident_kib() {
  static std::array<char, 4096> text;  // one thread at a time looks
  const int file = open("/proc/self/smaps_rollup", O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  const ssize_t size = read(file, text.data(), text.size() - 1);
  close(file);
  const char* line = size > 0 ? std::strstr(text.data(), "Rss:") : nullptr;
  return line ? std::strtol(line + std::strlen("Rss:"), nullptr, 10) : 0;
}

}  // namespace

UsageWindow& UsageWindow::of_process() {
  static UsageWindow window;
  return window;
}

UsageWindow::Kept UsageWindow::kept() const {
  Kept kept;
  if (!count_arenas_) return kept;
  kept.kib = resident_kib();  // first: the others take memory
  std::error_code ignored;
  const std::filesystem::directory_iterator open_ones("/proc/self/fd", ignored);
  kept.descriptors = std::distance(begin(open_ones), end(open_ones));
  kept.arenas = count_arenas_();
  return kept;
}

void UsageWindow::take(Reading& reading) {
  getrusage(RUSAGE_SELF, &reading.usage);
  reading.at_ns = monotonic_ns();
}

void UsageWindow::open() {
  if (claimed_.test_and_set()) return;
  // What looking takes itself is none of the stream's: it has all of that the third time.
  for (int i = 0; i < 3; ++i) kept();
  kept_first_ = kept();
  take(first_);
  last_ = first_;
  opened_.store(true, std::memory_order_release);
}

void UsageWindow::look_at_the_end() {
  if (!end_claimed_.test_and_set()) kept_last_ = kept();
}

void UsageWindow::close() {
  if (opened_.load(std::memory_order_acquire)) take(last_);
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
