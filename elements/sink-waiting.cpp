// Whom an mmapsink waits for before it sends anything, and who breaks that off.
#include <algorithm>
#include <array>

#include "elements/sink.h"

namespace gstmmap {

using mmaplink::Clock;
using mmaplink::Link;
using mmaplink::Side;

namespace {

// Every wait looks again after this; what it waits for wakes it at once.
constexpr auto kSlice = std::chrono::seconds(1);

}  // namespace

// Nothing while it has to be waited for.
std::optional<GstFlowReturn> Sink::is_ready() {
  if (is_held_off()) return GST_FLOW_CUSTOM_ERROR;
  {
    const std::lock_guard lock(mutex_);
    if (ended_ != GST_FLOW_OK) return ended_;
  }
  const auto now = readers_.all();
  if (is_greeting_its_client()) return std::nullopt;
  if (!is_client())
    return now.empty() && active_.wait_for_connection ? std::nullopt : std::optional(GST_FLOW_OK);
  return has_ready_server() ? std::optional(GST_FLOW_OK) : std::nullopt;
}

// What comes back must find the client that has sent it.
bool Sink::is_greeting_its_client() const { return is_two_way_server() && joining_.count() > 0; }

// As a client. A two-way link is ready when packets can come back, or the first ones would have
// nowhere to go. A server whose pipeline has failed is there, and is none.
bool Sink::has_ready_server() const {
  const auto now = readers_.all();
  if (now.empty() || now.front()->link->reading() == Link::Reading::failed) return false;
  const auto endpoint = any_endpoint();
  if (!endpoint) return false;
  return !endpoint->is_attached(Side::src) ||
         (endpoint->is_started(Side::src) && now.front()->link->peer_lanes().sends);
}

void Sink::hold_off(bool whether) { holds_off_ = whether; }

void Sink::give_up() {
  held_off_ = true;
  for (const auto& reader : readers_.all()) {
    sender_->leave(*reader->link);
    // A goodbye.
    if (auto said = reader->link->channel().send(mmaplink::Lanes{}); !said) {
      // It sees the hang-up all the same.
    }
    reader->link->hang_up("the stream has ended");
  }
  changed();
}

bool Sink::go_on(mmaplink::Deadline until) {
  for (;;) {
    const uint32_t seen = sender_->kick().value();
    if (has_ready_server()) {
      // In this order: whoever takes the server off says so behind that, and is not overruled.
      held_off_ = false;
      if (has_ready_server()) break;
      held_off_ = true;
    }
    const auto now = Clock::now();
    if (now >= until || is_flushing()) return false;
    const std::array words{sender_->kick().word(seen)};
    mmaplink::wait_any(words, std::min<mmaplink::Deadline>(until, now + kSlice));
  }
  {
    const std::lock_guard lock(mutex_);
    done_ = false;
    ended_ = GST_FLOW_OK;
  }
  changes_.fetch_add(1, std::memory_order_release);
  return true;
}

// Whom what comes now is for. Before the turn of a two-way server's client that is nobody: it is
// left of the client before. To wait for the turn would be to wait for the source, whose thread may
// be this one.
Readers::List Sink::addressees() const {
  auto all = readers_.all();
  if (is_two_way_server())
    std::erase_if(all, [](const auto& reader) {
      return reader->link->peer_lanes().sends && !reader->link->has_turn();
    });
  return all;
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
  if (has_preroll_lock_) {
    // Who is told so twice would wait for what has happened already.
    if (element_->flushing) return GST_FLOW_FLUSHING;
    return gst_base_sink_wait_preroll(element_);
  }
  for (;;) {
    const uint32_t seen = sender_->kick().value();
    if (GST_PAD_IS_FLUSHING(pad())) return GST_FLOW_FLUSHING;
    if (!sender_->interrupted()) return GST_FLOW_OK;
    const std::array words{sender_->kick().word(seen)};
    mmaplink::wait_any(words, Clock::now() + std::chrono::milliseconds(10));
  }
}

}  // namespace gstmmap
