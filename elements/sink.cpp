#include "elements/sink.h"

#include <algorithm>
#include <array>

#include "elements/gstmmapsink.h"
#include "elements/gstmmapsrc.h"
#include "elements/proposal.h"
#include "gst/gstmmapmemory-private.h"

GST_DEBUG_CATEGORY_EXTERN(gst_mmap_sink_debug);
#define GST_CAT_DEFAULT gst_mmap_sink_debug

namespace gstmmap {

using mmaplink::Clock;
using mmaplink::Deadline;
using mmaplink::Endpoint;
using mmaplink::Error;
using mmaplink::Failure;
using mmaplink::Link;
using mmaplink::Note;
using mmaplink::Outgoing;
using mmaplink::Sender;
using mmaplink::Side;
using Published = mmaplink::Sender::Published;

namespace {

// Every wait looks again after this; what it waits for wakes it at once.
constexpr auto kSlice = std::chrono::seconds(1);
// For the far side to say what it takes and needs; then the defaults do.
constexpr auto kAnswer = std::chrono::seconds(1);
constexpr guint kLeastBuffers = 2;

}  // namespace

Sink::Sink(GstBaseSink* element) : element_(element) {
  settings.role = mmaplink::Role::server;
  active_.role = mmaplink::Role::server;
}

// --- states: the application's thread -----------------------------------------------------------

bool Sink::open() {
  GST_OBJECT_LOCK(element_);
  active_ = settings;
  GST_OBJECT_UNLOCK(element_);
  if (auto good = check_settings(active_); !good) {
    post_error(element(), good.error());
    return false;
  }
  auto endpoint =
      Endpoint::attach(endpoint_key(element(), active_, GST_TYPE_MMAP_SRC), Side::sink, *this);
  if (!endpoint) {
    post_error(element(), endpoint.error());
    return false;
  }
  endpoint_ = *endpoint;
  return true;
}

void Sink::close() {
  if (endpoint_) endpoint_->detach(Side::sink);
  endpoint_.reset();
  // Frames hold their pool, which holds the sender: it must not hold them in turn.
  if (sender_) sender_->remove_all();
  set_sender(nullptr);
}

bool Sink::start() {
  set_sender(Sender::make(active_.max_memory));
  sender_->on_no_memory([this](const Error& why) { post_error(element(), why); });
  allocator_ = allocator_new(sender_, WhenFull::wait);
  look_at_time_ = true;
  ready_changes_ = 0;
  ready_readers_.clear();
  counters_.reset();
  {
    const std::lock_guard lock(mutex_);
    readers_.clear();
    done_ = false;
    ended_ = GST_FLOW_OK;
  }
  auto options = endpoint_options(active_);
  options.mode = active_.perms;
  if (auto started = endpoint_->start(Side::sink, options); !started) {
    post_error(element(), started.error());
    stop();
    return false;
  }
  return true;
}

void Sink::stop() {
  // From here on nobody waits for a reader. Frames that readers have not read yet stay as they are
  // until close(): upstream may still be writing into others.
  endpoint_->stop(Side::sink);
  sender_->interrupt(true);
  sender_->on_no_memory({});
  sender_->stop();
  gst_clear_object(&allocator_);
  ready_readers_.clear();
  const std::lock_guard lock(mutex_);
  readers_.clear();
}

void Sink::unlock() {
  if (sender_) sender_->interrupt(true);
}

void Sink::unlock_stop() {
  // While the pad is flushing nothing may wait; FLUSH_STOP ends that.
  if (sender_) sender_->interrupt(GST_PAD_IS_FLUSHING(pad()));
}

void Sink::set_sender(std::shared_ptr<Sender> sender) {
  const std::lock_guard lock(mutex_);
  sender_.swap(sender);
}

std::shared_ptr<Sender> Sink::any_sender() const {
  const std::lock_guard lock(mutex_);
  return sender_;
}

GstStructure* Sink::stats() const {
  Standing now;
  if (const auto sender = any_sender()) {
    sender->collect();  // what is in flight is what readers hold now
    const auto usage = sender->store()->usage();
    now.in_flight = sender->in_flight();
    now.arenas = usage.arenas;
    now.arena_bytes = usage.bytes;
  }
  for (const auto& reader : readers()) {
    ++now.peers;
    const auto& lane = reader->link->send_lane();
    now.latency_p50 = std::max<guint64>(now.latency_p50, lane.latency_p50());
    now.latency_p99 = std::max<guint64>(now.latency_p99, lane.latency_p99());
  }
  return stats_new("mmapsink-stats", counters_, now);
}

guint Sink::num_clients() const {
  const std::lock_guard lock(mutex_);
  return static_cast<guint>(readers_.size());
}

// --- readers: the endpoint's thread -------------------------------------------------------------

void Sink::on_connected(const std::shared_ptr<Link>& link) { on_lanes(link); }

void Sink::on_lanes(const std::shared_ptr<Link>& link) {
  const auto lanes = link->peer_lanes();
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
                       active_.socket_path->c_str());
  else if (wants_back && !lanes.sends)
    GST_WARNING_OBJECT(element_, "the server on %s has no mmapsink yet: waiting for it",
                       active_.socket_path->c_str());
}

void Sink::update_reader(const std::shared_ptr<Link>& link, bool reads) {
  bool added = false;
  bool removed = false;
  {
    const std::lock_guard lock(mutex_);
    const auto found = std::find_if(readers_.begin(), readers_.end(),
                                    [&](const auto& reader) { return reader->link == link; });
    if (reads && found == readers_.end()) {
      auto reader = std::make_shared<Reader>();
      reader->link = link;
      readers_.push_back(std::move(reader));
      done_ = false;
      added = true;
    } else if (!reads && found != readers_.end()) {
      readers_.erase(found);
      removed = true;
    }
  }
  if (added) {
    GST_INFO_OBJECT(element_, "peer %d (uid %u) reads", link->peer().pid, link->peer().uid);
    sender_->add(link);
    emit_client_signal(element(), "client-connected", link->peer());
  } else if (removed) {
    // A peer that is there may still read what it holds.
    const size_t held = link->alive() ? sender_->leave(*link) : sender_->remove(*link);
    GST_INFO_OBJECT(element_, "peer %d (uid %u) reads no more, it held %" G_GSIZE_FORMAT " buffers",
                    link->peer().pid, link->peer().uid, held);
    emit_client_signal(element(), "client-disconnected", link->peer());
  }
  if (added || removed) g_object_notify(G_OBJECT(element_), "num-clients");
}

void Sink::on_note(const std::shared_ptr<Link>& link, const Note& note) {
  const auto reader = [&]() -> std::shared_ptr<Reader> {
    for (const auto& one : readers())
      if (one->link == link) return one;
    return nullptr;
  }();
  if (!reader) return;
  bool good = true;
  switch (static_cast<Notice>(note.kind)) {
    case Notice::eos_done: {
      const auto seqnum = decode_seqnum(note.bytes);
      good = seqnum.has_value();
      const std::lock_guard lock(mutex_);
      reader->eos_done = seqnum;
      done_ = true;
      break;
    }
    case Notice::caps: {
      const std::shared_ptr<GstCaps> caps(decode_caps(note.bytes),
                                          [](GstCaps* held) { gst_clear_caps(&held); });
      good = caps != nullptr;
      if (!good) break;
      bool changed = false;
      {
        const std::lock_guard lock(mutex_);
        changed = reader->caps && !gst_caps_is_equal(reader->caps.get(), caps.get());
        reader->caps = caps;
      }
      if (changed) gst_pad_push_event(pad(), gst_event_new_reconfigure());
      break;
    }
    case Notice::needs: {
      const auto needs = decode_needs(note.bytes);
      good = needs.has_value();
      const std::lock_guard lock(mutex_);
      reader->needs = needs;
      break;
    }
    case Notice::flow: {
      const auto flow = decode_flow(note.bytes);
      good = flow.has_value();
      if (!good || flow->flow == GST_FLOW_OK) break;
      GST_INFO_OBJECT(element_, "peer %d takes no more: %s", link->peer().pid,
                      gst_flow_get_name(flow->flow));
      if (is_client()) {
        const std::lock_guard lock(mutex_);
        reader->flow = flow->flow;
        done_ = true;
        ended_ = flow->flow == GST_FLOW_EOS ? GST_FLOW_EOS : GST_FLOW_ERROR;
      }
      if (is_client() && flow->flow != GST_FLOW_EOS)
        post_error(element(),
                   Error{Failure::refused, std::string("the pipeline of the server on ") +
                                               *active_.socket_path +
                                               " stopped: " + gst_flow_get_name(flow->flow)});
      if (!is_client()) update_reader(link, false);
      break;
    }
    default:
      good = false;
  }
  if (!good) link->hang_up("a notice that makes no sense");
  changed();
}

void Sink::on_disconnected(const std::shared_ptr<Link>& link, const Error& why) {
  const bool was_reader = num_clients() > 0;
  update_reader(link, false);
  sender_->remove(*link);  // also one that had left before
  const auto policy = active_.resolved_on_disconnect();
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
                   ("Waiting for a server on %s.", active_.socket_path->c_str()), (nullptr));
}

void Sink::on_failed(const Error& why) {
  {
    const std::lock_guard lock(mutex_);
    ended_ = GST_FLOW_ERROR;
  }
  post_error(element(), why);
  changed();
}

// --- the streaming thread -----------------------------------------------------------------------

Sink::Readers Sink::readers() const {
  const std::lock_guard lock(mutex_);
  return readers_;
}

// Nothing while it has to be waited for.
std::optional<GstFlowReturn> Sink::is_ready() {
  Readers now;
  {
    const std::lock_guard lock(mutex_);
    if (ended_ != GST_FLOW_OK) return ended_;
    now = readers_;
  }
  if (!is_client())
    return now.empty() && active_.wait_for_connection ? std::nullopt : std::optional(GST_FLOW_OK);
  if (now.empty()) return std::nullopt;
  // A two-way link is ready when packets can come back, or the first ones would have nowhere to go.
  if (endpoint_->is_attached(Side::src) &&
      (!endpoint_->is_started(Side::src) || !now.front()->link->peer_lanes().sends))
    return std::nullopt;
  return GST_FLOW_OK;
}

// Until there is someone to send to, as far as the settings want that.
GstFlowReturn Sink::wait_ready() {
  for (;;) {
    const uint32_t seen = sender_->kick().value();
    if (sender_->interrupted()) {
      const GstFlowReturn flow = sit_out_interruption();
      if (flow != GST_FLOW_OK) return flow;
      continue;
    }
    if (const auto flow = is_ready()) return *flow;
    const std::array words{sender_->kick().word(seen)};
    mmaplink::wait_any(words, Clock::now() + kSlice);
  }
}

// Through a change of state, back to where waiting is allowed. The base class calls buffers and
// serialized events with its preroll lock, which a change of state is waiting for by now; a query
// comes without it.
GstFlowReturn Sink::sit_out_interruption() {
  if (has_preroll_lock_) return gst_base_sink_wait_preroll(element_);
  for (;;) {
    const uint32_t seen = sender_->kick().value();
    if (GST_PAD_IS_FLUSHING(pad())) return GST_FLOW_FLUSHING;
    if (!sender_->interrupted()) return GST_FLOW_OK;
    const std::array words{sender_->kick().word(seen)};
    mmaplink::wait_any(words, Clock::now() + std::chrono::milliseconds(10));
  }
}

Published Sink::send_event_to(Reader& reader, GstEvent* event) {
  const auto bytes = encode_event(event);
  if (!bytes) return Published::dropped;
  for (;;) {
    Outgoing item;
    item.descriptor.kind = static_cast<uint32_t>(Item::event);
    item.extra = *bytes;
    const auto sent =
        sender_->publish(*reader.link, std::move(item), {active_.max_buffers, active_.leaky}, {});
    if (sent != Published::interrupted || sit_out_interruption() != GST_FLOW_OK) return sent;
  }
}

// What a reader that comes late must know first. False when interrupted.
bool Sink::send_stickies(Reader& reader) {
  if (reader.has_stickies) return true;
  struct Context {
    Sink& sink;
    Reader& reader;
    bool good = true;
  } context{*this, reader};
  gst_pad_sticky_events_foreach(
      pad(),
      [](GstPad*, GstEvent** event, gpointer data) -> gboolean {
        auto& to = *static_cast<Context*>(data);
        if (GST_EVENT_TYPE(*event) == GST_EVENT_EOS) return TRUE;
        to.good = to.sink.send_event_to(to.reader, *event) != Published::interrupted;
        return to.good;
      },
      &context);
  reader.has_stickies = context.good;
  return context.good;
}

bool Sink::send_event(GstEvent* event) {
  has_preroll_lock_ = true;
  const GstEventType type = GST_EVENT_TYPE(event);
  if (type == GST_EVENT_SEGMENT || type == GST_EVENT_CAPS) look_at_time_ = true;
  // Sticky events are sent to whoever comes later; what is not must not get lost.
  const bool waits = type == GST_EVENT_EOS || (is_client() && !GST_EVENT_IS_STICKY(event));
  if (waits && encode_event(event)) {
    const GstFlowReturn flow = wait_ready();
    if (flow == GST_FLOW_EOS || flow == GST_FLOW_ERROR) return true;  // nobody to tell
    if (flow != GST_FLOW_OK) return false;
  }
  const Readers now = readers();
  for (const auto& reader : now) {
    if (!reader->has_stickies && !waits) continue;
    if (!send_stickies(*reader)) return false;
    if (send_event_to(*reader, event) == Published::interrupted) return false;
  }
  if (type != GST_EVENT_EOS) return true;
  return wait_for_eos_done(now, gst_event_get_seqnum(event));
}

// EOS is posted here when it has gone through over there.
bool Sink::wait_for_eos_done(const Readers& told, uint32_t seqnum) {
  for (;;) {
    const uint32_t seen = sender_->kick().value();
    if (sender_->interrupted()) {
      if (sit_out_interruption() != GST_FLOW_OK) return false;
      continue;
    }
    const Readers now = readers();
    const bool done = std::all_of(told.begin(), told.end(), [&](const auto& reader) {
      // One that is not there any more has nothing left to say.
      if (std::find(now.begin(), now.end(), reader) == now.end()) return true;
      const std::lock_guard lock(mutex_);
      return reader->eos_done == seqnum || reader->flow != GST_FLOW_OK;
    });
    if (done) return true;
    const std::array words{sender_->kick().word(seen)};
    mmaplink::wait_any(words, Clock::now() + kSlice);
  }
}

// A live pipeline's running time is an instant of CLOCK_MONOTONIC, which the far side can map to
// its own. Other streams run as fast as they can: they have no instant to keep.
void Sink::look_at_time() {
  look_at_time_ = false;
  base_time_ = mmaplink::kNoBaseTime;
  GstQuery* query = gst_query_new_latency();
  gboolean live = FALSE;
  if (gst_pad_peer_query(pad(), query)) gst_query_parse_latency(query, &live, nullptr, nullptr);
  gst_query_unref(query);
  if (!live) return;
  GstClock* clock = gst_element_get_clock(element());
  if (clock == nullptr) {
    look_at_time_ = true;  // not PLAYING yet
    return;
  }
  if (GST_IS_SYSTEM_CLOCK(clock)) {
    GstClockType type;
    g_object_get(clock, "clock-type", &type, nullptr);
    if (type == GST_CLOCK_TYPE_MONOTONIC) base_time_ = gst_element_get_base_time(element());
  }
  gst_object_unref(clock);
}

GstFlowReturn Sink::send_to(Reader& reader, GstBuffer* buffer, bool& dropped) {
  for (;;) {
    Published sent = Published::interrupted;
    if (send_stickies(reader)) {
      Outgoing item = payload_.outgoing(buffer);
      item.may_repeat = active_.leaky != mmaplink::Leaky::downstream;
      sent = sender_->publish(*reader.link, std::move(item), {active_.max_buffers, active_.leaky},
                              payload_.places());
    }
    dropped |= sent == Published::dropped || sent == Published::dropped_oldest;
    if (sent != Published::interrupted) return GST_FLOW_OK;
    const GstFlowReturn flow = sit_out_interruption();
    if (flow != GST_FLOW_OK) return flow;
  }
}

GstFlowReturn Sink::send_buffer(GstBuffer* buffer) {
  has_preroll_lock_ = true;
  // Nothing has changed since it was found ready: the usual case, without a lock.
  const uint64_t changes = changes_.load(std::memory_order_acquire);  // pairs with changed()
  if (ready_changes_ != changes) {
    const GstFlowReturn flow = wait_ready();
    if (flow != GST_FLOW_OK) return flow;
    ready_readers_ = readers();
    ready_changes_ = changes;
  }
  if (ready_readers_.empty()) {
    Counters::add(counters_.dropped, 1);
    return GST_FLOW_OK;
  }
  if (look_at_time_) look_at_time();
  while (!payload_.prepare(buffer, *sender_, base_time_)) {
    if (!sender_->interrupted()) return GST_FLOW_ERROR;  // which allocate() has reported
    const GstFlowReturn flow = sit_out_interruption();
    if (flow != GST_FLOW_OK) return flow;
  }
  const gsize size = gst_buffer_get_size(buffer);
  if (payload_.copied()) {
    GST_LOG_OBJECT(element_, "copied %" G_GSIZE_FORMAT " bytes", size);
    Counters::add(counters_.buffers_copied, 1);
    Counters::add(counters_.bytes_copied, size);
  }
  bool dropped = false;
  for (const auto& reader : ready_readers_) {
    const GstFlowReturn flow = send_to(*reader, buffer, dropped);
    if (flow != GST_FLOW_OK) return flow;
  }
  if (dropped) Counters::add(counters_.dropped, 1);
  Counters::add(counters_.buffers, 1);
  Counters::add(counters_.bytes, size);
  return GST_FLOW_OK;
}

GstCaps* Sink::readers_caps(bool& complete) const {
  const std::lock_guard lock(mutex_);
  GstCaps* all = gst_caps_new_any();
  complete = !readers_.empty();
  for (const auto& reader : readers_) {
    complete = complete && reader->caps;
    if (!reader->caps) continue;
    GstCaps* both = gst_caps_intersect_full(all, reader->caps.get(), GST_CAPS_INTERSECT_FIRST);
    gst_caps_unref(all);
    all = both;
  }
  return all;
}

GstCaps* Sink::caps(GstCaps* filter) {
  Deadline deadline = Deadline::max();
  GstCaps* all = nullptr;
  for (;;) {
    gst_clear_caps(&all);
    const auto sender = any_sender();
    if (!sender) {
      all = gst_caps_new_any();
      break;
    }
    const uint32_t seen = sender->kick().value();
    bool complete = false;
    all = readers_caps(complete);
    // A server goes on with whoever is there.
    if (complete || !is_client() || GST_PAD_IS_FLUSHING(pad())) break;
    {
      const std::lock_guard lock(mutex_);
      if (ended_ != GST_FLOW_OK) break;
      if (!readers_.empty() && deadline == Deadline::max()) deadline = Clock::now() + kAnswer;
    }
    if (Clock::now() >= deadline) {
      GST_WARNING_OBJECT(element_, "the peer did not say in time which caps it takes");
      break;
    }
    const std::array words{sender->kick().word(seen)};
    mmaplink::wait_any(words, std::min(deadline, Clock::now() + kSlice));
  }
  if (filter != nullptr) {
    GstCaps* both = gst_caps_intersect_full(filter, all, GST_CAPS_INTERSECT_FIRST);
    gst_caps_unref(all);
    all = both;
  }
  return all;
}

// What the readers' downstream wants, as far as they say in time.
void Sink::propose_allocation(GstQuery* query) {
  has_preroll_lock_ = false;
  GstCaps* caps = nullptr;
  gboolean need_pool = FALSE;
  gst_query_parse_allocation(query, &caps, &need_pool);
  if (allocator_ == nullptr) return;

  Needs needs;
  needs.min_buffers = kLeastBuffers;
  GstEvent* caps_event = gst_pad_get_sticky_event(pad(), GST_EVENT_CAPS, 0);
  if (caps != nullptr && caps_event != nullptr && (!is_client() || wait_ready() == GST_FLOW_OK)) {
    const uint32_t seqnum = gst_event_get_seqnum(caps_event);
    const Deadline deadline = Clock::now() + kAnswer;
    for (const auto& reader : readers()) {
      if (!send_stickies(*reader)) break;
      for (;;) {
        const uint32_t seen = sender_->kick().value();
        std::optional<Needs> said;
        {
          const std::lock_guard lock(mutex_);
          if (reader->needs && reader->needs->caps_seqnum == seqnum) said = reader->needs;
        }
        if (said) {
          needs.min_buffers = std::max(needs.min_buffers, said->min_buffers);
          needs.align |= said->align;
          needs.prefix = std::max(needs.prefix, said->prefix);
          needs.padding = std::max(needs.padding, said->padding);
          break;
        }
        if (!reader->link->alive() || GST_PAD_IS_FLUSHING(pad())) break;
        if (Clock::now() >= deadline) {
          GST_WARNING_OBJECT(element_, "peer %d did not say in time what buffers it needs",
                             reader->link->peer().pid);
          break;
        }
        const std::array words{sender_->kick().word(seen)};
        mmaplink::wait_any(words, deadline);
      }
    }
  }
  gst_clear_event(&caps_event);

  answer_allocation(query, sender_, allocator_, needs);
}

}  // namespace gstmmap
