// Shows a camera's picture twice, side by side: as it is, and as it comes back from an encoder in
// another process. How long a frame takes there and back is drawn on it.
//
//   viewer SOCKET [DEVICE]
//
// SOCKET is a server's, such as that of `encode-server SOCKET`; DEVICE is a camera, without it
// there is a test picture. Shows nothing before the server is there, for which it waits 15 seconds.
// Ends on SIGINT and SIGTERM. Prints what it has counted to standard output, once a second.
#include <cstdlib>

#include "pipeline.h"
#include "round-trips.h"

namespace {

constexpr auto kBothHalves =
    // Any camera, in a size that two of fit a screen.
    "videoconvert ! videoscale ! videorate ! "
    "video/x-raw,format=I420,width=640,height=480,framerate=30/1,pixel-aspect-ratio=1/1 ! tee "
    "name=t "
    // Whoever is slow misses frames, and does not hold up the other half.
    "t. ! queue max-size-buffers=3 leaky=downstream ! halves.sink_0 "
    "t. ! queue max-size-buffers=3 leaky=downstream ! "
    // A decoder with several threads is some frames late.
    "mmapremote name=remote connection-timeout=15000000000 ! h264parse ! "
    "avdec_h264 name=decoder max-threads=1 ! queue ! halves.sink_1 "
    // It would be as wide as one while the other half has not come.
    "compositor name=halves sink_1::xpos=640 ! video/x-raw,width=1280,height=480 ! videoconvert ! "
    "textoverlay name=latency valignment=bottom halignment=right ! "
    "videoconvert ! autovideosink";

}  // namespace

int main(int argc, char** argv) {
  gst_init(&argc, &argv);
  if (argc != 2 && argc != 3) {
    g_printerr("usage: viewer SOCKET [DEVICE]\n");
    return EXIT_FAILURE;
  }
  const bool has_camera = argc == 3;
  const auto pipeline = example::parse(
      std::string(has_camera ? "v4l2src name=camera ! " : "videotestsrc is-live=true ! ") +
      kBothHalves);
  if (!pipeline) return EXIT_FAILURE;
  if (has_camera) g_object_set(example::find(pipeline, "camera").get(), "device", argv[2], nullptr);
  g_object_set(example::find(pipeline, "remote").get(), "socket-path", argv[1], nullptr);

  example::RoundTrips trips;
  example::watch(pipeline, "remote", "sink",
                 [&](auto* pad, auto* buffer) { trips.sent(pad, buffer); });
  example::watch(pipeline, "decoder", "src",
                 [&](auto* pad, auto* buffer) { trips.received(pad, buffer); });
  const auto text = example::find(pipeline, "latency");
  const auto draw = [&] {
    trips.print_progress();
    const gint64 us = trips.latest();
    if (us < 0) return;
    gchar* words = g_strdup_printf("%.1f ms there and back", static_cast<double>(us) / 1000);
    g_object_set(text.get(), "text", words, nullptr);
    g_free(words);
  };
  const bool ended = example::run(pipeline, {[&] { return trips.moved(); }, draw});
  example::stop(pipeline);
  return ended ? EXIT_SUCCESS : EXIT_FAILURE;
}
