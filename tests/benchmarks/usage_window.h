// What this process used of the machine between a frame after start-up and the
// end of the stream.
//
// There is one per process, as getrusage() knows no smaller unit that covers
// all threads. Where source and sink share a process, the first to reach its
// first counted frame opens it.

#pragma once

#include <sys/resource.h>

#include <atomic>
#include <cstdint>

namespace bench {

class UsageWindow {
 public:
  static UsageWindow& of_process();

  // Later calls change nothing. May be called from any thread.
  void open();
  // Once, by the main thread, when the stream has ended.
  void close();

  // Zero each, unless the window was opened and closed.
  double wall_seconds() const;
  double user_seconds() const;
  double system_seconds() const;
  long minor_faults() const;
  long voluntary_switches() const;
  long involuntary_switches() const;

 private:
  struct Reading {
    rusage usage{};
    std::uint64_t at_ns = 0;
  };
  static Reading read();

  std::atomic_flag claimed_;
  std::atomic<bool> opened_{false};
  Reading first_;
  Reading last_;
};

}  // namespace bench
