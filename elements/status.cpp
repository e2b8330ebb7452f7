#include "elements/status.h"

#include <unistd.h>

#include <algorithm>

#include "elements/sink.h"
#include "elements/source.h"
#include "lib/futex.h"
#include "lib/json_line.h"

namespace gstmmap {

namespace {

// Without the types of the fields, and no more than a person reads.
std::string short_text(const GstCaps* caps) {
  constexpr size_t kMost = 200;
  if (caps == nullptr) return {};
  gchar* text = gst_caps_to_string(caps);
  std::string all = text;
  g_free(text);
  for (size_t at = 0; (at = all.find("=(", at)) != std::string::npos; ++at) {
    const size_t end = all.find(')', at);
    if (end == std::string::npos) break;
    all.erase(at + 1, end - at);
  }
  if (all.size() > kMost) all.replace(kMost, std::string::npos, "...");
  return all;
}

std::string name_of(GstElement* element) {
  gchar* name = gst_object_get_name(GST_OBJECT(element));
  std::string own = name;
  g_free(name);
  return own;
}

}  // namespace

std::string status_line(const Shown& shown) {
  const auto& peer = shown.link.peer();
  const auto& modes = shown.link.modes();
  const auto& counters = shown.counters;
  mmaplink::JsonLine to;
  to.number("time", mmaplink::monotonic_ns());
  to.number("pid", static_cast<uint64_t>(getpid()));
  if (const gchar* program = g_get_prgname()) to.text("program", program);
  to.text("path", shown.settings.place());
  to.text("element", name_of(shown.element));
  to.text("role", shown.settings.role == mmaplink::Role::server ? "server" : "client");
  to.text("direction", shown.sends ? "send" : "receive");
  to.number("link", static_cast<uint64_t>(shown.link.channel().fd()));
  to.number("peer-pid", static_cast<uint64_t>(peer.pid));
  // Of one on another machine there is no more than its place.
  if (peer.place.empty())
    to.number("peer-uid", peer.uid);
  else
    to.text("peer-place", peer.place);
  to.text("mode", word_of(shown.sends ? modes.send : modes.receive));
  to.text("caps", shown.caps);
  to.number("buffers", counters.buffers).number("bytes", counters.bytes);
  to.number("dropped", counters.dropped);
  to.number("buffers-copied", counters.buffers_copied);
  to.number("bytes-copied", counters.bytes_copied);
  to.number("in-flight", shown.now.in_flight).number("held", shown.held);
  to.number("arenas", shown.now.arenas).number("arena-bytes", shown.now.arena_bytes);
  to.number("latency-p50", shown.now.latency_p50).number("latency-p99", shown.now.latency_p99);
  if (shown.latency_max) to.number("latency-max", *shown.latency_max);
  if (shown.encoding != nullptr && shown.encoding->percentile(1) > 0)
    to.number("encode-p50", shown.encoding->percentile(0.5))
        .number("encode-p99", shown.encoding->percentile(0.99))
        .number("encode-max", shown.encoding->percentile(1));
  return to.line();
}

// For the time that this pipeline took, where what came from a client goes back to it: the same
// running time, since encoders may move their PTS and their segment.

void Source::note_came(GstClockTime pts) {
  if (active_.role != mmaplink::Role::server || !current_->peer_lanes().receives ||
      segment_.format != GST_FORMAT_TIME)
    return;
  const guint64 running = gst_segment_to_running_time(&segment_, GST_FORMAT_TIME, pts);
  if (running == GST_CLOCK_TIME_NONE) return;
  // The pad adds to what follows.
  const auto offset = static_cast<guint64>(gst_pad_get_offset(pad_));
  current_->turnaround().came(running + offset, mmaplink::monotonic_ns());
}

void Sink::note_went(Reader& reader, GstClockTime pts) const {
  const GstSegment& segment = element_->segment;
  if (active_.role != mmaplink::Role::server || !reader.link->peer_lanes().sends ||
      segment.format != GST_FORMAT_TIME)
    return;
  const guint64 running = gst_segment_to_running_time(&segment, GST_FORMAT_TIME, pts);
  if (running != GST_CLOCK_TIME_NONE)
    reader.link->turnaround().went(running, mmaplink::monotonic_ns());
}

// Both by the endpoint's thread, which must not wait: it looks at what others count.

void Sink::on_status(mmaplink::StatusLines& lines) {
  const auto sender = any_sender();
  if (!sender) return;
  sender->collect();  // what is in flight is what readers hold now
  const auto usage = sender->store()->usage();
  const std::string caps = short_text(caps_now().get());  // once for all readers
  for (const auto& reader : readers_.all()) {
    auto& link = *reader->link;
    const auto& lane = link.send_lane();
    Standing now;
    now.in_flight = lane.held();
    now.arenas = usage.arenas;
    now.arena_bytes = usage.bytes;
    now.latency_p50 = lane.latency_p50();
    now.latency_p99 = lane.latency_p99();
    const guint64 unread = std::min<guint64>(link.unread(), now.in_flight);
    lines.push_back(
        status_line({element(), active_, link, true, reader->counters, caps, now,
                     now.in_flight - unread, std::nullopt, &link.turnaround().times()}));
  }
}

void Source::on_status(mmaplink::StatusLines& lines) {
  GstCaps* current = gst_pad_get_current_caps(pad_);
  const std::string caps = short_text(current);
  gst_clear_caps(&current);
  const std::lock_guard lock(mutex_);
  for (const auto& connection : connections_) {
    if (connection.lost) continue;
    const auto& lane = *connection.link->receive_lane();
    const auto usage = lane.usage();
    Standing now;
    now.in_flight = usage.held;
    now.arenas = usage.arenas;
    now.arena_bytes = usage.bytes;
    now.latency_p50 = lane.latency().percentile(0.5);
    now.latency_p99 = lane.latency().percentile(0.99);
    lines.push_back(status_line({element_, active_, *connection.link, false, *connection.counters,
                                 caps, now, usage.held, lane.latency().percentile(1)}));
  }
}

}  // namespace gstmmap
