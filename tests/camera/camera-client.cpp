// Runs a pipeline to its end, like gst-launch-1.0, then prints the `stats` property of one
// of its elements, which gst-launch-1.0 can't: it is only complete once the stream is over.
//
//   camera-client SECONDS ELEMENT PIPELINE...
//
// Prints to standard output one line, `stats ELEMENT: key=value key=value ...`. Exits with 0
// if the pipeline came to EOS within SECONDS, else with 1, and says why on standard error.

#include <gst/gst.h>

#include <cstdlib>
#include <memory>

namespace {

template <auto function>
struct Call {
  template <typename T>
  void operator()(T* pointer) const {
    function(pointer);
  }
};

template <typename T, auto function>
using Owned = std::unique_ptr<T, Call<function>>;

inline void free_text(GString* text) { g_string_free(text, TRUE); }

using Text = Owned<GString, free_text>;
using String = Owned<gchar, g_free>;
using Error = Owned<GError, g_error_free>;
using Object = Owned<GstElement, gst_object_unref>;
using Bus = Owned<GstBus, gst_object_unref>;
using Message = Owned<GstMessage, gst_message_unref>;
using Structure = Owned<GstStructure, gst_structure_free>;

void print_problem(GstMessage* message) {
  GError* error = nullptr;
  gchar* debug = nullptr;
  if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ERROR)
    gst_message_parse_error(message, &error, &debug);
  else
    gst_message_parse_warning(message, &error, &debug);
  const Error owned_error(error);
  const String owned_debug(debug);
  const String path(gst_object_get_path_string(GST_MESSAGE_SRC(message)));
  g_printerr("%s from %s: %s (%s, %d)\n%s\n", GST_MESSAGE_TYPE_NAME(message), path.get(),
             error->message, g_quark_to_string(error->domain), error->code,
             debug ? debug : "no further details");
}

// Returns whether the pipeline came to EOS.
bool run(GstElement* pipeline, GstClockTime limit) {
  const Bus bus(gst_element_get_bus(pipeline));
  const gint64 deadline = g_get_monotonic_time() + gint64(limit / GST_USECOND);
  // A failure is told in detail by a message on the bus.
  gst_element_set_state(pipeline, GST_STATE_PLAYING);
  for (;;) {
    const gint64 left = deadline - g_get_monotonic_time();
    const Message message(left <= 0
                              ? nullptr
                              : gst_bus_timed_pop_filtered(
                                    bus.get(), GstClockTime(left) * GST_USECOND,
                                    GstMessageType(GST_MESSAGE_EOS | GST_MESSAGE_ERROR |
                                                   GST_MESSAGE_WARNING | GST_MESSAGE_LATENCY)));
    if (!message) {
      g_printerr("no end of stream within %u s\n", guint(limit / GST_SECOND));
      return false;
    }
    switch (GST_MESSAGE_TYPE(message.get())) {
      case GST_MESSAGE_EOS:
        return true;
      case GST_MESSAGE_ERROR:
        print_problem(message.get());
        return false;
      case GST_MESSAGE_LATENCY:
        gst_bin_recalculate_latency(GST_BIN(pipeline));
        break;
      default:
        print_problem(message.get());
    }
  }
}

gboolean add_field(GQuark name, const GValue* value, gpointer line) {
  const String text(gst_value_serialize(value));
  g_string_append_printf(static_cast<GString*>(line), " %s=%s", g_quark_to_string(name),
                         text ? text.get() : "?");
  return TRUE;
}

bool print_stats(GstElement* element, const gchar* name) {
  GstStructure* stats = nullptr;
  const GParamSpec* property = g_object_class_find_property(G_OBJECT_GET_CLASS(element), "stats");
  if (property && property->value_type == GST_TYPE_STRUCTURE)
    g_object_get(element, "stats", &stats, nullptr);
  const Structure owner(stats);
  if (!stats) {
    g_printerr("%s has no stats\n", name);
    return false;
  }
  // Whole, lest what other threads print gets in between.
  const Text line(g_string_new(nullptr));
  gst_structure_foreach(stats, add_field, line.get());
  g_print("stats %s:%s\n", name, line->str);
  return true;
}

// As gst-launch-1.0 does, the pipeline is a GstPipeline even if only one element is given.
Object parse(gchar** description) {
  GError* error = nullptr;
  Object pipeline(gst_parse_launchv_full(const_cast<const gchar**>(description), nullptr,
                                         GST_PARSE_FLAG_FATAL_ERRORS, &error));
  if (const Error owner(error); error) {
    g_printerr("can't make the pipeline: %s (%s, %d)\n", error->message,
               g_quark_to_string(error->domain), error->code);
    return nullptr;
  }
  if (pipeline && !GST_IS_PIPELINE(pipeline.get())) {
    Object wrapped(gst_pipeline_new(nullptr));
    gst_bin_add(GST_BIN(wrapped.get()), pipeline.release());
    return wrapped;
  }
  return pipeline;
}

}  // namespace

int main(int argc, char** argv) {
  gst_init(&argc, &argv);
  const int seconds = argc > 3 ? std::atoi(argv[1]) : 0;
  if (seconds <= 0) {
    g_printerr("usage: camera-client SECONDS ELEMENT PIPELINE...\n");
    return EXIT_FAILURE;
  }
  const Object pipeline = parse(argv + 3);
  if (!pipeline) return EXIT_FAILURE;
  const Object element(gst_bin_get_by_name(GST_BIN(pipeline.get()), argv[2]));
  if (!element) {
    g_printerr("the pipeline has no element named %s\n", argv[2]);
    return EXIT_FAILURE;
  }
  const bool ended = run(pipeline.get(), GstClockTime(seconds) * GST_SECOND);
  // Going to NULL may reset them, so they come first. Even after a failure they help.
  const bool printed = print_stats(element.get(), argv[2]);
  gst_element_set_state(pipeline.get(), GST_STATE_NULL);
  return ended && printed ? EXIT_SUCCESS : EXIT_FAILURE;
}
