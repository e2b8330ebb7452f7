// When to look for the next item instead of sleeping, as SO_BUSY_POLL does for a socket
// (socket(7)): from shortly before it is due.
//
// To wake up a core that has gone idle takes 50 to 200 µs on a virtual machine, and what then runs
// on it is cold. Who has a core to spare is awake before the item comes: it sleeps until shortly
// before, and looks. That is of use for what comes at a regular pace, which is seen here; nobody
// looks for anything else.
//
// How much earlier is learned, since timers are late too: an item that is slept through makes it a
// sixteenth of `most` earlier, each that is looked for a 512th later. So it is some three in a
// hundred. One that nobody waited for, since what came before took so long, changes nothing.
//
// Of one thread. Times are ns of CLOCK_MONOTONIC, and may be a peer's: whatever they are, nobody
// looks for longer than `most` for an item.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

namespace mmaplink {

class BusyPoll {
 public:
  struct Window {
    uint64_t from;
    uint64_t until;
  };

  // ns for an item; 0 is never.
  void set_most(uint64_t most) {
    most_ = most;
    lead_ = most / 2;
  }
  bool is_on() const { return most_ > 0; }

  // For what comes next, by who waits for it. None where nobody knows when it is due.
  std::optional<Window> next() {
    is_awaited_ = true;
    if (!is_regular_ || last_ + period_ < lead_) return std::nullopt;
    const uint64_t from = last_ + period_ - lead_;
    return Window{from, from + most_};
  }
  // That is looked for now.
  void looks(uint64_t now) {
    if (looks_since_ == 0) looks_since_ = now;
  }

  void came(uint64_t when) {
    if (when <= last_) return;
    const uint64_t gap = when - last_;
    // Pieces of a frame, or an event before it.
    if (gap < std::min(period_ / 4, kTogether)) return;
    const uint64_t off = std::max(gap, period_) - std::min(gap, period_);
    const bool is_due = last_ != 0 && off <= most_;
    if (is_regular_ && is_due && is_awaited_) learn(looks_since_ != 0 && looks_since_ <= when);
    if (is_due)
      period_ = period_ - period_ / 8 + gap / 8;
    else
      period_ = last_ != 0 ? gap : 0;
    is_regular_ = is_due;
    last_ = when;
    looks_since_ = 0;
    is_awaited_ = false;
  }

 private:
  static constexpr uint64_t kTogether = 1'000'000;

  void learn(bool in_time) {
    lead_ = in_time ? lead_ - std::min(lead_, most_ / 512)
                    : std::min(lead_ + most_ / 16, most_ - most_ / 4);
  }

  uint64_t most_ = 0;
  uint64_t lead_ = 0;  // before it is due
  uint64_t last_ = 0;  // when it came
  uint64_t period_ = 0;
  uint64_t looks_since_ = 0;
  bool is_regular_ = false;  // the last one came when it was due
  bool is_awaited_ = false;
};

}  // namespace mmaplink
