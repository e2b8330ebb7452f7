// bench: runs one pipeline in this process until EOS and prints one line of
// JSON about it.
//
//   bench --label transport=queue benchsrc seconds=1 ! queue ! benchsink
//
// A pipeline that is cut in two takes two of these processes; run.sh starts
// them and adds up what they print.
// Exit status: 0 at EOS, 1 after an error or a time-out, 2 for a wrong call.

#include <gst/gst.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <vector>

#include "gstbenchsink.h"
#include "gstbenchsrc.h"
#include "json_line.h"
#include "pad_probes.h"
#include "usage_window.h"
#include "wake.h"

namespace {

struct Options {
  char** labels = nullptr;
  int timeout_seconds = 60;
  int readers = 0;
  gboolean kept = FALSE;
  gboolean linger = FALSE;
  char* needed_element = nullptr;
  char* wake = nullptr;
  gint64 wake_frames = 180;
  char** pipeline = nullptr;
};

bool parse(Options& options, int& argc, char**& argv) {
  const GOptionEntry entries[] = {
      {"label", 'l', 0, G_OPTION_ARG_STRING_ARRAY, &options.labels, "Put this into the line",
       "NAME=VALUE"},
      {"timeout", 't', 0, G_OPTION_ARG_INT, &options.timeout_seconds, "Fail after this time (60)",
       "SECONDS"},
      {"readers", 'r', 0, G_OPTION_ARG_INT, &options.readers,
       "Send nothing before so many are there", "N"},
      {"kept", 'k', 0, G_OPTION_ARG_NONE, &options.kept,
       "Also tell by how much memory, descriptors and arenas grow", nullptr},
      {"linger", 0, 0, G_OPTION_ARG_NONE, &options.linger,
       "Stay until the standard input ends, for transports that lose what was not read yet",
       nullptr},
      {"have", 0, 0, G_OPTION_ARG_STRING, &options.needed_element,
       "Only tell, by the exit status, whether there is such an element", "ELEMENT"},
      {"wake", 0, 0, G_OPTION_ARG_STRING, &options.wake,
       "No pipeline: only wake a reader by a futex, in a thread or a process of its own, 60 times "
       "a second",
       "thread|process"},
      {"wake-frames", 0, 0, G_OPTION_ARG_INT64, &options.wake_frames, "So many times (180)", "N"},
      {G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_STRING_ARRAY, &options.pipeline, nullptr, "PIPELINE"},
      {nullptr, 0, 0, G_OPTION_ARG_NONE, nullptr, nullptr, nullptr}};
  GOptionContext* context = g_option_context_new(nullptr);
  g_option_context_add_main_entries(context, entries, nullptr);
  g_option_context_add_group(context, gst_init_get_option_group());
  GError* error = nullptr;
  const bool ok = g_option_context_parse(context, &argc, &argv, &error);
  g_option_context_free(context);
  if (!ok) {
    std::fprintf(stderr, "bench: %s\n", error->message);
    g_clear_error(&error);
  }
  return ok;
}

void put_labels(bench::JsonLine& line, char** labels) {
  for (; labels && *labels; ++labels) {
    const std::string label = *labels;
    const auto sign = label.find('=');
    if (sign == std::string::npos) continue;
    line.text(label.substr(0, sign), label.substr(sign + 1));
  }
}

constexpr unsigned kStateChangeSeconds = 30;

// Nothing after that time of this process. Time for which the whole process, or the machine, stood
// still does not count: it says nothing about the pipeline.
GstMessage* wait_for_end(GstBus* bus, int timeout_seconds) {
  const auto types = static_cast<GstMessageType>(GST_MESSAGE_EOS | GST_MESSAGE_ERROR);
  for (int slices = 0; slices < timeout_seconds; ++slices)
    if (GstMessage* message = gst_bus_timed_pop_filtered(bus, GST_SECOND, types)) return message;
  return nullptr;
}

// The result: "eos", or what went wrong.
std::string run(GstElement* pipeline, int timeout_seconds) {
  GstBus* bus = gst_element_get_bus(pipeline);
  alarm(kStateChangeSeconds);
  gst_element_set_state(pipeline, GST_STATE_PLAYING);
  alarm(0);
  GstMessage* message = wait_for_end(bus, timeout_seconds);
  // Should stopping the pipeline hang: no bench outlives its time.
  alarm(kStateChangeSeconds);
  bench::UsageWindow::of_process().close();

  std::string result = "eos";
  if (message == nullptr) {
    result = "time-out";
  } else if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ERROR) {
    GError* error = nullptr;
    char* details = nullptr;
    gst_message_parse_error(message, &error, &details);
    result = std::string(GST_MESSAGE_SRC_NAME(message)) + ": " + error->message +
             (details ? std::string(" ") + details : "");
    g_error_free(error);
    g_free(details);
  }
  if (message) gst_message_unref(message);
  gst_object_unref(bus);
  return result;
}

void wait_for_end_of_input() {
  alarm(0);
  while (std::getchar() != EOF) {
  }
  alarm(kStateChangeSeconds);
}

gboolean put_field(GQuark id, const GValue* value, gpointer user_data) {
  auto* line = static_cast<bench::JsonLine*>(user_data);
  GValue number = G_VALUE_INIT;
  g_value_init(&number, G_TYPE_DOUBLE);
  if (g_value_transform(value, &number))
    line->number(g_quark_to_string(id), g_value_get_double(&number));
  g_value_unset(&number);
  return TRUE;
}

// Of one of ours; null of others. To be freed.
GstStructure* statistics_of(GstElement* element) {
  GstElementFactory* factory = gst_element_get_factory(element);
  if (!factory || !g_str_has_prefix(GST_OBJECT_NAME(factory), "mmap")) return nullptr;
  GstStructure* stats = nullptr;
  g_object_get(element, "stats", &stats, nullptr);
  return stats;
}

// Each number, by the name of the element's factory.
void put_statistics(bench::JsonLine& line, GstElement* element) {
  GstStructure* stats = statistics_of(element);
  if (!stats) return;
  bench::JsonLine fields;
  gst_structure_foreach(stats, put_field, &fields);
  gst_structure_free(stats);
  line.object(GST_OBJECT_NAME(gst_element_get_factory(element)), fields);
}

template <typename Visit>
void for_each_element(GstElement* pipeline, Visit visit) {
  GstIterator* elements = gst_bin_iterate_recurse(GST_BIN(pipeline));
  const auto call = [](const GValue* item, gpointer user_data) {
    (*static_cast<Visit*>(user_data))(GST_ELEMENT(g_value_get_object(item)));
  };
  while (gst_iterator_foreach(elements, call, &visit) == GST_ITERATOR_RESYNC)
    gst_iterator_resync(elements);
  gst_iterator_free(elements);
}

long count_arenas(GstElement* pipeline) {
  long all = 0;
  for_each_element(pipeline, [&all](GstElement* element) {
    GstStructure* stats = statistics_of(element);
    guint64 arenas = 0;
    if (stats && gst_structure_get_uint64(stats, "arenas", &arenas))
      all += static_cast<long>(arenas);
    g_clear_pointer(&stats, gst_structure_free);
  });
  return all;
}

struct Report {
  std::vector<bench::JsonLine> sources, sinks;

  void add(GstElement* element) {
    if (GST_IS_BENCH_SRC(element))
      sources.push_back(gst_bench_src_report(GST_BENCH_SRC(element)));
    else if (GST_IS_BENCH_SINK(element))
      sinks.push_back(gst_bench_sink_report(GST_BENCH_SINK(element)));
  }
};

bench::JsonLine usage() {
  const auto& window = bench::UsageWindow::of_process();
  bench::JsonLine line;
  line.number("wall_s", window.wall_seconds())
      .number("user_s", window.user_seconds())
      .number("system_s", window.system_seconds())
      .number("minor_faults", window.minor_faults())
      .number("voluntary_switches", window.voluntary_switches())
      .number("involuntary_switches", window.involuntary_switches());
  if (window.knows_kept())
    line.number("more_kib", window.more_kib())
        .number("more_descriptors", window.more_descriptors())
        .number("more_arenas", window.more_arenas());
  return line;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (!parse(options, argc, argv)) return 2;

  if (options.needed_element) {
    GstElementFactory* factory = gst_element_factory_find(options.needed_element);
    const bool there = factory != nullptr;
    gst_clear_object(&factory);
    return there ? 0 : 1;
  }

  char* version = gst_version_string();
  bench::JsonLine line;
  put_labels(line, options.labels);
  line.text("gstreamer", version);
  g_free(version);
  if (options.wake) {
    const std::string reader = options.wake;
    bench::WakeSettings settings;
    settings.other_process = reader == "process";
    settings.frames = static_cast<std::uint64_t>(options.wake_frames);
    const bool is_known = settings.other_process || reader == "thread";
    const bool done = is_known && options.wake_frames > 0 && bench::wake(settings, line);
    line.text("result", done ? "eos" : "no such reader, or the system has none");
    std::printf("%s\n", line.str().c_str());
    return done ? 0 : 2;
  }

  gst_element_register(nullptr, "benchsrc", GST_RANK_NONE, GST_TYPE_BENCH_SRC);
  gst_element_register(nullptr, "benchsink", GST_RANK_NONE, GST_TYPE_BENCH_SINK);
  GError* error = nullptr;
  GstElement* pipeline = options.pipeline
                             ? gst_parse_launchv(const_cast<const char**>(options.pipeline), &error)
                             : nullptr;
  if (!pipeline || error || !GST_IS_PIPELINE(pipeline)) {
    std::fprintf(stderr, "bench: %s\n", error ? error->message : "no pipeline given");
    g_clear_error(&error);
    gst_clear_object(&pipeline);
    return 2;
  }

  if (options.readers > 0 && !bench::hold_for_readers(pipeline, options.readers)) {
    std::fprintf(stderr, "bench: no element here tells when a reader has come\n");
    gst_object_unref(pipeline);
    return 2;
  }
  bench::watch_relay(pipeline);
  if (options.kept)
    bench::UsageWindow::of_process().look_at_what_is_kept(
        [pipeline] { return count_arenas(pipeline); });

  const std::string result = run(pipeline, options.timeout_seconds);
  if (options.linger) wait_for_end_of_input();
  // The transport's elements have their numbers while they have a link, source
  // and sink when no thread of theirs writes them any more.
  bench::JsonLine statistics;
  for_each_element(pipeline,
                   [&statistics](GstElement* element) { put_statistics(statistics, element); });
  gst_element_set_state(pipeline, GST_STATE_NULL);
  Report report;
  for_each_element(pipeline, [&report](GstElement* element) { report.add(element); });
  gst_object_unref(pipeline);

  line.text("result", result);
  line.object("process", usage());
  if (!report.sources.empty()) line.object("source", report.sources.front());
  if (!report.sinks.empty()) line.objects("sinks", report.sinks);
  if (!statistics.empty()) line.object("stats", statistics);
  std::printf("%s\n", line.str().c_str());

  g_strfreev(options.labels);
  g_strfreev(options.pipeline);
  g_free(options.needed_element);
  return result == "eos" ? 0 : 1;
}
