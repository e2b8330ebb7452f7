#include "elements/remote.h"

#include <utility>

#include "elements/gstmmapsink.h"
#include "elements/gstmmapsrc.h"
#include "elements/sink.h"
#include "elements/source.h"

GST_DEBUG_CATEGORY_EXTERN(gst_mmap_remote_debug);
#define GST_CAT_DEFAULT gst_mmap_remote_debug

namespace gstmmap {

using mmaplink::Clock;
using mmaplink::Error;
using mmaplink::Failure;

namespace {

Remote& remote_of(GstPad* pad) { return *static_cast<Remote*>(gst_pad_get_element_private(pad)); }

}  // namespace

Remote::Remote(GstBin* bin, GstPad* sink, GstPad* src)
    : bin_(bin),
      sink_(sink),
      src_(src),
      far_sink_(GST_ELEMENT(g_object_new(GST_TYPE_MMAP_SINK, "name", "mmapsink", nullptr))),
      far_source_(GST_ELEMENT(g_object_new(GST_TYPE_MMAP_SRC, "name", "mmapsrc", nullptr))) {
  gst_util_set_object_arg(G_OBJECT(far_sink_), "role", "client");
  gst_util_set_object_arg(G_OBJECT(far_source_), "role", "client");
  // Only upstream says whether the stream is live. One that is comes back from a pipeline with
  // another running time, by its instants; one that is not keeps its own.
  g_object_set(far_source_, "is-live", FALSE, nullptr);
  sink_in(far_sink_).comes_back();
  source_in(far_source_).maps_time([this] { return sink_in(far_sink_).is_live(); });
  gst_bin_add_many(bin, far_sink_, far_source_, nullptr);
  for (const Way way : {Way::far, Way::near}) {
    path(way).in = inner_pad("in", way, GST_PAD_SRC);
    path(way).out = inner_pad("out", way, GST_PAD_SINK);
  }
  const auto link = [](GstPad* from, GstPad* to) {
    gst_pad_link_full(from, to, GST_PAD_LINK_CHECK_NOTHING);
  };
  const Pad to(gst_element_get_static_pad(far_sink_, "sink"));
  const Pad from(gst_element_get_static_pad(far_source_, "src"));
  link(far_.in.get(), to.get());
  link(from.get(), far_.out.get());
}

Remote::~Remote() = default;

// Pads of ours that are no pads of the bin: what comes is handed on by hand.
Remote::Pad Remote::inner_pad(const char* name, Way way, GstPadDirection direction) {
  GstPad* pad =
      gst_pad_new((std::string(way == Way::far ? "far-" : "near-") + name).c_str(), direction);
  gst_object_ref_sink(pad);
  gst_pad_set_element_private(pad, this);
  if (direction == GST_PAD_SRC) {
    gst_pad_set_event_function(pad, [](GstPad* self, GstObject*, GstEvent* event) -> gboolean {
      return gst_pad_push_event(remote_of(self).sink_, event);
    });
    gst_pad_set_query_function(pad, [](GstPad* self, GstObject*, GstQuery* query) -> gboolean {
      return gst_pad_peer_query(remote_of(self).sink_, query);
    });
    return Pad(pad);
  }
  gst_pad_set_chain_function(pad, [](GstPad* self, GstObject*, GstBuffer* buffer) {
    return remote_of(self).come(remote_of(self).way_of(self), buffer);
  });
  gst_pad_set_event_function(pad, [](GstPad* self, GstObject*, GstEvent* event) -> gboolean {
    return remote_of(self).come_event(remote_of(self).way_of(self), event);
  });
  gst_pad_set_query_function(pad, [](GstPad* self, GstObject*, GstQuery* query) -> gboolean {
    return gst_pad_peer_query(remote_of(self).src_, query);
  });
  return Pad(pad);
}

// --- states: the application's thread -----------------------------------------------------------

mmaplink::Status Remote::open(const std::string& description) {
  if (description.empty()) return mmaplink::ok();
  guint64 timeout = GST_CLOCK_TIME_NONE;
  g_object_get(far_sink_, "connection-timeout", &timeout, nullptr);
  if (timeout != GST_CLOCK_TIME_NONE)
    return Error{Failure::settings,
                 "connection-timeout is nothing to one that has a fallback: leave one of them out"};
  GError* error = nullptr;
  GstElement* made = gst_parse_bin_from_description_full(description.c_str(), TRUE, nullptr,
                                                         GST_PARSE_FLAG_FATAL_ERRORS, &error);
  if (error != nullptr) {
    const Error why{Failure::settings, "in fallback=" + description + ": " + error->message};
    g_error_free(error);
    if (made != nullptr) gst_object_unref(made);
    return why;
  }
  const Pad in(gst_element_get_static_pad(made, "sink"));
  const Pad out(gst_element_get_static_pad(made, "src"));
  if (!in || !out) {
    gst_object_unref(gst_object_ref_sink(made));
    return Error{Failure::settings, "in fallback=" + description +
                                        ": it needs one sink pad and one source pad to be free"};
  }
  gst_object_set_name(GST_OBJECT(made), "fallback");
  // We say when it runs.
  gst_element_set_locked_state(made, TRUE);
  gst_bin_add(bin_, made);
  gst_pad_link_full(near_.in.get(), in.get(), GST_PAD_LINK_CHECK_NOTHING);
  gst_pad_link_full(out.get(), near_.out.get(), GST_PAD_LINK_CHECK_NOTHING);
  fallback_ = made;
  if (gst_element_set_state(made, GST_STATE_READY) == GST_STATE_CHANGE_FAILURE) {
    close();
    return Error{Failure::settings, "in fallback=" + description + ": it can't be started"};
  }
  sink_in(far_sink_).hold_off(true);
  source_in(far_source_).on_lost([this](const Error& why) { lost(why.text); });
  for (GstElement* element : {far_sink_, far_source_})
    gst_util_set_object_arg(G_OBJECT(element), "on-disconnect", "none");
  return mmaplink::ok();
}

void Remote::close() {
  if (fallback_ == nullptr) return;
  // There may be none the next time.
  sink_in(far_sink_).hold_off(false);
  source_in(far_source_).on_lost(nullptr);
  gst_element_set_state(fallback_, GST_STATE_NULL);
  gst_bin_remove(bin_, std::exchange(fallback_, nullptr));
}

void Remote::start() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = flushing_ = far_waits_ = eos_in_ = far_ended_ = draining_ = false;
    why_lost_.clear();
    not_flushed_ = GST_SEQNUM_INVALID;
  }
  way_ = Way::far;
  decided_ = far_is_stale_ = false;
  far_since_ = Clock::now();
  near_until_ = {};
  pending_.begin();
  for (const Pad* pad : {&far_.in, &far_.out}) gst_pad_set_active(pad->get(), TRUE);
}

void Remote::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  changed_.notify_all();
  for (const Path* each : {&far_, &near_})
    for (const Pad* pad : {&each->in, &each->out}) gst_pad_set_active(pad->get(), FALSE);
  if (has_fallback()) gst_element_set_state(fallback_, GST_STATE_READY);
  pending_.begin();
}

bool Remote::flushes() const {
  const std::lock_guard lock(mutex_);
  return flushing_ || stopped_;
}

// --- what goes in: the feeder -------------------------------------------------------------------

GstFlowReturn Remote::chain(GstBuffer* buffer) {
  if (!has_fallback()) return gst_pad_push(far_.in.get(), buffer);
  decide();
  std::unique_lock feeding(feed_);
  if (way_ == Way::near && Clock::now() >= near_until_) try_far();
  if (way_ == Way::near) return feed_near(buffer);
  pending_.add(buffer, sink_);
  {
    const std::lock_guard lock(mutex_);
    far_waits_ = true;
  }
  const GstFlowReturn flow = gst_pad_push(far_.in.get(), buffer);
  if (flow != GST_FLOW_CUSTOM_ERROR) return flow;
  // It is among what the fallback gets.
  return wait_for_near(feeding) ? GST_FLOW_OK : GST_FLOW_FLUSHING;
}

void Remote::try_far() {
  {
    const std::lock_guard lock(mutex_);
    why_lost_.clear();
  }
  if (sink_in(far_sink_).go_on({})) go_far();
}

GstFlowReturn Remote::feed_near(GstBuffer* buffer) {
  const GstFlowReturn flow = std::exchange(near_flow_, GST_FLOW_OK);
  if (flow == GST_FLOW_OK) return gst_pad_push(near_.in.get(), buffer);
  gst_buffer_unref(buffer);
  return flow;
}

// By whoever seeks. A flush comes out of the way that it goes into, but for a link that is lost.
bool Remote::feed_flush(GstEvent* event) {
  const bool starts = GST_EVENT_TYPE(event) == GST_EVENT_FLUSH_START;
  const bool is_lost = has_fallback() && way_ == Way::far && sink_in(far_sink_).is_held_off();
  {
    const std::lock_guard lock(mutex_);
    if (starts) flushing_ = true;
    if (starts && way_ == Way::far && !is_lost) not_flushed_ = gst_event_get_seqnum(event);
  }
  changed_.notify_all();
  if (!starts) return end_flush(event, is_lost);
  if (is_lost) {
    far_is_stale_ = true;
    gst_pad_push_event(src_, gst_event_ref(event));
  }
  return gst_pad_push_event(path().in.get(), event);
}

// When nobody feeds any more what was before it.
bool Remote::end_flush(GstEvent* event, bool is_lost) {
  const std::lock_guard feeding(feed_);
  {
    const std::lock_guard lock(mutex_);
    flushing_ = eos_in_ = false;
  }
  pending_.begin();
  if (is_lost && !flush_behind()) gst_pad_push_event(src_, gst_event_ref(event));
  return gst_pad_push_event(path().in.get(), event);
}

// Where a flush has gone into a link that was lost before it came out. Whether there was such.
bool Remote::flush_behind() {
  guint32 seqnum = GST_SEQNUM_INVALID;
  {
    const std::lock_guard lock(mutex_);
    seqnum = std::exchange(not_flushed_, GST_SEQNUM_INVALID);
  }
  if (seqnum == GST_SEQNUM_INVALID) return false;
  for (GstEvent* event : {gst_event_new_flush_start(), gst_event_new_flush_stop(TRUE)}) {
    gst_event_set_seqnum(event, seqnum);
    gst_pad_push_event(src_, event);
  }
  return true;
}

bool Remote::feed_event(GstEvent* event) {
  if (GST_EVENT_TYPE(event) == GST_EVENT_FLUSH_START ||
      GST_EVENT_TYPE(event) == GST_EVENT_FLUSH_STOP)
    return feed_flush(event);
  if (!has_fallback() || !GST_EVENT_IS_SERIALIZED(event))
    return gst_pad_push_event(path().in.get(), event);
  decide();
  std::unique_lock feeding(feed_);
  const bool is_eos = GST_EVENT_TYPE(event) == GST_EVENT_EOS;
  if (is_eos) {
    const std::lock_guard lock(mutex_);
    eos_in_ = far_waits_ = true;
  }
  const bool is_sticky = GST_EVENT_IS_STICKY(event);
  const bool good = gst_pad_push_event(path().in.get(), event);
  // Of a link that is lost now: it is told to the fallback.
  const bool is_lost = way_ == Way::far && is_sticky && sink_in(far_sink_).is_held_off();
  return is_lost && is_eos ? wait_for_near(feeding) : good || is_lost;
}

bool Remote::feed_query(GstQuery* query) {
  if (GST_QUERY_TYPE(query) == GST_QUERY_CAPS || GST_QUERY_TYPE(query) == GST_QUERY_ALLOCATION ||
      GST_QUERY_TYPE(query) == GST_QUERY_ACCEPT_CAPS)
    decide();
  if (!gst_pad_peer_query(path().in.get(), query)) return false;
  if (!has_fallback() || way_ != Way::far || GST_QUERY_TYPE(query) != GST_QUERY_CAPS) return true;
  // What both take, if there is such: then a change of way is none for upstream.
  GstCaps* filter = nullptr;
  GstCaps* far = nullptr;
  gst_query_parse_caps(query, &filter);
  gst_query_parse_caps_result(query, &far);
  GstCaps* near = gst_pad_peer_query_caps(near_.in.get(), filter);
  GstCaps* both = gst_caps_intersect_full(far, near, GST_CAPS_INTERSECT_FIRST);
  if (!gst_caps_is_empty(both)) gst_query_set_caps_result(query, both);
  gst_caps_unref(both);
  gst_caps_unref(near);
  return true;
}

// --- what comes out -----------------------------------------------------------------------------

GstFlowReturn Remote::come(Way from, GstBuffer* buffer) {
  if (has_fallback()) {
    if (from == Way::far) pending_.has_come(buffer);
    if (from != way_ || (from == Way::far && far_is_stale_)) {
      gst_buffer_unref(buffer);
      return GST_FLOW_OK;
    }
  }
  return gst_pad_push(src_, buffer);
}

bool Remote::come_event(Way from, GstEvent* event) {
  if (!has_fallback()) return gst_pad_push_event(src_, event);
  if (GST_EVENT_TYPE(event) == GST_EVENT_EOS) {
    std::unique_lock lock(mutex_);
    if (from == Way::near && draining_) {
      drained_ = true;
      lock.unlock();
      changed_.notify_all();
      gst_event_unref(event);
      return true;
    }
    if (from == Way::far && !eos_in_) {
      lock.unlock();
      gst_event_unref(event);
      ended_there();
      return true;
    }
    if (from == Way::far) {
      far_ended_ = true;
      far_waits_ = false;
      changed_.notify_all();
    }
  }
  if (from == Way::far && GST_EVENT_TYPE(event) == GST_EVENT_FLUSH_START) {
    const std::lock_guard lock(mutex_);
    if (not_flushed_ == gst_event_get_seqnum(event)) not_flushed_ = GST_SEQNUM_INVALID;
  }
  if (from != way_ || (from == Way::far && far_is_stale_)) {
    gst_event_unref(event);
    return true;
  }
  return push_event(event);
}

// The stream that both ways carry is one: what the other one has said already is not said again.
bool Remote::push_event(GstEvent* event) {
  if (GST_EVENT_IS_STICKY(event) && is_known(event)) {
    gst_event_unref(event);
    return true;
  }
  return gst_pad_push_event(src_, event);
}

bool Remote::is_known(GstEvent* event) const {
  const Held<GstEvent> known(gst_pad_get_sticky_event(src_, GST_EVENT_TYPE(event), 0));
  if (!known) return false;
  switch (GST_EVENT_TYPE(event)) {
    case GST_EVENT_STREAM_START: {
      // Of another stream that is fed, or of the same one.
      const gchar* one = nullptr;
      const gchar* other = nullptr;
      gst_event_parse_stream_start(known.get(), &one);
      gst_event_parse_stream_start(event, &other);
      return g_strcmp0(one, other) == 0;
    }
    case GST_EVENT_CAPS: {
      GstCaps* one = nullptr;
      GstCaps* other = nullptr;
      gst_event_parse_caps(known.get(), &one);
      gst_event_parse_caps(event, &other);
      return gst_caps_is_equal(one, other);
    }
    case GST_EVENT_SEGMENT: {
      const GstSegment* one = nullptr;
      const GstSegment* other = nullptr;
      gst_event_parse_segment(known.get(), &one);
      gst_event_parse_segment(event, &other);
      return gst_segment_is_equal(one, other);
    }
    default:
      return false;
  }
}

// What a server was to hand on when it was lost goes upstream all the same.
bool Remote::send_upstream(GstEvent* event) {
  if (!has_fallback() || way_ == Way::near) return gst_pad_push_event(path().out.get(), event);
  const Held<GstEvent> kept(gst_event_ref(event));
  return gst_pad_push_event(far_.out.get(), event) ||
         gst_pad_push_event(sink_, gst_event_ref(kept.get()));
}

bool Remote::query(GstQuery* query) {
  if (!gst_pad_peer_query(path().out.get(), query)) return false;
  if (GST_QUERY_TYPE(query) != GST_QUERY_LATENCY || way_ == Way::near) return true;
  // Whether the stream is live is for upstream to say.
  gboolean live = FALSE;
  GstClockTime min = 0;
  GstClockTime max = GST_CLOCK_TIME_NONE;
  gst_query_parse_latency(query, nullptr, &min, &max);
  GstQuery* upstream = gst_query_new_latency();
  if (gst_pad_peer_query(sink_, upstream))
    gst_query_parse_latency(upstream, &live, nullptr, nullptr);
  gst_query_unref(upstream);
  gst_query_set_latency(query, live, min, max);
  return true;
}

}  // namespace gstmmap
