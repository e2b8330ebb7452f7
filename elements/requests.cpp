#include "elements/requests.h"

namespace gstmmap {

using mmaplink::Clock;
using mmaplink::Deadline;

namespace {

// For a key frame, before it is asked for again.
constexpr auto kKeyFrame = std::chrono::seconds(1);

}  // namespace

bool Requests::is_on_its_way(bool with_headers, Deadline now) const {
  return on_its_way_ && now < on_its_way_->since + kKeyFrame &&
         (on_its_way_->with_headers || !with_headers);
}

void Requests::settle() {
  is_idle_.store(!on_its_way_ && !waits_ && !reconfigure_waits_, std::memory_order_relaxed);
}

bool Requests::put_off(bool with_headers) {
  waits_ = with_headers || waits_.value_or(false);
  settle();
  return false;
}

bool Requests::key_frame(bool with_headers, bool alone) {
  const std::lock_guard lock(mutex_);
  const Deadline now = Clock::now();
  if (is_on_its_way(with_headers, now)) return false;
  // Those who wait already have the first turn.
  if (!alone && (waits_ || !key_frames_.take(now))) return put_off(with_headers);
  on_its_way_ = KeyFrame{with_headers, now};
  settle();
  return true;
}

bool Requests::key_frame_at_a_time(bool with_headers) {
  const std::lock_guard lock(mutex_);
  return !waits_ && key_frames_.take(Clock::now()) ? true : put_off(with_headers);
}

bool Requests::reconfigure() {
  const std::lock_guard lock(mutex_);
  reconfigure_waits_ = reconfigure_waits_ || !reconfigures_.take(Clock::now());
  settle();
  return !reconfigure_waits_;
}

Requests::Due Requests::look_closely(bool is_key_frame) {
  const std::lock_guard lock(mutex_);
  const Deadline now = Clock::now();
  if (is_key_frame) {
    // An encoder gives headers where it was asked to, and may leave them out elsewhere.
    const bool has_headers = on_its_way_ && on_its_way_->with_headers;
    if (waits_ && (has_headers || !*waits_)) waits_.reset();
    on_its_way_.reset();
  }
  Due due;
  if (waits_ && key_frames_.take(now)) {
    due.key_frame = true;
    due.with_headers = *waits_;
    on_its_way_ = KeyFrame{due.with_headers, now};
    waits_.reset();
  }
  if (reconfigure_waits_ && reconfigures_.take(now)) {
    due.reconfigure = true;
    reconfigure_waits_ = false;
  }
  settle();
  return due;
}

void Requests::forget() {
  const std::lock_guard lock(mutex_);
  on_its_way_.reset();
  waits_.reset();
  settle();
}

}  // namespace gstmmap
