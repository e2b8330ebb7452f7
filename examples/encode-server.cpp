// Encodes for another process: takes its raw frames from shared memory, and sends the H.264 packets
// back the same way.
//
//   encode-server SOCKET
//
// Ends when its client ends the stream, or on SIGINT and SIGTERM. Prints what it has counted to
// standard output as key=value, once a second and at the end; what goes wrong, to standard error.
#include <atomic>
#include <cstdlib>

#include "pipeline.h"

int main(int argc, char** argv) {
  gst_init(&argc, &argv);
  if (argc != 2) {
    g_printerr("usage: encode-server SOCKET\n");
    return EXIT_FAILURE;
  }
  // Both elements are one link: what has the same socket-path and role in a process belongs
  // together.
  const auto pipeline = example::parse(
      "mmapsrc name=raw role=server mmap=yes ! "
      "x264enc name=encoder tune=zerolatency speed-preset=superfast ! "
      "mmapsink name=packets role=server");
  if (!pipeline) return EXIT_FAILURE;
  for (const char* name : {"raw", "packets"})
    g_object_set(example::find(pipeline, name).get(), "socket-path", argv[1], nullptr);

  std::atomic<guint64> encoded{0};
  example::watch(pipeline, "encoder", "src", [&](GstPad*, GstBuffer*) { ++encoded; });
  const auto print = [&] { g_print("encoded=%" G_GUINT64_FORMAT "\n", encoded.load()); };

  const bool ended = example::run(pipeline, {[&] { return encoded.load(); }, print});
  print();
  for (const char* name : {"raw", "packets"})
    g_print("%s-bytes-copied=%" G_GUINT64_FORMAT "\n", name,
            example::count_of(pipeline, name, "bytes-copied"));
  example::stop(pipeline);
  return ended ? EXIT_SUCCESS : EXIT_FAILURE;
}
