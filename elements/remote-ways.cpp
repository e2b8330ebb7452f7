// How the stream of an mmapremote changes its way: from the server to the fallback and back.
#include <utility>

#include "elements/gstmmapsink.h"
#include "elements/gstmmapsrc.h"
#include "elements/remote.h"
#include "elements/sink.h"
#include "elements/source.h"

GST_DEBUG_CATEGORY_EXTERN(gst_mmap_remote_debug);
#define GST_CAT_DEFAULT gst_mmap_remote_debug

namespace gstmmap {

using mmaplink::Clock;

namespace {

// For a server to be ready, at the beginning.
constexpr auto kFirst = std::chrono::seconds(1);
// A server that was lost sooner than this is given up for as long.
constexpr auto kTooSoon = std::chrono::seconds(1);
// And one that has ended the stream, so that it may hang up.
constexpr auto kEnds = std::chrono::seconds(1);
// For one that has said that it takes no more, to hang up.
constexpr auto kHangsUp = std::chrono::seconds(2);
// For a fallback to give what it still has.
constexpr auto kDrain = std::chrono::seconds(10);

}  // namespace

// A server that is there at the beginning is waited for until it is ready. Whoever feeds us, or
// asks what it may feed.
void Remote::decide() {
  if (!has_fallback() || decided_ || flushes()) return;
  const std::lock_guard feeding(feed_);
  if (decided_.exchange(true)) return;
  if (sink_in(far_sink_).go_on(Clock::now() + kFirst)) return;
  if (!flushes()) go_near("no server is ready");
}

// With feed_. The far source's thread, or at the beginning the feeder.
void Remote::go_near(const std::string& why) {
  if (const auto now = Clock::now(); now - far_since_ < kTooSoon) near_until_ = now + kTooSoon;
  GST_OBJECT_LOCK(far_sink_);
  const std::string place = sink_in(far_sink_).settings.place();
  GST_OBJECT_UNLOCK(far_sink_);
  GST_ELEMENT_WARNING(bin_, RESOURCE, NOT_FOUND,
                      ("On %s %s: going on with fallback.", place.c_str(), why.c_str()), (nullptr));
  near_flow_ = start_fallback() ? GST_FLOW_OK : GST_FLOW_ERROR;
  way_ = Way::near;
  flush_behind();
  if (near_flow_ == GST_FLOW_OK) near_flow_ = feed_pending();
  if (near_flow_ == GST_FLOW_FLUSHING)
    near_flow_ = GST_FLOW_OK;  // which is over for who feeds next
  bool ends = false;
  {
    const std::lock_guard lock(mutex_);
    far_waits_ = false;
    ends = eos_in_;
  }
  changed_.notify_all();
  if (ends) gst_pad_push_event(near_.in.get(), gst_event_new_eos());
  tell_of_change();
}

// Frames are wanted in memory of another's making, and later.
void Remote::tell_of_change() {
  gst_pad_push_event(sink_, gst_event_new_reconfigure());
  gst_element_post_message(GST_ELEMENT(bin_), gst_message_new_latency(GST_OBJECT(bin_)));
}

// What was under way when the link was lost, and what must come in front of it.
GstFlowReturn Remote::feed_pending() {
  auto frames = pending_.take();
  push_sticky(near_, frames.empty() ? nullptr : &frames.front());
  GST_INFO_OBJECT(bin_, "%" G_GSIZE_FORMAT " frames had not come back", frames.size());
  const GstEvent* caps = frames.empty() ? nullptr : frames.front().caps.get();
  const GstEvent* segment = frames.empty() ? nullptr : frames.front().segment.get();
  GstFlowReturn flow = GST_FLOW_OK;
  for (auto& frame : frames) {
    if (std::exchange(caps, frame.caps.get()) != frame.caps.get())
      gst_pad_push_event(near_.in.get(), gst_event_ref(frame.caps.get()));
    if (std::exchange(segment, frame.segment.get()) != frame.segment.get())
      gst_pad_push_event(near_.in.get(), gst_event_ref(frame.segment.get()));
    if (flow == GST_FLOW_OK && flushes()) flow = GST_FLOW_FLUSHING;
    if (flow == GST_FLOW_OK) flow = gst_pad_push(near_.in.get(), frame.buffer.release());
  }
  return flow;
}

// All that a way must know before its first frame; caps and segment are those of `first`.
void Remote::push_sticky(Path& to, const Pending::Frame* first) {
  struct Context {
    GstPad* pad;
    const Pending::Frame* first;
  } context{to.in.get(), first};
  gst_pad_sticky_events_foreach(
      sink_,
      [](GstPad*, GstEvent** event, gpointer data) -> gboolean {
        const auto& to_pad = *static_cast<Context*>(data);
        GstEvent* which = *event;
        if (GST_EVENT_TYPE(which) == GST_EVENT_EOS) return TRUE;
        if (to_pad.first != nullptr && GST_EVENT_TYPE(which) == GST_EVENT_CAPS)
          which = to_pad.first->caps.get();
        if (to_pad.first != nullptr && GST_EVENT_TYPE(which) == GST_EVENT_SEGMENT)
          which = to_pad.first->segment.get();
        if (which != nullptr) gst_pad_push_event(to_pad.pad, gst_event_ref(which));
        return TRUE;
      },
      &context);
}

bool Remote::start_fallback() {
  for (const Pad* pad : {&near_.in, &near_.out}) gst_pad_set_active(pad->get(), TRUE);
  GstClock* clock = gst_element_get_clock(GST_ELEMENT(bin_));
  gst_element_set_clock(fallback_, clock);
  gst_clear_object(&clock);
  gst_element_set_base_time(fallback_, gst_element_get_base_time(GST_ELEMENT(bin_)));
  return gst_element_set_state(fallback_, GST_STATE_PLAYING) != GST_STATE_CHANGE_FAILURE;
}

void Remote::stop_fallback() {
  for (const Pad* pad : {&near_.in, &near_.out}) gst_pad_set_active(pad->get(), FALSE);
  gst_element_set_state(fallback_, GST_STATE_READY);
}

// Until all that the fallback has taken has come out of it.
void Remote::drain_fallback() {
  {
    const std::lock_guard lock(mutex_);
    draining_ = true;
    drained_ = false;
  }
  gst_pad_push_event(near_.in.get(), gst_event_new_eos());
  std::unique_lock lock(mutex_);
  if (!changed_.wait_for(lock, kDrain, [this] { return drained_ || flushing_ || stopped_; }))
    GST_WARNING_OBJECT(bin_, "the fallback has not given all that it had within 10 s");
  draining_ = false;
}

// With feed_, by the feeder, where a server is ready: its encoder begins with what is fed next.
void Remote::go_far() {
  GST_INFO_OBJECT(bin_, "the server is there: going on with it");
  drain_fallback();
  stop_fallback();
  bool ended = false;
  {
    const std::lock_guard lock(mutex_);
    ended = std::exchange(far_ended_, false);
  }
  pending_.begin();
  far_since_ = Clock::now();
  far_is_stale_ = false;
  way_ = Way::far;
  if (ended) {
    gst_pad_set_active(far_.out.get(), FALSE);
    gst_pad_set_active(far_.out.get(), TRUE);
    source_in(far_source_).start_task();
  }
  // What it was told before is of another link.
  gst_pad_set_active(far_.in.get(), FALSE);
  gst_pad_set_active(far_.in.get(), TRUE);
  push_sticky(far_, nullptr);
  tell_of_change();
}

// By the far source's thread, which has pushed all that came.
void Remote::lost(const std::string& why) {
  // Of the link before this one: that was known by its EOS.
  if (!sink_in(far_sink_).is_held_off()) return;
  {
    const std::lock_guard lock(mutex_);
    why_lost_ = why;
  }
  if (flushes()) return;  // the feeder will find out
  const std::lock_guard feeding(feed_);
  if (way_ == Way::far && !flushes()) go_near(why);
}

// Likewise. A server that is told to stop ends its streams, and hangs up later.
void Remote::ended_there() {
  constexpr auto kWhy = "the server has ended the stream";
  sink_in(far_sink_).give_up();  // before who feeds it is waited for
  const std::lock_guard feeding(feed_);
  near_until_ = Clock::now() + kEnds;
  {
    const std::lock_guard lock(mutex_);
    why_lost_ = kWhy;
    far_ended_ = true;
  }
  if (way_ == Way::far && !flushes()) go_near(kWhy);
}

// With feed_, by the feeder, where the far way takes no more: until all that came back is known,
// and the fallback has got the rest. False where that is for nothing, since all is flushed.
bool Remote::wait_for_near(std::unique_lock<std::recursive_mutex>& feeding) {
  const auto is_over = [this] { return !far_waits_ || flushing_ || stopped_; };
  std::unique_lock lock(mutex_);
  if (!is_over() && !why_lost_.empty()) {
    const std::string why = why_lost_;
    lock.unlock();
    go_near(why);
    return true;
  }
  feeding.unlock();
  if (!changed_.wait_for(lock, kHangsUp, is_over)) {
    lock.unlock();
    sink_in(far_sink_).give_up();
    lock.lock();
    changed_.wait(lock, is_over);
  }
  return !flushing_ && !stopped_;
}

}  // namespace gstmmap
