// A flush as it arrives at a source: its start past the data, its end in order with it. Whatever
// comes in between belongs to what was flushed.
//
// Owned by a source. Threads: start() by the exchange's worker, reset() and stop() by the streaming
// thread, and either may see its part first; ask() and asked() by whoever asks for a flush. That
// one mostly holds its pipeline's state lock, which a live pipeline takes again at FLUSH_STOP, so
// it pushes FLUSH_STOP itself, as it would in one pipeline, while the streaming thread waits.
#pragma once

#include <gst/gst.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>

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
  // Pushes FLUSH_STOP or has it pushed, unless another flush has begun meanwhile. True if it did.
  bool stop(const FlushStop& flush);
  // Around a question that may cause a flush; not by the streaming thread. The second one stays
  // until that flush is over, nobody will end it any more, or the deadline.
  void ask();
  void asked(std::optional<uint32_t> number, mmaplink::Deadline deadline);
  // Between the two: data goes nowhere.
  bool is_on() const { return on_.load(std::memory_order_acquire); }

 private:
  void begin(uint32_t number, uint32_t seqnum);
  void push_stop(std::unique_lock<std::mutex>& lock);
  bool stopped() const { return stop_ == nullptr && !pushing_; }

  GstPad* const pad_;
  std::mutex mutex_;  // held while FLUSH_START is pushed: its end waits for that
  std::condition_variable changed_;
  int askers_ = 0;
  GstEvent* stop_ = nullptr;  // for an asker to push
  bool pushing_ = false;      // FLUSH_STOP, without the lock
  uint32_t resets_ = 0;
  uint32_t begun_ = 0;
  uint32_t ended_ = 0;
  std::atomic<bool> on_{false};
};

}  // namespace gstmmap
