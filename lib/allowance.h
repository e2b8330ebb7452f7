// How often somebody may do something: so many times a second, and some more at once.
//
// Owned by a connection, used by the endpoint's thread. A bucket that fills up with time.
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

  // False where that was once too often.
  bool take(Deadline now) {
    // The time at which all that was taken would have been earned; never long ago.
    used_up_ = std::max(used_up_, now - most_) + each_;
    return used_up_ <= now;
  }

 private:
  const std::chrono::nanoseconds each_;
  const std::chrono::nanoseconds most_;
  Deadline used_up_{};
};

}  // namespace mmaplink
