// Counts and times frames that go out and packets that come back.
#pragma once

#include <gst/gst.h>

#include <algorithm>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace example {

// A packet is that of the frame which has the same time in the stream.
class RoundTrips {
 public:
  void sent(GstPad* pad, GstBuffer* buffer) {
    const std::lock_guard lock(mutex_);
    ++sent_;
    under_way_.emplace(stream_time(pad, buffer), g_get_monotonic_time());
  }

  void received(GstPad* pad, GstBuffer* buffer) {
    const gint64 now = g_get_monotonic_time();
    const std::lock_guard lock(mutex_);
    ++received_;
    const auto frame = under_way_.find(stream_time(pad, buffer));
    if (frame == under_way_.end()) return;
    times_.push_back(now - frame->second);
    under_way_.erase(frame);
  }

  guint64 moved() {
    const std::lock_guard lock(mutex_);
    return sent_ + received_;
  }

  // How long the frame took that came last, in µs; -1 where none came.
  gint64 latest() {
    const std::lock_guard lock(mutex_);
    return times_.empty() ? -1 : times_.back();
  }

  void print_progress() {
    const std::lock_guard lock(mutex_);
    g_print("sent=%" G_GUINT64_FORMAT " received=%" G_GUINT64_FORMAT "\n", sent_, received_);
  }

  // Whether each frame has come back as one packet.
  bool print_report() {
    const std::lock_guard lock(mutex_);
    const guint64 matched = times_.size();
    g_print("sent=%" G_GUINT64_FORMAT "\nreceived=%" G_GUINT64_FORMAT "\n", sent_, received_);
    g_print("lost=%" G_GUINT64_FORMAT "\n", sent_ - matched);
    g_print("unexpected=%" G_GUINT64_FORMAT "\n", received_ - matched);
    for (const int percent : {50, 99})
      if (!times_.empty()) g_print("latency-p%d-us=%" G_GINT64_FORMAT "\n", percent, at(percent));
    return sent_ > 0 && matched == sent_ && matched == received_;
  }

 private:
  // Not the PTS itself: encoders shift it, and say so in the segment.
  static GstClockTime stream_time(GstPad* pad, GstBuffer* buffer) {
    GstEvent* event = gst_pad_get_sticky_event(pad, GST_EVENT_SEGMENT, 0);
    if (event == nullptr) return GST_CLOCK_TIME_NONE;
    const GstSegment* segment = nullptr;
    gst_event_parse_segment(event, &segment);
    const guint64 time =
        gst_segment_to_stream_time(segment, GST_FORMAT_TIME, GST_BUFFER_PTS(buffer));
    gst_event_unref(event);
    return time;
  }

  gint64 at(size_t percent) {
    const auto wanted =
        times_.begin() + static_cast<std::ptrdiff_t>((times_.size() - 1) * percent / 100);
    std::nth_element(times_.begin(), wanted, times_.end());
    return *wanted;
  }

  std::mutex mutex_;
  guint64 sent_ = 0;
  guint64 received_ = 0;
  std::unordered_multimap<GstClockTime, gint64> under_way_;
  std::vector<gint64> times_;  // µs
};

}  // namespace example
