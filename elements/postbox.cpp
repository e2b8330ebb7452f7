#include "elements/postbox.h"

namespace gstmmap {

void Postbox::post(GstMessage* message) {
  if (*unread_ < kMostUnread) return post_in_any_case(message);
  GST_WARNING_OBJECT(element_, "nobody reads the bus: dropping %" GST_PTR_FORMAT,
                     static_cast<void*>(message));
  gst_message_unref(message);
}

void Postbox::post_in_any_case(GstMessage* message) {
  using Count = std::shared_ptr<std::atomic<size_t>>;
  ++*unread_;
  gst_mini_object_weak_ref(
      GST_MINI_OBJECT_CAST(message),
      [](gpointer data, GstMiniObject*) {
        const std::unique_ptr<Count> count(static_cast<Count*>(data));
        --**count;
      },
      new Count(unread_));
  gst_element_post_message(element_, message);
}

}  // namespace gstmmap
