// A gst-launch-1.0 that says what it sees, for tests to compare what two processes see.
//
//   watch [--frames ELEMENT] [--places ELEMENT] [--times ELEMENT] LAUNCH-LINE…
//
// Lines on standard output, for each buffer that comes to an element, or goes from one that has no
// sink pad:
//   frame PTS DTS DURATION FLAGS SIZE SHA1
//   place INODE:OFFSET …            (one for each memory; - for memory of no arena)
//   time RUNNING-TIME
// and besides
//   stats ELEMENT FIELDS            of each mmapsink and mmapsrc, at the end
//   error TEXT
//   warning TEXT
// The exit status is 0 after EOS, 1 after an error. SIGINT asks for EOS.
#include <glib-unix.h>
#include <gst/gst.h>
#include <sys/stat.h>

#include <cstdio>
#include <memory>
#include <string>

#include "gst/mmap.h"

namespace {

using Show = void (*)(GstPad*, GstBuffer*);

void show_frame(GstPad*, GstBuffer* buffer) {
  GstMapInfo map;
  if (!gst_buffer_map(buffer, &map, GST_MAP_READ)) return;
  gchar* sum = g_compute_checksum_for_data(G_CHECKSUM_SHA1, map.data, map.size);
  // Flags of the process itself: which memory it is, and who may lock it.
  constexpr guint kLocal = GST_BUFFER_FLAG_TAG_MEMORY | (GST_MINI_OBJECT_FLAG_LAST - 1);
  g_print("frame %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %x %zu %s\n",
          GST_BUFFER_PTS(buffer), GST_BUFFER_DTS(buffer), GST_BUFFER_DURATION(buffer),
          GST_BUFFER_FLAGS(buffer) & ~kLocal, map.size, sum);
  g_free(sum);
  gst_buffer_unmap(buffer, &map);
}

void show_places(GstPad*, GstBuffer* buffer) {
  std::string line = "place";
  for (guint i = 0; i < gst_buffer_n_memory(buffer); ++i) {
    GstMemory* memory = gst_buffer_peek_memory(buffer, i);
    struct stat st {};
    if (gst_is_mmap_memory(memory) && fstat(gst_mmap_memory_get_fd(memory), &st) == 0)
      line += " " + std::to_string(st.st_ino) + ":" +
              std::to_string(gst_mmap_memory_get_offset(memory));
    else
      line += " -";
  }
  g_print("%s\n", line.c_str());
}

void show_time(GstPad* pad, GstBuffer* buffer) {
  GstEvent* event = gst_pad_get_sticky_event(pad, GST_EVENT_SEGMENT, 0);
  if (event == nullptr) return;
  const GstSegment* segment = nullptr;
  gst_event_parse_segment(event, &segment);
  g_print("time %" G_GUINT64_FORMAT "\n",
          gst_segment_to_running_time(segment, GST_FORMAT_TIME, GST_BUFFER_PTS(buffer)));
  gst_event_unref(event);
}

GstPadProbeReturn on_data(GstPad* pad, GstPadProbeInfo* info, gpointer data) {
  const auto show = reinterpret_cast<Show>(data);
  if ((GST_PAD_PROBE_INFO_TYPE(info) & GST_PAD_PROBE_TYPE_BUFFER) != 0) {
    show(pad, GST_PAD_PROBE_INFO_BUFFER(info));
  } else {
    GstBufferList* list = GST_PAD_PROBE_INFO_BUFFER_LIST(info);
    for (guint i = 0; i < gst_buffer_list_length(list); ++i)
      show(pad, gst_buffer_list_get(list, i));
  }
  return GST_PAD_PROBE_OK;
}

bool watch(GstElement* pipeline, const char* name, Show show) {
  GstElement* element = gst_bin_get_by_name(GST_BIN(pipeline), name);
  if (element == nullptr) return false;
  GstPad* pad = gst_element_get_static_pad(element, "sink");
  if (pad == nullptr) pad = gst_element_get_static_pad(element, "src");
  gst_pad_add_probe(
      pad, static_cast<GstPadProbeType>(GST_PAD_PROBE_TYPE_BUFFER | GST_PAD_PROBE_TYPE_BUFFER_LIST),
      on_data, reinterpret_cast<gpointer>(show), nullptr);
  gst_object_unref(pad);
  gst_object_unref(element);
  return true;
}

void show_stats(const GValue* item, gpointer) {
  auto* element = GST_ELEMENT(g_value_get_object(item));
  const gchar* factory = GST_OBJECT_NAME(gst_element_get_factory(element));
  if (!g_str_equal(factory, "mmapsink") && !g_str_equal(factory, "mmapsrc")) return;
  GstStructure* stats = nullptr;
  g_object_get(element, "stats", &stats, nullptr);
  gchar* text = gst_structure_to_string(stats);
  g_print("stats %s %s\n", factory, text);
  g_free(text);
  gst_structure_free(stats);
}

int run(GstElement* pipeline) {
  g_unix_signal_add(
      SIGINT,
      [](gpointer data) -> gboolean {
        gst_element_send_event(GST_ELEMENT(data), gst_event_new_eos());
        return G_SOURCE_REMOVE;
      },
      pipeline);
  GMainLoop* loop = g_main_loop_new(nullptr, FALSE);
  struct End {
    GMainLoop* loop;
    int status;
  } end{loop, 0};
  GstBus* bus = gst_element_get_bus(pipeline);
  gst_bus_add_watch(
      bus,
      [](GstBus*, GstMessage* message, gpointer data) -> gboolean {
        auto& to = *static_cast<End*>(data);
        if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ERROR) {
          GError* error = nullptr;
          gst_message_parse_error(message, &error, nullptr);
          g_print("error %s\n", error->message);
          g_error_free(error);
          to.status = 1;
        } else if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_WARNING) {
          GError* warning = nullptr;
          gst_message_parse_warning(message, &warning, nullptr);
          g_print("warning %s\n", warning->message);
          g_error_free(warning);
        }
        const auto ends = static_cast<GstMessageType>(GST_MESSAGE_ERROR | GST_MESSAGE_EOS);
        if ((GST_MESSAGE_TYPE(message) & ends) != 0) g_main_loop_quit(to.loop);
        return G_SOURCE_CONTINUE;
      },
      &end);
  gst_element_set_state(pipeline, GST_STATE_PLAYING);
  g_main_loop_run(loop);
  GstIterator* elements = gst_bin_iterate_recurse(GST_BIN(pipeline));
  gst_iterator_foreach(elements, show_stats, nullptr);
  gst_iterator_free(elements);
  gst_element_set_state(pipeline, GST_STATE_NULL);
  gst_bus_remove_watch(bus);
  gst_object_unref(bus);
  g_main_loop_unref(loop);
  return end.status;
}

}  // namespace

int main(int argc, char** argv) {
  gst_init(&argc, &argv);
  setlinebuf(stdout);
  std::string line;
  std::string frames;
  std::string places;
  std::string times;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--frames" && i + 1 < argc)
      frames = argv[++i];
    else if (word == "--places" && i + 1 < argc)
      places = argv[++i];
    else if (word == "--times" && i + 1 < argc)
      times = argv[++i];
    else
      line += word + " ";
  }
  GError* error = nullptr;
  GstElement* pipeline = gst_parse_launch(line.c_str(), &error);
  const bool good = error == nullptr && GST_IS_BIN(pipeline) &&
                    (frames.empty() || watch(pipeline, frames.c_str(), show_frame)) &&
                    (places.empty() || watch(pipeline, places.c_str(), show_places)) &&
                    (times.empty() || watch(pipeline, times.c_str(), show_time));
  if (!good) {
    g_printerr("%s: %s\n", line.c_str(), error != nullptr ? error->message : "no such element");
    return 2;
  }
  const int status = run(pipeline);
  gst_object_unref(pipeline);
  return status;
}
