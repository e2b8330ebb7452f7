#include "elements/latencypath.h"

#include <unistd.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "elements/gstmmapsink.h"
#include "elements/gstmmapsrc.h"
#include "lib/futex.h"

namespace gstmmap {

namespace {

constexpr auto kBegun = "mmaplatency.begun";

GstTracerRecord* path_record;

struct Unref {
  void operator()(gpointer object) const { gst_object_unref(object); }
};
template <class T>
using Held = std::unique_ptr<T, Unref>;

// As it stands in a record unquoted, in one line of the log, whatever it is.
std::string plain(const gchar* name) {
  constexpr size_t kLongest = 64;
  std::string text = std::string(name).substr(0, kLongest);
  g_strcanon(text.data(), G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "-_.:+/", '_');
  return text;
}

std::string plain_name_of(GstElement* element) {
  gchar* name = gst_object_get_name(GST_OBJECT(element));
  std::string text = plain(name);
  g_free(name);
  return text;
}

// What a source said in front of a buffer.
struct Begun {
  std::string element;
  guint pid;
  guint64 time;
  GstClockTime pts;
};

std::optional<Begun> parse(const GstStructure* said) {
  const gchar* name = gst_structure_get_string(said, "element");
  if (name == nullptr || *name == '\0') return std::nullopt;
  Begun begun{plain(name), 0, 0, GST_CLOCK_TIME_NONE};
  if (!gst_structure_get(said, "pid", G_TYPE_UINT, &begun.pid, "time", G_TYPE_UINT64, &begun.time,
                         "pts", G_TYPE_UINT64, &begun.pts, nullptr) ||
      begun.time > mmaplink::monotonic_ns())
    return std::nullopt;
  return begun;
}

// At a sink's pad: those whose buffers have not come.
class Awaited {
 public:
  void add(Begun begun) {
    // Of what was dropped on the way, it may be.
    if (all_.size() == kMost) all_.pop_front();
    all_.push_back(std::move(begun));
    has_new_ = true;
  }

  // That of the buffer which has come now.
  std::optional<Begun> take(GstClockTime pts) {
    auto found = std::find_if(all_.rbegin(), all_.rend(),
                              [&](const Begun& one) { return one.pts + shift_ == pts; });
    const bool has_new = std::exchange(has_new_, false);
    if (found == all_.rend()) {
      if (!has_new) return std::nullopt;  // a further piece of what had one
      found = all_.rbegin();
      // A muxer's headers have none, and shift nothing.
      if (GST_CLOCK_TIME_IS_VALID(pts) && GST_CLOCK_TIME_IS_VALID(found->pts))
        shift_ = pts - found->pts;
    }
    Begun begun = std::move(*found);
    all_.erase(std::next(found).base());
    return begun;
  }

 private:
  static constexpr size_t kMost = 64;  // a muxer may send half a second at once
  std::deque<Begun> all_;
  GstClockTime shift_ = 0;  // of the PTS, since the source
  bool has_new_ = false;
};

// Of a pad that has any. Behind muxers several threads push into one pad.
std::mutex mutex;

GQuark awaited_quark() {
  static const GQuark quark = g_quark_from_static_string("mmaplatency.awaited");
  return quark;
}

Awaited* awaited_at(GstPad* pad) {
  return static_cast<Awaited*>(g_object_get_qdata(G_OBJECT(pad), awaited_quark()));
}

// The element of that pad where a path begins or ends with it. With a link it goes on; with a bin
// it is the element inside that has what goes through the bin's pad.
Held<GstElement> end_of_path(GstPad* pad, GstElementFlags kind) {
  Held<GstElement> element(gst_pad_get_parent_element(pad));
  if (!element || !GST_OBJECT_FLAG_IS_SET(element.get(), kind) || GST_IS_BIN(element.get()) ||
      GST_IS_MMAP_SINK(element.get()) || GST_IS_MMAP_SRC(element.get()))
    return nullptr;
  return element;
}

void begin_path(GstPad* pad, GstBuffer* buffer) {
  const auto source = end_of_path(pad, GST_ELEMENT_FLAG_SOURCE);
  if (!source) return;
  GstStructure* says = gst_structure_new(
      kBegun, "element", G_TYPE_STRING, plain_name_of(source.get()).c_str(), "pid", G_TYPE_UINT,
      static_cast<guint>(getpid()), "time", G_TYPE_UINT64, mmaplink::monotonic_ns(), "pts",
      G_TYPE_UINT64, GST_BUFFER_PTS(buffer), nullptr);
  gst_pad_push_event(pad, gst_event_new_custom(GST_EVENT_CUSTOM_DOWNSTREAM, says));
}

void end_path(GstPad* pad, GstBuffer* buffer) {
  const Held<GstPad> peer(gst_pad_get_peer(pad));
  const auto sink = peer ? end_of_path(peer.get(), GST_ELEMENT_FLAG_SINK) : nullptr;
  if (!sink) return;
  std::optional<Begun> begun;
  {
    const std::lock_guard lock(mutex);
    if (Awaited* awaited = awaited_at(peer.get()); awaited != nullptr)
      begun = awaited->take(GST_BUFFER_PTS(buffer));
  }
  if (begun)
    gst_tracer_record_log(path_record, begun->element.c_str(), begun->pid,
                          plain_name_of(sink.get()).c_str(), begun->pts,
                          mmaplink::monotonic_ns() - begun->time);
}

void before_buffer(GObject*, GstClockTime, GstPad* pad, GstBuffer* buffer) {
  begin_path(pad, buffer);
  end_path(pad, buffer);
}

void before_list(GObject* tracer, GstClockTime time, GstPad* pad, GstBufferList* list) {
  if (gst_buffer_list_length(list) > 0)
    before_buffer(tracer, time, pad, gst_buffer_list_get(list, 0));
}

void before_event(GObject*, GstClockTime, GstPad* pad, GstEvent* event) {
  if (GST_EVENT_TYPE(event) != GST_EVENT_CUSTOM_DOWNSTREAM || !gst_event_has_name(event, kBegun))
    return;
  const Held<GstPad> peer(gst_pad_get_peer(pad));
  if (!peer || !end_of_path(peer.get(), GST_ELEMENT_FLAG_SINK)) return;
  auto begun = parse(gst_event_get_structure(event));
  if (!begun) return;
  const std::lock_guard lock(mutex);
  if (awaited_at(peer.get()) == nullptr)
    g_object_set_qdata_full(G_OBJECT(peer.get()), awaited_quark(),
                            std::make_unique<Awaited>().release(),
                            [](gpointer data) { delete static_cast<Awaited*>(data); });
  awaited_at(peer.get())->add(std::move(*begun));
}

}  // namespace

void trace_paths(GstTracer* tracer, GstTracerRecord* record) {
  path_record = record;
  gst_tracing_register_hook(tracer, "pad-push-pre", G_CALLBACK(before_buffer));
  gst_tracing_register_hook(tracer, "pad-push-list-pre", G_CALLBACK(before_list));
  gst_tracing_register_hook(tracer, "pad-push-event-pre", G_CALLBACK(before_event));
}

}  // namespace gstmmap
