// Where in a stream a reader may begin: with a key frame, if there are any. Some encoders mark
// none, as openjpegenc with stripes: there is nothing to wait for then.
//
// Owned by a sink; of its streaming thread alone.
#pragma once

#include <chrono>

#include "lib/futex.h"

namespace gstmmap {

class KeyFrames {
 public:
  void begin_stream() { *this = {}; }

  // With each buffer, before it is sent.
  void look(bool is_key_frame) {
    is_first_ = !has_begun_;
    if (!has_begun_) since_ = mmaplink::Clock::now();
    has_begun_ = true;
    seen_ = seen_ || is_key_frame;
  }

  // Whoever gets this buffer has missed nothing.
  bool is_first() const { return is_first_; }
  // Whether whoever has missed something waits for one: a stream that has shown none for a while
  // has none.
  bool are_waited_for() const {
    return !is_first_ && (seen_ || mmaplink::Clock::now() - since_ < kPatience);
  }

 private:
  static constexpr auto kPatience = std::chrono::seconds(2);

  bool has_begun_ = false;
  bool is_first_ = false;
  bool seen_ = false;
  mmaplink::Deadline since_{};
};

}  // namespace gstmmap
