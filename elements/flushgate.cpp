#include "elements/flushgate.h"

#include <utility>

namespace gstmmap {

namespace {

// Numbers are counted up and may wrap.
bool is_later(uint32_t number, uint32_t than) { return static_cast<int32_t>(number - than) > 0; }

GstEvent* with_seqnum(GstEvent* event, uint32_t seqnum) {
  if (seqnum != GST_SEQNUM_INVALID) gst_event_set_seqnum(event, seqnum);
  return event;
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
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return stopped(); });
  if (!is_later(flush.number, begun_) || !is_later(flush.number, ended_)) return;
  begin(flush.number, flush.seqnum);
}

void FlushGate::begin(uint32_t number, uint32_t seqnum) {
  begun_ = number;
  on_.store(true, std::memory_order_release);
  gst_pad_push_event(pad_, with_seqnum(gst_event_new_flush_start(), seqnum));
}

bool FlushGate::stop(const FlushStop& flush) {
  std::unique_lock lock(mutex_);
  const bool is_the_last = !is_later(begun_, flush.number);
  if (is_the_last) {
    if (begun_ != flush.number) begin(flush.number, flush.seqnum);
    on_.store(false, std::memory_order_release);
    stop_ = with_seqnum(gst_event_new_flush_stop(flush.reset_time != 0), flush.seqnum);
    changed_.notify_all();
    if (askers_ == 0) push_stop(lock);
    changed_.wait(lock, [this] { return stopped(); });
  }
  ended_ = flush.number;
  changed_.notify_all();
  return is_the_last;
}

void FlushGate::push_stop(std::unique_lock<std::mutex>& lock) {
  GstEvent* event = std::exchange(stop_, nullptr);
  pushing_ = true;
  lock.unlock();
  gst_pad_push_event(pad_, event);
  lock.lock();
  pushing_ = false;
  changed_.notify_all();
}

void FlushGate::ask() {
  const std::lock_guard lock(mutex_);
  ++askers_;
}

void FlushGate::asked(std::optional<uint32_t> number, mmaplink::Deadline deadline) {
  std::unique_lock lock(mutex_);
  const uint32_t resets = resets_;
  const auto is_over = [&] {
    return !number || !is_later(*number, ended_) || resets_ != resets || pushing_;
  };
  do {
    if (stop_ != nullptr) push_stop(lock);
  } while (changed_.wait_until(lock, deadline, [&] { return stop_ != nullptr || is_over(); }) &&
           stop_ != nullptr);
  --askers_;
}

}  // namespace gstmmap
