// What one sender's stream has begun with. Of a stream that is out of order GStreamer warns as of a
// bug in this process; a peer is hung up on.
//
// Owned by a source, used by its streaming thread.
#pragma once

#include <gst/gst.h>

namespace gstmmap {

class StreamOrder {
 public:
  // False where such an event can't come now.
  bool take(GstEventType type) {
    switch (type) {
      case GST_EVENT_STREAM_START:
        return started_ = true;
      case GST_EVENT_CAPS:
        if (!started_ || (has_segment_ && !has_caps_)) return false;
        return has_caps_ = true;
      case GST_EVENT_SEGMENT:
        return has_segment_ = started_;
      default:
        return true;
    }
  }
  // The segment went with what was flushed.
  void flushed() { has_segment_ = false; }
  bool may_flow() const { return started_ && has_segment_; }

 private:
  bool started_ = false;
  bool has_caps_ = false;
  bool has_segment_ = false;
};

}  // namespace gstmmap
