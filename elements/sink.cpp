#include "elements/sink.h"

#include <gst/video/video.h>

#include <algorithm>
#include <array>
#include <utility>

#include "elements/gstmmapsrc.h"
#include "gst/gstmmapmemory-private.h"
#include "lib/dmabuf.h"

GST_DEBUG_CATEGORY_EXTERN(gst_mmap_sink_debug);
#define GST_CAT_DEFAULT gst_mmap_sink_debug

namespace gstmmap {

using mmaplink::Clock;
using mmaplink::Endpoint;
using mmaplink::Error;
using mmaplink::Outgoing;
using mmaplink::Sender;
using mmaplink::Side;
using Published = mmaplink::Sender::Published;

namespace {

// A stopped reader, where others have come to the end.
constexpr auto kEosPatience = std::chrono::seconds(1);
constexpr auto kEosSlice = std::chrono::milliseconds(100);

}  // namespace

Sink::Sink(GstBaseSink* element)
    : element_(element),
      postbox_(GST_ELEMENT(element)),
      exchange_(Side::sink,
                [this](const auto& link, Notice kind, std::span<const std::byte> bytes) {
                  return handle_notice(link, kind, bytes);
                }) {
  settings.role = mmaplink::Role::server;
  active_.role = mmaplink::Role::server;
}

// --- states: the application's thread -----------------------------------------------------------

bool Sink::open() {
  GST_OBJECT_LOCK(element_);
  active_ = settings;
  GST_OBJECT_UNLOCK(element_);
  auto good = check_settings(active_);
  if (good) good = take_socket(active_);
  if (!good) {
    post_error(element(), good.error());
    return false;
  }
  if (attach()) return true;
  active_.given.reset();
  return false;
}

bool Sink::attach() {
  auto endpoint = Endpoint::attach(endpoint_key(element(), active_, GST_TYPE_MMAP_SRC), Side::sink,
                                   *this, mmaplink::parse_mode(active_.mmap, active_.role)->send,
                                   active_.max_memory, file_of(active_), active_.huge_pages);
  if (!endpoint) {
    post_error(element(), endpoint.error());
    return false;
  }
  {
    const std::lock_guard lock(mutex_);
    endpoint_ = *endpoint;
  }
  return true;
}

void Sink::detach() {
  if (endpoint_) endpoint_->detach(Side::sink);
  {
    const std::lock_guard lock(mutex_);
    endpoint_.reset();
  }
}

void Sink::close() {
  detach();
  active_.given.reset();
  set_sender(nullptr);
}

bool Sink::start() {
  const std::string mmap = active_.mmap;
  auto good = read_again(element(), settings, active_);
  if (good && active_.udmabuf) good = mmaplink::check_can_make_dmabufs();
  if (!good) {
    post_error(element(), good.error());
    return false;
  }
  if (!endpoint_ || active_.mmap != mmap) {
    detach();
    if (!attach()) return false;
  }
  held_off_ = true;
  set_sender(
      Sender::make(active_.max_memory, timeout_of(active_.peer_timeout), active_.huge_pages));
  sender_->on_no_memory([this](const Error& why) { post_error(element(), why); });
  allocator_ = allocator_new(sender_, WhenFull::wait);
  look_at_time_ = true;
  requests_.forget();
  ready_changes_ = 0;
  ready_readers_.clear();
  readers_.clear();
  joining_.clear();
  counters_.reset();
  own_latency_ = 0;
  latency_told_ = false;
  eos_sent_ = GST_SEQNUM_INVALID;
  client_changed_ = false;
  newest_pts_ = GST_CLOCK_TIME_NONE;
  key_frames_.begin_stream();
  {
    const std::lock_guard lock(mutex_);
    unlocks_ = 0;
    done_ = false;
    ended_ = GST_FLOW_OK;
    caps_.reset();
  }
  auto started = exchange_.start();
  auto options = *endpoint_options(active_);
  options.request = [this] {
    GST_OBJECT_LOCK(element_);
    std::string request = settings.request;
    GST_OBJECT_UNLOCK(element_);
    return request;
  };
  if (started) started = endpoint_->start(Side::sink, options);
  if (!started) {
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
  exchange_.stop();
  sender_->interrupt(true);
  sender_->on_no_memory({});
  sender_->stop();
  // Upstream still runs, and a pad that flushes takes queries: one may be in propose_allocation().
  GST_PAD_STREAM_LOCK(pad());
  gst_clear_object(&allocator_);
  ready_readers_.clear();
  payload_ = {};  // which keeps the memory of the last buffer
  GST_PAD_STREAM_UNLOCK(pad());
  readers_.clear();
  joining_.clear();
}

void Sink::unlock() {
  {
    const std::lock_guard lock(mutex_);
    ++unlocks_;
    if (sender_) sender_->interrupt(true);
  }
  exchange_.wake();
}

void Sink::unlock_stop() {
  const std::lock_guard lock(mutex_);
  --unlocks_;
  // While the pad is flushing nothing may wait, in a pool for one; FLUSH_STOP ends that.
  if (sender_) sender_->interrupt(unlocks_ > 0 || GST_PAD_IS_FLUSHING(pad()));
}

void Sink::set_sender(std::shared_ptr<Sender> sender) {
  {
    const std::lock_guard lock(mutex_);
    sender_.swap(sender);
  }
  // Frames hold their pool, which holds the sender: it must not hold them in turn.
  if (sender) sender->remove_all();
}

std::shared_ptr<Sender> Sink::any_sender() const {
  const std::lock_guard lock(mutex_);
  return sender_;
}

std::shared_ptr<Endpoint> Sink::any_endpoint() const {
  const std::lock_guard lock(mutex_);
  return endpoint_;
}

GstStructure* Sink::stats() const {
  Standing now;
  if (const auto sender = any_sender()) {
    sender->collect();  // what is in flight is what readers hold now
    const auto usage = sender->store()->usage();
    now.in_flight = sender->in_flight();
    now.arenas = usage.arenas;
    now.arena_bytes = usage.bytes;
    now.hugetlb_bytes = usage.hugetlb;
    now.thp_bytes = usage.transparent;
  }
  for (const auto& reader : readers_.all()) {
    ++now.peers;
    const auto& lane = reader->link->send_lane();
    now.latency_p50 = std::max<guint64>(now.latency_p50, lane.latency_p50());
    now.latency_p99 = std::max<guint64>(now.latency_p99, lane.latency_p99());
    now.mode = reader->link->modes().send;
  }
  return stats_new("mmapsink-stats", "send", counters_, now);
}

// --- the streaming thread -----------------------------------------------------------------------

// One of several readers does not hold up the others, once it has stopped reading for a while.
mmaplink::Limits Sink::limits_for(const Reader& reader) const {
  mmaplink::Limits limits{active_.max_buffers, active_.leaky};
  if (ready_readers_.size() > 1)
    limits.passes_over = [this, &reader] {
      return std::any_of(ready_readers_.begin(), ready_readers_.end(), [&](const auto& one) {
        const auto other = one.lock();
        return other && other.get() != &reader && other->link->alive() &&
               !other->is_passed_over() && other->link->unread() < active_.max_buffers;
      });
    };
  return limits;
}

Published Sink::send_item(Reader& reader, Item kind, std::span<const std::byte> bytes,
                          mmaplink::Deadline until) {
  auto limits = limits_for(reader);
  limits.until = until;
  for (;;) {
    Outgoing item;
    item.descriptor.kind = static_cast<uint32_t>(kind);
    item.descriptor.base_time = base_time_;
    item.extra = bytes;
    const auto sent = sender_->publish(*reader.link, std::move(item), limits, {});
    if (sent != Published::interrupted || sit_out_interruption() != GST_FLOW_OK) return sent;
  }
}

Published Sink::send_event_to(Reader& reader, GstEvent* event) {
  const auto bytes = encode_event(event);
  if (bytes) return send_item(reader, Item::event, *bytes);
  say_does_not_cross(event);
  return Published::dropped;
}

void Sink::say_does_not_cross(GstEvent* event) const {
  GST_INFO_OBJECT(element_, "a %s event does not cross", GST_EVENT_TYPE_NAME(event));
}

// Titles and the like of the client before are nothing to the next. Caps stay: an encoder says them
// once.
void Sink::forget_other_client() {
  sender_->foreign().forget();
  gst_pad_sticky_events_foreach(
      pad(),
      [](GstPad*, GstEvent** event, gpointer) -> gboolean {
        switch (GST_EVENT_TYPE(*event)) {
          case GST_EVENT_STREAM_START:
          case GST_EVENT_CAPS:
          case GST_EVENT_SEGMENT:
            return TRUE;
          default:
            gst_clear_event(event);
            return TRUE;
        }
      },
      nullptr);
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

// For those that are on their way; but not for ever.
bool Sink::waits_for_other_caps(Reader& reader) {
  const uint64_t until = reader.waits_until;
  if (until == 0) return false;
  if (mmaplink::monotonic_ns() < until) return true;
  reader.waits_until = 0;
  return false;
}

bool Sink::send_event(GstEvent* event) {
  has_preroll_lock_ = true;
  const GstEventType type = GST_EVENT_TYPE(event);
  if (type == GST_EVENT_STREAM_START) {
    if (client_changed_.exchange(false)) forget_other_client();
    key_frames_.begin_stream();
  }
  if (type == GST_EVENT_SEGMENT || type == GST_EVENT_CAPS) look_at_time_ = true;
  if (type == GST_EVENT_EOS) eos_sent_ = gst_event_get_seqnum(event);
  // Sticky events are sent to whoever comes later; what is not is like a buffer, and may be all
  // there is for a while.
  const bool is_sticky = GST_EVENT_IS_STICKY(event);
  const auto bytes = encode_event(event);
  if (bytes && (type == GST_EVENT_EOS || !is_sticky)) {
    const GstFlowReturn flow = wait_ready();
    if (flow == GST_FLOW_EOS || flow == GST_FLOW_ERROR) return true;  // nobody to tell
    if (flow != GST_FLOW_OK) return false;
  }
  if (!bytes) say_does_not_cross(event);
  if (type == GST_EVENT_CAPS) new_caps(event);
  if (!is_sticky) look_at_time();
  // Who is there already learns what comes, however late its first buffer is. What a two-way
  // server's pad has may be of the client before.
  const bool begins =
      type == GST_EVENT_SEGMENT && !is_two_way_server() && gst_pad_has_current_caps(pad());
  auto now = addressees();
  if (type == GST_EVENT_EOS)
    std::erase_if(now, [](const auto& reader) { return reader->link->failed_here(); });
  for (const auto& reader : now) {
    // Others get what is sticky with their first buffer, and none for caps that they do not take.
    const bool is_due = type == GST_EVENT_EOS || (is_sticky && reader->has_stickies);
    const bool may_begin = !is_sticky || begins;
    if (!is_due && (!may_begin || waits_for_other_caps(*reader))) continue;
    if (!send_stickies(*reader)) return false;
    if (bytes && send_item(*reader, Item::event, *bytes) == Published::interrupted) return false;
  }
  if (type != GST_EVENT_EOS) return true;
  return wait_for_eos_done(std::move(now), gst_event_get_seqnum(event));
}

// Whether nobody waits for this one's EOS any longer. A reader alone is waited for, as a sink is
// that is paused, but for peer-timeout.
bool Sink::has_stopped(Reader& reader, bool others_are_done) const {
  const auto idle = reader.eos_stall.look(reader.link->send_lane().progress(), Clock::now());
  if (const auto timeout = timeout_of(active_.peer_timeout); timeout && idle >= *timeout) {
    reader.link->hang_up("it has not read up to the end within peer-timeout");
    return true;
  }
  return others_are_done && idle >= kEosPatience;
}

// EOS is posted here when it has gone through over there.
bool Sink::wait_for_eos_done(Readers::List open, uint32_t seqnum) {
  const size_t told = open.size();
  for (;;) {
    const uint32_t seen = sender_->kick().value();
    if (sender_->interrupted()) {
      if (sit_out_interruption() != GST_FLOW_OK) return false;
      continue;
    }
    const auto now = readers_.all();
    std::erase_if(open, [&](const auto& reader) {
      // One that is not there any more has nothing left to say.
      return std::find(now.begin(), now.end(), reader) == now.end() || reader->eos_done == seqnum ||
             reader->link->reading() != mmaplink::Link::Reading::on;
    });
    const bool others_are_done = open.size() < told;
    std::erase_if(open, [&](const auto& reader) { return has_stopped(*reader, others_are_done); });
    if (open.empty()) return true;
    const std::array words{sender_->kick().word(seen)};
    mmaplink::wait_any(words, Clock::now() + kEosSlice);
  }
}

// --- flushing: whichever thread seeks
// -------------------------------------------------------------

// At once, past all that waits to be read, and that goes.
void Sink::flush_start(GstEvent* event) {
  const auto sender = any_sender();
  if (!sender) return;
  const FlushStart start{flushes_.fetch_add(1) + 1, gst_event_get_seqnum(event)};
  for (const auto& reader : readers_.all()) {
    if (!reader->has_stickies) continue;
    exchange_.tell(reader->link, Notice::flush_start, encode(start));
    sender->withdraw(*reader->link);
  }
}

// In order with what follows. Called with the pad's stream lock.
void Sink::flush_stop(GstEvent* event) {
  if (!any_sender()) return;
  gboolean reset_time = FALSE;
  gst_event_parse_flush_stop(event, &reset_time);
  const FlushStop stop{flushes_.load(), gst_event_get_seqnum(event),
                       static_cast<uint32_t>(reset_time)};
  {
    const std::lock_guard lock(mutex_);
    done_ = false;
  }
  has_preroll_lock_ = false;
  look_at_time_ = true;
  eos_sent_ = GST_SEQNUM_INVALID;
  requests_.forget();
  newest_pts_ = GST_CLOCK_TIME_NONE;
  for (const auto& reader : readers_.all())
    if (reader->has_stickies) send_item(*reader, Item::flush_stop, encode(stop));
}

void Sink::send_event_at_once(GstEvent* event) {
  const auto bytes = encode_event(event);
  if (!bytes) return;
  for (const auto& reader : readers_.all()) exchange_.tell(reader->link, Notice::event, *bytes);
}

// --- buffers ----------------------------------------------------------------------------------

// A stream that is presented by a clock, here or by upstream, has its instants, which the far side
// can map to its own clock. Others run as fast as they can: they have no instant to keep.
void Sink::look_at_time() {
  if (!look_at_time_ && !time_.is_due()) return;
  look_at_time_ = false;
  base_time_ = mmaplink::kNoBaseTime;
  gboolean live = gst_base_sink_get_sync(element_);
  if (!live) {
    GstQuery* query = gst_query_new_latency();
    if (gst_pad_peer_query(pad(), query)) gst_query_parse_latency(query, &live, nullptr, nullptr);
    gst_query_unref(query);
  }
  is_live_ = live != FALSE;
  if (!live) {
    if (comes_back_) base_time_ = mmaplink::kKeepsTime;
    return time_.forget();
  }
  const auto base = time_.look(element());
  look_at_time_ = !base;  // not PLAYING yet
  if (base) base_time_ = *base;
}

void Sink::count_sent(Reader& reader, const GstBuffer* buffer, gsize size) const {
  note_went(reader, GST_BUFFER_PTS(buffer));
  auto& counters = reader.counters;
  Counters::add(counters.buffers, 1);
  Counters::add(counters.bytes, size);
  if (!payload_.copied()) return;
  Counters::add(counters.buffers_copied, 1);
  Counters::add(counters.bytes_copied, size);
}

GstFlowReturn Sink::send_to(Reader& reader, GstBuffer* buffer, gsize size, bool& dropped) {
  if (waits_for_other_caps(reader)) return GST_FLOW_OK;
  for (;;) {
    Published sent = Published::interrupted;
    if (send_stickies(reader)) {
      // A decoder can do nothing with what depends on frames that it has not got. Headers depend on
      // nothing, whatever else their muxer calls them.
      const bool depends = GST_BUFFER_FLAG_IS_SET(buffer, GST_BUFFER_FLAG_DELTA_UNIT);
      const bool is_header = GST_BUFFER_FLAG_IS_SET(buffer, GST_BUFFER_FLAG_HEADER);
      if (!reader.has_begun && depends && !is_header && key_frames_.are_waited_for()) {
        if (requests_.key_frame(true, ready_readers_.size() == 1)) ask_for_key_frame(true);
        return GST_FLOW_OK;
      }
      reader.has_begun = reader.has_begun || !depends || !is_header || key_frames_.is_first();
      Outgoing item = payload_.outgoing(buffer);
      item.may_repeat = active_.leaky != mmaplink::Leaky::downstream;
      if (reader.has_missed) item.descriptor.flags |= GST_BUFFER_FLAG_DISCONT;
      sent = sender_->publish(*reader.link, std::move(item), limits_for(reader), payload_.places());
      if (sent == Published::yes) reader.has_missed = false;
      if (sent == Published::yes || sent == Published::dropped_oldest)
        count_sent(reader, buffer, size);
    }
    if (sent == Published::passed_over) {
      if (!reader.is_passed_over())
        GST_WARNING_OBJECT(element_, "%s does not read: going on without it",
                           mmaplink::name_of(reader.link->peer()).c_str());
      reader.passed_at = reader.link->send_lane().progress();
    }
    if (sent == Published::dropped || sent == Published::passed_over) {
      reader.has_missed = true;
      reader.has_begun = false;
    }
    if (sent == Published::dropped || sent == Published::passed_over ||
        sent == Published::dropped_oldest) {
      Counters::add(reader.counters.dropped, 1);
      dropped = true;
    }
    if (sent != Published::interrupted) return GST_FLOW_OK;
    const GstFlowReturn flow = sit_out_interruption();
    if (flow != GST_FLOW_OK) return flow;
  }
}

void Sink::ask_for_key_frame(bool with_headers) {
  GST_DEBUG_OBJECT(element_, "asking for a key frame");
  gst_pad_push_event(pad(), gst_video_event_new_upstream_force_key_unit(
                                GST_CLOCK_TIME_NONE, static_cast<gboolean>(with_headers), 0));
}

// That readers have asked for more often than upstream is asked.
void Sink::ask_for_what_is_due(bool is_key_frame) {
  const auto due = requests_.look(is_key_frame);
  if (due.key_frame) ask_for_key_frame(due.with_headers);
  if (due.reconfigure) gst_pad_push_event(pad(), gst_event_new_reconfigure());
}

GstFlowReturn Sink::send_buffer(GstBuffer* buffer) {
  has_preroll_lock_ = true;
  // Nothing has changed since it was found ready: the usual case, without a lock.
  const uint64_t changes = changes_.load(std::memory_order_acquire);  // pairs with changed()
  if (ready_changes_ != changes) {
    const GstFlowReturn flow = wait_ready();
    if (flow != GST_FLOW_OK) return flow;
    const auto now = addressees();
    ready_readers_.assign(now.begin(), now.end());
    all_are_mapped_ = std::all_of(now.begin(), now.end(), [](const auto& reader) {
      return reader->link->modes().send.mapped;
    });
    ready_changes_ = changes;
  }
  const bool depends = GST_BUFFER_FLAG_IS_SET(buffer, GST_BUFFER_FLAG_DELTA_UNIT);
  key_frames_.look(!depends);
  if (ready_readers_.empty()) {
    Counters::add(counters_.dropped, 1);
    return GST_FLOW_OK;
  }
  look_at_time();
  ask_for_what_is_due(!depends);
  while (!payload_.prepare(buffer, *sender_, all_are_mapped_, base_time_)) {
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
  for (const auto& one : ready_readers_) {
    const auto reader = one.lock();
    if (!reader) continue;
    const GstFlowReturn flow = send_to(*reader, buffer, size, dropped);
    if (flow != GST_FLOW_OK) return flow;
  }
  if (dropped) Counters::add(counters_.dropped, 1);
  if (GST_BUFFER_PTS_IS_VALID(buffer))
    newest_pts_.store(GST_BUFFER_PTS(buffer), std::memory_order_relaxed);
  Counters::add(counters_.buffers, 1);
  Counters::add(counters_.bytes, size);
  return GST_FLOW_OK;
}

// What the base class would know if it had handled the buffers.
bool Sink::query_position(GstQuery* query) const {
  GstFormat format;
  gst_query_parse_position(query, &format, nullptr);
  const GstClockTime pts = newest_pts_;
  if (format != GST_FORMAT_TIME || !GST_CLOCK_TIME_IS_VALID(pts)) return false;
  GST_OBJECT_LOCK(element_);
  const bool is_time = element_->segment.format == GST_FORMAT_TIME;
  const guint64 position =
      is_time ? gst_segment_to_stream_time(&element_->segment, GST_FORMAT_TIME, pts)
              : GST_CLOCK_TIME_NONE;
  GST_OBJECT_UNLOCK(element_);
  if (!GST_CLOCK_TIME_IS_VALID(position)) return false;
  gst_query_set_position(query, GST_FORMAT_TIME, static_cast<gint64>(position));
  return true;
}

}  // namespace gstmmap
