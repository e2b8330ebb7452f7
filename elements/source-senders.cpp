// What a source's senders say, and what it asks them: connections, notices, queries, events.
#include <gst/allocators/gstdmabuf.h>
#include <gst/video/video.h>

#include "elements/source.h"
#include "gst/event-time.h"

GST_DEBUG_CATEGORY_EXTERN(gst_mmap_src_debug);
#define GST_CAT_DEFAULT gst_mmap_src_debug

namespace gstmmap {

using mmaplink::Clock;
using mmaplink::Error;
using mmaplink::Link;
using mmaplink::Note;

namespace {

// What the way through the link may take at most, as a rule: a hundred times what it usually does.
constexpr GstClockTime kTransport = GST_MSECOND;
// Links of peers that are gone, with what they had sent before.
constexpr size_t kMostUnread = 16;

}  // namespace

// --- connections: the endpoint's thread
// -----------------------------------------------------------------

void Source::on_connected(const std::shared_ptr<Link>& link) {
  const auto& modes = link->modes();
  GST_INFO_OBJECT(element_, "link with %s: receives %s (%s), sends %s (%s)",
                  mmaplink::name_and_uid(link->peer()).c_str(), word_of(modes.receive),
                  modes.receive.why.c_str(), word_of(modes.send), modes.send.why.c_str());
  // What it sends goes inline by default; what it receives only where that can't be had.
  if (active_.role == mmaplink::Role::client && active_.mmap == "auto" && !modes.receive.mapped)
    GST_WARNING_OBJECT(
        element_, "mmap=auto falls back: what comes from %s is not mapped, but %s (%s)",
        mmaplink::name_of(link->peer()).c_str(), word_of(modes.receive), modes.receive.why.c_str());
  {
    const std::lock_guard lock(mutex_);
    connections_.push_back({link, std::nullopt});
    wanted_messages_.clear();  // the one before may have wanted others
  }
  kick_.kick();
  // Who comes when the application has ended the stream, or this pipeline takes no more, would be
  // read by nobody. It is told here or, who came just before, by tell_flow().
  // A client of which the application wants the end takes what its server still has.
  const bool is_over = eos_wanted_ && active_.role == mmaplink::Role::server;
  if (const GstFlowReturn ended = is_over ? GST_FLOW_EOS : ended_here_.load(); ended != GST_FLOW_OK)
    exchange_.tell(link, Notice::flow, encode(Flow{ended}));
  emit_client_signal(element_, "client-connected", link->peer());
}

void Source::on_lanes(const std::shared_ptr<Link>& link) {
  const auto lanes = link->peer_lanes();
  if (active_.role == mmaplink::Role::client && lanes.receives && !lanes.sends)
    GST_WARNING_OBJECT(element_, "the server on %s has no mmapsink yet: waiting for it",
                       active_.place().c_str());
  kick_.kick();
}

void Source::on_note(const std::shared_ptr<Link>& link, const Note& note) {
  const auto kind = exchange_.kind_of(note);
  if (!kind) return;
  if (*kind != Notice::wants) return exchange_.take(link, *kind, note.bytes);
  const std::lock_guard lock(mutex_);
  wanted_messages_.assign(reinterpret_cast<const char*>(note.bytes.data()), note.bytes.size());
}

void Source::on_disconnected(const std::shared_ptr<Link>& link, const Error& why) {
  GST_INFO_OBJECT(element_, "%s", why.text.c_str());
  exchange_.on_disconnected(link);
  {
    const std::lock_guard lock(mutex_);
    size_t unread = 0;
    for (auto& connection : connections_) {
      if (connection.link == link) connection.lost = why;
      unread += connection.lost && !connection.is_read;
    }
    // Senders come and go, and nobody reads what they have sent: in PAUSED, or behind one that is
    // read slowly.
    if (unread > kMostUnread)
      std::erase_if(connections_,
                    [&](const auto& one) { return one.link == link && !one.is_read; });
  }
  kick_.kick();
  emit_client_signal(element_, "client-disconnected", link->peer());
}

void Source::on_waiting() {
  GST_ELEMENT_INFO(element_, RESOURCE, NOT_FOUND,
                   ("Waiting for a server on %s.", active_.place().c_str()), (nullptr));
}

void Source::on_refused(const Error& why) { tell_refused(element_, active_, why); }

void Source::on_failed(const Error& why) {
  post_error(element_, why);
  failed_ = true;
  kick_.kick();
}

// --- past the lane ------------------------------------------------------------------------------

std::shared_ptr<Link> Source::sending_link() const {
  const std::lock_guard lock(mutex_);
  for (const auto& connection : connections_)
    if (!connection.lost && connection.link->peer_lanes().sends) return connection.link;
  return nullptr;
}

// By the worker.
bool Source::handle_notice(const std::shared_ptr<Link>& link, Notice kind,
                           std::span<const std::byte> bytes) {
  switch (kind) {
    case Notice::flush_start: {
      const auto start = decode_flush_start(bytes);
      if (!start) return false;
      if (link != sending_link() || ended_here_ != GST_FLOW_OK) return true;
      GST_DEBUG_OBJECT(element_, "flushing");
      flush_.start(*start);
      kick_.kick();
      // EOS has ended the task; what comes after the flush is a stream again.
      if (!flushing_) start_task();
      return true;
    }
    case Notice::event: {
      GstEvent* event = decode_event(bytes);
      if (event == nullptr) return false;
      if (GST_EVENT_IS_DOWNSTREAM(event) && !GST_EVENT_IS_SERIALIZED(event))
        gst_pad_push_event(pad_, event);
      else
        gst_event_unref(event);
      return true;
    }
    case Notice::query:
      return answer_query(link, bytes, false);
    case Notice::latency:
      // Once for all that come until our pipeline asks.
      if (!latency_told_.exchange(true))
        gst_element_post_message(element_, gst_message_new_latency(GST_OBJECT(element_)));
      return true;
    default:
      return false;
  }
}

// Buffers of drivers come over links that descriptors are mapped from: over others their content,
// which is none of these.
static void leave_out_dmabufs(GstQuery* query) {
  GstCaps* caps = nullptr;
  gst_query_parse_caps_result(query, &caps);
  if (caps == nullptr || gst_caps_is_any(caps)) return;
  GstCaps* left = gst_caps_copy(caps);
  gst_caps_filter_and_map_in_place(
      left,
      [](GstCapsFeatures* features, GstStructure*, gpointer) -> gboolean {
        return !gst_caps_features_contains(features, GST_CAPS_FEATURE_MEMORY_DMABUF);
      },
      nullptr);
  gst_query_set_caps_result(query, left);
  gst_caps_unref(left);
}

bool Source::answer_query(const std::shared_ptr<Link>& link, std::span<const std::byte> bytes,
                          bool serialized) {
  const auto parts = split_id(bytes);
  GstQuery* query = parts ? decode_question(parts->bytes) : nullptr;
  if (query == nullptr) return false;
  std::optional<std::vector<std::byte>> answer;
  if (GST_QUERY_IS_DOWNSTREAM(query) && GST_QUERY_IS_SERIALIZED(query) == serialized &&
      gst_pad_peer_query(pad_, query)) {
    if (GST_QUERY_TYPE(query) == GST_QUERY_CAPS && !link->modes().receive.mapped)
      leave_out_dmabufs(query);
    answer = encode_answer(query);
  }
  if (GST_QUERY_TYPE(query) == GST_QUERY_ALLOCATION)
    tighten_.set_downstream_knows_video_meta(
        answer && gst_query_find_allocation_meta(query, GST_VIDEO_META_API_TYPE, nullptr));
  exchange_.answer(link, parts->id, answer.has_value(),
                   answer ? *answer : std::vector<std::byte>());
  gst_query_unref(query);
  return true;
}

// Of a server's pipeline, by whoever posts one: the client's application gets it as its own.
void Source::see_message(GstMessage* message) {
  if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ELEMENT) {
    const GstStructure* structure = gst_message_get_structure(message);
    if (structure == nullptr) return;
    const std::lock_guard lock(mutex_);
    if (!is_listed(wanted_messages_, gst_structure_get_name(structure))) return;
  } else if ((GST_MESSAGE_TYPE(message) & (GST_MESSAGE_ERROR | GST_MESSAGE_WARNING)) == 0) {
    return;
  }
  const auto link = sending_link();
  if (!link) return;
  auto bytes = encode_message(message);
  if (!bytes) return;
  if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ERROR) link->set_failed_here();
  exchange_.tell(link, Notice::message, std::move(*bytes));
}

bool Source::ask(GstQuery* query) {
  const auto link = sending_link();
  const auto question = encode_question(query);
  if (!link || !question) return false;
  const auto answer =
      exchange_.ask(link, Notice::query, *question, std::chrono::nanoseconds(active_.query_timeout),
                    [this] { return flushing_.load(); });
  if (!answer && !flushing_ && link->alive())
    GST_WARNING_OBJECT(element_, "%s did not answer a %s query within query-timeout",
                       mmaplink::name_of(link->peer()).c_str(), GST_QUERY_TYPE_NAME(query));
  return answer && answer->good && decode_answer(answer->bytes, query);
}

bool Source::query(GstQuery* query) {
  if (GST_QUERY_TYPE(query) != GST_QUERY_LATENCY) return ask(query);
  latency_told_ = false;
  gboolean live = FALSE;
  GstClockTime min = 0;
  GstClockTime max = GST_CLOCK_TIME_NONE;
  if (ask(query)) {
    gst_query_parse_latency(query, &live, &min, &max);
    if (live) {
      min += kTransport;
      if (GST_CLOCK_TIME_IS_VALID(max)) max += kTransport;
    } else if (active_.is_live) {
      min = 0;
      max = GST_CLOCK_TIME_NONE;
    }
  }
  gst_query_set_latency(query, active_.is_live, min, max);
  return true;
}

bool Source::send_upstream(GstEvent* event) {
  const auto link = sending_link();
  event = settle_running_time(event, 0);
  const auto bytes = encode_event(event);
  const GstEventType type = GST_EVENT_TYPE(event);
  const uint32_t seqnum = gst_event_get_seqnum(event);
  const bool is_key_unit = gst_video_event_is_force_key_unit(event);
  const auto deadline = Clock::now() + std::chrono::nanoseconds(active_.query_timeout);
  GST_DEBUG_OBJECT(element_, "to the sender: %" GST_PTR_FORMAT, static_cast<void*>(event));
  gst_event_unref(event);
  if (!link || !bytes) return false;
  // Often, and from streaming threads: nobody waits for what becomes of these.
  if (type == GST_EVENT_QOS || type == GST_EVENT_LATENCY || type == GST_EVENT_RECONFIGURE ||
      is_key_unit)
    return exchange_.tell(link, Notice::event, *bytes);
  // As if it were one pipeline, where a flushing seek returns when all is flushed.
  const bool streams = std::this_thread::get_id() == task_;
  if (!streams) flush_.ask();
  const auto answer = exchange_.ask(link, Notice::event_asked, *bytes,
                                    std::chrono::nanoseconds(active_.query_timeout),
                                    [this] { return flushing_.load(); });
  const bool good = answer && answer->good;
  const auto flushed = good ? decode_seqnum(answer->bytes) : std::nullopt;
  if (!streams) flush_.asked(flushed, deadline);
  // Its notice may still wait for the worker, and what waits to be read is old.
  if (streams && flushed) flush_.start({*flushed, seqnum});
  if (!answer && !flushing_ && link->alive())
    GST_WARNING_OBJECT(element_, "%s did not say within query-timeout what became of a %s event",
                       mmaplink::name_of(link->peer()).c_str(), gst_event_type_get_name(type));
  return good;
}

// Its start may be on the way, which the answer to a question can't overtake.
void Source::wait_for_flush() {
  const auto link = sending_link();
  if (!link || std::this_thread::get_id() == task_) return;
  const auto timeout = std::chrono::nanoseconds(active_.query_timeout);
  const auto deadline = Clock::now() + timeout;
  flush_.ask();
  const auto answer =
      exchange_.ask(link, Notice::flushes, {}, timeout, [this] { return flushing_.load(); });
  flush_.asked(answer && answer->good ? decode_seqnum(answer->bytes) : std::nullopt, deadline);
}

}  // namespace gstmmap
