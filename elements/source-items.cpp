// What comes out of a lane onto the pad of an mmapsrc: events, buffers, serialized queries and the
// ends of flushes, in order. The pad's task.
#include <gst/video/video.h>

#include "elements/latencytracer.h"
#include "elements/source.h"
#include "gst/event-time.h"

GST_DEBUG_CATEGORY_EXTERN(gst_mmap_src_debug);
#define GST_CAT_DEFAULT gst_mmap_src_debug

namespace gstmmap {

using mmaplink::Incoming;

namespace {

constexpr size_t kCheapToCopy = 64 << 10;

}  // namespace

// True when the next item may follow at once.
bool Source::handle(Incoming& item) {
  switch (static_cast<Item>(item.descriptor.kind)) {
    case Item::buffer:
      return handle_buffer(item);
    case Item::event:
      return handle_event(item);
    case Item::query:
      return handle_query(item);
    case Item::flush_stop:
      return handle_flush_stop(item);
  }
  break_off("a descriptor of an unknown kind");
  return false;
}

bool Source::handle_event(const Incoming& item) {
  if (item.descriptor.ticket != 0) current_->receive_lane()->give_back(item.descriptor.ticket);
  GstEvent* event = decode_event(item.extra);
  if (event == nullptr || !GST_EVENT_IS_DOWNSTREAM(event)) {
    gst_clear_event(&event);
    break_off("an event that makes no sense");
    return false;
  }
  if (!order_.take(GST_EVENT_TYPE(event))) {
    gst_event_unref(event);
    break_off("a stream out of order");
    return false;
  }
  if (const auto take = stickies_.take(event, item.extra.size()); take != Stickies::Take::yes) {
    GST_WARNING_OBJECT(element_, "too many sticky events: %" GST_PTR_FORMAT,
                       static_cast<void*>(event));
    gst_event_unref(event);
    if (take == Stickies::Take::never) break_off("more sticky events than are kept");
    return take != Stickies::Take::never;
  }
  GST_DEBUG_OBJECT(element_, "received %" GST_PTR_FORMAT, static_cast<void*>(event));
  event = with_own_group(event);
  if (flush_.is_on()) {
    keep_while_flushing(event);
    return true;
  }
  const uint32_t seqnum = gst_event_get_seqnum(event);
  // What is not sticky has its place in time, as buffers have, and may come before any.
  if (!GST_EVENT_IS_STICKY(event)) {
    GstClockTime at = GST_CLOCK_TIME_NONE;
    if (GST_EVENT_TYPE(event) == GST_EVENT_GAP) gst_event_parse_gap(event, &at, nullptr);
    keep_time(item.descriptor.base_time, at);
    event = settle_running_time(event, gst_pad_get_offset(pad_));
  }
  switch (GST_EVENT_TYPE(event)) {
    case GST_EVENT_CAPS:
      return handle_caps(event);
    // What tells the application of a segment seek is the element that seeks: here that is us.
    case GST_EVENT_SEGMENT:
      gst_event_copy_segment(event, &segment_);
      current_->set_ended_there(false);
      if (has_senders_time(true)) time_.begin(segment_);
      if ((segment_.flags & GST_SEGMENT_FLAG_SEGMENT) != 0)
        postbox_.post(gst_message_new_segment_start(GST_OBJECT(element_), segment_.format,
                                                    static_cast<gint64>(segment_.start)));
      break;
    case GST_EVENT_SEGMENT_DONE: {
      GstFormat format{};
      gint64 position = 0;
      gst_event_parse_segment_done(event, &format, &position);
      gst_pad_push_event(pad_, event);
      postbox_.post(gst_message_new_segment_done(GST_OBJECT(element_), format, position));
      return true;
    }
    case GST_EVENT_EOS: {
      const auto link = current_;
      link->set_ended_there(true);
      push_eos(event);
      exchange_.tell(link, Notice::eos_done, encode(seqnum));
      return false;
    }
    case GST_EVENT_SINK_MESSAGE:
      push_sink_message(event);
      return true;
    default:
      break;
  }
  gst_pad_push_event(pad_, event);
  return true;
}

// Takes the event. What is posted names an element of the pipeline that it is posted in: this one.
// Pads must not keep it, or it would be posted again where an offset changes.
void Source::push_sink_message(GstEvent* event) {
  GstMessage* message = nullptr;
  gst_event_parse_sink_message(event, &message);
  GstMessage* own = gst_message_new_element(GST_OBJECT(element_),
                                            gst_structure_copy(gst_message_get_structure(message)));
  gst_message_set_seqnum(own, gst_message_get_seqnum(message));
  GstEvent* to_push =
      gst_event_new_sink_message(gst_structure_get_name(gst_event_get_structure(event)), own);
  gst_event_set_seqnum(to_push, gst_event_get_seqnum(event));
  gst_message_unref(own);
  gst_message_unref(message);
  gst_event_unref(event);
  gst_pad_push_event(pad_, to_push);
  gst_pad_sticky_events_foreach(
      pad_,
      [](GstPad*, GstEvent** kept, gpointer) -> gboolean {
        if (GST_EVENT_TYPE(*kept) == GST_EVENT_SINK_MESSAGE) gst_clear_event(kept);
        return TRUE;
      },
      nullptr);
}

// Takes the event, and gives it back with a group of ours, if it names one.
GstEvent* Source::with_own_group(GstEvent* event) {
  const bool starts = GST_EVENT_TYPE(event) == GST_EVENT_STREAM_START;
  guint there = 0;
  if (starts && !gst_event_parse_group_id(event, &there)) return event;
  if (!starts && GST_EVENT_TYPE(event) != GST_EVENT_STREAM_GROUP_DONE) return event;
  if (!starts) gst_event_parse_stream_group_done(event, &there);
  const pid_t peer = current_->peer().pid;
  if (!group_ || group_->peer != peer || group_->there != there) group_ = group_of(peer, there);
  if (starts) {
    gst_event_set_group_id(event, group_->here);
    return event;
  }
  GstEvent* own = gst_event_new_stream_group_done(group_->here);
  gst_event_set_seqnum(own, gst_event_get_seqnum(event));
  gst_event_unref(event);
  return own;
}

// Takes the event. A downstream that does not know GstVideoMeta is found out here, where upstream
// does not ask.
bool Source::handle_caps(GstEvent* event) {
  GstCaps* caps = nullptr;
  gst_event_parse_caps(event, &caps);
  take_caps(caps);
  // Pads still have the segment of a sender before, which had no caps. They go in this order, and
  // a segment goes with a flush.
  if (has_segment_without_caps()) flush_.flush();
  GstQuery* query = gst_query_new_allocation(caps, TRUE);
  gst_pad_push_event(pad_, event);
  tighten_.set_downstream_knows_video_meta(
      gst_pad_peer_query(pad_, query) &&
      gst_query_find_allocation_meta(query, GST_VIDEO_META_API_TYPE, nullptr));
  gst_query_unref(query);
  return true;
}

bool Source::has_segment_without_caps() const {
  GstEvent* segment = gst_pad_get_sticky_event(pad_, GST_EVENT_SEGMENT, 0);
  const bool has_segment = segment != nullptr;
  gst_clear_event(&segment);
  return has_segment && !gst_pad_has_current_caps(pad_);
}

// Raw frames are looked at where they lie. Whoever reads anything else (a parser, a demuxer) looks
// twice at what it finds there: at a length, and then at what is that long.
void Source::take_caps(GstCaps* caps) {
  tighten_.set_caps(caps);
  is_parsed_ = gst_caps_is_any(caps) || gst_caps_is_empty(caps);
  for (guint i = 0; !is_parsed_ && i < gst_caps_get_size(caps); ++i) {
    const GstStructure* structure = gst_caps_get_structure(caps, i);
    is_parsed_ = !gst_structure_has_name(structure, "video/x-raw") &&
                 !gst_structure_has_name(structure, "audio/x-raw");
  }
}

// What of a flushed stream holds for what follows, as a queue would keep it. Takes the event.
void Source::keep_while_flushing(GstEvent* event) {
  const GstEventType type = GST_EVENT_TYPE(event);
  if (type == GST_EVENT_CAPS) {
    GstCaps* caps = nullptr;
    gst_event_parse_caps(event, &caps);
    take_caps(caps);
    // FLUSH_STOP takes it from all pads, and from ours it goes now.
    if (has_segment_without_caps())
      gst_pad_sticky_events_foreach(
          pad_,
          [](GstPad*, GstEvent** kept, gpointer) -> gboolean {
            if (GST_EVENT_TYPE(*kept) == GST_EVENT_SEGMENT) gst_clear_event(kept);
            return TRUE;
          },
          nullptr);
  }
  if (GST_EVENT_IS_STICKY(event) && type != GST_EVENT_EOS && type != GST_EVENT_SEGMENT)
    gst_pad_store_sticky_event(pad_, event);
  gst_event_unref(event);
}

bool Source::handle_query(const Incoming& item) {
  if (item.descriptor.ticket != 0) current_->receive_lane()->give_back(item.descriptor.ticket);
  if (answer_query(current_, item.extra, true)) return true;
  break_off("a query that makes no sense");
  return false;
}

bool Source::handle_flush_stop(const Incoming& item) {
  const auto stop = decode_flush_stop(item.extra);
  if (!stop) {
    break_off("a flush that makes no sense");
    return false;
  }
  GST_DEBUG_OBJECT(element_, "flushed");
  order_.flushed();
  if (flush_.stop(*stop)) {
    time_.forget();
    gst_segment_init(&segment_, GST_FORMAT_TIME);
  }
  return true;
}

// Of all links, and of this one.
void Source::count(std::atomic<guint64> Counters::*which, guint64 value) {
  Counters::add(counters_.*which, value);
  Counters::add((*current_counters_).*which, value);
}

void Source::keep_time(uint64_t base_time, GstClockTime at) {
  if (own_base_time_changed_.exchange(false)) time_.forget();
  if (has_senders_time(base_time < mmaplink::kKeepsTime)) time_.apply(base_time, at, segment_);
}

bool Source::handle_buffer(Incoming& item) {
  GstBuffer* buffer = decode_buffer(item, current_->receive_lane(), *shells_);
  if (buffer == nullptr) {
    break_off("a buffer that makes no sense");
    return false;
  }
  if (traces_latency.load(std::memory_order_relaxed))
    trace_received(element_, current_->peer().pid, item.descriptor, buffer);
  note_came(item.descriptor.pts);
  const size_t size = gst_buffer_get_size(buffer);
  // What is parsed must not change meanwhile. What came inline can't: copied is only what is cheap
  // to copy, so that no row of the sender is held for it.
  const bool is_shared = current_->modes().receive.mapped || current_->region() != nullptr;
  if (is_parsed_ && (is_shared || size < kCheapToCopy)) {
    if (size > active_.max_memory) {
      gst_buffer_unref(buffer);
      break_off("a packet of " + std::to_string(size) + " bytes is more than max-memory");
      return false;
    }
    GstBuffer* own = gst_buffer_copy_deep(buffer);
    gst_buffer_unref(buffer);
    buffer = own;
    count(&Counters::buffers_copied, 1);
    count(&Counters::bytes_copied, size);
  }
  if (flush_.is_on()) {
    gst_buffer_unref(buffer);
    return true;
  }
  if (!order_.may_flow()) {
    gst_buffer_unref(buffer);
    break_off("a stream out of order");
    return false;
  }
  keep_time(item.descriptor.base_time, item.descriptor.pts);
  GstBuffer* tight = tighten_.apply(buffer);
  if (tight != buffer) {
    count(&Counters::buffers_copied, 1);
    count(&Counters::bytes_copied, gst_buffer_get_size(tight));
  }
  buffer = tight;
  if (active_.do_timestamp) {
    if (const auto now = time_.running_time()) GST_BUFFER_PTS(buffer) = *now;
    GST_BUFFER_DTS(buffer) = GST_CLOCK_TIME_NONE;
  }
  count(&Counters::buffers, 1);
  count(&Counters::bytes, size);
  GST_LOG_OBJECT(element_, "pushing %" GST_PTR_FORMAT, static_cast<void*>(buffer));
  const GstFlowReturn flow = gst_pad_push(pad_, buffer);
  if (flow != GST_FLOW_OK) {
    ended(flow);
    return false;
  }
  if (left_ > 0 && --left_ == 0) {
    ended_here_ = GST_FLOW_EOS;
    tell_flow(GST_FLOW_EOS);
    push_eos(nullptr);
    return false;
  }
  return true;
}

}  // namespace gstmmap
