// What an element tells of one direction of a link to whoever asks its server for the status
// (lib/status.h): one line of JSON.
#pragma once

#include <gst/gst.h>

#include <string>

#include "elements/counters.h"
#include "elements/settings.h"
#include "lib/link.h"

namespace gstmmap {

struct Shown {
  GstElement* element = nullptr;
  const Settings& settings;
  mmaplink::Link& link;
  bool sends = false;        // or receives
  const Counters& counters;  // since the link is there
  const std::string& caps;   // as text
  Standing now;
  guint64 held = 0;                                   // by the reader, of those in flight
  std::optional<guint64> latency_max = std::nullopt;  // where that is known
  // Of what goes from the peer's other direction into this one.
  const mmaplink::Histogram* encoding = nullptr;
};
std::string status_line(const Shown& shown);

}  // namespace gstmmap
