#include "pipeline.h"

#include <csignal>
#include <cstdlib>
#include <future>
#include <thread>

namespace example {

namespace {

using Bus = Owned<GstBus, gst_object_unref>;
using Error = Owned<GError, g_error_free>;
using Message = Owned<GstMessage, gst_message_unref>;
using String = Owned<gchar, g_free>;
using Structure = Owned<GstStructure, gst_structure_free>;

// From asking for EOS: what is on its way has to be encoded and to come back.
constexpr gint64 kEndTimeout = 20 * G_TIME_SPAN_SECOND;
constexpr auto kStopTimeout = std::chrono::seconds(5);
constexpr GstClockTime kLook = 100 * GST_MSECOND;

volatile std::sig_atomic_t asked_to_end = 0;

void end_on_signals() {
  struct sigaction action {};
  action.sa_handler = [](int) { asked_to_end = 1; };
  for (const int signal : {SIGINT, SIGTERM}) sigaction(signal, &action, nullptr);
}

void print(GstMessage* message) {
  GError* error = nullptr;
  gchar* debug = nullptr;
  switch (GST_MESSAGE_TYPE(message)) {
    case GST_MESSAGE_ERROR:
      gst_message_parse_error(message, &error, &debug);
      break;
    case GST_MESSAGE_WARNING:
      gst_message_parse_warning(message, &error, &debug);
      break;
    default:
      gst_message_parse_info(message, &error, &debug);
  }
  const Error owned_error(error);
  const String owned_debug(debug);
  const String path(gst_object_get_path_string(GST_MESSAGE_SRC(message)));
  g_printerr("%s from %s: %s\n", GST_MESSAGE_TYPE_NAME(message), path.get(), error->message);
  if (debug != nullptr && GST_MESSAGE_TYPE(message) != GST_MESSAGE_INFO) g_printerr("%s\n", debug);
}

}  // namespace

Element parse(const std::string& description) {
  GError* error = nullptr;
  Element pipeline(
      gst_parse_launch_full(description.c_str(), nullptr, GST_PARSE_FLAG_FATAL_ERRORS, &error));
  if (const Error owner(error); error != nullptr) {
    g_printerr("can't make the pipeline: %s\n  %s\n", error->message, description.c_str());
    return nullptr;
  }
  return pipeline;
}

Element find(const Element& pipeline, const char* name) {
  Element element(gst_bin_get_by_name(GST_BIN(pipeline.get()), name));
  if (!element) g_error("there is no element %s", name);
  return element;
}

bool run(const Element& pipeline, const Job& job) {
  end_on_signals();
  const Bus bus(gst_element_get_bus(pipeline.get()));
  // Why it fails, if it does, comes as a message.
  gst_element_set_state(pipeline.get(), GST_STATE_PLAYING);
  gint64 printed = g_get_monotonic_time();
  gint64 moved = printed;
  gint64 began = 0;
  gint64 ending = 0;
  guint64 frames = 0;
  for (;;) {
    const Message message(gst_bus_timed_pop(bus.get(), kLook));
    if (message) {
      switch (GST_MESSAGE_TYPE(message.get())) {
        case GST_MESSAGE_EOS:
          return true;
        case GST_MESSAGE_ERROR:
          print(message.get());
          return false;
        case GST_MESSAGE_WARNING:
        case GST_MESSAGE_INFO:
          print(message.get());
          break;
        case GST_MESSAGE_LATENCY:
          gst_bin_recalculate_latency(GST_BIN(pipeline.get()));
          break;
        default:
          break;
      }
    }
    const gint64 now = g_get_monotonic_time();
    if (const guint64 passed = job.frames(); passed != frames) {
      frames = passed;
      moved = now;
      if (began == 0) began = now;
    }
    if (now - printed >= G_USEC_PER_SEC) {
      printed += G_USEC_PER_SEC;
      job.progress();
    }
    const bool time_is_up =
        job.seconds > 0 && began > 0 && now - began >= job.seconds * G_TIME_SPAN_SECOND;
    if (ending == 0 && (asked_to_end || time_is_up)) {
      ending = now;
      // From a thread of its own: a source takes it only once its frame is through, which may wait.
      gst_element_call_async(
          pipeline.get(),
          [](GstElement* element, gpointer) {
            gst_element_send_event(element, gst_event_new_eos());
          },
          nullptr, nullptr);
    }
    if (ending > 0 && now - ending > kEndTimeout) {
      g_printerr("the stream did not end within %d s\n", int(kEndTimeout / G_USEC_PER_SEC));
      return false;
    }
    if (job.patience > 0 && now - moved > job.patience * G_TIME_SPAN_SECOND) {
      g_printerr("no frame has passed for %d s\n", job.patience);
      return false;
    }
  }
}

void stop(const Element& pipeline) {
  // GStreamer's own lock may be held for as long as a source does not take the EOS.
  std::promise<void> stopped;
  auto done = stopped.get_future();
  std::thread([&pipeline, promise = std::move(stopped)]() mutable {
    gst_element_set_state(pipeline.get(), GST_STATE_NULL);
    promise.set_value();
  }).detach();
  if (done.wait_for(kStopTimeout) == std::future_status::ready) return;
  g_printerr("the pipeline did not stop within %d s\n", int(kStopTimeout.count()));
  std::_Exit(EXIT_FAILURE);
}

guint64 count_of(const Element& pipeline, const char* name, const char* field) {
  GstStructure* stats = nullptr;
  g_object_get(find(pipeline, name).get(), "stats", &stats, nullptr);
  const Structure owner(stats);
  guint64 count = 0;
  if (!gst_structure_get_uint64(stats, field, &count)) g_error("%s does not count %s", name, field);
  return count;
}

void watch(const Element& pipeline, const char* name, const char* pad,
           std::function<void(GstPad*, GstBuffer*)> seen) {
  using Seen = decltype(seen);
  const Pad owned(gst_element_get_static_pad(find(pipeline, name).get(), pad));
  gst_pad_add_probe(
      owned.get(), GST_PAD_PROBE_TYPE_BUFFER,
      [](GstPad* where, GstPadProbeInfo* info, gpointer data) {
        (*static_cast<Seen*>(data))(where, GST_PAD_PROBE_INFO_BUFFER(info));
        return GST_PAD_PROBE_OK;
      },
      new Seen(std::move(seen)), [](gpointer data) { delete static_cast<Seen*>(data); });
}

}  // namespace example
