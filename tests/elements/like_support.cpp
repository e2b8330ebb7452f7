#include "tests/elements/like_support.h"

#include <atomic>
#include <chrono>

namespace test {

namespace {

constexpr auto kPatience = std::chrono::seconds(10);

size_t count_buffers(const Seen::Items& items) {
  size_t count = 0;
  for (const auto& item : items) count += item.is_buffer();
  return count;
}

std::string make_file(const Scene& scene, const char* name, const std::string& line) {
  const std::string file = scene.path(name);
  if (g_file_test(file.c_str(), G_FILE_TEST_EXISTS)) return file;
  const Pipeline writer(line + " ! filesink location=" + file);
  writer.play();
  writer.wait_eos();
  return file;
}

std::string wav_file(const Scene& scene) {
  return make_file(scene, "film.wav",
                   "audiotestsrc num-buffers=280 ! audio/x-raw,rate=44100,channels=1 ! wavenc");
}

std::string ts_file(const Scene& scene) {
  return make_file(scene, "film.ts",
                   "videotestsrc num-buffers=195 ! video/x-raw,width=64,height=48,framerate=30/1 "
                   "! x264enc key-int-max=6 speed-preset=ultrafast tune=zerolatency "
                   "! mpegtsmux name=mux "
                   "audiotestsrc num-buffers=280 ! audio/x-raw,rate=44100 ! avenc_mp2 ! mux. mux.");
}

std::string stream(const char* path, const Scene& scene, const Linked::Options& options) {
  return "mmapsink name=sink-" + std::string(path) + " socket-path=" + scene.path(path) +
         (options.wait ? " wait-for-connection=true " : " ") + options.sink + " ";
}

std::string sender_line(const Scene& scene, const Kind& kind, const Linked::Options& options) {
  const std::string word = kind.name;
  const std::string sink0 = " ! " + stream("0", scene, options);
  const std::string sink1 = " ! " + stream("1", scene, options);
  if (word == "wav")
    return "filesrc location=" + wav_file(scene) + " ! wavparse name=from-0" + sink0;
  if (word == "ts")
    return "filesrc location=" + ts_file(scene) + " ! tsdemux name=demux queue name=audio" + sink0 +
           "queue name=video" + sink1;
  const std::string more = (kind.live ? " is-live=true " : " ") + options.source;
  const std::string audio = "audiotestsrc name=from-0" + more + sink0;
  if (kind.streams == 1) return audio;
  return audio + "videotestsrc name=from-1" + more + " ! video/x-raw,width=64,height=48" + sink1;
}

// A launch line would do that for the first pads only, and each run of the file has others.
void link_demuxer(const Pipeline& sender) {
  const auto link = [](GstElement* demuxer, GstPad* pad, gpointer) {
    const Ref<GstCaps> caps(gst_pad_get_current_caps(pad));
    const std::string media = gst_structure_get_name(gst_caps_get_structure(caps.get(), 0));
    const auto parent = GST_ELEMENT_PARENT(demuxer);
    GstElement* queue =
        gst_bin_get_by_name(GST_BIN(parent), media.starts_with("audio/") ? "audio" : "video");
    GstPad* to = gst_element_get_static_pad(queue, "sink");
    fail_unless_equals_int(gst_pad_link(pad, to), GST_PAD_LINK_OK);
    gst_object_unref(to);
    gst_object_unref(queue);
  };
  g_signal_connect(sender.element("demux"), "pad-added",
                   G_CALLBACK(static_cast<void (*)(GstElement*, GstPad*, gpointer)>(link)),
                   nullptr);
}

}  // namespace

// --- what comes to a pad ------------------------------------------------------------------------

Seen::Seen(GstElement* element, const char* pad) : pad_(gst_element_get_static_pad(element, pad)) {
  using Shared = std::shared_ptr<State>;
  const auto note = [](GstPad*, GstPadProbeInfo* info, gpointer data) {
    State& state = **static_cast<Shared*>(data);
    Item item;
    if (const auto type = GST_PAD_PROBE_INFO_TYPE(info);
        (type & (GST_PAD_PROBE_TYPE_EVENT_BOTH | GST_PAD_PROBE_TYPE_EVENT_FLUSH)) != 0)
      item.event = {gst_event_ref(GST_PAD_PROBE_INFO_EVENT(info)), Unref()};
    else if ((type & GST_PAD_PROBE_TYPE_QUERY_BOTH) != 0)
      item.query = GST_QUERY_TYPE(GST_PAD_PROBE_INFO_QUERY(info));
    else
      item.pts = GST_BUFFER_PTS(GST_PAD_PROBE_INFO_BUFFER(info));
    const std::lock_guard lock(state.mutex);
    state.items.push_back(std::move(item));
    state.changed.notify_all();
    return GST_PAD_PROBE_OK;
  };
  probe_ = gst_pad_add_probe(
      pad_,
      static_cast<GstPadProbeType>(GST_PAD_PROBE_TYPE_BUFFER | GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM |
                                   GST_PAD_PROBE_TYPE_EVENT_FLUSH |
                                   GST_PAD_PROBE_TYPE_QUERY_DOWNSTREAM | GST_PAD_PROBE_TYPE_PUSH),
      note, new Shared(state_), [](gpointer data) { delete static_cast<Shared*>(data); });
}

Seen::~Seen() {
  gst_pad_remove_probe(pad_, probe_);
  gst_object_unref(pad_);
}

bool Seen::becomes(const std::function<bool(const Items&)>& condition) const {
  std::unique_lock lock(state_->mutex);
  return state_->changed.wait_for(lock, kPatience * slowness(),
                                  [&] { return condition(state_->items); });
}

void Seen::wait_buffers(size_t count) const {
  const size_t before = count_buffers(items());
  const bool came = becomes([&](const Items& now) { return count_buffers(now) >= before + count; });
  fail_unless(came, "%s: no %zu buffers came after %zu", GST_OBJECT_NAME(GST_PAD_PARENT(pad_)),
              count, before);
}

void Seen::wait_buffer_near(GstClockTime pts) const {
  GstClockTime last = GST_CLOCK_TIME_NONE;
  const bool came = becomes([&](const Items& items) {
    for (const auto& item : items) {
      if (!item.is_buffer() || !GST_CLOCK_TIME_IS_VALID(item.pts)) continue;
      last = item.pts;
      if (last + kNear >= pts && last <= pts + kNear) return true;
    }
    return false;
  });
  fail_unless(came, "no buffer near %" GST_TIME_FORMAT " came, the last is at %" GST_TIME_FORMAT,
              GST_TIME_ARGS(pts), GST_TIME_ARGS(last));
}

std::shared_ptr<GstEvent> Seen::wait_event(GstEventType type,
                                           const std::function<bool(GstEvent*)>& is_it) const {
  std::shared_ptr<GstEvent> found;
  becomes([&](const Items& items) {
    for (const auto& item : items)
      if (item.is(type) && is_it(item.event.get())) found = item.event;
    return found != nullptr;
  });
  fail_unless(found != nullptr, "no such event came: %s", gst_event_type_get_name(type));
  return found;
}

Seen::Items Seen::items() const {
  const std::lock_guard lock(state_->mutex);
  return state_->items;
}

void Seen::clear() {
  const std::lock_guard lock(state_->mutex);
  state_->items.clear();
}

// --- pipelines ----------------------------------------------------------------------------------

Linked::Linked(const Scene& scene, const Kind& of, const Options& options)
    : kind(of), sender(std::make_unique<Pipeline>(sender_line(scene, of, options))) {
  if (std::string(kind.name) == "ts") link_demuxer(*sender);
  std::string line;
  for (int i = 0; i < kind.streams; ++i) {
    const std::string number = std::to_string(i);
    line += "mmapsrc name=src-" + number + " socket-path=" + scene.path(number.c_str()) +
            (kind.live ? " " : " is-live=false ") +
            "query-timeout=" + std::to_string(slowness() * GST_SECOND) + " " + options.src + " ! " +
            options.middle + " fakesink name=end-" + number +
            (options.sync && !kind.live ? " sync=true " : " sync=false ");
    if (!kind.split && i + 1 < kind.streams) continue;
    readers.push_back(std::make_unique<Pipeline>(line));
    line.clear();
  }
  for (int i = 0; i < kind.streams; ++i) ends.push_back(std::make_unique<Seen>(end(i), "sink"));
}

void Linked::play_readers() const {
  for (const auto& reader : readers) reader->play();
}

void Linked::play() const {
  play_readers();
  sender->play();
  wait_buffers(2);
}

void Linked::wait_buffers(size_t count) const {
  for (const auto& seen : ends) seen->wait_buffers(count);
}

void Linked::fail_if_errors() const {
  for (const auto& error : sender->errors()) ck_abort_msg("sender: %s", error.c_str());
  for (const auto& reader : readers)
    for (const auto& error : reader->errors()) ck_abort_msg("reader: %s", error.c_str());
}

GstElement* Linked::sink(int stream) const {
  return sender->element(("sink-" + std::to_string(stream)).c_str());
}
GstElement* Linked::from(int stream) const {
  return sender->element(("from-" + std::to_string(stream)).c_str());
}
GstElement* Linked::end(int stream) const {
  return reader_of(stream).element(("end-" + std::to_string(stream)).c_str());
}

void reaches(const Pipeline& pipeline, GstState state) {
  fail_unless(pipeline.set(state) != GST_STATE_CHANGE_FAILURE, "%s was refused",
              gst_element_state_get_name(state));
  const auto result = gst_element_get_state(pipeline.get(), nullptr, nullptr, 10 * GST_SECOND);
  fail_unless(result == GST_STATE_CHANGE_SUCCESS || result == GST_STATE_CHANGE_NO_PREROLL,
              "%s was not reached: %s", gst_element_state_get_name(state),
              gst_element_state_change_return_get_name(result));
}

void swap_source(const Pipeline& pipeline, const std::string& name, const std::string& line) {
  GstElement* old = pipeline.element(name.c_str());
  GstPad* pad = gst_element_get_static_pad(old, "src");
  std::atomic<bool> blocked{false};
  gst_pad_add_probe(
      // At a buffer, when it has negotiated: in the middle of that it fails for want of a peer.
      pad, static_cast<GstPadProbeType>(GST_PAD_PROBE_TYPE_BLOCK | GST_PAD_PROBE_TYPE_BUFFER),
      [](GstPad*, GstPadProbeInfo*, gpointer data) {
        *static_cast<std::atomic<bool>*>(data) = true;
        return GST_PAD_PROBE_OK;
      },
      &blocked, nullptr);
  fail_unless(test::becomes([&] { return blocked.load(); }), "%s sends nothing", name.c_str());
  GstPad* peer = gst_pad_get_peer(pad);
  fail_unless(gst_pad_unlink(pad, peer));
  gst_object_unref(pad);
  fail_unless(gst_element_set_state(old, GST_STATE_NULL) == GST_STATE_CHANGE_SUCCESS);
  fail_unless(gst_bin_remove(GST_BIN(pipeline.get()), old));
  GError* error = nullptr;
  GstElement* fresh = gst_parse_bin_from_description(line.c_str(), TRUE, &error);
  fail_unless(error == nullptr, "%s: %s", line.c_str(), error != nullptr ? error->message : "");
  gst_object_set_name(GST_OBJECT(fresh), name.c_str());
  fail_unless(gst_bin_add(GST_BIN(pipeline.get()), fresh));
  GstPad* out = gst_element_get_static_pad(fresh, "src");
  fail_unless_equals_int(gst_pad_link(out, peer), GST_PAD_LINK_OK);
  gst_object_unref(out);
  gst_object_unref(peer);
  fail_unless(gst_element_sync_state_with_parent(fresh));
}

Ref<GstCaps> caps_at(GstElement* element, const char* name) {
  GstPad* pad = gst_element_get_static_pad(element, name);
  Ref<GstCaps> caps(gst_pad_get_current_caps(pad));
  gst_object_unref(pad);
  return caps;
}

}  // namespace test
