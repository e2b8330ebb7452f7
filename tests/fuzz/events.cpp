// An event out of a lane or a notice: gstmmap::decode_event().
#include "gst/event-time.h"
#include "gst/wire.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/gst.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const fuzz::Own<GstEvent> event(gstmmap::decode_event(fuzz::bytes_of(data, size)));
  if (!event) return 0;
  fuzz::use(event.get());
  const auto bytes = gstmmap::encode_event(event.get());
  fuzz::check(bytes.has_value(), "an event that came can go on");
  const fuzz::Own<GstEvent> again(gstmmap::decode_event(*bytes));
  fuzz::check(again != nullptr && GST_EVENT_TYPE(again.get()) == GST_EVENT_TYPE(event.get()),
              "it arrives there");
  fuzz::check(gstmmap::encode_event(again.get()) == bytes, "as it was");
  // What its offset says it gets from a pad as well.
  const gint64 to_come = gst_event_get_running_time_offset(event.get());
  const fuzz::Own<GstEvent> settled(
      gstmmap::settle_running_time(gst_event_ref(event.get()), to_come));
  fuzz::use(settled.get());
  return 0;
}
