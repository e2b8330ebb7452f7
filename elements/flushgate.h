// A flush as it arrives at a source: its start past the data, its end in order with it. Whatever
// comes in between belongs to what was flushed.
//
// Owned by a source. Threads: start() by the exchange's worker, reset() and stop() by the streaming
// thread, and either may see its part first; wait() by whoever has asked for the flush.
#pragma once

#include <gst/gst.h>

#include <atomic>
#include <condition_variable>
#include <mutex>

#include "gst/wire.h"
#include "lib/futex.h"

namespace gstmmap {

class FlushGate {
 public:
  explicit FlushGate(GstPad* pad) : pad_(pad) {}

  // Another sender, with numbers of its own. True if a flush was on that nobody will end now.
  bool reset();
  // Pushes FLUSH_START, unless the end of that flush was seen already.
  void start(const FlushStart& flush);
  // Pushes FLUSH_STOP, unless another flush has begun meanwhile. True if it did.
  bool stop(const FlushStop& flush);
  // Until that flush is over, nobody will end it any more, or the deadline. Not by the streaming
  // thread.
  void wait(uint32_t number, mmaplink::Deadline deadline);
  // Between the two: data goes nowhere.
  bool is_on() const { return on_.load(std::memory_order_acquire); }

 private:
  GstPad* const pad_;
  std::mutex mutex_;  // held while FLUSH_START is pushed: its end waits for that
  std::condition_variable changed_;
  uint32_t resets_ = 0;
  uint32_t begun_ = 0;
  uint32_t ended_ = 0;
  std::atomic<bool> on_{false};
};

}  // namespace gstmmap
