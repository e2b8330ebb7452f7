/**
 * SECTION:element-mmapsrc
 * @title: mmapsrc
 * @short_description: receives a stream from another process of this host through shared memory
 *
 * mmapsrc delivers what an #mmapsink of the same socket-path sends: buffers that lie in the
 * sender's memory, mapped read-only, and its events in order. Memory is given back when downstream
 * drops it, and stays readable for as long as downstream holds it.
 *
 * Any start order works: without a server it waits, at most for connection-timeout. Caps come with
 * the stream. Running time is the same instant on both sides.
 *
 * As a server with monitor=true it tells who may connect what goes on: gst-mmap-top shows it.
 *
 * ## Example launch lines
 * |[
 * gst-launch-1.0 mmapsrc socket-path=/tmp/cam ! videoconvert ! autovideosink
 * ]| Shows what `videotestsrc is-live=true ! mmapsink socket-path=/tmp/cam` sends.
 * |[
 * gst-launch-1.0 mmapsrc role=server mmap=yes socket-path=/tmp/enc ! x264enc ! \
 *     mmapsink socket-path=/tmp/enc
 * ]| An encoding server: packets go back to the client that sent the frames.
 */
#include "elements/gstmmapsrc.h"

#include <memory>

#include "elements/source.h"
#include "elements/top.h"
#include "elements/uri.h"

GST_DEBUG_CATEGORY(gst_mmap_src_debug);
#define GST_CAT_DEFAULT gst_mmap_src_debug

using gstmmap::Source;

struct _GstMmapSrc {
  GstElement parent;
  GstPad* pad;  // the element's
  std::unique_ptr<Source> source;
};

enum {
  PROP_IS_LIVE = gstmmap::PROP_FIRST_OWN,
  PROP_NUM_BUFFERS,
  PROP_DO_TIMESTAMP,
  PROP_BUSY_POLL,
};

static GstStaticPadTemplate src_template =
    GST_STATIC_PAD_TEMPLATE("src", GST_PAD_SRC, GST_PAD_ALWAYS, GST_STATIC_CAPS_ANY);

G_DEFINE_TYPE_WITH_CODE(GstMmapSrc, gst_mmap_src, GST_TYPE_ELEMENT,
                        GST_DEBUG_CATEGORY_INIT(gst_mmap_src_debug, "mmapsrc", 0, "mmapsrc");
                        G_IMPLEMENT_INTERFACE(GST_TYPE_URI_HANDLER, gstmmap::init_uri_source))

static Source& source_of(gpointer object) { return *GST_MMAP_SRC(object)->source; }

Source& gstmmap::source_in(GstElement* element) { return source_of(element); }

static void set_property(GObject* object, guint id, const GValue* value, GParamSpec* spec) {
  auto& settings = source_of(object).settings;
  GST_OBJECT_LOCK(object);
  bool known = true;
  switch (id) {
    case PROP_IS_LIVE:
      settings.is_live = g_value_get_boolean(value);
      break;
    case PROP_NUM_BUFFERS:
      settings.num_buffers = g_value_get_int(value);
      break;
    case PROP_DO_TIMESTAMP:
      settings.do_timestamp = g_value_get_boolean(value);
      break;
    case PROP_BUSY_POLL:
      settings.busy_poll = g_value_get_uint64(value);
      break;
    default:
      known = gstmmap::set_common_property(settings, id, value);
  }
  GST_OBJECT_UNLOCK(object);
  if (!known) G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, spec);
}

static void get_property(GObject* object, guint id, GValue* value, GParamSpec* spec) {
  const Source& source = source_of(object);
  if (id == gstmmap::PROP_STATS) return g_value_take_boxed(value, source.stats());
  GST_OBJECT_LOCK(object);
  bool known = true;
  switch (id) {
    case PROP_IS_LIVE:
      g_value_set_boolean(value, source.settings.is_live);
      break;
    case PROP_NUM_BUFFERS:
      g_value_set_int(value, source.settings.num_buffers);
      break;
    case PROP_DO_TIMESTAMP:
      g_value_set_boolean(value, source.settings.do_timestamp);
      break;
    case PROP_BUSY_POLL:
      g_value_set_uint64(value, source.settings.busy_poll);
      break;
    default:
      known = gstmmap::get_common_property(source.settings, id, value);
  }
  GST_OBJECT_UNLOCK(object);
  if (!known) G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, spec);
}

static gboolean activate_mode(GstPad* pad, GstObject* parent, GstPadMode mode, gboolean active) {
  if (mode != GST_PAD_MODE_PUSH) return FALSE;
  Source& source = source_of(parent);
  if (active) {
    source.set_flushing(false);
    return source.start_task();
  }
  source.set_flushing(true);
  return gst_pad_stop_task(pad);
}

static GstStateChangeReturn change_state(GstElement* element, GstStateChange transition) {
  Source& source = source_of(element);
  switch (transition) {
    case GST_STATE_CHANGE_NULL_TO_READY:
      if (!source.open()) return GST_STATE_CHANGE_FAILURE;
      break;
    case GST_STATE_CHANGE_READY_TO_PAUSED:
      if (!source.start()) return GST_STATE_CHANGE_FAILURE;
      break;
    case GST_STATE_CHANGE_PLAYING_TO_PAUSED:
      source.set_playing(false);
      break;
    default:
      break;
  }
  auto result = GST_ELEMENT_CLASS(gst_mmap_src_parent_class)->change_state(element, transition);
  switch (transition) {
    case GST_STATE_CHANGE_READY_TO_PAUSED:
      if (result == GST_STATE_CHANGE_FAILURE)
        source.stop();
      else if (source.is_live())
        result = GST_STATE_CHANGE_NO_PREROLL;
      break;
    case GST_STATE_CHANGE_PAUSED_TO_PLAYING:
      source.set_playing(true);
      break;
    case GST_STATE_CHANGE_PLAYING_TO_PAUSED:
      if (source.is_live() && result != GST_STATE_CHANGE_FAILURE)
        result = GST_STATE_CHANGE_NO_PREROLL;
      break;
    case GST_STATE_CHANGE_PAUSED_TO_READY:
      source.stop();
      break;
    case GST_STATE_CHANGE_READY_TO_NULL:
      source.close();
      break;
    default:
      break;
  }
  return result;
}

// A file that comes over several links is flushed on all of them by a seek on one. Each sink of the
// pipeline is asked to seek, one after the other, and a pad that still flushes would refuse: in one
// pipeline all of it is over when the first seek returns.
static void wait_for_flush_of_others(GstElement* element) {
  GstElement* top = gstmmap::top_of(element);
  if (GST_IS_BIN(top)) {
    GstIterator* all = gst_bin_iterate_all_by_element_factory_name(GST_BIN(top), "mmapsrc");
    // cppcheck-suppress constParameter ; the type has it so
    const GstIteratorForeachFunction wait = [](const GValue* item, gpointer self) {
      auto* other = GST_ELEMENT(g_value_get_object(item));
      if (other != self) source_of(other).wait_for_flush();
    };
    while (gst_iterator_foreach(all, wait, element) == GST_ITERATOR_RESYNC)
      gst_iterator_resync(all);
    gst_iterator_free(all);
  }
  gst_object_unref(top);
}

static gboolean send_upstream(GstElement* element, GstEvent* event) {
  GstSeekFlags flags = GST_SEEK_FLAG_NONE;
  if (GST_EVENT_TYPE(event) == GST_EVENT_SEEK)
    gst_event_parse_seek(event, nullptr, nullptr, &flags, nullptr, nullptr, nullptr, nullptr);
  const bool good = source_of(element).send_upstream(event);
  if (good && (flags & GST_SEEK_FLAG_FLUSH) != 0) wait_for_flush_of_others(element);
  return good;
}

// Sent to the element, not through a pad: gst-launch-1.0 -e, or an application that ends recording.
static gboolean send_event(GstElement* element, GstEvent* event) {
  if (GST_EVENT_TYPE(event) == GST_EVENT_EOS) {
    source_of(element).request_eos();
    gst_event_unref(event);
    return TRUE;
  }
  if (GST_EVENT_IS_UPSTREAM(event)) return send_upstream(element, event);
  return GST_ELEMENT_CLASS(gst_mmap_src_parent_class)->send_event(element, event);
}

static gboolean handle_query(GstPad* pad, GstObject* parent, GstQuery* query) {
  switch (GST_QUERY_TYPE(query)) {
    case GST_QUERY_SCHEDULING:
      gst_query_set_scheduling(query, GST_SCHEDULING_FLAG_SEQUENTIAL, 1, -1, 0);
      gst_query_add_scheduling_mode(query, GST_PAD_MODE_PUSH);
      return TRUE;
    case GST_QUERY_ACCEPT_CAPS:
      return gst_pad_query_default(pad, parent, query);
    default:
      return source_of(parent).query(query) || gst_pad_query_default(pad, parent, query);
  }
}

static gboolean handle_upstream_event(GstPad*, GstObject* parent, GstEvent* event) {
  return send_upstream(GST_ELEMENT(parent), event);
}

static void gst_mmap_src_class_init(GstMmapSrcClass* klass) {
  auto* object = G_OBJECT_CLASS(klass);
  auto* element = GST_ELEMENT_CLASS(klass);

  object->set_property = set_property;
  object->get_property = get_property;
  object->finalize = [](GObject* self) {
    GST_MMAP_SRC(self)->source.~unique_ptr();
    G_OBJECT_CLASS(gst_mmap_src_parent_class)->finalize(self);
  };
  element->change_state = change_state;
  element->send_event = send_event;

  gstmmap::install_common_properties(object, mmaplink::Role::client);
  gstmmap::install_signals(G_TYPE_FROM_CLASS(klass));
  const auto fixed = static_cast<GParamFlags>(G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS |
                                              GST_PARAM_MUTABLE_READY);
  g_object_class_install_property(
      object, PROP_IS_LIVE,
      g_param_spec_boolean("is-live", "Is live",
                           "Whether to act as a live source: nothing in PAUSED, and running time "
                           "that is the sender's",
                           TRUE, fixed));
  g_object_class_install_property(
      object, PROP_NUM_BUFFERS,
      g_param_spec_int("num-buffers", "Number of buffers",
                       "Buffers to deliver before EOS (-1: as many as come)", -1, G_MAXINT, -1,
                       fixed));
  g_object_class_install_property(
      object, PROP_DO_TIMESTAMP,
      g_param_spec_boolean("do-timestamp", "Do timestamp",
                           "Replace the sender's timestamps by the running time of arrival", FALSE,
                           fixed));
  g_object_class_install_property(
      object, PROP_BUSY_POLL,
      g_param_spec_uint64("busy-poll", "Busy poll",
                          "Longest time to look for each buffer, from shortly before it is due, "
                          "instead of sleeping until it comes (in nanoseconds; 0: never). Less "
                          "latency, for that much of a processor that the sender does not need",
                          0, GST_SECOND, 0, fixed));

  gst_element_class_add_static_pad_template(element, &src_template);
  gst_element_class_set_static_metadata(
      element, "Shared memory source", "Source",
      "Receives a stream, frames in place, from another process of this host",
      "The gst-mmap authors");
}

static void gst_mmap_src_init(GstMmapSrc* self) {
  self->pad = gst_pad_new_from_static_template(&src_template, "src");
  gst_pad_set_activatemode_function(self->pad, activate_mode);
  gst_pad_set_query_function(self->pad, handle_query);
  gst_pad_set_event_function(self->pad, handle_upstream_event);
  gst_pad_use_fixed_caps(self->pad);
  gst_element_add_pad(GST_ELEMENT(self), self->pad);
  new (&self->source)
      std::unique_ptr<Source>(std::make_unique<Source>(GST_ELEMENT(self), self->pad));
  GST_OBJECT_FLAG_SET(self, GST_ELEMENT_FLAG_SOURCE);
}
