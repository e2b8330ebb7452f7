// What the fuzzers of gst/ share: owners, and doing with a thing what a pipeline would.
#pragma once

#include <gst/gst.h>

#include <memory>

namespace fuzz {

struct Unref {
  void operator()(GstBuffer* buffer) const { gst_buffer_unref(buffer); }
  void operator()(GstCaps* caps) const { gst_caps_unref(caps); }
  void operator()(GstEvent* event) const { gst_event_unref(event); }
  void operator()(GstMessage* message) const { gst_message_unref(message); }
  void operator()(GstQuery* query) const { gst_query_unref(query); }
  void operator()(GstStructure* structure) const { gst_structure_free(structure); }
  void operator()(GstTagList* tags) const { gst_tag_list_unref(tags); }
  void operator()(GError* error) const { g_error_free(error); }
  void operator()(gchar* text) const { g_free(text); }
  void operator()(gpointer object) const { gst_object_unref(object); }
};
template <class T>
using Own = std::unique_ptr<T, Unref>;

// While GStreamer does with a thing what it does with each, its warnings are its own.
struct WarningsAllowed {
  WarningsAllowed();
  ~WarningsAllowed();
};

// Each by its type: compared, copied, merged, and used to reckon with.
void use(GstCaps* caps);
void use(const GstStructure* structure);
void use(const GstTagList* tags);
void use(const GstSegment* segment);
void use(GstEvent* event);
void use(GstQuery* query);

}  // namespace fuzz
