// A flush as it arrives at a source: its start past the data, its end in order with it. Whatever
// comes in between belongs to what was flushed.
//
// A live pipeline takes its state lock at FLUSH_STOP, to distribute its latency anew. Who changes
// its state has that lock, and waits for whoever pushes: so it is taken before, where it can be
// had. Who seeks has it, too, and waits for the flush: that one pushes FLUSH_STOP itself, as it
// would in one pipeline.
//
// Owned by a source. Threads: start() by the exchange's worker, and by the streaming thread where
// that has asked for it; stop(), lost() and flush() by the streaming thread, and either may see its
// part first; ask() and asked() by whoever else asks for a flush.
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
  // `stopping` while the source is told to stop.
  FlushGate(GstElement* element, GstPad* pad, const std::atomic<bool>& stopping)
      : element_(element), pad_(pad), stopping_(stopping) {}

  // Before the streaming thread starts.
  void reset(bool is_live);
  // Another sender, with numbers of its own: ends a flush that nobody will end now.
  void lost();
  // Pushes FLUSH_START, unless the end of that flush was seen already.
  void start(const FlushStart& flush);
  // Pushes FLUSH_STOP or has it pushed, unless another flush has begun meanwhile. True if it did.
  bool stop(const FlushStop& flush);
  // One of our own.
  void flush();
  // Around a question that may cause a flush; not by the streaming thread. The second one stays
  // until that flush is over, nobody will end it any more, or the deadline.
  void ask();
  void asked(std::optional<uint32_t> number, mmaplink::Deadline deadline);
  // Between the two: data goes nowhere.
  bool is_on() const { return on_.load(std::memory_order_acquire); }

 private:
  using Lock = std::unique_lock<std::mutex>;
  void forget();
  void begin(Lock& lock, uint32_t number, uint32_t seqnum);
  void end(Lock& lock, GstEvent* stop);
  void push(Lock& lock, GstEvent* event, bool& under_way);
  void wait_stopped(Lock& lock);
  bool stopped() const { return stop_ == nullptr && !starting_ && !ending_; }

  GstElement* const element_;
  GstPad* const pad_;
  const std::atomic<bool>& stopping_;
  bool is_live_ = false;
  std::mutex mutex_;
  std::condition_variable changed_;
  int askers_ = 0;
  GstEvent* stop_ = nullptr;  // to be pushed
  bool starting_ = false;     // FLUSH_START is being pushed: its end waits for that
  bool ending_ = false;       // FLUSH_STOP is
  uint32_t resets_ = 0;
  uint32_t begun_ = 0;
  uint32_t ended_ = 0;
  std::atomic<bool> on_{false};
};

}  // namespace gstmmap
