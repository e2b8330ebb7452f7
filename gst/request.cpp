#include "gst/request.h"

#include <glib.h>

#include <algorithm>
#include <optional>

#include "lib/message.h"

using mmaplink::Error;
using mmaplink::Failure;
using mmaplink::Result;
using mmaplink::Status;

namespace gstmmap {

namespace {

Error wrong(std::string text) { return {Failure::settings, std::move(text)}; }

// But for the ends of lines, where `lines` are. Of valid UTF-8.
bool has_controls(std::string_view text, bool lines) {
  const char* end = text.data() + text.size();
  for (const char* at = text.data(); at != end; at = g_utf8_next_char(at))
    if (g_unichar_iscntrl(g_utf8_get_char(at)) && !(lines && *at == '\n')) return true;
  return false;
}

Status check_text(std::string_view text, bool lines) {
  if (text.size() > mmaplink::kMostRequest)
    return wrong("a request of " + std::to_string(text.size()) + " bytes; at most " +
                 std::to_string(mmaplink::kMostRequest) + " are taken");
  if (!g_utf8_validate_len(text.data(), text.size(), nullptr))
    return wrong("a request that is no valid UTF-8");
  if (has_controls(text, lines)) return wrong("a request with control characters in it");
  return mmaplink::ok();
}

// "name=value", put to those that are there.
Status add(std::string_view text, Params& params) {
  const size_t equals = text.find('=');
  if (equals == std::string_view::npos || equals == 0)
    return wrong("'" + shortened(text) + "' in a request is not name=value");
  std::string name(text.substr(0, equals));
  if (name.find_first_of(" ,") != std::string::npos)
    return wrong("'" + shortened(name) + "' in a request is not the name of a property");
  if (std::any_of(params.begin(), params.end(), [&](const auto& one) { return one.first == name; }))
    return wrong("'" + shortened(name) + "' is in a request twice");
  params.emplace_back(std::move(name), text.substr(equals + 1));
  return mmaplink::ok();
}

// The next line, or none at the end.
std::optional<std::string_view> next_line(std::optional<std::string_view>& left) {
  if (!left) return std::nullopt;
  const size_t end = left->find('\n');
  const std::string_view line = left->substr(0, end);
  if (end == std::string_view::npos)
    left.reset();
  else
    left->remove_prefix(end + 1);
  return line;
}

Result<Params> rest_of(std::optional<std::string_view> left) {
  Params params;
  while (const auto line = next_line(left))
    if (auto good = add(*line, params); !good) return good.error();
  return params;
}

std::string trimmed(std::string text) {
  text.erase(0, std::min(text.find_first_not_of(' '), text.size()));
  text.erase(text.find_last_not_of(' ') + 1);
  return text;
}

}  // namespace

Status check(const Request& request) {
  auto parsed = parse_request(build(request));
  if (!parsed) return parsed.error();
  // A line's end within a value would be one of another.
  if (*parsed != request) return wrong("a request with control characters in it");
  return mmaplink::ok();
}

std::string build(const Request& request) {
  std::string text = request.profile;
  if (!request.params.empty()) text += '\n' + build_params(request.params);
  return text;
}

std::string build_params(const Params& params) {
  std::string text;
  for (const auto& [name, value] : params) {
    if (!text.empty()) text += '\n';
    text += name;
    text += '=';
    text += value;
  }
  return text;
}

Result<Request> parse_request(std::string_view text) {
  if (auto good = check_text(text, true); !good) return good.error();
  std::optional<std::string_view> left = text;
  Request request;
  request.profile = *next_line(left);
  auto params = rest_of(left);
  if (!params) return params.error();
  request.params = std::move(*params);
  return request;
}

Result<Params> parse_param_lines(std::string_view text) {
  if (auto good = check_text(text, true); !good) return good.error();
  if (text.empty()) return Params();
  return rest_of(text);
}

Result<Params> parse_params(std::string_view text) {
  if (auto good = check_text(text, false); !good) return good.error();
  Params params;
  std::string one;
  for (size_t i = 0; i <= text.size(); ++i) {
    if (i == text.size() || text[i] == ',') {
      one = trimmed(std::move(one));
      // None at all is no parameter; one that was left out is a mistake.
      if (!one.empty() || i != text.size() || !params.empty())
        if (auto good = add(one, params); !good) return good.error();
      one.clear();
      continue;
    }
    const bool escapes =
        text[i] == '\\' && i + 1 < text.size() && (text[i + 1] == ',' || text[i + 1] == '\\');
    one += text[escapes ? ++i : i];
  }
  return params;
}

std::string shortened(std::string_view text, size_t most) {
  const std::string_view kept = text.substr(0, most);
  gchar* made = g_utf8_make_valid(kept.data(), static_cast<gssize>(kept.size()));
  std::string shown;
  for (const gchar* at = made; *at != '\0'; at = g_utf8_next_char(at)) {
    if (g_unichar_iscntrl(g_utf8_get_char(at)))
      shown += '?';
    else
      shown.append(at, static_cast<const gchar*>(g_utf8_next_char(at)));
  }
  g_free(made);
  return text.size() <= most ? shown : shown + "…";
}

}  // namespace gstmmap
