// What an mmapsink's readers say: connections, notices, and what they ask of upstream.
#include <gst/video/video.h>

#include <algorithm>

#include "elements/sink.h"

GST_DEBUG_CATEGORY_EXTERN(gst_mmap_sink_debug);
#define GST_CAT_DEFAULT gst_mmap_sink_debug

namespace gstmmap {

using mmaplink::Clock;
using mmaplink::Error;
using mmaplink::Failure;
using mmaplink::Link;
using mmaplink::Note;
using mmaplink::Side;

namespace {

bool is_key_unit_for_now(GstEvent* event) {
  GstClockTime time = GST_CLOCK_TIME_NONE;
  return gst_video_event_is_force_key_unit(event) &&
         (!gst_structure_get_clock_time(gst_event_get_structure(event), "running-time", &time) ||
          time == GST_CLOCK_TIME_NONE);
}

// An error there is none here, where somebody goes on without the server. Takes the message.
GstMessage* warning_of(GstMessage* error) {
  GError* why = nullptr;
  gchar* debug = nullptr;
  gst_message_parse_error(error, &why, &debug);
  GstMessage* warning = gst_message_new_warning(GST_MESSAGE_SRC(error), why, debug);
  g_error_free(why);
  g_free(debug);
  gst_message_unref(error);
  return warning;
}

}  // namespace

// --- connections: the endpoint's thread
// -----------------------------------------------------------

void Sink::on_connected(const std::shared_ptr<Link>& link) {
  const auto& modes = link->modes();
  GST_INFO_OBJECT(element_, "link with %s: sends %s (%s), receives %s (%s)",
                  mmaplink::name_and_uid(link->peer()).c_str(), word_of(modes.send),
                  modes.send.why.c_str(), word_of(modes.receive), modes.receive.why.c_str());
  exchange_.tell(link, Notice::wants, [&] {
    const auto bytes = std::as_bytes(std::span(active_.remote_messages));
    return Exchange::Bytes(bytes.begin(), bytes.end());
  }());
  on_lanes(link);
}

void Sink::on_lanes(const std::shared_ptr<Link>& link) {
  const auto lanes = link->peer_lanes();
  // It has stopped, and may begin anew.
  if (!lanes.receives) link->set_reading(Link::Reading::on);
  update_reader(link, lanes.receives);
  warn_of_missing_side(*link);
  changed();
}

// What the streaming thread found out about its readers no longer holds.
void Sink::changed() {
  changes_.fetch_add(1, std::memory_order_release);
  sender_->kick().kick();
}

void Sink::warn_of_missing_side(const Link& link) {
  const auto lanes = link.peer_lanes();
  {
    const std::lock_guard lock(mutex_);
    if (!is_client() || done_ || (!lanes.sends && !lanes.receives)) return;
  }
  const bool wants_back = endpoint_->is_attached(Side::src);
  if (!lanes.receives)
    GST_WARNING_OBJECT(element_, "the server on %s has no mmapsrc yet: waiting for it",
                       active_.place().c_str());
  else if (wants_back && !lanes.sends)
    GST_WARNING_OBJECT(element_, "the server on %s has no mmapsink yet: waiting for it",
                       active_.place().c_str());
}

// A peer that wants to read is one of the readers when the worker has greeted it. Returns how
// many buffers one held that reads no more.
size_t Sink::update_reader(const std::shared_ptr<Link>& link, bool reads) {
  if (reads) {
    // Whoever has had enough is none, whatever else comes of it.
    if (link->reading() != Link::Reading::on) return 0;
    if (readers_.find(*link) || !joining_.add(link)) return 0;
    exchange_.take(link, Notice::joined, {});
    return 0;
  }
  joining_.remove(*link);
  const auto reader = readers_.find(*link);
  if (!reader || !readers_.remove(*link)) return 0;
  // A peer that is there may still read what it holds.
  const size_t held = link->alive() ? sender_->leave(*link) : sender_->remove(*link);
  GST_INFO_OBJECT(element_, "%s reads no more, it held %" G_GSIZE_FORMAT " buffers",
                  mmaplink::name_and_uid(link->peer()).c_str(), held);
  if (is_two_way_server()) {
    client_changed_ = true;
    sender_->store()->start_anew();
  }
  if (reader->known.exchange(Reader::Known::has_gone) == Reader::Known::yes)
    tell_of_the_end(link->peer());
  return held;
}

void Sink::on_disconnected(const std::shared_ptr<Link>& link, const Error& why) {
  const bool was_reader = num_clients() > 0;
  joining_.remove(*link);
  exchange_.on_disconnected(link);
  const bool is_lost = readers_.find(*link) != nullptr && !link->said_goodbye();
  const size_t held = update_reader(link, false);
  sender_->remove(*link);  // also one that had left before
  if (is_lost) postbox_.post(peer_lost_new(element(), link->peer(), why.text, held));
  if (is_client()) held_off_ = true;
  auto policy = active_.resolved_on_disconnect();
  if (policy == OnDisconnect::error && link->left_at_the_end()) policy = OnDisconnect::eos;
  const bool last = num_clients() == 0 && (was_reader || is_client());
  if (last && policy != OnDisconnect::none) {
    {
      const std::lock_guard lock(mutex_);
      if (done_) return;
      if (ended_ == GST_FLOW_OK)
        ended_ = policy == OnDisconnect::eos ? GST_FLOW_EOS : GST_FLOW_ERROR;
    }
    if (policy == OnDisconnect::error) post_error(element(), why);
  }
  changed();
}

void Sink::on_waiting() {
  GST_ELEMENT_INFO(element_, RESOURCE, NOT_FOUND,
                   ("Waiting for a server on %s.", active_.place().c_str()), (nullptr));
}

void Sink::on_refused(const Error& why) { tell_refused(element(), active_, why); }

void Sink::on_failed(const Error& why) {
  {
    const std::lock_guard lock(mutex_);
    ended_ = GST_FLOW_ERROR;
  }
  post_error(element(), why);
  changed();
}

// --- notices: the endpoint's thread
// ---------------------------------------------------------------

void Sink::on_note(const std::shared_ptr<Link>& link, const Note& note) {
  const auto kind = exchange_.kind_of(note);
  if (!kind) return;
  auto reader = readers_.find(*link);
  if (!reader) reader = joining_.find(*link);
  if (reader) reader->silent = false;
  bool good = true;
  switch (*kind) {
    case Notice::eos_done: {
      const auto seqnum = decode_seqnum(note.bytes);
      good = seqnum.has_value();
      if (!good || *seqnum == GST_SEQNUM_INVALID || *seqnum != eos_sent_) break;
      if (reader) reader->eos_done = *seqnum;
      const std::lock_guard lock(mutex_);
      done_ = true;
      break;
    }
    case Notice::flow:
      if (reader) good = take_flow(link, note.bytes);
      break;
    case Notice::message:
      good = take_message(*link, note.bytes);
      break;
    default:
      exchange_.take(link, *kind, note.bytes);
      return;
  }
  if (!good) link->hang_up("a notice that makes no sense");
  changed();
}

// The far downstream takes no more.
bool Sink::take_flow(const std::shared_ptr<Link>& link, std::span<const std::byte> bytes) {
  const auto flow = decode_flow(bytes);
  if (!flow || flow->flow == GST_FLOW_OK) return flow.has_value();
  GST_INFO_OBJECT(element_, "%s takes no more: %s", mmaplink::name_of(link->peer()).c_str(),
                  gst_flow_get_name(flow->flow));
  // Before it is held off.
  link->set_reading(flow->flow == GST_FLOW_EOS ? Link::Reading::enough : Link::Reading::failed);
  if (!is_client()) {
    update_reader(link, false);
    return true;
  }
  bool said = false;
  if (holds_off_) held_off_ = true;  // before who waits for the end of the stream goes on
  {
    const std::lock_guard lock(mutex_);
    said = ended_ == GST_FLOW_ERROR;
    done_ = true;
    ended_ = flow->flow == GST_FLOW_EOS ? GST_FLOW_EOS : GST_FLOW_ERROR;
  }
  // Whoever waits for it to read would wait for ever.
  sender_->leave(*link);
  if (holds_off_) return true;  // it ends, and so will the link
  if (flow->flow != GST_FLOW_EOS && !said)
    post_error(element(),
               Error{Failure::refused, "the pipeline of the server on " + active_.place() +
                                           " stopped: " + gst_flow_get_name(flow->flow)});
  return true;
}

// Of the server's pipeline: on this bus as if it were one pipeline. Here, not by the worker, so
// that it comes before the hang-up that may follow.
bool Sink::take_message(Link& link, std::span<const std::byte> bytes) {
  if (!is_client()) return false;
  GstMessage* message = decode_message(bytes, GST_OBJECT(element_), link.peer().pid);
  if (message == nullptr) return false;
  bool must_come = false;
  bool may_come = messages_.take(Clock::now());
  if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ELEMENT) {
    const char* name = gst_structure_get_name(gst_message_get_structure(message));
    may_come = may_come && is_listed(active_.remote_messages, name);
  } else if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ERROR) {
    must_come = !link.failed_there();
    link.set_failed_there();
    if (holds_off_) {
      held_off_ = true;
      message = warning_of(message);
    }
    const std::lock_guard lock(mutex_);
    done_ = true;
    ended_ = GST_FLOW_ERROR;
  }
  if (must_come) {
    postbox_.post_in_any_case(message);
  } else if (may_come) {
    postbox_.post(message);
  } else {
    GST_WARNING_OBJECT(element_, "%s sends too many messages, or others than remote-messages",
                       mmaplink::name_of(link.peer()).c_str());
    gst_message_unref(message);
  }
  return true;
}

// --- notices: the worker ----------------------------------------------------------------------

bool Sink::handle_notice(const std::shared_ptr<Link>& link, Notice kind,
                         std::span<const std::byte> bytes) {
  switch (kind) {
    case Notice::joined:
      greet(link);
      return true;
    case Notice::event: {
      GstEvent* event = decode_event(bytes);
      if (event == nullptr) return false;
      push_upstream(*link, event);
      return true;
    }
    case Notice::event_asked: {
      const auto parts = split_id(bytes);
      if (!parts) return false;
      GstEvent* event = decode_event(parts->bytes);
      if (event == nullptr) return false;
      const bool good = push_upstream(*link, event);
      // Whoever has asked for a flush wants it to be over there, too.
      exchange_.answer(link, parts->id, good, encode(flushes_.load()));
      return true;
    }
    case Notice::flushes: {
      const auto parts = split_id(bytes);
      if (!parts || !parts->bytes.empty()) return false;
      exchange_.answer(link, parts->id, true, encode(flushes_.load()));
      return true;
    }
    case Notice::query:
      return answer_query(link, bytes);
    default:
      return false;
  }
}

// Takes the event.
bool Sink::push_upstream(Link& link, GstEvent* event) {
  GST_DEBUG_OBJECT(element_, "from a reader: %" GST_PTR_FORMAT, static_cast<void*>(event));
  const auto reader = readers_.find(link);  // none for one that has left
  const bool alone = readers_.count() <= 1;
  const bool in_time = link.asks().take(Clock::now());
  // The offset of a reader's pad is nothing to "now", and GStreamer would add it all the same.
  if (is_key_unit_for_now(event)) gst_event_set_running_time_offset(event, 0);
  bool goes = reader && GST_EVENT_IS_UPSTREAM(event) && (alone || in_time);
  switch (GST_EVENT_TYPE(event)) {
    case GST_EVENT_LATENCY:
      if (goes && in_time) take_latency(*reader, event);
      goes = goes && alone;
      break;
    // One of several readers decides nothing for the others: neither where and how fast the stream
    // plays, nor how much of it is dropped.
    case GST_EVENT_SEEK:
    case GST_EVENT_STEP:
    case GST_EVENT_QOS:
    case GST_EVENT_SELECT_STREAMS:
    case GST_EVENT_TOC_SELECT:
    case GST_EVENT_INSTANT_RATE_SYNC_TIME:
      goes = goes && alone;
      break;
    default:
      // What will be done for all, or is being done, is as good as done.
      if (goes && !alone && !may_go_for_all(event)) {
        gst_event_unref(event);
        return true;
      }
      break;
  }
  if (goes) return gst_pad_push_event(pad(), event);
  gst_event_unref(event);
  return false;
}

// Of one of several readers.
bool Sink::may_go_for_all(GstEvent* event) {
  if (GST_EVENT_TYPE(event) == GST_EVENT_RECONFIGURE) return requests_.reconfigure();
  if (!gst_video_event_is_force_key_unit(event)) return true;
  gboolean with_headers = FALSE;
  gst_structure_get_boolean(gst_event_get_structure(event), "all-headers", &with_headers);
  return is_key_unit_for_now(event) ? requests_.key_frame(with_headers, false)
                                    : requests_.key_frame_at_a_time(with_headers);
}

// The far pipeline's latency is this one's too, where nothing comes back: upstream's elements are
// told by their own pipeline, which asks query_latency(). It is told once for all that comes until
// it asks.
void Sink::take_latency(Reader& reader, GstEvent* event) {
  GstClockTime latency = 0;
  gst_event_parse_latency(event, &latency);
  if (reader.latency.exchange(latency) == latency || endpoint_->is_attached(Side::src)) return;
  if (latency_told_.exchange(true)) return;
  gst_element_post_message(element(), gst_message_new_latency(GST_OBJECT(element_)));
}

bool Sink::answer_query(const std::shared_ptr<Link>& link, std::span<const std::byte> bytes) {
  const auto parts = split_id(bytes);
  GstQuery* query = parts ? decode_question(parts->bytes) : nullptr;
  if (query == nullptr) return false;
  std::optional<std::vector<std::byte>> answer;
  const bool in_time = link->asks().take(Clock::now()) || readers_.count() <= 1;
  if (in_time && GST_QUERY_IS_UPSTREAM(query) && gst_pad_peer_query(pad(), query))
    answer = encode_answer(query);
  exchange_.answer(link, parts->id, answer.has_value(),
                   answer ? *answer : std::vector<std::byte>());
  gst_query_unref(query);
  return true;
}

}  // namespace gstmmap
