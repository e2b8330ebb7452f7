// What a client asks of a server that has more than one thing to give: which profile, and which
// properties of its elements. It crosses as the `request` of the greeting (lib/message.h).
//
// Lines, separated by '\n': first the profile's name (empty: the server's default), then any number
// of name=value. UTF-8 without control characters; at most mmaplink::kMostRequest bytes.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/result.h"

namespace gstmmap {

// Name and value. No name is there twice.
using Params = std::vector<std::pair<std::string, std::string>>;

struct Request {
  std::string profile = {};
  Params params = {};
  friend bool operator==(const Request&, const Request&) = default;
};

// Whether it can be sent: what parse_request() would say to it.
mmaplink::Status check(const Request& request);
std::string build(const Request& request);
mmaplink::Result<Request> parse_request(std::string_view text);

// The lines of parameters alone, without a profile.
std::string build_params(const Params& params);
mmaplink::Result<Params> parse_param_lines(std::string_view text);

// As a person writes them: "bitrate=2000,speed-preset=fast". A backslash before a comma or another
// backslash makes it part of the value.
mmaplink::Result<Params> parse_params(std::string_view text);

// A peer's text in a message for a person: not all of a long one, and nothing that a terminal
// obeys.
std::string shortened(std::string_view text, size_t most = 60);

}  // namespace gstmmap
