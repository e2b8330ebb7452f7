/**
 * SECTION:element-mmapremote
 * @title: mmapremote
 * @short_description: an encoder, or any other filter, that runs in another process
 *
 * mmapremote stands where an encoder stood, and has it run in a server: a `gst-mmap-server`, or any
 * pipeline that begins with an #mmapsrc and ends with an #mmapsink of one socket-path. It takes
 * what the server takes and gives what the server gives: caps, latency, events, queries and errors
 * are those of the far element.
 *
 * With `fallback`, a description of elements, the stream goes on without the server while that is
 * gone: from the first frame whose packet has not come back, so none is lost and none comes twice,
 * where a packet is made of each frame. It is the server's again, from the next frame on, as soon
 * as there is one. Each begins with a key frame. Where frames are shown in another order than they
 * are decoded in, timestamps for decoding go back at such a change. A server that is there but
 * stands still is waited for, unless `mmapsink::peer-timeout` is set.
 *
 * encodebin takes it for a profile of that preset name, "mmapremote", where its rank is raised:
 * GST_PLUGIN_FEATURE_RANK=mmapremote:MARGINAL.
 *
 * The mmapsink and the mmapsrc inside are children by these names, for their other properties:
 * `mmapremote mmapsink::max-buffers=2`.
 *
 * ## Example launch lines
 * |[
 * gst-launch-1.0 v4l2src ! mmapremote socket-path=/run/enc ! h264parse ! mp4mux ! \
 *     filesink location=out.mp4
 * ]| Encodes in the server.
 * |[
 * gst-launch-1.0 v4l2src ! mmapremote socket-path=/run/enc profile=h264 params="bitrate=2000" \
 *     fallback="x264enc tune=zerolatency" ! h264parse ! matroskamux ! filesink location=out.mkv
 * ]| Asks a gst-mmap-server for one of its profiles, and for a bitrate; while it is not there,
 * encodes here.
 */
#include "elements/gstmmapremote.h"

#include <memory>

#include "elements/gstmmapsink.h"
#include "elements/remote.h"
#include "elements/settings.h"
#include "elements/sink.h"
#include "gst/request.h"

GST_DEBUG_CATEGORY(gst_mmap_remote_debug);
#define GST_CAT_DEFAULT gst_mmap_remote_debug

using gstmmap::Remote;

struct _GstMmapRemote {
  GstBin parent;
  std::unique_ptr<Remote> remote;
  // Under the object lock.
  std::string profile, params, fallback;
  gint on_disconnect;
};

enum {
  PROP_PROFILE = gstmmap::PROP_FIRST_OWN,
  PROP_PARAMS,
  PROP_FALLBACK,
  PROP_ACTIVE,
};

static GstStaticPadTemplate sink_template =
    GST_STATIC_PAD_TEMPLATE("sink", GST_PAD_SINK, GST_PAD_ALWAYS, GST_STATIC_CAPS_ANY);
static GstStaticPadTemplate src_template =
    GST_STATIC_PAD_TEMPLATE("src", GST_PAD_SRC, GST_PAD_ALWAYS, GST_STATIC_CAPS_ANY);

G_DEFINE_TYPE_WITH_CODE(GstMmapRemote, gst_mmap_remote, GST_TYPE_BIN,
                        GST_DEBUG_CATEGORY_INIT(gst_mmap_remote_debug, "mmapremote", 0,
                                                "mmapremote"))

static Remote& remote_of(gpointer object) { return *GST_MMAP_REMOTE(object)->remote; }

// --- properties ---------------------------------------------------------------------------------

static std::string text_of(GstMmapRemote* self, std::string GstMmapRemote::*which) {
  GST_OBJECT_LOCK(self);
  std::string text = self->*which;
  GST_OBJECT_UNLOCK(self);
  return text;
}

static mmaplink::Result<gstmmap::Request> request_of(GstMmapRemote* self) {
  auto params = gstmmap::parse_params(text_of(self, &GstMmapRemote::params));
  if (!params) return params.error();
  gstmmap::Request request{text_of(self, &GstMmapRemote::profile), std::move(*params)};
  if (auto good = gstmmap::check(request); !good) return good.error();
  return request;
}

// For the next greeting, and to the server that is there.
static void set_request(GstMmapRemote* self) {
  auto request = request_of(self);
  if (!request) {
    GST_ELEMENT_WARNING(self, LIBRARY, SETTINGS, ("%s", request.error().text.c_str()), (nullptr));
    return;
  }
  GstElement* sink = self->remote->far_sink();
  GST_OBJECT_LOCK(sink);
  gstmmap::sink_in(sink).settings.request = gstmmap::build(*request);
  GST_OBJECT_UNLOCK(sink);
}

static void tell_params(GstMmapRemote* self) {
  auto params = gstmmap::parse_params(text_of(self, &GstMmapRemote::params));
  if (!params) return;
  GstPad* pad = gst_element_get_static_pad(self->remote->far_sink(), "sink");
  gst_pad_send_event(pad, gst_event_new_custom(
                              GST_EVENT_CUSTOM_DOWNSTREAM_OOB,
                              gst_structure_new("GstMmapParams", "params", G_TYPE_STRING,
                                                gstmmap::build_params(*params).c_str(), nullptr)));
  gst_object_unref(pad);
}

static void set_text(GstMmapRemote* self, std::string GstMmapRemote::*which, const GValue* value) {
  const gchar* text = g_value_get_string(value);
  GST_OBJECT_LOCK(self);
  self->*which = text != nullptr ? text : "";
  GST_OBJECT_UNLOCK(self);
}

static void set_property(GObject* object, guint id, const GValue* value, GParamSpec* spec) {
  auto* self = GST_MMAP_REMOTE(object);
  switch (id) {
    case PROP_PROFILE:
      set_text(self, &GstMmapRemote::profile, value);
      set_request(self);
      break;
    case PROP_PARAMS:
      set_text(self, &GstMmapRemote::params, value);
      set_request(self);
      if (GST_STATE(object) >= GST_STATE_PAUSED) tell_params(self);
      break;
    case PROP_FALLBACK:
      set_text(self, &GstMmapRemote::fallback, value);
      break;
    case gstmmap::PROP_ON_DISCONNECT:
      self->on_disconnect = g_value_get_enum(value);
      break;
    default:
      g_object_set_property(G_OBJECT(self->remote->far_sink()), spec->name, value);
      g_object_set_property(G_OBJECT(self->remote->far_source()), spec->name, value);
      break;
  }
}

static GstStructure* stats_of(const Remote& remote) {
  GstStructure* send = nullptr;
  GstStructure* receive = nullptr;
  g_object_get(remote.far_sink(), "stats", &send, nullptr);
  g_object_get(remote.far_source(), "stats", &receive, nullptr);
  GstStructure* both = gst_structure_new("mmapremote-stats", "send", GST_TYPE_STRUCTURE, send,
                                         "receive", GST_TYPE_STRUCTURE, receive, nullptr);
  gst_structure_free(send);
  gst_structure_free(receive);
  return both;
}

static void get_property(GObject* object, guint id, GValue* value, GParamSpec* spec) {
  auto* self = GST_MMAP_REMOTE(object);
  switch (id) {
    case PROP_PROFILE:
      g_value_set_string(value, text_of(self, &GstMmapRemote::profile).c_str());
      break;
    case PROP_PARAMS:
      g_value_set_string(value, text_of(self, &GstMmapRemote::params).c_str());
      break;
    case PROP_FALLBACK:
      g_value_set_string(value, text_of(self, &GstMmapRemote::fallback).c_str());
      break;
    case PROP_ACTIVE:
      g_value_set_string(value, remote_of(self).way() == Remote::Way::far ? "server" : "fallback");
      break;
    case gstmmap::PROP_ON_DISCONNECT:
      g_value_set_enum(value, self->on_disconnect);
      break;
    case gstmmap::PROP_STATS:
      g_value_take_boxed(value, stats_of(remote_of(self)));
      break;
    default:
      g_object_get_property(G_OBJECT(remote_of(self).far_sink()), spec->name, value);
      break;
  }
}

// --- states -------------------------------------------------------------------------------------

static bool open(GstMmapRemote* self) {
  if (auto request = request_of(self); !request) {
    gstmmap::post_error(GST_ELEMENT(self), request.error());
    return false;
  }
  for (GstElement* element : {self->remote->far_sink(), self->remote->far_source()})
    g_object_set(element, "on-disconnect", self->on_disconnect, nullptr);
  auto good = self->remote->open(text_of(self, &GstMmapRemote::fallback));
  if (!good) gstmmap::post_error(GST_ELEMENT(self), good.error());
  return static_cast<bool>(good);
}

static GstStateChangeReturn change_state(GstElement* element, GstStateChange transition) {
  Remote& remote = remote_of(element);
  switch (transition) {
    case GST_STATE_CHANGE_NULL_TO_READY:
      if (!open(GST_MMAP_REMOTE(element))) return GST_STATE_CHANGE_FAILURE;
      break;
    case GST_STATE_CHANGE_READY_TO_PAUSED:
      remote.start();
      break;
    case GST_STATE_CHANGE_PAUSED_TO_READY:
      remote.stop();
      break;
    default:
      break;
  }
  const auto result =
      GST_ELEMENT_CLASS(gst_mmap_remote_parent_class)->change_state(element, transition);
  if (transition == GST_STATE_CHANGE_READY_TO_PAUSED && result == GST_STATE_CHANGE_FAILURE)
    remote.stop();
  const bool is_closed =
      transition == GST_STATE_CHANGE_READY_TO_NULL ||
      (transition == GST_STATE_CHANGE_NULL_TO_READY && result == GST_STATE_CHANGE_FAILURE);
  if (is_closed) remote.close();
  return result;
}

// What is inside is no sink and no source to the pipeline: the stream ends behind us.
static void handle_message(GstBin* bin, GstMessage* message) {
  if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_EOS) {
    gst_message_unref(message);
    return;
  }
  GST_BIN_CLASS(gst_mmap_remote_parent_class)->handle_message(bin, message);
}

// --- the object ---------------------------------------------------------------------------------

static void install_properties(GObjectClass* object) {
  gstmmap::install_client_properties(object);
  const auto fixed = static_cast<GParamFlags>(G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS |
                                              GST_PARAM_MUTABLE_READY);
  g_object_class_install_property(
      object, PROP_PROFILE,
      g_param_spec_string("profile", "Profile",
                          "Which of its profiles a gst-mmap-server is asked for (default: its "
                          "first)",
                          "", fixed));
  g_object_class_install_property(
      object, PROP_PARAMS,
      g_param_spec_string(
          "params", "Parameters",
          "Properties of the far elements, such as bitrate=2000,speed-preset=fast, of those that a "
          "gst-mmap-server lets be set. What it does not let be set is an error when it is asked "
          "for at first, and a warning later",
          "",
          static_cast<GParamFlags>(G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS |
                                   GST_PARAM_MUTABLE_PLAYING)));
  g_object_class_install_property(
      object, PROP_FALLBACK,
      g_param_spec_string("fallback", "Fallback",
                          "Elements that do the work while there is no server, as a launch line, "
                          "such as \"x264enc tune=zerolatency\" (default: none; "
                          "on-disconnect is nothing to it, connection-timeout an error; to be set "
                          "in NULL)",
                          "",
                          static_cast<GParamFlags>(G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS)));
  g_object_class_install_property(
      object, PROP_ACTIVE,
      g_param_spec_string("active", "Active", "Who does the work now: server or fallback", "server",
                          static_cast<GParamFlags>(G_PARAM_READABLE | G_PARAM_STATIC_STRINGS)));
}

static void gst_mmap_remote_class_init(GstMmapRemoteClass* klass) {
  auto* object = G_OBJECT_CLASS(klass);
  auto* element = GST_ELEMENT_CLASS(klass);
  object->set_property = set_property;
  object->get_property = get_property;
  object->finalize = [](GObject* self) {
    auto* remote = GST_MMAP_REMOTE(self);
    std::destroy_at(&remote->remote);
    std::destroy_at(&remote->profile);
    std::destroy_at(&remote->params);
    std::destroy_at(&remote->fallback);
    G_OBJECT_CLASS(gst_mmap_remote_parent_class)->finalize(self);
  };
  element->change_state = change_state;
  GST_BIN_CLASS(klass)->handle_message = handle_message;
  install_properties(object);
  gst_element_class_add_static_pad_template(element, &sink_template);
  gst_element_class_add_static_pad_template(element, &src_template);
  gst_element_class_set_static_metadata(
      element, "Remote filter", "Codec/Encoder/Video/Audio/Filter",
      "An encoder, or any other filter, that runs in a server process of this host",
      "The gst-mmap authors");
}

static void add_pads(GstMmapRemote* self, GstPad* sink, GstPad* src) {
  gst_pad_set_chain_function(sink, [](GstPad*, GstObject* parent, GstBuffer* buffer) {
    return remote_of(parent).chain(buffer);
  });
  gst_pad_set_event_function(sink, [](GstPad*, GstObject* parent, GstEvent* event) -> gboolean {
    return remote_of(parent).feed_event(event);
  });
  gst_pad_set_query_function(sink, [](GstPad*, GstObject* parent, GstQuery* query) -> gboolean {
    return remote_of(parent).feed_query(query);
  });
  gst_pad_set_event_function(src, [](GstPad*, GstObject* parent, GstEvent* event) -> gboolean {
    return remote_of(parent).send_upstream(event);
  });
  gst_pad_set_query_function(src, [](GstPad*, GstObject* parent, GstQuery* query) -> gboolean {
    return remote_of(parent).query(query);
  });
  gst_element_add_pad(GST_ELEMENT(self), sink);
  gst_element_add_pad(GST_ELEMENT(self), src);
}

static void gst_mmap_remote_init(GstMmapRemote* self) {
  std::construct_at(&self->profile);
  std::construct_at(&self->params);
  std::construct_at(&self->fallback);
  gst_bin_set_suppressed_flags(
      GST_BIN(self), static_cast<GstElementFlags>(GST_ELEMENT_FLAG_SINK | GST_ELEMENT_FLAG_SOURCE));
  GstPad* sink = gst_pad_new_from_static_template(&sink_template, "sink");
  GstPad* src = gst_pad_new_from_static_template(&src_template, "src");
  std::construct_at(&self->remote, std::make_unique<Remote>(GST_BIN(self), sink, src));
  add_pads(self, sink, src);
}
