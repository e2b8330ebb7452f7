#include "elements/top.h"

namespace gstmmap {

GstElement* top_of(GstElement* element) {
  GstObject* top = GST_OBJECT(gst_object_ref(element));
  while (GstObject* parent = gst_object_get_parent(top)) {
    gst_object_unref(top);
    top = parent;
  }
  return GST_ELEMENT(top);
}

bool is_being_stopped(GstElement* element) {
  GstElement* top = top_of(element);
  GST_OBJECT_LOCK(top);
  const bool is = GST_STATE_TARGET(top) < GST_STATE_PAUSED;
  GST_OBJECT_UNLOCK(top);
  gst_object_unref(top);
  return is;
}

}  // namespace gstmmap
