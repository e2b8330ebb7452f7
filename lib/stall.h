// How long a peer has made no progress while it was waited for.
//
// Owned by whoever waits, and used by that thread alone. `progress` is any count that grows as the
// peer reads and gives back.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "lib/futex.h"

namespace mmaplink {

class Stall {
 public:
  // Since the first look at this progress.
  std::chrono::nanoseconds look(uint64_t progress, Deadline now) {
    if (!since_ || progress != progress_) since_ = now;
    progress_ = progress;
    return now - *since_;
  }
  // It is not waited for any more.
  void end() { since_.reset(); }

 private:
  std::optional<Deadline> since_;
  uint64_t progress_ = 0;
};

}  // namespace mmaplink
