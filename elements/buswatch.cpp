#include "elements/buswatch.h"

#include <mutex>

#include "elements/top.h"

namespace gstmmap {

// Shared with the signal, whose handler may be running while it is disconnected.
struct BusWatch::Watcher {
  std::recursive_mutex mutex;  // what sees a message may post another
  See see;
};

void BusWatch::start(GstElement* element, See see) {
  stop();
  GstElement* top = top_of(element);
  bus_ = gst_element_get_bus(top);
  gst_object_unref(top);
  if (bus_ == nullptr) return;
  watcher_ = std::make_shared<Watcher>();
  watcher_->see = std::move(see);
  using Kept = std::shared_ptr<Watcher>;
  gst_bus_enable_sync_message_emission(bus_);
  handler_ = g_signal_connect_data(
      bus_, "sync-message", G_CALLBACK(+[](GstBus*, GstMessage* message, gpointer data) {
        const Kept watcher = *static_cast<Kept*>(data);
        const std::lock_guard lock(watcher->mutex);
        if (watcher->see) watcher->see(message);
      }),
      new Kept(watcher_), [](gpointer data, GClosure*) { delete static_cast<Kept*>(data); },
      GConnectFlags{});
}

void BusWatch::stop() {
  if (bus_ == nullptr) return;
  g_signal_handler_disconnect(bus_, handler_);
  gst_bus_disable_sync_message_emission(bus_);
  gst_clear_object(&bus_);
  const std::lock_guard lock(watcher_->mutex);
  watcher_->see = nullptr;
}

}  // namespace gstmmap
