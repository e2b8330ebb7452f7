#include "elements/flushgate.h"

#include <chrono>
#include <utility>

#include "elements/top.h"

namespace gstmmap {

namespace {

// Nobody tells when a state lock is free again.
constexpr auto kLookAgain = std::chrono::milliseconds(2);

// Numbers are counted up and may wrap.
bool is_later(uint32_t number, uint32_t than) { return static_cast<int32_t>(number - than) > 0; }

GstEvent* with_seqnum(GstEvent* event, uint32_t seqnum) {
  if (seqnum != GST_SEQNUM_INVALID) gst_event_set_seqnum(event, seqnum);
  return event;
}

// Of the outermost bin; of none where it is not needed.
class StateLock {
 public:
  StateLock(GstElement* element, bool is_needed) {
    if (is_needed) top_ = top_of(element);
  }
  StateLock(const StateLock&) = delete;
  StateLock& operator=(const StateLock&) = delete;
  ~StateLock() {
    if (locked_) GST_STATE_UNLOCK(top_);
    if (top_ != nullptr) gst_object_unref(top_);
  }
  bool try_lock() {
    locked_ = top_ != nullptr && GST_STATE_TRYLOCK(top_);
    return top_ == nullptr || locked_;
  }

 private:
  GstElement* top_ = nullptr;
  bool locked_ = false;
};

}  // namespace

void FlushGate::reset(bool is_live) {
  const std::lock_guard lock(mutex_);
  is_live_ = is_live;
  forget();
  on_ = false;
}

void FlushGate::forget() {
  begun_ = ended_ = 0;
  ++resets_;
  changed_.notify_all();
}

// As flush(): a sender that is gone does not reset the time of others.
void FlushGate::lost() {
  Lock lock(mutex_);
  wait_stopped(lock);
  forget();
  if (on_) end(lock, gst_event_new_flush_stop(FALSE));
}

void FlushGate::start(const FlushStart& flush) {
  Lock lock(mutex_);
  wait_stopped(lock);
  if (!is_later(flush.number, begun_) || !is_later(flush.number, ended_)) return;
  begin(lock, flush.number, flush.seqnum);
}

void FlushGate::begin(Lock& lock, uint32_t number, uint32_t seqnum) {
  begun_ = number;
  on_.store(true, std::memory_order_release);
  push(lock, with_seqnum(gst_event_new_flush_start(), seqnum), starting_);
}

bool FlushGate::stop(const FlushStop& flush) {
  Lock lock(mutex_);
  wait_stopped(lock);
  const bool is_the_last = !is_later(begun_, flush.number);
  if (is_the_last) {
    if (begun_ != flush.number) begin(lock, flush.number, flush.seqnum);
    end(lock, with_seqnum(gst_event_new_flush_stop(flush.reset_time != 0), flush.seqnum));
  }
  ended_ = flush.number;
  changed_.notify_all();
  return is_the_last;
}

// Running time goes on: to reset it would give a live pipeline another base time, and move all that
// its other sources deliver.
void FlushGate::flush() {
  Lock lock(mutex_);
  wait_stopped(lock);
  push(lock, gst_event_new_flush_start(), starting_);
  end(lock, gst_event_new_flush_stop(FALSE));
}

// By the streaming thread. Takes the event.
void FlushGate::end(Lock& lock, GstEvent* stop) {
  on_.store(false, std::memory_order_release);
  stop_ = stop;
  changed_.notify_all();
  StateLock state(element_, is_live_);
  while (!stopped()) {
    if (stop_ != nullptr && askers_ == 0 && state.try_lock()) {
      push(lock, std::exchange(stop_, nullptr), ending_);
    } else if (stop_ != nullptr && stopping_) {
      gst_clear_event(&stop_);  // all of it stops
    } else {
      changed_.wait_for(lock, kLookAgain);
    }
  }
}

// Without the lock: downstream takes the locks of its streams for it, and a thread that has one of
// these may be about to ask.
void FlushGate::push(Lock& lock, GstEvent* event, bool& under_way) {
  under_way = true;
  lock.unlock();
  gst_pad_push_event(pad_, event);
  lock.lock();
  under_way = false;
  changed_.notify_all();
}

void FlushGate::wait_stopped(Lock& lock) {
  changed_.wait(lock, [this] { return stopped(); });
}

void FlushGate::ask() {
  const std::lock_guard lock(mutex_);
  ++askers_;
}

void FlushGate::asked(std::optional<uint32_t> number, mmaplink::Deadline deadline) {
  Lock lock(mutex_);
  const uint32_t resets = resets_;
  const auto is_over = [&] {
    return !number || !is_later(*number, ended_) || resets_ != resets || ending_;
  };
  do {
    if (stop_ != nullptr) push(lock, std::exchange(stop_, nullptr), ending_);
  } while (changed_.wait_until(lock, deadline, [&] { return stop_ != nullptr || is_over(); }) &&
           stop_ != nullptr);
  --askers_;
}

}  // namespace gstmmap
