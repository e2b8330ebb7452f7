// Looks on at the messages of the pipeline that an element is in, whoever else reads them.
//
// Owned by an element. start() and stop() by the application's threads; the function is called by
// whichever thread posts a message, and not any more when stop() has returned.
#pragma once

#include <gst/gst.h>

#include <functional>
#include <memory>

namespace gstmmap {

class BusWatch {
 public:
  using See = std::function<void(GstMessage*)>;
  ~BusWatch() { stop(); }
  // Does nothing for an element that is in no pipeline, or in one without a bus.
  void start(GstElement* element, See see);
  void stop();

 private:
  struct Watcher;
  GstBus* bus_ = nullptr;  // owned
  gulong handler_ = 0;
  std::shared_ptr<Watcher> watcher_;
};

}  // namespace gstmmap
