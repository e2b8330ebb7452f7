// What events, queries, messages and metas are made of, each by itself, so that the fuzzer need not
// find its way through those first: structures, caps, values, tags, streams, tables of contents.
//
// The first byte says which it is.
#include "gst/wire-stream.h"
#include "gst/wire-structure.h"
#include "gst/wire-value.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/gst.h"

namespace {

using gstmmap::BytesIn;
using gstmmap::BytesOut;
using Out = std::vector<std::byte>;

// What was read is written, read and written again: both times the same bytes.
template <class Get, class Put>
void there_and_back(fuzz::Bytes bytes, Get get, Put put) {
  BytesIn from(bytes);
  const auto one = get(from);
  if (!one || !from.good()) return;
  Out sent;
  BytesOut to(sent);
  fuzz::check(put(one.get(), to), "what came can go on");
  BytesIn from_sent(sent);
  const auto other = get(from_sent);
  fuzz::check(other && from_sent.complete(), "it arrives there");
  Out again;
  BytesOut to_again(again);
  fuzz::check(put(other.get(), to_again) && again == sent, "as it was");
}

struct ReleaseValue {
  void operator()(GValue* value) const {
    if (G_IS_VALUE(value)) g_value_unset(value);
    delete value;
  }
};
using Value = std::unique_ptr<GValue, ReleaseValue>;

Value read_value(BytesIn& from) {
  Value value(new GValue(G_VALUE_INIT));
  return gstmmap::get_value(from, value.get(), gstmmap::kDeepest) ? std::move(value) : nullptr;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Input input(data, size);
  const auto which = input.byte();
  const fuzz::Bytes bytes = input.rest();
  switch (which) {
    case 0:
      there_and_back(
          bytes,
          [](BytesIn& from) {
            auto structure = gstmmap::get_structure(from);
            if (structure) fuzz::use(structure.get());
            return structure;
          },
          [](const GstStructure* structure, BytesOut& to) {
            return gstmmap::put_structure(structure, to);
          });
      break;
    case 1:
      there_and_back(
          bytes,
          [](BytesIn& from) {
            auto caps = gstmmap::get_caps(from);
            if (caps) fuzz::use(caps.get());
            return caps;
          },
          [](GstCaps* caps, BytesOut& to) { return gstmmap::put_caps(caps, to); });
      break;
    case 2:
      there_and_back(bytes, read_value, [](const GValue* value, BytesOut& to) {
        return gstmmap::put_value(value, to, gstmmap::kDeepest);
      });
      break;
    case 3:
      there_and_back(
          bytes,
          [](BytesIn& from) {
            auto tags = gstmmap::get_tags(from);
            if (tags) fuzz::use(tags.get());
            return tags;
          },
          [](const GstTagList* tags, BytesOut& to) {
            gstmmap::put_tags(tags, to);
            return true;
          });
      break;
    case 4:
      there_and_back(bytes, gstmmap::get_streams, gstmmap::put_streams);
      break;
    case 5:
      there_and_back(bytes, gstmmap::get_toc, gstmmap::put_toc);
      break;
    case 6:
      there_and_back(bytes, gstmmap::get_date_time, gstmmap::put_date_time);
      break;
    default:
      break;
  }
  return 0;
}
