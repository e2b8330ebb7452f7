// A message of the far bus, gstmmap::decode_message(), and the small notices.
//
// The first byte says which.
#include "gst/wire.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/gst.h"

namespace {

using Message = fuzz::Own<GstMessage>;

constexpr int kPid = 4711;

GstObject* source() {
  static GstObject* const bin =
      GST_OBJECT(gst_object_ref_sink(g_object_new(GST_TYPE_BIN, "name", "bin", nullptr)));
  return bin;
}

Message decode(fuzz::Bytes bytes) {
  return Message(gstmmap::decode_message(bytes, source(), kPid));
}

// An error's text, without the remark that it came from elsewhere.
std::string text_of(GstMessage* message) {
  GError* error = nullptr;
  if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ERROR)
    gst_message_parse_error(message, &error, nullptr);
  else
    gst_message_parse_warning(message, &error, nullptr);
  const fuzz::Own<GError> owned(error);
  return std::string(g_quark_to_string(error->domain)) + " " + std::to_string(error->code) + " " +
         error->message;
}

void message(fuzz::Bytes bytes) {
  const Message came = decode(bytes);
  if (!came) return;
  fuzz::use(gst_message_get_structure(came.get()));
  const auto sent = gstmmap::encode_message(came.get());
  fuzz::check(sent.has_value(), "a message that came can go on");
  const Message again = decode(*sent);
  fuzz::check(again && GST_MESSAGE_TYPE(again.get()) == GST_MESSAGE_TYPE(came.get()),
              "it arrives there");
  if (GST_MESSAGE_TYPE(came.get()) != GST_MESSAGE_ELEMENT)
    fuzz::check(text_of(again.get()) == text_of(came.get()), "as it was");
  else
    fuzz::check(gstmmap::encode_message(again.get()) == sent, "as it was");
}

// What one of these takes is of its size, and comes back.
template <class T>
void notice(const T& decoded, fuzz::Bytes bytes) {
  if (!decoded) return;
  const auto sent = gstmmap::encode(*decoded);
  fuzz::check(std::equal(sent.begin(), sent.end(), bytes.begin(), bytes.end()), "as it was");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Input input(data, size);
  const auto which = input.byte();
  const fuzz::Bytes bytes = input.rest();
  switch (which) {
    case 0:
      message(bytes);
      break;
    case 1:
      notice(gstmmap::decode_flow(bytes), bytes);
      break;
    case 2:
      notice(gstmmap::decode_seqnum(bytes), bytes);
      break;
    case 3:
      notice(gstmmap::decode_flush_start(bytes), bytes);
      break;
    case 4:
      notice(gstmmap::decode_flush_stop(bytes), bytes);
      break;
    case 5:
      if (const auto parts = gstmmap::split_id(bytes)) {
        const auto sent = gstmmap::with_id(parts->id, parts->bytes);
        fuzz::check(std::equal(sent.begin(), sent.end(), bytes.begin(), bytes.end()), "as it was");
      }
      break;
    default:
      break;
  }
  return 0;
}
