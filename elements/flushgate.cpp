#include "elements/flushgate.h"

namespace gstmmap {

namespace {

// Numbers are counted up and may wrap.
bool is_later(uint32_t number, uint32_t than) { return static_cast<int32_t>(number - than) > 0; }

void push(GstPad* pad, GstEvent* event, uint32_t seqnum) {
  if (seqnum != GST_SEQNUM_INVALID) gst_event_set_seqnum(event, seqnum);
  gst_pad_push_event(pad, event);
}

}  // namespace

bool FlushGate::reset() {
  const std::lock_guard lock(mutex_);
  begun_ = ended_ = 0;
  ++resets_;
  changed_.notify_all();
  return on_.exchange(false);
}

void FlushGate::start(const FlushStart& flush) {
  const std::lock_guard lock(mutex_);
  if (!is_later(flush.number, begun_) || !is_later(flush.number, ended_)) return;
  begun_ = flush.number;
  on_.store(true, std::memory_order_release);
  push(pad_, gst_event_new_flush_start(), flush.seqnum);
}

bool FlushGate::stop(const FlushStop& flush) {
  const std::lock_guard lock(mutex_);
  ended_ = flush.number;
  changed_.notify_all();
  if (is_later(begun_, ended_)) return false;
  if (begun_ != ended_) {
    begun_ = ended_;
    push(pad_, gst_event_new_flush_start(), flush.seqnum);
  }
  on_.store(false, std::memory_order_release);
  push(pad_, gst_event_new_flush_stop(flush.reset_time != 0), flush.seqnum);
  return true;
}

void FlushGate::wait(uint32_t number, mmaplink::Deadline deadline) {
  std::unique_lock lock(mutex_);
  const uint32_t resets = resets_;
  changed_.wait_until(lock, deadline,
                      [&] { return !is_later(number, ended_) || resets_ != resets; });
}

}  // namespace gstmmap
