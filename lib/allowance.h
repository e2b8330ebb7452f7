// How often somebody may do something: so many times a second, and some more at once.
//
// Owned by whom it holds for, used by one thread or under its owner's lock. A bucket that fills up
// with time.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "lib/futex.h"

namespace mmaplink {

class Allowance {
 public:
  Allowance(uint32_t per_second, uint32_t at_once)
      : each_(std::chrono::nanoseconds(std::chrono::seconds(1)) / per_second),
        most_(each_ * at_once) {}

  // False where that would be once too often. Who is refused may try again: that costs nothing.
  bool take(Deadline now) {
    // The time at which all that was taken would have been earned; never long ago.
    const Deadline earned = std::max(used_up_, now - most_) + each_;
    if (earned > now) return false;
    used_up_ = earned;
    return true;
  }

 private:
  const std::chrono::nanoseconds each_;
  const std::chrono::nanoseconds most_;
  Deadline used_up_{};
};

}  // namespace mmaplink
