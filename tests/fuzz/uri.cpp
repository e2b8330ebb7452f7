// Text that an application got from somewhere: a URI, and the words of the property `mmap`.
//
// The first byte says which, and of which element; the rest is the text.
#include <string>

#include "elements/gstmmapsink.h"
#include "elements/gstmmapsrc.h"
#include "elements/settings.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/gst.h"

namespace {

using Element = fuzz::Own<GstElement>;

Element make(bool sink) {
  return Element(GST_ELEMENT(
      gst_object_ref_sink(g_object_new(sink ? GST_TYPE_MMAP_SINK : GST_TYPE_MMAP_SRC, nullptr))));
}

void check_reason(GError* error) {
  const fuzz::Own<GError> owned(error);
  fuzz::check(
      owned != nullptr && *owned->message != '\0' && g_utf8_validate(owned->message, -1, nullptr),
      "a refusal says why, in words");
}

std::string get_uri(const Element& element) {
  const fuzz::Own<gchar> uri(gst_uri_handler_get_uri(GST_URI_HANDLER(element.get())));
  return uri ? uri.get() : "";
}

void set_uri(bool sink, const std::string& text) {
  const Element element = make(sink);
  GError* error = nullptr;
  if (!gst_uri_handler_set_uri(GST_URI_HANDLER(element.get()), text.c_str(), &error)) {
    // GStreamer itself repeats what is none of ours as it is.
    if (gst_uri_has_protocol(text.c_str(), "mmap")) return check_reason(error);
    return g_error_free(error);
  }
  fuzz::check(error == nullptr, "no error where it was taken");
  const std::string uri = get_uri(element);
  const Element other = make(sink);
  fuzz::check(gst_uri_handler_set_uri(GST_URI_HANDLER(other.get()), uri.c_str(), nullptr),
              "what an element says it takes");
  fuzz::check(get_uri(other) == uri, "as it was");
}

// A word that is none must end before READY, with an error for people.
void set_mmap(bool sink, const std::string& word) {
  if (gstmmap::check_mmap(word)) return;
  const Element element = make(sink);
  GstBus* bus = gst_bus_new();
  gst_element_set_bus(element.get(), bus);
  g_object_set(element.get(), "socket-path", "/nowhere/mmap", "mmap", word.c_str(), nullptr);
  fuzz::check(gst_element_set_state(element.get(), GST_STATE_READY) == GST_STATE_CHANGE_FAILURE,
              "no word, no start");
  const fuzz::Own<GstMessage> message(gst_bus_pop_filtered(bus, GST_MESSAGE_ERROR));
  fuzz::check(message != nullptr, "it says why");
  GError* error = nullptr;
  gst_message_parse_error(message.get(), &error, nullptr);
  check_reason(error);
  gst_element_set_state(element.get(), GST_STATE_NULL);
  gst_element_set_bus(element.get(), nullptr);
  gst_object_unref(bus);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Input input(data, size);
  const auto which = input.byte();
  const fuzz::Bytes rest = input.rest();
  // As C sees it.
  const std::string text =
      std::string(reinterpret_cast<const char*>(rest.data()), rest.size()).c_str();
  const bool sink = (which & 1) != 0;
  if ((which & 2) == 0)
    set_uri(sink, text);
  else
    set_mmap(sink, text);
  return 0;
}
