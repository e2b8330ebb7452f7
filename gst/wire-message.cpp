// Messages of a pipeline's bus as bytes: errors and warnings, and those of elements.
#include "gst/bytes.h"
#include "gst/wire-structure.h"
#include "gst/wire.h"

namespace gstmmap {

namespace {

struct FreeError {
  void operator()(GError* error) const { g_error_free(error); }
};

// False where the message is of another type.
bool parse(GstMessage* message, std::unique_ptr<GError, FreeError>& error, std::string& debug) {
  GError* found = nullptr;
  gchar* text = nullptr;
  if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ERROR)
    gst_message_parse_error(message, &found, &text);
  else if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_WARNING)
    gst_message_parse_warning(message, &found, &text);
  else
    return false;
  error.reset(found);
  if (text != nullptr) debug = text;
  g_free(text);
  return found != nullptr;
}

std::string path_of(GstObject* object) {
  if (object == nullptr) return "an element";
  gchar* path = gst_object_get_path_string(object);
  std::string text = path;
  g_free(path);
  return text;
}

}  // namespace

std::optional<std::vector<std::byte>> encode_message(GstMessage* message) {
  std::vector<std::byte> bytes;
  BytesOut to(bytes);
  to.put(static_cast<uint32_t>(GST_MESSAGE_TYPE(message)));
  const std::string path = path_of(GST_MESSAGE_SRC(message));
  if (!put_text(path.c_str(), to)) return std::nullopt;
  if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ELEMENT) {
    const GstStructure* structure = gst_message_get_structure(message);
    if (structure == nullptr || !put_structure(structure, to)) return std::nullopt;
    return bytes;
  }
  std::unique_ptr<GError, FreeError> error;
  std::string debug;
  if (!parse(message, error, debug)) return std::nullopt;
  to.put(static_cast<int32_t>(error->code));
  if (!put_name(g_quark_to_string(error->domain), to) || !put_text(error->message, to) ||
      !put_text(debug.c_str(), to))
    return std::nullopt;
  return bytes;
}

GstMessage* decode_message(std::span<const std::byte> bytes, GstObject* source, int pid) {
  BytesIn from(bytes);
  const auto type = from.get<uint32_t>();
  const auto path = get_text(from);
  if (!path) return nullptr;
  if (type == GST_MESSAGE_ELEMENT) {
    auto structure = get_structure(from);
    if (!structure || !from.complete()) return nullptr;
    return gst_message_new_element(source, structure.release());
  }
  const auto code = from.get<int32_t>();
  const char* domain = get_name(from);
  const auto text = get_text(from);
  const auto debug = get_text(from);
  if (domain == nullptr || !text || !debug || !from.complete()) return nullptr;
  const GError error{g_quark_from_string(domain), code, const_cast<gchar*>(text->c_str())};
  const std::string all = "from " + *path + " of process " + std::to_string(pid) + "\n" + *debug;
  GstStructure* details = gst_structure_new("details", "remote-element", G_TYPE_STRING,
                                            path->c_str(), "remote-pid", G_TYPE_INT, pid, nullptr);
  if (type == GST_MESSAGE_ERROR)
    return gst_message_new_error_with_details(source, const_cast<GError*>(&error), all.c_str(),
                                              details);
  if (type == GST_MESSAGE_WARNING)
    return gst_message_new_warning_with_details(source, const_cast<GError*>(&error), all.c_str(),
                                                details);
  gst_structure_free(details);
  return nullptr;
}

}  // namespace gstmmap
