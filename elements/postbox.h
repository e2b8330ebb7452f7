// What peers cause to be posted on the bus of an application, which may not read it: so many
// messages lie there unread, and more are dropped.
//
// Owned by an element. Any thread.
#pragma once

#include <gst/gst.h>

#include <atomic>
#include <memory>

namespace gstmmap {

class Postbox {
 public:
  explicit Postbox(GstElement* element) : element_(element) {}

  // Takes the message, and drops it where that is full.
  void post(GstMessage* message);
  // One that must come. There are few of these.
  void post_in_any_case(GstMessage* message);

 private:
  static constexpr size_t kMostUnread = 1024;
  GstElement* const element_;
  // Shared with the messages, which may outlive us.
  const std::shared_ptr<std::atomic<size_t>> unread_ = std::make_shared<std::atomic<size_t>>(0);
};

}  // namespace gstmmap
