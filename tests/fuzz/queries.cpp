// A question out of a lane or a notice, and an answer to one of ours: gstmmap::decode_question(),
// decode_answer().
//
// The first two bytes say how long the question is; the rest is the answer to it.
#include "gst/wire.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/gst.h"

namespace {

using Query = fuzz::Own<GstQuery>;

Query question_of(fuzz::Bytes bytes) { return Query(gstmmap::decode_question(bytes)); }

void answer(GstQuery* query, fuzz::Bytes question, fuzz::Bytes bytes) {
  if (!gstmmap::decode_answer(bytes, query)) return;
  fuzz::use(query);
  const auto sent = gstmmap::encode_answer(query);
  fuzz::check(sent.has_value(), "an answer that came can go on");
  const Query again = question_of(question);
  fuzz::check(gstmmap::decode_answer(*sent, again.get()), "it arrives there");
  fuzz::check(gstmmap::encode_answer(again.get()) == sent, "as it was");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Input input(data, size);
  const auto length = input.get<uint16_t>();
  const fuzz::Bytes question = input.take(length);
  const Query query = question_of(question);
  if (!query) return 0;
  fuzz::use(query.get());
  const auto sent = gstmmap::encode_question(query.get());
  fuzz::check(sent.has_value(), "a question that came can go on");
  const Query again = question_of(*sent);
  fuzz::check(again && GST_QUERY_TYPE(again.get()) == GST_QUERY_TYPE(query.get()),
              "it arrives there");
  fuzz::check(gstmmap::encode_question(again.get()) == sent, "as it was");
  answer(query.get(), question, input.rest());
  return 0;
}
