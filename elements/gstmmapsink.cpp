/**
 * SECTION:element-mmapsink
 * @title: mmapsink
 * @short_description: sends a stream to other processes of this host through shared memory
 *
 * mmapsink sends what it gets, buffers in place and events in order, to every #mmapsrc that reads
 * from its socket-path. Upstream writes frames straight into memory that the readers map, since
 * mmapsink answers the ALLOCATION query with a pool and an allocator; anything else is copied once.
 *
 * As a server it has any number of readers. With an mmapsrc of the same socket-path and role in the
 * same bin, pipeline or process it shares one link that goes both ways.
 *
 * ## Example launch lines
 * |[
 * gst-launch-1.0 videotestsrc is-live=true ! mmapsink socket-path=/tmp/cam
 * gst-launch-1.0 mmapsrc socket-path=/tmp/cam ! videoconvert ! autovideosink
 * ]| One camera, any number of readers, which may come and go.
 * |[
 * gst-launch-1.0 mmapsrc role=server mmap=yes socket-path=/tmp/enc ! x264enc ! \
 *     mmapsink socket-path=/tmp/enc
 * gst-launch-1.0 v4l2src ! mmapsink role=client socket-path=/tmp/enc \
 *     mmapsrc socket-path=/tmp/enc ! h264parse ! matroskamux ! filesink location=out.mkv
 * ]| An encoder in another process: frames go there, packets come back.
 * |[
 * gst-launch-1.0 videotestsrc is-live=true ! mmapsink monitor=true socket-path=/tmp/cam
 * gst-mmap-top /tmp/cam
 * ]| Shows who reads, how much, and how fast.
 */
#include "elements/gstmmapsink.h"

#include <memory>

#include "elements/sink.h"
#include "elements/uri.h"

GST_DEBUG_CATEGORY(gst_mmap_sink_debug);
#define GST_CAT_DEFAULT gst_mmap_sink_debug

using gstmmap::Sink;

struct _GstMmapSink {
  GstBaseSink parent;
  GstPadChainFunction base_chain;
  std::unique_ptr<Sink> sink;
};

enum {
  PROP_WAIT_FOR_CONNECTION = gstmmap::PROP_FIRST_OWN,
  PROP_NUM_CLIENTS,
  PROP_MAX_BUFFERS,
  PROP_LEAKY_TYPE,
  PROP_PEER_TIMEOUT,
  PROP_MAX_CLIENTS,
  PROP_REMOTE_MESSAGES,
  PROP_UDMABUF,
};

static GstStaticPadTemplate sink_template =
    GST_STATIC_PAD_TEMPLATE("sink", GST_PAD_SINK, GST_PAD_ALWAYS, GST_STATIC_CAPS_ANY);

G_DEFINE_TYPE_WITH_CODE(GstMmapSink, gst_mmap_sink, GST_TYPE_BASE_SINK,
                        GST_DEBUG_CATEGORY_INIT(gst_mmap_sink_debug, "mmapsink", 0, "mmapsink");
                        G_IMPLEMENT_INTERFACE(GST_TYPE_URI_HANDLER, gstmmap::init_uri_sink))

static Sink& sink_of(gpointer object) { return *GST_MMAP_SINK(object)->sink; }

Sink& gstmmap::sink_in(GstElement* element) { return sink_of(element); }

static GType leaky_type() {
  static const GEnumValue values[] = {
      {static_cast<gint>(mmaplink::Leaky::none),
       "Block until the reader has read; one that has stopped is passed over while others read",
       "none"},
      {static_cast<gint>(mmaplink::Leaky::upstream), "Drop the new buffer", "upstream"},
      {static_cast<gint>(mmaplink::Leaky::downstream), "Drop the oldest buffer", "downstream"},
      {0, nullptr, nullptr}};
  static const GType type = g_enum_register_static("GstMmapLeakyType", values);
  return type;
}

static void set_property(GObject* object, guint id, const GValue* value, GParamSpec* spec) {
  auto& settings = sink_of(object).settings;
  GST_OBJECT_LOCK(object);
  bool known = true;
  switch (id) {
    case PROP_WAIT_FOR_CONNECTION:
      settings.wait_for_connection = g_value_get_boolean(value);
      break;
    case PROP_MAX_BUFFERS:
      settings.max_buffers = g_value_get_uint(value);
      break;
    case PROP_LEAKY_TYPE:
      settings.leaky = static_cast<mmaplink::Leaky>(g_value_get_enum(value));
      break;
    case PROP_PEER_TIMEOUT:
      settings.peer_timeout = g_value_get_uint64(value);
      break;
    case PROP_MAX_CLIENTS:
      settings.max_clients = g_value_get_uint(value);
      break;
    case PROP_REMOTE_MESSAGES: {
      const gchar* names = g_value_get_string(value);
      settings.remote_messages = names != nullptr ? names : "";
      break;
    }
    case PROP_UDMABUF:
      settings.udmabuf = g_value_get_boolean(value);
      break;
    default:
      known = gstmmap::set_common_property(settings, id, value);
  }
  GST_OBJECT_UNLOCK(object);
  if (!known) G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, spec);
}

static void get_property(GObject* object, guint id, GValue* value, GParamSpec* spec) {
  const Sink& sink = sink_of(object);
  if (id == gstmmap::PROP_STATS) return g_value_take_boxed(value, sink.stats());
  if (id == PROP_NUM_CLIENTS) return g_value_set_uint(value, sink.num_clients());
  GST_OBJECT_LOCK(object);
  bool known = true;
  switch (id) {
    case PROP_WAIT_FOR_CONNECTION:
      g_value_set_boolean(value, sink.settings.wait_for_connection);
      break;
    case PROP_MAX_BUFFERS:
      g_value_set_uint(value, sink.settings.max_buffers);
      break;
    case PROP_LEAKY_TYPE:
      g_value_set_enum(value, static_cast<gint>(sink.settings.leaky));
      break;
    case PROP_PEER_TIMEOUT:
      g_value_set_uint64(value, sink.settings.peer_timeout);
      break;
    case PROP_MAX_CLIENTS:
      g_value_set_uint(value, sink.settings.max_clients);
      break;
    case PROP_REMOTE_MESSAGES:
      g_value_set_string(value, sink.settings.remote_messages.c_str());
      break;
    case PROP_UDMABUF:
      g_value_set_boolean(value, sink.settings.udmabuf);
      break;
    default:
      known = gstmmap::get_common_property(sink.settings, id, value);
  }
  GST_OBJECT_UNLOCK(object);
  if (!known) G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, spec);
}

// A transport has nothing to preroll: unless the application wants it to sync or to preroll, data
// passes in PAUSED too, and the far side does what sinks do. A buffer that has sat out a change of
// state goes on in any case. Who waits for a reader has the preroll lock: unlock() goes before
// this, and ends here, with the lock, so that nobody can be back there in between.
static void let_pass(GstBaseSink* base) {
  const bool holds = gst_base_sink_get_sync(base) || gst_base_sink_is_async_enabled(base);
  GST_BASE_SINK_PREROLL_LOCK(base);
  sink_of(base).unlock_stop();
  if (!holds) base->need_preroll = FALSE;
  GST_BASE_SINK_PREROLL_SIGNAL(base);
  GST_BASE_SINK_PREROLL_UNLOCK(base);
}

// With nothing to wait for but the readers, the base class's work on each buffer (clipping, clock
// times, QoS) has no effect, and costs as much as the whole transport.
static GstFlowReturn chain(GstPad* pad, GstObject* parent, GstBuffer* buffer) {
  auto* base = GST_BASE_SINK_CAST(parent);
  auto* self = reinterpret_cast<GstMmapSink*>(parent);
  if (gst_base_sink_get_sync(base)) return self->base_chain(pad, parent, buffer);
  GST_BASE_SINK_PREROLL_LOCK(base);
  if (base->need_preroll) {
    GST_BASE_SINK_PREROLL_UNLOCK(base);
    return self->base_chain(pad, parent, buffer);
  }
  const GstFlowReturn flow = base->flushing ? GST_FLOW_FLUSHING : self->sink->send_buffer(buffer);
  GST_BASE_SINK_PREROLL_UNLOCK(base);
  gst_buffer_unref(buffer);
  return flow;
}

static GstStateChangeReturn change_state(GstElement* element, GstStateChange transition) {
  Sink& sink = sink_of(element);
  if (transition == GST_STATE_CHANGE_NULL_TO_READY && !sink.open()) return GST_STATE_CHANGE_FAILURE;
  // Not in the base class's start(), which adds an error of its own to ours.
  if (transition == GST_STATE_CHANGE_READY_TO_PAUSED && !sink.start())
    return GST_STATE_CHANGE_FAILURE;
  // The base class takes the preroll lock without it. Until let_pass().
  if (transition == GST_STATE_CHANGE_PAUSED_TO_PLAYING) sink.unlock();
  const auto result =
      GST_ELEMENT_CLASS(gst_mmap_sink_parent_class)->change_state(element, transition);
  switch (transition) {
    case GST_STATE_CHANGE_NULL_TO_READY:
      if (result == GST_STATE_CHANGE_FAILURE) sink.close();
      break;
    case GST_STATE_CHANGE_READY_TO_PAUSED:
      if (result == GST_STATE_CHANGE_FAILURE) {
        sink.stop();
        break;
      }
      sink.unlock();
      let_pass(GST_BASE_SINK(element));
      break;
    case GST_STATE_CHANGE_PAUSED_TO_PLAYING:
      sink.base_time_changed();
      let_pass(GST_BASE_SINK(element));
      break;
    case GST_STATE_CHANGE_PLAYING_TO_PAUSED:
      sink.unlock();
      let_pass(GST_BASE_SINK(element));
      break;
    case GST_STATE_CHANGE_PAUSED_TO_READY:
      sink.stop();
      break;
    case GST_STATE_CHANGE_READY_TO_NULL:
      sink.close();
      break;
    default:
      break;
  }
  return result;
}

static gboolean handle_event(GstBaseSink* base, GstEvent* event) {
  GstBaseSinkClass* parent = GST_BASE_SINK_CLASS(gst_mmap_sink_parent_class);
  Sink& sink = sink_of(base);
  switch (GST_EVENT_TYPE(event)) {
    case GST_EVENT_FLUSH_START: {
      gst_event_ref(event);
      const gboolean handled = parent->event(base, event);
      sink.flush_start(event);
      gst_event_unref(event);
      return handled;
    }
    case GST_EVENT_FLUSH_STOP: {
      gst_event_ref(event);
      const gboolean handled = parent->event(base, event);
      sink.unlock();
      let_pass(base);
      sink.flush_stop(event);
      gst_event_unref(event);
      return handled;
    }
    default:
      break;
  }
  if (!GST_EVENT_IS_SERIALIZED(event)) {
    sink.send_event_at_once(event);
  } else if (!sink.send_event(event)) {
    gst_event_unref(event);
    return FALSE;
  }
  // The base class would ask this pipeline for the new rate, and post the message here; the far
  // sinks do that over there.
  if (GST_EVENT_TYPE(event) == GST_EVENT_INSTANT_RATE_CHANGE ||
      (GST_EVENT_TYPE(event) == GST_EVENT_SINK_MESSAGE && gstmmap::encode_event(event))) {
    gst_event_unref(event);
    return TRUE;
  }
  return parent->event(base, event);
}

static gboolean handle_query(GstBaseSink* base, GstQuery* query) {
  switch (GST_QUERY_TYPE(query)) {
    case GST_QUERY_CAPS:
    case GST_QUERY_ALLOCATION:
      break;  // by methods of their own
    case GST_QUERY_ACCEPT_CAPS:
      return sink_of(base).query(query);
    default:
      if (sink_of(base).query(query)) return TRUE;
  }
  return GST_BASE_SINK_CLASS(gst_mmap_sink_parent_class)->query(base, query);
}

static gboolean query_element(GstElement* element, GstQuery* query) {
  if (GST_QUERY_TYPE(query) == GST_QUERY_LATENCY && !gst_base_sink_get_sync(GST_BASE_SINK(element)))
    return sink_of(element).query_latency(query);
  if (GST_ELEMENT_CLASS(gst_mmap_sink_parent_class)->query(element, query)) return TRUE;
  return GST_QUERY_TYPE(query) == GST_QUERY_POSITION && sink_of(element).query_position(query);
}

static gboolean send_event(GstElement* element, GstEvent* event) {
  if (GST_EVENT_TYPE(event) == GST_EVENT_LATENCY) sink_of(element).set_latency(event);
  return GST_ELEMENT_CLASS(gst_mmap_sink_parent_class)->send_event(element, event);
}

static void gst_mmap_sink_class_init(GstMmapSinkClass* klass) {
  auto* object = G_OBJECT_CLASS(klass);
  auto* element = GST_ELEMENT_CLASS(klass);
  auto* base = GST_BASE_SINK_CLASS(klass);

  object->set_property = set_property;
  object->get_property = get_property;
  object->finalize = [](GObject* self) {
    GST_MMAP_SINK(self)->sink.~unique_ptr();
    G_OBJECT_CLASS(gst_mmap_sink_parent_class)->finalize(self);
  };
  element->change_state = change_state;
  element->query = query_element;
  element->send_event = send_event;
  base->unlock = [](GstBaseSink* self) -> gboolean { return sink_of(self).unlock(), TRUE; };
  base->unlock_stop = [](GstBaseSink* self) -> gboolean {
    return sink_of(self).unlock_stop(), TRUE;
  };
  base->render = [](GstBaseSink* self, GstBuffer* buffer) {
    return sink_of(self).send_buffer(buffer);
  };
  base->event = handle_event;
  base->query = handle_query;
  base->get_caps = [](GstBaseSink* self, GstCaps* filter) { return sink_of(self).caps(filter); };
  base->propose_allocation = [](GstBaseSink* self, GstQuery* query) -> gboolean {
    return sink_of(self).propose_allocation(query), TRUE;
  };

  gstmmap::install_common_properties(object, mmaplink::Role::server);
  gstmmap::install_signals(G_TYPE_FROM_CLASS(klass));
  const auto fixed = static_cast<GParamFlags>(G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS |
                                              GST_PARAM_MUTABLE_READY);
  g_object_class_install_property(
      object, PROP_WAIT_FOR_CONNECTION,
      g_param_spec_boolean("wait-for-connection", "Wait for connection",
                           "As a server, block while nobody reads instead of dropping buffers, gaps "
                           "and custom events (a client always waits for its server)",
                           FALSE, fixed));
  g_object_class_install_property(
      object, PROP_NUM_CLIENTS,
      g_param_spec_uint("num-clients", "Number of clients", "Peers that read now", 0, G_MAXUINT, 0,
                        static_cast<GParamFlags>(G_PARAM_READABLE | G_PARAM_STATIC_STRINGS)));
  g_object_class_install_property(
      object, PROP_MAX_BUFFERS,
      g_param_spec_uint("max-buffers", "Max buffers",
                        "Buffers that wait to be read, for each reader; those a reader has taken "
                        "and holds do not count",
                        1, 256, 8, fixed));
  g_object_class_install_property(
      object, PROP_LEAKY_TYPE,
      g_param_spec_enum("leaky-type", "Leaky type",
                        "What happens to buffers for a reader with max-buffers waiting",
                        leaky_type(), static_cast<gint>(mmaplink::Leaky::none), fixed));
  g_object_class_install_property(
      object, PROP_PEER_TIMEOUT,
      g_param_spec_uint64("peer-timeout", "Peer timeout",
                          "Nanoseconds after which a reader is hung up on that has max-buffers "
                          "waiting, or holds the memory that is wanted, and does nothing (default: "
                          "never)",
                          0, G_MAXUINT64, GST_CLOCK_TIME_NONE, fixed));
  g_object_class_install_property(
      object, PROP_MAX_CLIENTS,
      g_param_spec_uint("max-clients", "Max clients",
                        "As a server: clients at a time; further ones are refused. One, where an "
                        "mmapsrc shares the socket-path",
                        1, mmaplink::Endpoint::kMostClients, mmaplink::Endpoint::kMostClients,
                        fixed));
  g_object_class_install_property(
      object, PROP_REMOTE_MESSAGES,
      g_param_spec_string("remote-messages", "Remote messages",
                          "As the client of a two-way link: names of element messages of the "
                          "server's pipeline that are posted here too, separated by commas (errors "
                          "and warnings always are)",
                          "", fixed));
  g_object_class_install_property(
      object, PROP_UDMABUF,
      g_param_spec_boolean("udmabuf", "udmabuf",
                           "Propose frames of raw video that drivers can write into, such as "
                           "v4l2src with io-mode=dmabuf-import (at most 32, by /dev/udmabuf). "
                           "Readers can write into them, too: only for those that are trusted",
                           FALSE, fixed));

  gst_element_class_add_static_pad_template(element, &sink_template);
  gst_element_class_set_static_metadata(
      element, "Shared memory sink", "Sink",
      "Sends a stream, frames in place, to other processes of this host", "The gst-mmap authors");
  gst_type_mark_as_plugin_api(gst_mmap_role_get_type(), static_cast<GstPluginAPIFlags>(0));
  gst_type_mark_as_plugin_api(gst_mmap_on_disconnect_get_type(), static_cast<GstPluginAPIFlags>(0));
  gst_type_mark_as_plugin_api(gst_mmap_huge_pages_get_type(), static_cast<GstPluginAPIFlags>(0));
  gst_type_mark_as_plugin_api(leaky_type(), static_cast<GstPluginAPIFlags>(0));
}

static void gst_mmap_sink_init(GstMmapSink* self) {
  auto* base = GST_BASE_SINK(self);
  new (&self->sink) std::unique_ptr<Sink>(std::make_unique<Sink>(base));
  GstPad* pad = GST_BASE_SINK_PAD(base);
  self->base_chain = GST_PAD_CHAINFUNC(pad);
  gst_pad_set_chain_function(pad, chain);
  gst_base_sink_set_sync(base, FALSE);
  gst_base_sink_set_async_enabled(base, FALSE);
  gst_base_sink_set_qos_enabled(base, FALSE);
  // A transport keeps no frame back, and drops none for its time.
  gst_base_sink_set_last_sample_enabled(base, FALSE);
  gst_base_sink_set_drop_out_of_segment(base, FALSE);
}
