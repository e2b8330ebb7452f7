#include "elements/source.h"

#include <algorithm>
#include <array>
#include <tuple>
#include <utility>
#include <vector>

#include "elements/gstmmapsink.h"
#include "elements/gstmmapsrc.h"
#include "elements/top.h"

GST_DEBUG_CATEGORY_EXTERN(gst_mmap_src_debug);
#define GST_CAT_DEFAULT gst_mmap_src_debug

namespace gstmmap {

using mmaplink::Clock;
using mmaplink::Endpoint;
using mmaplink::Error;
using mmaplink::Failure;
using mmaplink::Incoming;
using mmaplink::Link;
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

Source::Source(GstElement* element, GstPad* pad)
    : element_(element),
      pad_(pad),
      postbox_(element),
      exchange_(Side::src,
                [this](const auto& link, Notice kind, std::span<const std::byte> bytes) {
                  return handle_notice(link, kind, bytes);
                }),
      flush_(element, pad, flushing_),
      time_(element, pad) {
  settings.role = mmaplink::Role::client;
  active_.role = mmaplink::Role::client;
  gst_segment_init(&segment_, GST_FORMAT_TIME);
}

// --- states: the application's thread -----------------------------------------------------------

bool Source::open() {
  GST_OBJECT_LOCK(element_);
  active_ = settings;
  GST_OBJECT_UNLOCK(element_);
  auto good = check_settings(active_);
  if (good) good = take_socket(active_);
  if (!good) {
    post_error(element_, good.error());
    return false;
  }
  if (attach()) return true;
  active_.given.reset();
  return false;
}

bool Source::attach() {
  auto endpoint = Endpoint::attach(endpoint_key(element_, active_, GST_TYPE_MMAP_SINK), Side::src,
                                   *this, mmaplink::parse_mode(active_.mmap, active_.role)->receive,
                                   active_.max_memory, file_of(active_), active_.huge_pages);
  if (!endpoint) {
    post_error(element_, endpoint.error());
    return false;
  }
  endpoint_ = *endpoint;
  return true;
}

void Source::detach() {
  if (endpoint_) endpoint_->detach(Side::src);
  endpoint_.reset();
}

void Source::close() {
  detach();
  active_.given.reset();
}

bool Source::start() {
  const auto attached_with = [this] {
    return std::tuple(active_.mmap, active_.max_memory, active_.huge_pages);
  };
  const auto before = attached_with();
  if (auto good = read_again(element_, settings, active_); !good) {
    post_error(element_, good.error());
    return false;
  }
  if (!endpoint_ || attached_with() != before) {
    detach();
    if (!attach()) return false;
  }
  {
    const std::lock_guard lock(mutex_);
    connections_.clear();
  }
  current_.reset();
  pending_since_.reset();
  eos_since_.reset();
  delivered_ = false;
  is_parsed_ = true;
  time_.forget();
  flush_.reset(active_.is_live);
  group_.reset();
  stickies_.begin();
  left_ = active_.num_buffers;
  failed_ = eos_wanted_ = latency_told_ = false;
  ended_here_ = GST_FLOW_OK;
  gst_segment_init(&segment_, GST_FORMAT_TIME);
  counters_.reset();
  auto started = exchange_.start();
  if (active_.role == mmaplink::Role::server && endpoint_->is_attached(Side::sink))
    bus_watch_.start(element_, [this](GstMessage* message) { see_message(message); });
  if (started) started = endpoint_->start(Side::src, *endpoint_options(active_));
  if (!started) {
    post_error(element_, started.error());
    stop();
    return false;
  }
  return true;
}

// After the task has ended.
void Source::stop() {
  bus_watch_.stop();
  endpoint_->stop(Side::src);
  exchange_.stop();
  current_.reset();
  item_ = Incoming{};
  gst_pad_set_offset(pad_, 0);
  const std::lock_guard lock(mutex_);
  connections_.clear();
}

bool Source::start_task() {
  return gst_pad_start_task(
      pad_, [](gpointer self) { static_cast<Source*>(self)->loop(); }, this, nullptr);
}

void Source::set_playing(bool playing) {
  playing_ = playing;
  own_base_time_changed_ = true;
  kick_.kick();
}

void Source::set_flushing(bool flushing) {
  flushing_ = flushing;
  kick_.kick();
  exchange_.wake();
}

void Source::request_eos() {
  eos_wanted_ = true;
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
    now.hugetlb_bytes += usage.hugetlb;
    now.thp_bytes += usage.transparent;
    now.mode = connection.link->modes().receive;
    now.latency_p50 = lane.latency().percentile(0.5);
    now.latency_p99 = lane.latency().percentile(0.99);
  }
  return stats_new("mmapsrc-stats", "receive", counters_, now);
}

// --- the pad's task
// -------------------------------------------------------------------------------

// The link to read from: the first whose peer sends, or has sent and is gone.
std::shared_ptr<Link> Source::pick() {
  const std::lock_guard lock(mutex_);
  for (auto& connection : connections_) {
    if (!connection.lost && !connection.link->peer_lanes().sends &&
        connection.link->receive_lane()->empty())
      continue;
    connection.is_read = true;
    current_counters_ = connection.counters;
    connection.link->receive_lane()->set_busy_poll(active_.busy_poll);
    return connection.link;
  }
  return nullptr;
}

void Source::loop() {
  task_ = std::this_thread::get_id();
  for (int i = 0; i < kTurns; ++i)
    if (!turn()) return;
}

// False when the task should look at its own state again.
bool Source::turn() {
  const uint32_t seen = kick_.value();
  if ((seen != handled_ || !current_) && !look_around(seen)) return false;

  // In this order: what was published before the peer stopped is found after that was seen.
  ReceiveLane& lane = *current_->receive_lane();
  const bool closing = !current_->alive() || !current_->peer_lanes().sends;
  if (!current_->alive()) lane.close();
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
      if (!closing)
        lane.wait(kick_, seen, Clock::now() + kSlice);
      else if (const auto why = why_lost())
        finish(*why);
      else
        sleep(seen);
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
  // What is flushed is taken in PAUSED too.
  if (active_.is_live && !playing_ && !flush_.is_on()) {
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
  order_ = {};
  stickies_.begin_sender();
  if (!current_) {
    sleep(seen);
    return false;
  }
  current_->give_turn();
  gst_element_post_message(element_, gst_message_new_latency(GST_OBJECT(element_)));
  return true;
}

// Why nothing more comes over the current link. Nothing while the endpoint's thread is about to
// say.
std::optional<Error> Source::why_lost() const {
  const std::lock_guard lock(mutex_);
  for (const auto& connection : connections_)
    if (connection.link == current_ && connection.lost) return *connection.lost;
  if (!current_->alive()) return std::nullopt;
  return Error{Failure::gone,
               name_of(current_->peer()) + " on " + active_.place() + " stopped sending"};
}

// Nothing more comes over the current link, and no EOS came.
void Source::finish(const Error& why) {
  GST_INFO_OBJECT(element_, "end of the link: %s", why.text.c_str());
  const bool had_data = delivered_;
  const auto link = std::exchange(current_, nullptr);
  if (!link->alive() && link->peer_lanes().sends && !link->said_goodbye())
    postbox_.post(peer_lost_new(element_, link->peer(), why.text, 0));
  item_ = Incoming{};  // which may lie in an arena of that link
  is_parsed_ = true;
  pending_since_.reset();
  {
    const std::lock_guard lock(mutex_);
    const auto found =
        std::find_if(connections_.begin(), connections_.end(),
                     [&](const auto& connection) { return connection.link == link; });
    // One that we hung up on is not read any more, whatever else it has published.
    if (found != connections_.end() && (!link->alive() || link->hung_up_because()))
      connections_.erase(found);
  }
  time_.forget();
  // Nobody ends a flush of a sender that is gone.
  flush_.lost();
  if (on_lost_) return on_lost_(why);
  switch (active_.resolved_on_disconnect()) {
    case OnDisconnect::none:
    case OnDisconnect::automatic:
      // Frames that an encoder still holds are of a client that is gone: they must not go to the
      // next one. What a client has from its server is its own.
      if (had_data && active_.role == mmaplink::Role::server && endpoint_->is_attached(Side::sink))
        flush_.flush();
      return;
    case OnDisconnect::error:
      if (!link->failed_there() && !link->left_at_the_end()) post_error(element_, why);
      return push_eos(nullptr);
    case OnDisconnect::eos:
      return push_eos(nullptr);
  }
}

// The peer sent what makes no sense.
void Source::break_off(const std::string& why) {
  GST_WARNING_OBJECT(element_, "hanging up: %s", why.c_str());
  current_->hang_up(why);
  finish(Error{Failure::protocol,
               "hung up on " + name_of(current_->peer()) + " on " + active_.place() + ": " + why});
}

void Source::tell_flow(GstFlowReturn flow) {
  if (!current_) current_ = pick();
  if (current_) exchange_.tell(current_, Notice::flow, encode(Flow{flow}));
  if (ended_here_ == GST_FLOW_OK && !eos_wanted_) return;
  // Nor is anybody else's turn to come.
  std::vector<std::shared_ptr<Link>> others;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& connection : connections_)
      if (!connection.lost && connection.link != current_) others.push_back(connection.link);
  }
  for (const auto& link : others) exchange_.tell(link, Notice::flow, encode(Flow{flow}));
}

// Downstream took no more.
void Source::ended(GstFlowReturn flow) {
  GST_DEBUG_OBJECT(element_, "downstream said %s", gst_flow_get_name(flow));
  if (flow == GST_FLOW_FLUSHING) {
    // A flush ends by itself; our own ends the task.
    if (flushing_) pause();
    return;
  }
  // A sink that is being stopped says EOS where it means to flush (GstBaseSink, while its pad is
  // deactivated): the sender would take that for the end of its stream.
  if (flow == GST_FLOW_EOS && is_being_stopped(element_)) return pause();
  ended_here_ = flow != GST_FLOW_EOS ? flow : GST_FLOW_OK;
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
  // Paused first: a flush after the EOS starts the task again.
  pause();
  gst_pad_push_event(pad_, event != nullptr ? event : gst_event_new_eos());
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
