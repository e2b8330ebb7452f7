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

}  // namespace gstmmap
