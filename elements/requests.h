// What readers want of upstream, and upstream does for all of them: key frames, and to negotiate
// anew. One of several readers must not wear out the stream of the others, so what is on its way
// serves all who ask meanwhile, and what is asked too often waits for its turn.
//
// Owned by a sink. Threads: the exchange's worker asks for readers, the streaming thread for those
// that can't begin; it looks at each buffer.
#pragma once

#include <atomic>
#include <mutex>
#include <optional>

#include "lib/allowance.h"

namespace gstmmap {

class Requests {
 public:
  // Whether upstream is to be asked now. If not, it was already, or will be when its turn comes.
  // `with_headers`: a key frame without them does not do. A reader that is alone may ask as often
  // as there are key frames.
  bool key_frame(bool with_headers, bool alone);
  // For a running time of its own: no other one serves for it, nor this one for others.
  bool key_frame_at_a_time(bool with_headers);
  bool reconfigure();

  struct Due {
    bool key_frame = false;
    bool with_headers = false;
    bool reconfigure = false;
  };
  // For each buffer that passes: what is to be asked for now.
  Due look(bool is_key_frame) {
    // A request that comes just now is seen with the next one.
    return is_idle_.load(std::memory_order_relaxed) ? Due{} : look_closely(is_key_frame);
  }
  // A flush: what was asked for is gone with it.
  void forget();

 private:
  struct KeyFrame {
    bool with_headers = false;
    mmaplink::Deadline since{};
  };
  Due look_closely(bool is_key_frame);
  bool put_off(bool with_headers);
  bool is_on_its_way(bool with_headers, mmaplink::Deadline now) const;
  void settle();

  std::atomic<bool> is_idle_{true};
  std::mutex mutex_;
  mmaplink::Allowance key_frames_{4, 4};
  mmaplink::Allowance reconfigures_{1, 2};
  std::optional<KeyFrame> on_its_way_;
  std::optional<bool> waits_;  // a key frame: with headers, or as it comes
  bool reconfigure_waits_ = false;
};

}  // namespace gstmmap
