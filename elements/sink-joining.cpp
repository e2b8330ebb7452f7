// How a peer becomes a reader of an mmapsink. By the exchange's worker, which waits for nobody: a
// peer that does not answer holds up nothing but its own greeting.
#include <utility>

#include "elements/sink.h"

GST_DEBUG_CATEGORY_EXTERN(gst_mmap_sink_debug);
#define GST_CAT_DEFAULT gst_mmap_sink_debug

namespace gstmmap {

using mmaplink::Link;

namespace {

// A try to send what a reader must know first while the streaming thread is busy, and how many
// there are.
constexpr auto kTryAgain = std::chrono::milliseconds(10);
constexpr int kTries = 100;

}  // namespace

void Sink::greet(const std::shared_ptr<Link>& link) {
  const auto reader = joining_.find(*link);
  if (!reader) return;
  if (readers_.find(*link)) {  // said twice
    joining_.remove(*link);
    return;
  }
  // A client has asked before there were any caps.
  GstCaps* now = is_client() ? nullptr : gst_pad_get_current_caps(pad());
  if (now == nullptr) return admit(reader);
  ask_then(reader, gst_query_new_accept_caps(now), [this, reader](GstQuery* answered) {
    gboolean accepts = TRUE;
    if (answered != nullptr) gst_query_parse_accept_caps_result(answered, &accepts);
    if (accepts)
      admit(reader);
    else
      suit(reader);
  });
  gst_caps_unref(now);
}

// A stream that runs already may be none that the first reader takes: upstream can mostly deliver
// another, and is given the time to. It is not asked for what it can't, nor on behalf of one of
// several readers: that one has an error of its own then, and the stream goes on.
void Sink::suit(const Readers::One& reader) {
  reader->suits = false;
  if (readers_.count() > 0) return admit(reader);
  GstCaps* upstream = gst_pad_peer_query_caps(pad(), nullptr);
  const std::shared_ptr<GstCaps> kept(upstream, gst_caps_unref);
  ask_then(reader, gst_query_new_caps(upstream), [this, reader, kept](GstQuery* answered) {
    GstCaps* takes = nullptr;
    if (answered != nullptr) gst_query_parse_caps_result(answered, &takes);
    if (takes != nullptr && gst_caps_can_intersect(takes, kept.get()) && readers_.count() == 0) {
      reader->suits = true;
      reader->waits_until = mmaplink::monotonic_ns() + static_cast<uint64_t>(active_.query_timeout);
    }
    admit(reader);
  });
}

void Sink::admit(const Readers::One& reader) {
  const auto& link = reader->link;
  if (joining_.find(*link) != reader) return;  // it has gone meanwhile
  {
    const std::lock_guard lock(mutex_);
    done_ = false;
  }
  sender_->add(link);
  readers_.add(reader);
  // It may have gone, or have had enough, before it was one.
  if (!joining_.remove(*link) || !link->alive() || !link->peer_lanes().receives ||
      reader->took_enough) {
    readers_.remove(*link);
    sender_->leave(*link);
    if (!link->alive()) sender_->remove(*link);
    changed();
    return;
  }
  GST_INFO_OBJECT(element_, "peer %d (uid %u) reads", link->peer().pid, link->peer().uid);
  changed();
  tell_of(*reader);
  if (reader->waits_until > 0) gst_pad_push_event(pad(), gst_event_new_reconfigure());
  begin(reader, kTries);
}

// The application hears of each reader twice, or not at all. One that goes while it is told of is
// told of by the same thread.
void Sink::tell_of(Reader& reader) {
  auto known = Reader::Known::no;
  if (!reader.known.compare_exchange_strong(known, Reader::Known::is_being_told)) return;
  emit_client_signal(element(), "client-connected", reader.link->peer());
  g_object_notify(G_OBJECT(element_), "num-clients");
  known = Reader::Known::is_being_told;
  if (!reader.known.compare_exchange_strong(known, Reader::Known::yes))
    tell_of_the_end(reader.link->peer());
}

void Sink::tell_of_the_end(const mmaplink::Peer& peer) {
  emit_client_signal(element(), "client-disconnected", peer);
  g_object_notify(G_OBJECT(element_), "num-clients");
}

// A new reader gets what it must know first at once, also where the next buffer is far off.
void Sink::begin(const Readers::One& reader, int tries) {
  // What there is may be of the client before.
  if (is_two_way_server() || reader->has_stickies || reader->waits_until != 0 || is_flushing() ||
      !reader->link->alive())
    return;
  if (GST_PAD_STREAM_TRYLOCK(pad())) {
    has_preroll_lock_ = false;
    if (gst_pad_has_current_caps(pad())) send_stickies(*reader);
    GST_PAD_STREAM_UNLOCK(pad());
  } else if (tries > 1) {
    exchange_.later(reader->link, kTryAgain, [this, reader, tries] { begin(reader, tries - 1); });
  }
}

}  // namespace gstmmap
