// See pad_probes.h.

#include "pad_probes.h"

#include <atomic>

#include "stamp.h"
#include "usage_window.h"

namespace bench {

namespace {

struct Gate {
  std::atomic<int> missing;
  GstPad* pad;
  gulong probe;
};

GstPadProbeReturn stay(GstPad*, GstPadProbeInfo*, gpointer) { return GST_PAD_PROBE_OK; }

// Swapped, since what else the signal says of a reader differs from element to element.
void reader_came(Gate* gate) {
  if (--gate->missing == 0) gst_pad_remove_probe(gate->pad, gate->probe);
}

void forget(gpointer gate, GClosure*) { delete static_cast<Gate*>(gate); }

GstElement* first_element(GstElement* pipeline, GstIterator* (*iterate)(GstBin*),
                          const char* with_signal) {
  GstIterator* elements = iterate(GST_BIN(pipeline));
  GValue item = G_VALUE_INIT;
  GstElement* found = nullptr;
  while (!found && gst_iterator_next(elements, &item) == GST_ITERATOR_OK) {
    auto* element = GST_ELEMENT(g_value_get_object(&item));
    if (!with_signal || g_signal_lookup(with_signal, G_OBJECT_TYPE(element))) found = element;
    g_value_reset(&item);
  }
  g_value_unset(&item);
  gst_iterator_free(elements);
  return found;
}

GstPadProbeReturn look_at_stamp(GstPad*, GstPadProbeInfo* info, gpointer) {
  GstMapInfo map;
  if (!gst_buffer_map(GST_PAD_PROBE_INFO_BUFFER(info), &map, GST_MAP_READ)) return GST_PAD_PROBE_OK;
  const bool counted = map.size >= sizeof(Stamp) && read_stamp(map.data).has(kCounted);
  gst_buffer_unmap(GST_PAD_PROBE_INFO_BUFFER(info), &map);
  if (!counted) return GST_PAD_PROBE_OK;
  UsageWindow::of_process().open();
  return GST_PAD_PROBE_REMOVE;
}

}  // namespace

bool hold_for_readers(GstElement* pipeline, int readers) {
  constexpr const char* kSignal = "client-connected";
  GstElement* source = first_element(pipeline, gst_bin_iterate_sources, nullptr);
  GstElement* sender = first_element(pipeline, gst_bin_iterate_sinks, kSignal);
  GstPad* pad = source ? gst_element_get_static_pad(source, "src") : nullptr;
  if (!sender || !pad) {
    gst_clear_object(&pad);
    return false;
  }
  const auto what =
      static_cast<GstPadProbeType>(GST_PAD_PROBE_TYPE_BLOCK | GST_PAD_PROBE_TYPE_BUFFER);
  auto* gate = new Gate{readers, pad, gst_pad_add_probe(pad, what, stay, nullptr, nullptr)};
  g_signal_connect_data(sender, kSignal, G_CALLBACK(reader_came), gate, forget, G_CONNECT_SWAPPED);
  gst_object_unref(pad);  // its element keeps it
  return true;
}

void watch_relay(GstElement* pipeline) {
  GstElement* relay = gst_bin_get_by_name(GST_BIN(pipeline), "relay");
  if (!relay) return;
  GstPad* pad = gst_element_get_static_pad(relay, "sink");
  if (pad) gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_BUFFER, look_at_stamp, nullptr, nullptr);
  gst_clear_object(&pad);
  gst_object_unref(relay);
}

}  // namespace bench
