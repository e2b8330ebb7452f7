// What this process used of the machine between a frame after start-up and the
// end of the stream, and what it kept.
//
// There is one per process, as getrusage() knows no smaller unit that covers
// all threads. Where source and sink share a process, the first to reach its
// first counted frame opens it.

#pragma once

#include <sys/resource.h>

#include <atomic>
#include <cstdint>
#include <functional>

namespace bench {

class UsageWindow {
 public:
  static UsageWindow& of_process();

  // Also what is kept: memory, descriptors and, as that function counts them, arenas. It holds up
  // the stream for a millisecond or two. Before anything flows.
  void look_at_what_is_kept(std::function<long()> count_arenas) {
    count_arenas_ = std::move(count_arenas);
  }

  // Later calls change nothing. May be called from any thread.
  void open();
  // With the last frame, before its end takes something; likewise.
  void look_at_the_end();
  // Once, by the main thread, when the stream has ended.
  void close();

  // Zero each, unless the window was opened and closed.
  double wall_seconds() const;
  double user_seconds() const;
  double system_seconds() const;
  long minor_faults() const;
  long voluntary_switches() const;
  long involuntary_switches() const;
  // More at the end than at the beginning; zero unless that is looked at.
  bool knows_kept() const { return static_cast<bool>(count_arenas_); }
  long more_kib() const { return kept_last_.kib - kept_first_.kib; }
  long more_descriptors() const { return kept_last_.descriptors - kept_first_.descriptors; }
  long more_arenas() const { return kept_last_.arenas - kept_first_.arenas; }

 private:
  struct Kept {
    long kib = 0;
    long descriptors = 0;
    long arenas = 0;
  };
  struct Reading {
    rusage usage{};
    std::uint64_t at_ns = 0;
  };
  Kept kept() const;
  static void take(Reading& reading);

  std::function<long()> count_arenas_;
  std::atomic_flag claimed_;
  std::atomic_flag end_claimed_;
  std::atomic<bool> opened_{false};
  Reading first_;
  Reading last_;
  Kept kept_first_;
  Kept kept_last_;
};

}  // namespace bench
