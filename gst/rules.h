// Which properties of a server's elements its clients may set, and to what.
//
// A rule is NAME, ELEMENT.NAME, each with a range of numbers or a set of words behind it, or with
// nothing: whatever the property takes. NAME is a property of the first element, in the order of
// the launch description, that has it; ELEMENT is an element's name there, or its factory's. A
// client calls a property by what the rule does.
#pragma once

#include <gst/gst.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gst/request.h"

namespace gstmmap {

struct Rule {
  std::string property;  // as it is written: NAME or ELEMENT.NAME
  std::string values;    // as they are written; empty: any
  friend bool operator==(const Rule&, const Rule&) = default;
};
using Rules = std::vector<Rule>;

// "bitrate=500..8000,x264enc.speed-preset=fast|medium,key-int-max".
mmaplink::Result<Rules> parse_rules(std::string_view text);
// The same text again; "nothing" where there are none.
std::string name_of(const Rules& rules);
// Whether the elements in `bin`, or the element that it is, have what the rules are about.
mmaplink::Status check_rules(const Rules& rules, GstElement* bin);

// All or nothing: an error says which of them may not be set so, and what may. With `playing`
// nothing that cannot be changed then.
mmaplink::Status apply(const Params& params, const Rules& rules, GstElement* bin, bool playing);

}  // namespace gstmmap
