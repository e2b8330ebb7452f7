// Has its picture encoded by another process, encode-server, and writes the packets that come back
// to a file. Measures how long each frame takes there and back.
//
//   encode-client --socket PATH [--source FILE|DEVICE] [--output FILE] [--seconds N]
//
// Ends after N seconds, at the end of the file, or on SIGINT and SIGTERM. Prints what it has
// counted to standard output as key=value, once a second and at the end; what goes wrong, to
// standard error. Exits with 0 if each frame came back.
#include <sys/stat.h>

#include <cstdlib>

#include "pipeline.h"
#include "round-trips.h"

namespace {

struct Options {
  gchar* socket = nullptr;
  gchar* source = nullptr;
  gchar* output = nullptr;
  int seconds = 0;
};

bool parse_options(int* argc, char*** argv, Options& options) {
  const GOptionEntry entries[] = {
      {"socket", 0, 0, G_OPTION_ARG_FILENAME, &options.socket, "the server's socket", "PATH"},
      {"source", 0, 0, G_OPTION_ARG_FILENAME, &options.source,
       "a video file or a camera (default: a test picture)", "FILE|DEVICE"},
      {"output", 0, 0, G_OPTION_ARG_FILENAME, &options.output, "default: out.mkv", "FILE"},
      {"seconds", 0, 0, G_OPTION_ARG_INT, &options.seconds, "end after so long", "N"},
      {nullptr, 0, 0, G_OPTION_ARG_NONE, nullptr, nullptr, nullptr}};
  GOptionContext* context = g_option_context_new(nullptr);
  g_option_context_add_main_entries(context, entries, nullptr);
  g_option_context_add_group(context, gst_init_get_option_group());
  GError* error = nullptr;
  const bool good = g_option_context_parse(context, argc, argv, &error);
  g_option_context_free(context);
  if (!good) g_printerr("%s\n", error->message);
  if (good && options.socket == nullptr) g_printerr("--socket is missing, see --help\n");
  g_clear_error(&error);
  return good && options.socket != nullptr;
}

// Formats that every player takes. Where the source has one of them, nothing is converted.
std::string source_pipeline(const gchar* source) {
  struct stat status {};
  const std::string common = " ! videoconvert ! video/x-raw,format={I420,NV12}";
  if (source == nullptr)
    return "videotestsrc is-live=true pattern=ball ! "
           "video/x-raw,format=I420,width=1280,height=720,framerate=30/1";
  if (stat(source, &status) == 0 && S_ISCHR(status.st_mode)) return "v4l2src name=source" + common;
  return "filesrc name=source ! decodebin" + common;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (!parse_options(&argc, &argv, options)) return EXIT_FAILURE;
  const auto pipeline = example::parse(
      source_pipeline(options.source) +
      " ! mmapsink name=raw role=client connection-timeout=15000000000 "
      "mmapsrc name=packets role=client ! h264parse ! matroskamux ! filesink name=file");
  if (!pipeline) return EXIT_FAILURE;
  // Set, not written into the description, where a path would need quotes.
  for (const char* name : {"raw", "packets"})
    g_object_set(example::find(pipeline, name).get(), "socket-path", options.socket, nullptr);
  g_object_set(example::find(pipeline, "file").get(), "location",
               options.output != nullptr ? options.output : "out.mkv", nullptr);
  if (options.source != nullptr) {
    const auto source = example::find(pipeline, "source");
    const bool is_file = g_object_class_find_property(G_OBJECT_GET_CLASS(source.get()), "location");
    g_object_set(source.get(), is_file ? "location" : "device", options.source, nullptr);
  }

  example::RoundTrips trips;
  example::watch(pipeline, "raw", "sink",
                 [&](auto* pad, auto* buffer) { trips.sent(pad, buffer); });
  example::watch(pipeline, "packets", "src",
                 [&](auto* pad, auto* buffer) { trips.received(pad, buffer); });
  const bool ended = example::run(pipeline, {[&] { return trips.moved(); },
                                             [&] { trips.print_progress(); }, options.seconds, 20});
  const bool complete = trips.print_report();
  for (const char* what : {"bytes", "bytes-copied", "dropped"})
    g_print("raw-%s=%" G_GUINT64_FORMAT "\n", what, example::count_of(pipeline, "raw", what));
  example::stop(pipeline);
  return ended && complete ? EXIT_SUCCESS : EXIT_FAILURE;
}
