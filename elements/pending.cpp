#include "elements/pending.h"

#include <algorithm>
#include <utility>

namespace gstmmap {

void Pending::begin() {
  const std::lock_guard lock(mutex_);
  frames_.clear();
  first_.reset();
  shift_.reset();
}

void Pending::add(GstBuffer* buffer, GstPad* pad) {
  Frame frame{Held<GstBuffer>(gst_buffer_ref(buffer)),
              Held<GstEvent>(gst_pad_get_sticky_event(pad, GST_EVENT_CAPS, 0)),
              Held<GstEvent>(gst_pad_get_sticky_event(pad, GST_EVENT_SEGMENT, 0))};
  const std::lock_guard lock(mutex_);
  if (!first_ && GST_BUFFER_PTS_IS_VALID(buffer)) first_ = GST_BUFFER_PTS(buffer);
  frames_.push_back(std::move(frame));
}

void Pending::has_come(GstBuffer* packet) {
  const GstClockTime pts = GST_BUFFER_PTS(packet);
  std::deque<Frame> gone;  // freed without the lock
  const std::lock_guard lock(mutex_);
  if (!GST_CLOCK_TIME_IS_VALID(pts) || !first_) return;
  if (!shift_) shift_ = GST_CLOCK_DIFF(*first_, pts);
  const auto wanted = static_cast<GstClockTime>(static_cast<GstClockTimeDiff>(pts) - *shift_);
  const auto found = std::find_if(frames_.begin(), frames_.end(), [&](const Frame& frame) {
    return GST_BUFFER_PTS(frame.buffer.get()) == wanted;
  });
  if (found == frames_.end()) return;
  const auto at = static_cast<size_t>(found - frames_.begin());
  gone.push_back(std::move(*found));
  frames_.erase(found);
  for (size_t late = at > kMostReordered ? at - kMostReordered : 0; late > 0; --late) {
    gone.push_back(std::move(frames_.front()));
    frames_.pop_front();
  }
}

std::deque<Pending::Frame> Pending::take() {
  const std::lock_guard lock(mutex_);
  return std::exchange(frames_, {});
}

}  // namespace gstmmap
