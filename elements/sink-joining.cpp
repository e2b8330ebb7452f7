// How a peer becomes a reader of an mmapsink. By the exchange's worker, which waits for nobody: a
// peer that does not answer holds up nothing but its own greeting. One that comes while upstream
// chooses its caps is asked by the streaming thread.
#include <algorithm>
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
  if (const auto one = readers_.find(*link)) {
    joining_.remove(*link);  // said twice
    if (one->waits_until != 0) suit(one, caps_now());
    return;
  }
  const auto reader = joining_.find(*link);
  if (!reader) return;
  // A client has asked before there were any caps.
  const auto now = is_client() ? nullptr : caps_now();
  if (now == nullptr) return admit(reader, now);
  ask_then(reader, gst_query_new_accept_caps(now.get()), [this, reader, now](GstQuery* answered) {
    gboolean accepts = TRUE;
    if (answered != nullptr) gst_query_parse_accept_caps_result(answered, &accepts);
    if (accepts)
      admit(reader, now);
    else
      suit(reader, now);
  });
}

// Those of the stream, also while their event is still on its way through here.
std::shared_ptr<GstCaps> Sink::caps_now() const {
  const std::lock_guard lock(mutex_);
  return caps_;
}

// Takes note of new ones. From here on who comes is asked about these; who has come since upstream
// asked what it may choose is asked now.
void Sink::new_caps(GstEvent* event) {
  GstCaps* caps = nullptr;
  gst_event_parse_caps(event, &caps);
  const std::shared_ptr<GstCaps> now(gst_caps_ref(caps), gst_caps_unref);
  sender_->foreign().forget();
  {
    const std::lock_guard lock(mutex_);
    caps_ = now;
  }
  auto late = readers_.all();
  for (const auto& reader : late) reader->waits_until = 0;
  std::erase_if(late, [this](const auto& reader) { return has_decided(*reader); });
  for (const auto& one : ask(late, [caps] { return own(gst_query_new_accept_caps(caps)); })) {
    gboolean accepts = FALSE;
    gst_query_parse_accept_caps_result(one.query.get(), &accepts);
    if (accepts) continue;
    wait_for_other_caps(*one.reader);
    exchange_.take(one.reader->link, Notice::joined, {});  // to be greeted once more
  }
}

void Sink::wait_for_other_caps(Reader& reader) const {
  reader.waits_until = mmaplink::monotonic_ns() + static_cast<uint64_t>(active_.query_timeout);
}

// A stream that runs already may be none that the first reader takes: upstream can mostly deliver
// another, and is given the time to. It is not asked for what it can't, nor on behalf of one of
// several readers: that one has an error of its own then, and the stream goes on.
void Sink::suit(const Readers::One& reader, const std::shared_ptr<GstCaps>& now) {
  const auto is_first = [this, reader] {
    const auto all = readers_.all();
    return std::all_of(all.begin(), all.end(), [&](const auto& one) { return one == reader; });
  };
  const auto give_up = [this, reader, now] {
    reader->waits_until = 0;
    admit(reader, now);
  };
  reader->suits = false;
  if (!is_first()) return give_up();
  GstCaps* upstream = gst_pad_peer_query_caps(pad(), nullptr);
  const std::shared_ptr<GstCaps> kept(upstream, gst_caps_unref);
  const auto answer = [this, reader, now, kept, is_first, give_up](GstQuery* answered) {
    GstCaps* takes = nullptr;
    if (answered != nullptr) gst_query_parse_caps_result(answered, &takes);
    if (takes == nullptr || !gst_caps_can_intersect(takes, kept.get()) || !is_first())
      return give_up();
    reader->suits = true;
    wait_for_other_caps(*reader);
    admit(reader, now);
  };
  ask_then(reader, gst_query_new_caps(upstream), answer);
}

// One that was asked about caps which are not those of the stream any more is asked again.
void Sink::admit(const Readers::One& reader, const std::shared_ptr<GstCaps>& asked_about) {
  const auto& link = reader->link;
  if (readers_.find(*link) == reader) return start_off(reader);
  if (joining_.find(*link) != reader) return;  // it has gone meanwhile
  sender_->add(link);
  {
    const std::lock_guard lock(mutex_);
    done_ = false;
    if (is_client() || caps_ == asked_about) readers_.add(reader);
  }
  if (!readers_.find(*link)) return greet(link);
  // It may have gone, or have had enough, before it was one.
  if (!joining_.remove(*link) || !link->alive() || !link->peer_lanes().receives ||
      link->reading() != Link::Reading::on) {
    readers_.remove(*link);
    sender_->leave(*link);
    if (!link->alive()) sender_->remove(*link);
    changed();
    return;
  }
  GST_INFO_OBJECT(element_, "%s reads", mmaplink::name_and_uid(link->peer()).c_str());
  changed();
  tell_of(*reader);
  start_off(reader);
}

void Sink::start_off(const Readers::One& reader) {
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
