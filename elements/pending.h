// Frames that have gone into an encoder whose packets have not come back, with what they need in
// front of them, so that another encoder can go on where that one ended.
//
// A packet is of the frame that has its timestamp, but for a shift that is the same for all: an
// encoder that shows frames in another order may begin later (x264enc does, by 1000 hours).
//
// Owned by an mmapremote. Threads: who feeds the encoder adds, who reads from it takes out.
#pragma once

#include <gst/gst.h>

#include <deque>
#include <memory>
#include <mutex>
#include <optional>

namespace gstmmap {

struct UnrefMini {
  void operator()(GstBuffer* buffer) const { gst_buffer_unref(buffer); }
  void operator()(GstEvent* event) const { gst_event_unref(event); }
};
template <class T>
using Held = std::unique_ptr<T, UnrefMini>;

class Pending {
 public:
  struct Frame {
    Held<GstBuffer> buffer;
    Held<GstEvent> caps, segment;  // none where the stream has none
  };

  // Another encoder begins.
  void begin();
  // Takes references of its own. `pad` has the sticky events.
  void add(GstBuffer* buffer, GstPad* pad);
  void has_come(GstBuffer* packet);
  // All that have not come back, in the order in which they went in; they are not pending any more.
  std::deque<Frame> take();

 private:
  // Packets come in another order than frames by this much at most (H.264 has 16 frames of
  // reordering): who is behind by more has been dropped over there.
  static constexpr size_t kMostReordered = 16;

  std::mutex mutex_;
  std::deque<Frame> frames_;
  std::optional<GstClockTime> first_;      // timestamp of the first frame that has one
  std::optional<GstClockTimeDiff> shift_;  // of packets
};

}  // namespace gstmmap
