// A word in shared memory, and futex(2); see wake.h.

#include "wake.h"

#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <new>
#include <thread>

#include "latencies.h"
#include "stamp.h"

namespace bench {

namespace {

constexpr std::uint32_t kWarmUp = 1;  // the zero of the time
constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr timespec kLongest{5, 0};  // for a frame that does not come

struct Shared {
  std::atomic<std::uint32_t> number{0};
  std::atomic<std::uint64_t> pushed_ns{0};
  std::uint32_t arrived = 0;
  std::uint64_t first_ns = 0;
  std::uint64_t last_ns = 0;
  Latencies latencies;
};

class Wake {
 public:
  explicit Wake(const WakeSettings& settings)
      : last_(static_cast<std::uint32_t>(settings.frames) + kWarmUp),
        fps_(settings.fps),
        private_(settings.other_process ? 0 : FUTEX_PRIVATE_FLAG) {}

  void write(Shared& shared) const {
    const std::uint64_t start = monotonic_ns();
    for (std::uint32_t number = 1; number <= last_; ++number) {
      sleep_until(start + number * kSecond / fps_);
      shared.pushed_ns.store(monotonic_ns(), std::memory_order_relaxed);
      shared.number.store(number);
      syscall(SYS_futex, &shared.number, FUTEX_WAKE | private_, 1, nullptr, nullptr, 0);
    }
  }

  void read(Shared& shared) const {
    for (std::uint32_t number = 0; number < last_;) {
      const std::uint32_t now = shared.number.load();
      if (now == number) {
        if (syscall(SYS_futex, &shared.number, FUTEX_WAIT | private_, number, &kLongest, nullptr,
                    0) != 0 &&
            errno == ETIMEDOUT)
          return;
        continue;
      }
      const std::uint64_t arrived_ns = monotonic_ns();
      if (number == 0) shared.first_ns = arrived_ns;
      // One that runs late finds several at once: there is no queue here that could lose any.
      shared.arrived += now - std::max(number, kWarmUp);
      number = now;
      if (number <= kWarmUp) continue;
      shared.last_ns = arrived_ns;
      shared.latencies.add(arrived_ns - shared.pushed_ns.load(std::memory_order_relaxed));
    }
  }

 private:
  const std::uint32_t last_;
  const std::uint64_t fps_;
  const int private_;
};

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

// Of this process and of the one that it has waited for. It does nothing else: all of it counts.
void put_usage(JsonLine& line, const rusage& before, double wall) {
  rusage own{}, child{};
  getrusage(RUSAGE_SELF, &own);
  getrusage(RUSAGE_CHILDREN, &child);
  line.object(
      "process",
      JsonLine()
          .number("wall_s", wall)
          .number("user_s",
                  seconds(own.ru_utime) - seconds(before.ru_utime) + seconds(child.ru_utime))
          .number("system_s",
                  seconds(own.ru_stime) - seconds(before.ru_stime) + seconds(child.ru_stime))
          .number("minor_faults", own.ru_minflt - before.ru_minflt + child.ru_minflt)
          .number("voluntary_switches", own.ru_nvcsw - before.ru_nvcsw + child.ru_nvcsw)
          .number("involuntary_switches", own.ru_nivcsw - before.ru_nivcsw + child.ru_nivcsw));
}

}  // namespace

bool wake(const WakeSettings& settings, JsonLine& line) {
  void* memory =
      mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return false;
  auto& shared = *new (memory) Shared;
  const Wake run(settings);
  rusage before{};
  getrusage(RUSAGE_SELF, &before);
  const std::uint64_t start = monotonic_ns();
  if (settings.other_process) {
    const pid_t reader = fork();
    if (reader < 0) return false;
    if (reader == 0) {
      run.read(shared);
      _exit(0);
    }
    run.write(shared);
    waitpid(reader, nullptr, 0);
  } else {
    std::thread reader([&] { run.read(shared); });
    run.write(shared);
    reader.join();
  }
  const double wall = static_cast<double>(monotonic_ns() - start) / 1e9;
  put_usage(line, before, wall);
  line.object("source", JsonLine()
                            .number("frames", settings.frames)
                            .number("counted", settings.frames)
                            .number("frame_size", 0));
  line.objects("sinks", {JsonLine()
                             .number("frames", shared.arrived)
                             .number("distinct", shared.arrived)
                             .number("counted", shared.arrived)
                             .number("counted_s",
                                     static_cast<double>(shared.last_ns - shared.first_ns) / 1e9)
                             .number("duplicated", 0)
                             .number("reordered", 0)
                             .number("damaged", 0)
                             .number("latency_p50_us", shared.latencies.percentile_us(0.50))
                             .number("latency_p99_us", shared.latencies.percentile_us(0.99))
                             .number("latency_max_us", shared.latencies.max_us())});
  return true;
}

}  // namespace bench
