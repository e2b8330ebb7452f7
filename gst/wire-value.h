// A value of a GstStructure as bytes: of all types that GStreamer itself would write as text, but
// for those that are made of several others (samples, tags, segments).
#pragma once

#include <gst/gst.h>

#include "gst/bytes.h"

namespace gstmmap {

bool put_value(const GValue* value, BytesOut& to, int depth);
// `value` comes without a type. Where it has one afterwards it is to be unset, whatever is
// returned.
bool get_value(BytesIn& from, GValue* value, int depth);

// Whether it is a string, or the like, that is not there. GStreamer can't print a list with one.
bool is_absent(const GValue* value);

}  // namespace gstmmap
