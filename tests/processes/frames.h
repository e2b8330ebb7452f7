// Frames that say who made them and which they are, in each of their words: any that is mixed up,
// torn, lost or of another maker is found by whoever looks at it.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include "tests/elements/support.h"

namespace test {

// A live source of such frames, once a Marker has written them.
inline constexpr auto kFrames =
    "videotestsrc pattern=black is-live=true ! "
    "video/x-raw,format=GRAY8,width=128,height=128,framerate=1000/1 ! identity name=in";

// Writes the frames that leave an element, where they lie.
class Marker {
 public:
  Marker(GstElement* element, guint64 maker);
  Marker(const Marker&) = delete;
  Marker& operator=(const Marker&) = delete;
  ~Marker();
  guint64 count() const { return count_; }
  std::function<void(guint64)> on_frame;  // with its number; set before anything plays

 private:
  static GstPadProbeReturn write(GstPad*, GstPadProbeInfo* info, gpointer self);

  Ref<GstPad> pad_;
  const guint64 maker_;
  gulong probe_;
  std::atomic<guint64> count_{0};
};

// Looks at the frames that come to an element. Within a stream they are one maker's and follow each
// other; where some are missing, the next says so with DISCONT.
class Checker {
 public:
  // `maker` 0: anyone's.
  explicit Checker(GstElement* element, guint64 maker = 0);
  Checker(const Checker&) = delete;
  Checker& operator=(const Checker&) = delete;
  ~Checker();

  guint64 count() const { return count_; }
  guint64 gaps() const { return gaps_; }
  guint64 streams() const { return streams_; }
  void wait_more(guint64 frames) const;  // than there are now
  // What was wrong first; empty where nothing was.
  std::string fault() const;
  // With the number of frames until now, and with a fault; set before anything plays.
  std::function<void(guint64)> on_frame;
  std::function<void(const std::string&)> on_fault;

 private:
  static GstPadProbeReturn see(GstPad*, GstPadProbeInfo* info, gpointer self);
  void look(GstBuffer* buffer);
  void complain(const std::string& text);

  Ref<GstPad> pad_;
  const guint64 wanted_maker_;
  gulong probe_;
  guint64 maker_ = 0;  // these by the streaming thread
  std::optional<guint64> last_;
  std::atomic<guint64> count_{0}, gaps_{0}, streams_{0};
  mutable std::mutex mutex_;
  std::string fault_;  // under mutex_
};

}  // namespace test
