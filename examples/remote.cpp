// The smallest program that has its picture encoded by another process: ten seconds of a test
// picture go to the server, and packets come back, into a file.
//
//   remote SOCKET FILE
//
// SOCKET is a server's, such as that of `encode-server SOCKET`. remote.py is the same in Python.
#include <gst/gst.h>

#include <cstdlib>

namespace {

void set(GstElement* pipeline, const char* name, const char* property, const char* value) {
  GstElement* element = gst_bin_get_by_name(GST_BIN(pipeline), name);
  g_object_set(element, property, value, nullptr);
  gst_object_unref(element);
}

}  // namespace

int main(int argc, char** argv) {
  gst_init(&argc, &argv);
  if (argc != 3) {
    g_printerr("usage: remote SOCKET FILE\n");
    return EXIT_FAILURE;
  }
  GError* error = nullptr;
  GstElement* pipeline = gst_parse_launch_full(
      "videotestsrc num-buffers=300 ! video/x-raw,width=640,height=480,framerate=30/1 ! "
      // Where an encoder would stand. A server is waited for, for ten seconds.
      "mmapremote name=remote connection-timeout=10000000000 ! "
      "h264parse ! matroskamux ! filesink name=file",
      nullptr, GST_PARSE_FLAG_FATAL_ERRORS, &error);
  if (error != nullptr) {
    g_printerr("can't make the pipeline: %s\n", error->message);
    return EXIT_FAILURE;
  }
  set(pipeline, "remote", "socket-path", argv[1]);
  set(pipeline, "file", "location", argv[2]);

  gst_element_set_state(pipeline, GST_STATE_PLAYING);
  GstBus* bus = gst_element_get_bus(pipeline);
  GstMessage* message = gst_bus_timed_pop_filtered(
      bus, GST_CLOCK_TIME_NONE, static_cast<GstMessageType>(GST_MESSAGE_EOS | GST_MESSAGE_ERROR));
  const bool ended = GST_MESSAGE_TYPE(message) == GST_MESSAGE_EOS;
  if (!ended) {
    gst_message_parse_error(message, &error, nullptr);
    g_printerr("%s\n", error->message);
    g_error_free(error);
  }
  gst_message_unref(message);
  gst_object_unref(bus);
  gst_element_set_state(pipeline, GST_STATE_NULL);
  gst_object_unref(pipeline);
  return ended ? EXIT_SUCCESS : EXIT_FAILURE;
}
