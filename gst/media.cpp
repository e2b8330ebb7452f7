#include "gst/media.h"

#include <algorithm>

#include "gst/kept.h"
#include "lib/endpoint.h"

using mmaplink::Error;
using mmaplink::Failure;
using mmaplink::Fd;
using mmaplink::Result;
using mmaplink::Status;

#define GST_CAT_DEFAULT server_category()

namespace gstmmap {

namespace {

constexpr auto kLeft = "mmap-client-left";
constexpr auto kParams = "GstMmapParams";  // an event of the client's, with a field `params`
// Where caps do not say how many frames a second there will be.
constexpr gint kFramesPerSecond = 60;

GstElement* make_element(const char* name) { return gst_element_factory_make(name, nullptr); }

// Pixels a second; nothing where it is no raw video.
guint64 rate_of(const GstCaps* caps) {
  const GstStructure* structure = gst_caps_get_structure(caps, 0);
  gint width = 0;
  gint height = 0;
  if (!gst_structure_has_name(structure, "video/x-raw") ||
      !gst_structure_get_int(structure, "width", &width) ||
      !gst_structure_get_int(structure, "height", &height) || width <= 0 || height <= 0)
    return 0;
  gint frames = 0;
  gint seconds = 1;
  const bool known =
      (gst_structure_get_fraction(structure, "framerate", &frames, &seconds) && frames > 0) ||
      (gst_structure_get_fraction(structure, "max-framerate", &frames, &seconds) && frames > 0);
  if (!known) frames = kFramesPerSecond, seconds = 1;
  return gst_util_uint64_scale(static_cast<guint64>(width) * static_cast<guint64>(height),
                               static_cast<guint64>(frames), static_cast<guint64>(seconds));
}

void post(GstElement* element, GstMessageType type, GstResourceError code,
          const std::string& text) {
  // As a sentence.
  std::string said = text + ".";
  said[0] = g_ascii_toupper(said[0]);
  gst_element_message_full(element, type, GST_RESOURCE_ERROR, code,
                           g_utf8_make_valid(said.c_str(), -1), nullptr, __FILE__, GST_FUNCTION,
                           __LINE__);
}

std::string text_of(GstMessage* message) {
  GError* error = nullptr;
  gst_message_parse_error(message, &error, nullptr);
  std::string text = error->message;
  g_error_free(error);
  if (text.ends_with('.')) text.pop_back();  // it becomes part of ours
  return text;
}

}  // namespace

GstDebugCategory* server_category() {
  static GstDebugCategory* const category =
      _gst_debug_category_new("mmapserver", 0, "A server with a pipeline for each client");
  return category;
}

Result<GstElement*> Media::parse(const std::string& launch) {
  GError* error = nullptr;
  GstElement* element = gst_parse_bin_from_description_full(launch.c_str(), TRUE, nullptr,
                                                            GST_PARSE_FLAG_FATAL_ERRORS, &error);
  GstPad* in = element != nullptr ? gst_element_get_static_pad(element, "sink") : nullptr;
  const bool has_in = in != nullptr;
  gst_clear_object(&in);
  if (error == nullptr && has_in) return element;
  Error why{Failure::settings, "the launch line '" + launch + "'"};
  if (error != nullptr)
    why.text += std::string(": ") + error->message;
  else
    why.text += " has no sink pad that a client's stream could go to";
  g_clear_error(&error);
  if (element != nullptr) gst_object_unref(gst_object_ref_sink(element));
  return why;
}

Result<std::shared_ptr<Media>> Media::make(const Plan& plan, const Fd& socket, GstElement* element,
                                           MayHave may_have) {
  if (element == nullptr) {
    auto parsed = parse(plan.launch);
    if (!parsed) return parsed.error();
    element = *parsed;
  }
  std::shared_ptr<Media> media(new Media);
  media->may_have_ = std::move(may_have);
  media->rules_ = plan.rules;
  media->inner_ = element;
  media->pipeline_ = GST_ELEMENT(gst_object_ref_sink(gst_pipeline_new(nullptr)));
  gst_bin_add(GST_BIN(media->pipeline_), element);
  if (auto good = media->put_together(plan, socket.get()); !good) return good.error();
  return media;
}

Status Media::put_together(const Plan& plan, int fd) {
  GstPad* in = gst_element_get_static_pad(inner_, "sink");
  GstPad* out = gst_element_get_static_pad(inner_, "src");
  goes_back_ = out != nullptr;
  const bool has_in = in != nullptr;
  gst_clear_object(&in);
  gst_clear_object(&out);
  if (!has_in)
    return Error{Failure::settings,
                 "what was constructed has no sink pad that a client's stream could go to"};
  if (auto set = apply(plan.params, rules_, inner_, false); !set) return set;
  auto given = mmaplink::given_socket(fd);
  if (!given) return given.error();
  socket_ = (*given)->inode;
  source_ = make_element("mmapsrc");
  GstElement* sink = goes_back_ ? make_element("mmapsink") : nullptr;
  if (source_ != nullptr) gst_bin_add(GST_BIN(pipeline_), source_);
  if (sink != nullptr) gst_bin_add(GST_BIN(pipeline_), sink);
  if (source_ == nullptr || (sink == nullptr && goes_back_))
    return Error{
        Failure::not_found,
        "there are no elements mmapsrc and mmapsink: is libgstmmap.so in GST_PLUGIN_PATH?"};
  for (GstElement* one : {source_, sink}) {
    if (one == nullptr) continue;
    // Whoever leaves has left; its pipeline ends, which is no error of ours.
    gst_util_set_object_arg(G_OBJECT(one), "role", "server");
    gst_util_set_object_arg(G_OBJECT(one), "on-disconnect", "eos");
    g_object_set(one, "fd", fd, "mmap", plan.mmap.c_str(), "max-memory", plan.memory, nullptr);
  }
  if (!gst_element_link(source_, inner_) || (goes_back_ && !gst_element_link(inner_, sink)))
    return Error{Failure::settings,
                 "the launch line '" + plan.launch + "' can't be put between mmapsrc and mmapsink"};

  using Kept = std::weak_ptr<Media>;
  GstPad* pad = gst_element_get_static_pad(source_, "src");
  gst_pad_add_probe(
      pad, GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM,
      [](GstPad*, GstPadProbeInfo* info, gpointer kept) {
        const auto self = static_cast<Kept*>(kept)->lock();
        return self ? self->look_at(GST_PAD_PROBE_INFO_EVENT(info)) : GST_PAD_PROBE_OK;
      },
      new Kept(weak_from_this()), let_go<Kept>);
  gst_object_unref(pad);
  g_signal_connect_object(source_, "client-disconnected",
                          G_CALLBACK(+[](GstElement*, guint, guint, GstElement* pipeline) {
                            gst_element_post_message(pipeline, gst_message_new_application(
                                                                   GST_OBJECT(pipeline),
                                                                   gst_structure_new_empty(kLeft)));
                          }),
                          pipeline_, GConnectFlags{});
  return mmaplink::ok();
}

Media::~Media() {
  stop();
  gst_clear_object(&pipeline_);
}

// Of a change of state that failed, in the words of the element that did.
Status Media::why(const char* what) {
  GstBus* bus = gst_element_get_bus(pipeline_);
  GstMessage* message = gst_bus_pop_filtered(bus, GST_MESSAGE_ERROR);
  gst_object_unref(bus);
  if (message == nullptr) return Error{Failure::system, what};
  gchar* name = GST_MESSAGE_SRC(message) != nullptr ? gst_object_get_name(GST_MESSAGE_SRC(message))
                                                    : g_strdup("an element");
  Error error{Failure::system, std::string(what) + ": " + name + ": " + text_of(message)};
  g_free(name);
  gst_message_unref(message);
  return error;
}

Status Media::prepare(Fd& socket) {
  if (gst_element_set_state(pipeline_, GST_STATE_READY) == GST_STATE_CHANGE_FAILURE)
    return why("the server's pipeline can't be made ready");
  // Before ours answer the greeting: a client can be told of what fails.
  if (gst_element_set_state(inner_, GST_STATE_PAUSED) == GST_STATE_CHANGE_FAILURE)
    return why("the server's pipeline can't be started");
  socket.reset();  // the elements have theirs
  return mmaplink::ok();
}

Status Media::play() {
  if (gst_element_set_state(pipeline_, GST_STATE_PLAYING) == GST_STATE_CHANGE_FAILURE)
    return why("the server's pipeline can't be started");
  return mmaplink::ok();
}

void Media::watch(GMainContext* context, OnEvent on_event) {
  on_event_ = std::move(on_event);
  GstBus* bus = gst_element_get_bus(pipeline_);
  bus_source_ = gst_bus_create_watch(bus);
  gst_object_unref(bus);
  using Kept = std::shared_ptr<Media>;
  const GstBusFunc call = [](GstBus*, GstMessage* message, gpointer kept) -> gboolean {
    (*static_cast<Kept*>(kept))->see(message);
    return G_SOURCE_CONTINUE;
  };
  g_source_set_callback(bus_source_, G_SOURCE_FUNC(call), new Kept(shared_from_this()),
                        let_go<Kept>);
  g_source_attach(bus_source_, context);
}

void Media::drain() {
  // A stream that has ended does not end again.
  if (at_end_)
    gst_element_post_message(pipeline_, gst_message_new_eos(GST_OBJECT(pipeline_)));
  else
    gst_element_send_event(source_, gst_event_new_eos());
}

void Media::stop() {
  if (pipeline_ == nullptr) return;
  gst_element_set_state(pipeline_, GST_STATE_NULL);
  // A message that was on its way there when the bus was flushed stays on it, and with it what has
  // sent it. Now nobody sends any more.
  GstBus* bus = gst_element_get_bus(pipeline_);
  gst_bus_set_flushing(bus, TRUE);
  gst_object_unref(bus);
  if (bus_source_ == nullptr) return;
  g_source_destroy(bus_source_);
  g_source_unref(std::exchange(bus_source_, nullptr));
}

mmaplink::StatusLines Media::status() const { return mmaplink::Endpoint::status_of(socket_); }

void Media::see(GstMessage* message) {
  switch (GST_MESSAGE_TYPE(message)) {
    case GST_MESSAGE_ERROR:
      return on_event_(Event::error, text_of(message));
    case GST_MESSAGE_EOS:
      at_end_ = true;
      // What goes elsewhere has all arrived there.
      return on_event_(left_ ? Event::left : Event::ended, "");
    case GST_MESSAGE_APPLICATION:
      if (!gst_message_has_name(message, kLeft) || left_) return;
      left_ = true;
      if (goes_back_ || at_end_) on_event_(Event::left, "");
      return;
    case GST_MESSAGE_LATENCY:
      gst_bin_recalculate_latency(GST_BIN(pipeline_));
      return;
    default:
      return;
  }
}

// --- what a client says -------------------------------------------------------------------------

GstPadProbeReturn Media::look_at(GstEvent* event) {
  if (GST_EVENT_TYPE(event) == GST_EVENT_SEGMENT) at_end_ = false;  // it goes on, after a flush
  if (GST_EVENT_TYPE(event) == GST_EVENT_CAPS)
    return take_caps(event) ? GST_PAD_PROBE_OK : GST_PAD_PROBE_DROP;
  if (!gst_event_has_name(event, kParams)) return GST_PAD_PROBE_OK;
  take_params(event);
  return GST_PAD_PROBE_DROP;
}

bool Media::take_caps(GstEvent* event) {
  if (refused_) return false;  // said once, however often a client asks
  GstCaps* caps = nullptr;
  gst_event_parse_caps(event, &caps);
  const std::string refusal = may_have_ ? may_have_(rate_of(caps)) : "";
  if (refusal.empty()) return true;
  refused_ = true;
  // Nothing of it is worked off, until the pipeline is stopped for this.
  GstPad* pad = gst_element_get_static_pad(source_, "src");
  gst_pad_add_probe(
      pad, static_cast<GstPadProbeType>(GST_PAD_PROBE_TYPE_BUFFER | GST_PAD_PROBE_TYPE_BUFFER_LIST),
      [](GstPad*, GstPadProbeInfo*, gpointer) { return GST_PAD_PROBE_DROP; }, nullptr, nullptr);
  gst_object_unref(pad);
  post(source_, GST_MESSAGE_ERROR, GST_RESOURCE_ERROR_NO_SPACE_LEFT, refusal);
  return false;
}

void Media::take_params(GstEvent* event) {
  if (!changes_.take(mmaplink::Clock::now())) {
    GST_INFO_OBJECT(pipeline_, "more changes of parameters than are taken");
    return;
  }
  const gchar* text = gst_structure_get_string(gst_event_get_structure(event), "params");
  auto params = parse_param_lines(text != nullptr ? text : "");
  auto set = params ? apply(*params, rules_, inner_, true) : Status(params.error());
  if (!set) post(source_, GST_MESSAGE_WARNING, GST_RESOURCE_ERROR_SETTINGS, set.error().text);
}

}  // namespace gstmmap
