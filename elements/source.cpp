#include "elements/source.h"

#include <gst/video/video.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "elements/gstmmapsink.h"
#include "elements/gstmmapsrc.h"

GST_DEBUG_CATEGORY_EXTERN(gst_mmap_src_debug);
#define GST_CAT_DEFAULT gst_mmap_src_debug

namespace gstmmap {

using mmaplink::Clock;
using mmaplink::Endpoint;
using mmaplink::Error;
using mmaplink::Failure;
using mmaplink::Incoming;
using mmaplink::Link;
using mmaplink::Note;
using mmaplink::ReceiveLane;
using mmaplink::Side;

namespace {

// Every wait looks again after this; what it waits for wakes it at once.
constexpr auto kSlice = std::chrono::seconds(1);
// Items in one turn of the task, which costs something itself.
constexpr int kTurns = 16;
// For an arena to be announced that a descriptor names already.
constexpr auto kArenaTimeout = std::chrono::seconds(5);
// An EOS that the application asked for waits for the far side's, which comes after the last
// packet; a far side that is silent for this long has none to send.
constexpr auto kEosTimeout = std::chrono::seconds(10);

}  // namespace

Source::Source(GstElement* element, GstPad* pad) : element_(element), pad_(pad) {
  settings.role = mmaplink::Role::client;
  active_.role = mmaplink::Role::client;
  gst_segment_init(&segment_, GST_FORMAT_TIME);
}

// --- states: the application's thread -----------------------------------------------------------

bool Source::open() {
  GST_OBJECT_LOCK(element_);
  active_ = settings;
  GST_OBJECT_UNLOCK(element_);
  if (auto good = check_settings(active_); !good) {
    post_error(element_, good.error());
    return false;
  }
  auto endpoint =
      Endpoint::attach(endpoint_key(element_, active_, GST_TYPE_MMAP_SINK), Side::src, *this);
  if (!endpoint) {
    post_error(element_, endpoint.error());
    return false;
  }
  endpoint_ = *endpoint;
  return true;
}

void Source::close() {
  if (endpoint_) endpoint_->detach(Side::src);
  endpoint_.reset();
}

bool Source::start() {
  {
    const std::lock_guard lock(mutex_);
    connections_.clear();
  }
  current_.reset();
  pending_since_.reset();
  eos_since_.reset();
  delivered_ = takes_video_meta_ = time_is_set_ = false;
  base_time_ = mmaplink::kNoBaseTime;
  group_there_.reset();
  left_ = active_.num_buffers;
  failed_ = eos_wanted_ = false;
  gst_segment_init(&segment_, GST_FORMAT_TIME);
  counters_.reset();
  if (auto started = endpoint_->start(Side::src, endpoint_options(active_)); !started) {
    post_error(element_, started.error());
    return false;
  }
  return true;
}

// After the task has ended.
void Source::stop() {
  endpoint_->stop(Side::src);
  current_.reset();
  item_ = Incoming{};
  g_clear_pointer(&video_, gst_video_info_free);
  gst_pad_set_offset(pad_, 0);
  const std::lock_guard lock(mutex_);
  connections_.clear();
}

void Source::set_playing(bool playing) {
  playing_ = playing;
  own_base_time_changed_ = true;
  kick_.kick();
}

void Source::set_flushing(bool flushing) {
  flushing_ = flushing;
  kick_.kick();
}

void Source::request_eos() {
  eos_wanted_ = true;
  kick_.kick();
}

void Source::reconfigure() {
  caps_changed_ = true;
  kick_.kick();
}

GstStructure* Source::stats() const {
  Standing now;
  const std::lock_guard lock(mutex_);
  for (const auto& connection : connections_) {
    if (connection.lost) continue;
    ++now.peers;
    const ReceiveLane& lane = *connection.link->receive_lane();
    const auto usage = lane.usage();
    now.in_flight += usage.held;
    now.arenas += usage.arenas;
    now.arena_bytes += usage.bytes;
    now.latency_p50 = lane.latency().percentile(0.5);
    now.latency_p99 = lane.latency().percentile(0.99);
  }
  return stats_new("mmapsrc-stats", counters_, now);
}

// --- links: the endpoint's thread
// -----------------------------------------------------------------

void Source::on_connected(const std::shared_ptr<Link>& link) {
  GST_INFO_OBJECT(element_, "connected to peer %d (uid %u)", link->peer().pid, link->peer().uid);
  {
    const std::lock_guard lock(mutex_);
    connections_.push_back({link, std::nullopt});
  }
  caps_changed_ = true;
  kick_.kick();
  emit_client_signal(element_, "client-connected", link->peer());
}

void Source::on_lanes(const std::shared_ptr<Link>& link) {
  const auto lanes = link->peer_lanes();
  if (active_.role == mmaplink::Role::client && lanes.receives && !lanes.sends)
    GST_WARNING_OBJECT(element_, "the server on %s has no mmapsink yet: waiting for it",
                       active_.socket_path->c_str());
  kick_.kick();
}

void Source::on_note(const std::shared_ptr<Link>&, const Note&) {}

void Source::on_disconnected(const std::shared_ptr<Link>& link, const Error& why) {
  GST_INFO_OBJECT(element_, "%s", why.text.c_str());
  {
    const std::lock_guard lock(mutex_);
    for (auto& connection : connections_)
      if (connection.link == link) connection.lost = why;
  }
  kick_.kick();
  emit_client_signal(element_, "client-disconnected", link->peer());
}

void Source::on_waiting() {
  GST_ELEMENT_INFO(element_, RESOURCE, NOT_FOUND,
                   ("Waiting for a server on %s.", active_.socket_path->c_str()), (nullptr));
}

void Source::on_failed(const Error& why) {
  post_error(element_, why);
  failed_ = true;
  kick_.kick();
}

// --- the pad's task
// -------------------------------------------------------------------------------

// The link to read from: the first whose peer sends, or has sent and is gone.
std::shared_ptr<Link> Source::pick() {
  const std::lock_guard lock(mutex_);
  for (const auto& connection : connections_)
    if (connection.lost || connection.link->peer_lanes().sends ||
        !connection.link->receive_lane()->empty())
      return connection.link;
  return nullptr;
}

void Source::loop() {
  for (int i = 0; i < kTurns; ++i)
    if (!turn()) return;
}

// False when the task should look at its own state again.
bool Source::turn() {
  const uint32_t seen = kick_.value();
  if ((seen != handled_ || !current_) && !look_around(seen)) return false;

  // In this order: what was published before the peer stopped is found after that was seen.
  const bool closing = !current_->alive() || !current_->peer_lanes().sends;
  ReceiveLane& lane = *current_->receive_lane();
  auto took = lane.take(item_);
  if (!took) {
    break_off(took.error().text);
    return false;
  }
  switch (*took) {
    case ReceiveLane::Take::item:
      delivered_ = true;
      pending_since_.reset();
      return handle(item_);
    case ReceiveLane::Take::nothing:
      if (closing)
        finish(why_lost());
      else
        lane.wait(kick_, seen, Clock::now() + kSlice);
      break;
    case ReceiveLane::Take::pending:
      if (!pending_since_) pending_since_ = Clock::now();
      if (!current_->alive() || Clock::now() - *pending_since_ > kArenaTimeout)
        break_off("a descriptor names an arena that was never announced");
      else
        sleep(seen);
      break;
  }
  return false;
}

void Source::sleep(uint32_t seen) {
  const std::array words{kick_.word(seen)};
  mmaplink::wait_any(words, Clock::now() + kSlice);
}

// Somebody has kicked us, or there is no link to read. False when there is nothing to take.
bool Source::look_around(uint32_t seen) {
  if (flushing_) {
    pause();
    return false;
  }
  if (caps_changed_.exchange(false)) announce_caps();
  if (active_.is_live && !playing_) {
    sleep(seen);
    return false;
  }
  if (failed_) {
    push_eos(nullptr);
    return false;
  }
  if (eos_wanted_) {
    // Asked again with each turn: it becomes due by time, too.
    if (eos_is_due()) {
      tell_flow(GST_FLOW_EOS);
      push_eos(nullptr);
      return false;
    }
  } else {
    handled_ = seen;
  }
  if (current_) return true;
  current_ = pick();
  delivered_ = false;
  if (!current_) sleep(seen);
  return current_ != nullptr;
}

// Why nothing more comes over the current link.
Error Source::why_lost() const {
  const std::lock_guard lock(mutex_);
  for (const auto& connection : connections_)
    if (connection.link == current_ && connection.lost) return *connection.lost;
  return Error{Failure::gone, "process " + std::to_string(current_->peer().pid) + " on " +
                                  *active_.socket_path + " stopped sending"};
}

// What the far side's upstream may choose from. Asked here, not when somebody wants to know: an
// answer may need the link itself, where this process also sends.
void Source::announce_caps() {
  GstCaps* caps = gst_pad_peer_query_caps(pad_, nullptr);
  GST_DEBUG_OBJECT(element_, "downstream takes %" GST_PTR_FORMAT, static_cast<void*>(caps));
  auto bytes = encode(caps);
  gst_caps_unref(caps);
  if (bytes.size() > mmaplink::kMaxMessage - 64) {
    GST_WARNING_OBJECT(element_, "downstream's caps are too long to tell the sender about");
    bytes = encode(GST_CAPS_ANY);
  }
  std::deque<Connection> now;
  {
    const std::lock_guard lock(mutex_);
    now = connections_;
  }
  for (const auto& connection : now)
    if (auto said = connection.link->note(static_cast<uint32_t>(Notice::caps), bytes); !said)
      connection.link->hang_up(said.error().text);
}

// Nothing more comes over the current link, and no EOS came.
void Source::finish(const Error& why) {
  GST_INFO_OBJECT(element_, "end of the link: %s", why.text.c_str());
  const bool had_data = delivered_;
  const auto link = std::move(current_);
  current_.reset();
  pending_since_.reset();
  {
    const std::lock_guard lock(mutex_);
    const auto found =
        std::find_if(connections_.begin(), connections_.end(),
                     [&](const auto& connection) { return connection.link == link; });
    if (found != connections_.end() && !link->alive()) connections_.erase(found);
  }
  time_is_set_ = false;
  switch (active_.resolved_on_disconnect()) {
    case OnDisconnect::none:
    case OnDisconnect::automatic:
      // Frames that an encoder still holds are of a client that is gone: they must not go to the
      // next one.
      if (had_data && endpoint_->is_attached(Side::sink)) {
        gst_pad_push_event(pad_, gst_event_new_flush_start());
        gst_pad_push_event(pad_, gst_event_new_flush_stop(TRUE));
      }
      return;
    case OnDisconnect::error:
      post_error(element_, why);
      return push_eos(nullptr);
    case OnDisconnect::eos:
      return push_eos(nullptr);
  }
}

// The peer sent what makes no sense.
void Source::break_off(const std::string& why) {
  GST_WARNING_OBJECT(element_, "hanging up: %s", why.c_str());
  current_->hang_up(why);
  finish(Error{Failure::protocol, "hung up on process " + std::to_string(current_->peer().pid) +
                                      " on " + *active_.socket_path + ": " + why});
}

// True when the next item may follow at once.
bool Source::handle(Incoming& item) {
  switch (static_cast<Item>(item.descriptor.kind)) {
    case Item::buffer:
      return handle_buffer(item);
    case Item::event:
      return handle_event(item);
  }
  break_off("a descriptor of an unknown kind");
  return false;
}

bool Source::handle_event(const Incoming& item) {
  if (item.descriptor.ticket != 0) current_->receive_lane()->give_back(item.descriptor.ticket);
  GstEvent* event = decode_event(item.extra);
  if (event == nullptr) {
    break_off("an event that makes no sense");
    return false;
  }
  GST_DEBUG_OBJECT(element_, "received %" GST_PTR_FORMAT, static_cast<void*>(event));
  const uint32_t seqnum = gst_event_get_seqnum(event);
  switch (GST_EVENT_TYPE(event)) {
    case GST_EVENT_STREAM_START: {
      // Group ids are given out by each process for itself.
      guint group = 0;
      if (gst_event_parse_group_id(event, &group)) {
        if (group_there_ != group) group_here_ = gst_util_group_id_next();
        group_there_ = group;
        gst_event_set_group_id(event, group_here_);
      }
      break;
    }
    case GST_EVENT_CAPS: {
      GstCaps* caps = nullptr;
      gst_event_parse_caps(event, &caps);
      gst_caps_ref(caps);
      gst_pad_push_event(pad_, event);
      ask_needs(caps, seqnum);
      gst_caps_unref(caps);
      return true;
    }
    case GST_EVENT_SEGMENT:
      gst_event_copy_segment(event, &segment_);
      break;
    case GST_EVENT_EOS: {
      const auto link = current_;
      push_eos(event);
      if (auto said = link->note(static_cast<uint32_t>(Notice::eos_done), encode(seqnum)); !said)
        link->hang_up(said.error().text);
      return false;
    }
    default:
      break;
  }
  gst_pad_push_event(pad_, event);
  return true;
}

// What downstream wants of the buffers, for the far sink's answer to the same question.
void Source::ask_needs(GstCaps* caps, uint32_t seqnum) {
  g_clear_pointer(&video_, gst_video_info_free);
  GstVideoInfo info;
  if (gst_video_info_from_caps(&info, caps) &&
      GST_VIDEO_INFO_FORMAT(&info) != GST_VIDEO_FORMAT_ENCODED)
    video_ = gst_video_info_copy(&info);

  Needs needs;
  needs.caps_seqnum = seqnum;
  GstQuery* query = gst_query_new_allocation(caps, TRUE);
  takes_video_meta_ = false;
  if (gst_pad_peer_query(pad_, query)) {
    takes_video_meta_ = gst_query_find_allocation_meta(query, GST_VIDEO_META_API_TYPE, nullptr);
    for (guint i = 0; i < gst_query_get_n_allocation_pools(query); ++i) {
      guint min = 0;
      gst_query_parse_nth_allocation_pool(query, i, nullptr, nullptr, &min, nullptr);
      needs.min_buffers = std::max(needs.min_buffers, min);
    }
    for (guint i = 0; i < gst_query_get_n_allocation_params(query); ++i) {
      GstAllocationParams params;
      gst_query_parse_nth_allocation_param(query, i, nullptr, &params);
      needs.align |= static_cast<uint32_t>(params.align);
      needs.prefix = std::max(needs.prefix, static_cast<uint32_t>(params.prefix));
      needs.padding = std::max(needs.padding, static_cast<uint32_t>(params.padding));
    }
  }
  gst_query_unref(query);
  if (auto said = current_->note(static_cast<uint32_t>(Notice::needs), encode(needs)); !said)
    current_->hang_up(said.error().text);
}

// The same frame without padding, for a downstream that does not know GstVideoMeta.
GstBuffer* Source::tighten(GstBuffer* buffer) {
  const GstVideoMeta* meta = gst_buffer_get_video_meta(buffer);
  if (takes_video_meta_ || video_ == nullptr || meta == nullptr) return buffer;
  const bool tight = std::equal(meta->stride, meta->stride + meta->n_planes, video_->stride) &&
                     std::equal(meta->offset, meta->offset + meta->n_planes, video_->offset);
  if (tight || meta->n_planes != GST_VIDEO_INFO_N_PLANES(video_)) return buffer;
  GstBuffer* copy = gst_buffer_new_allocate(nullptr, GST_VIDEO_INFO_SIZE(video_), nullptr);
  GstVideoFrame from;
  GstVideoFrame to;
  if (copy == nullptr || !gst_video_frame_map(&from, video_, buffer, GST_MAP_READ)) {
    gst_clear_buffer(&copy);
    return buffer;
  }
  if (gst_video_frame_map(&to, video_, copy, GST_MAP_WRITE)) {
    gst_video_frame_copy(&to, &from);
    gst_video_frame_unmap(&to);
  }
  gst_video_frame_unmap(&from);
  gst_buffer_copy_into(
      copy, buffer,
      static_cast<GstBufferCopyFlags>(GST_BUFFER_COPY_FLAGS | GST_BUFFER_COPY_TIMESTAMPS), 0,
      static_cast<gsize>(-1));
  gst_buffer_unref(buffer);
  Counters::add(counters_.buffers_copied, 1);
  Counters::add(counters_.bytes_copied, gst_buffer_get_size(copy));
  return copy;
}

bool Source::handle_buffer(Incoming& item) {
  set_time(item.descriptor);
  const size_t size = item.descriptor.size;
  GstBuffer* buffer = decode_buffer(item, current_->receive_lane());
  if (buffer == nullptr) {
    break_off("a buffer that makes no sense");
    return false;
  }
  buffer = tighten(buffer);
  if (active_.do_timestamp) {
    if (const auto now = running_time()) GST_BUFFER_PTS(buffer) = *now;
    GST_BUFFER_DTS(buffer) = GST_CLOCK_TIME_NONE;
  }
  Counters::add(counters_.buffers, 1);
  Counters::add(counters_.bytes, size);
  GST_LOG_OBJECT(element_, "pushing %" GST_PTR_FORMAT, static_cast<void*>(buffer));
  const GstFlowReturn flow = gst_pad_push(pad_, buffer);
  if (flow != GST_FLOW_OK) {
    ended(flow);
    return false;
  }
  if (left_ > 0 && --left_ == 0) {
    tell_flow(GST_FLOW_EOS);
    push_eos(nullptr);
    return false;
  }
  return true;
}

std::optional<GstClockTime> Source::running_time() const {
  GstClock* clock = gst_element_get_clock(element_);
  if (clock == nullptr) return std::nullopt;
  const GstClockTime now = gst_clock_get_time(clock);
  gst_object_unref(clock);
  const GstClockTime base = gst_element_get_base_time(element_);
  if (now < base) return std::nullopt;
  return now - base;
}

// Running time on both sides is the same instant of CLOCK_MONOTONIC, by the pad's offset: segments
// and timestamps stay as they are. What is not live over there has no instant; its first frame is
// taken to be due now.
void Source::set_time(const mmaplink::Descriptor& descriptor) {
  if (!active_.is_live) return;
  if (time_is_set_ && descriptor.base_time == base_time_ && !own_base_time_changed_.exchange(false))
    return;
  base_time_ = descriptor.base_time;
  const auto set = [&](gint64 offset) {
    if (gst_pad_get_offset(pad_) == offset) return;
    GST_DEBUG_OBJECT(element_, "running time differs by %" GST_STIME_FORMAT,
                     GST_STIME_ARGS(offset));
    gst_pad_set_offset(pad_, offset);
  };
  bool monotonic = false;
  if (GstClock* clock = gst_element_get_clock(element_)) {
    if (GST_IS_SYSTEM_CLOCK(clock)) {
      GstClockType type;
      g_object_get(clock, "clock-type", &type, nullptr);
      monotonic = type == GST_CLOCK_TYPE_MONOTONIC;
    }
    gst_object_unref(clock);
  }
  if (monotonic && descriptor.base_time != mmaplink::kNoBaseTime) {
    time_is_set_ = true;
    return set(static_cast<gint64>(descriptor.base_time - gst_element_get_base_time(element_)));
  }
  if (time_is_set_) return;
  const guint64 first = gst_segment_to_running_time(&segment_, GST_FORMAT_TIME, descriptor.pts);
  const auto now = running_time();
  if (!GST_CLOCK_TIME_IS_VALID(first) || !now) return;
  time_is_set_ = true;
  set(static_cast<gint64>(*now - first));
}

void Source::tell_flow(GstFlowReturn flow) {
  if (!current_) current_ = pick();
  if (!current_) return;
  if (auto said = current_->note(static_cast<uint32_t>(Notice::flow), encode(Flow{flow})); !said)
    current_->hang_up(said.error().text);
}

// Downstream took no more.
void Source::ended(GstFlowReturn flow) {
  GST_DEBUG_OBJECT(element_, "downstream said %s", gst_flow_get_name(flow));
  if (flow == GST_FLOW_FLUSHING) {
    // A flush from downstream ends by itself; our own ends the task.
    if (flushing_ || GST_PAD_IS_FLUSHING(pad_)) pause();
    return;
  }
  tell_flow(flow);
  if (flow != GST_FLOW_EOS) GST_ELEMENT_FLOW_ERROR(element_, flow);
  push_eos(nullptr);
}

// Nothing comes after it: the task ends. Takes the event.
void Source::push_eos(GstEvent* event) {
  GstEvent* start = gst_pad_get_sticky_event(pad_, GST_EVENT_STREAM_START, 0);
  if (start == nullptr) {
    gchar* id = gst_pad_create_stream_id(pad_, element_, nullptr);
    start = gst_event_new_stream_start(id);
    g_free(id);
    gst_event_set_group_id(start, gst_util_group_id_next());
    gst_pad_push_event(pad_, start);
  } else {
    gst_event_unref(start);
  }
  gst_pad_push_event(pad_, event != nullptr ? event : gst_event_new_eos());
  pause();
}

bool Source::eos_is_due() {
  if (!eos_wanted_) return false;
  // With a sink on the same link the far side sends what it still has, and then its own EOS: the
  // sink's upstream got this EOS as well.
  if (!current_ || !current_->alive() || active_.role == mmaplink::Role::server ||
      !endpoint_->is_started(Side::sink))
    return true;
  // A link that goes on delivering is waited for.
  if (!eos_since_ || buffers_at_eos_ != counters_.buffers) eos_since_ = Clock::now();
  buffers_at_eos_ = counters_.buffers;
  return Clock::now() - *eos_since_ > kEosTimeout;
}

}  // namespace gstmmap
