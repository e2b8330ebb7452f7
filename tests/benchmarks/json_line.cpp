// Quoting and numbers of JSON; see json_line.h.

#include "json_line.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>

namespace bench {

namespace {

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      std::array<char, 8> escape{};
      std::snprintf(escape.data(), escape.size(), "\\u%04x",
                    static_cast<unsigned>(static_cast<unsigned char>(c)));
      out += escape.data();
    } else {
      out += c;
    }
  }
  return out + '"';
}

}  // namespace

JsonLine& JsonLine::raw(std::string_view name, std::string_view value) {
  if (!members_.empty()) members_ += ",";
  members_ += quoted(name);
  members_ += ":";
  members_ += value;
  return *this;
}

JsonLine& JsonLine::text(std::string_view name, std::string_view value) {
  return raw(name, quoted(value));
}

JsonLine& JsonLine::number(std::string_view name, double value) {
  // JSON has no word for these.
  if (!std::isfinite(value)) return raw(name, "null");
  // Not printf: its decimal point depends on the locale.
  std::array<char, 64> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value,
                                 std::chars_format::general, 9)
                       .ptr;
  return raw(name, std::string_view(digits.data(), end));
}

JsonLine& JsonLine::object(std::string_view name, const JsonLine& value) {
  return raw(name, value.str());
}

JsonLine& JsonLine::objects(std::string_view name, const std::vector<JsonLine>& values) {
  std::string all;
  for (const JsonLine& value : values) all += (all.empty() ? "" : ",") + value.str();
  return raw(name, "[" + all + "]");
}

}  // namespace bench
