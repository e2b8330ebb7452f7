// When each frame was pushed, for a sink in the same process to which it comes back encoded: there
// is no stamp in it any more, only its time in the stream, which tells its number.

#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "stamp.h"

namespace bench {

class PushTimes {
 public:
  static PushTimes& of_process();

  void pushed(const Stamp& stamp);
  // Of a frame that is no further back than kKept; an encoder here keeps none.
  Stamp of(std::uint32_t sequence) const;

 private:
  static constexpr std::uint32_t kKept = 1024;
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};

  std::array<std::atomic<std::uint64_t>, kKept> pushed_ns_{};
  std::atomic<std::uint32_t> first_counted_{kNone};
  std::atomic<std::uint32_t> last_{kNone};
};

}  // namespace bench
