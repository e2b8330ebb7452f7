// How long others are kept waiting for those who do not answer: for some time at once, and for a
// twentieth of it all in the long run.
//
// Owned by a sink. Any thread.
#pragma once

#include <algorithm>
#include <chrono>
#include <mutex>

#include "lib/futex.h"

namespace gstmmap {

class Patience {
 public:
  using Time = std::chrono::nanoseconds;

  // Of `most`; never nothing, since who answers at once is to be heard.
  Time left(Time most) {
    const std::lock_guard lock(mutex_);
    return std::max(most - debt(mmaplink::Clock::now()), std::min<Time>(most, kLeast));
  }
  void spend(Time time) {
    const std::lock_guard lock(mutex_);
    const auto now = mmaplink::Clock::now();
    spent_ = debt(now) + time;
    since_ = now;
  }

 private:
  static constexpr Time kLeast = std::chrono::milliseconds(10);
  Time debt(mmaplink::Deadline now) const {
    return std::max<Time>(spent_ - (now - since_) / 20, Time::zero());
  }

  std::mutex mutex_;
  Time spent_{};  // that was not earned back at `since_`
  mmaplink::Deadline since_{};
};

}  // namespace gstmmap
