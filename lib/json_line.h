// One JSON object on one line, and flat: names with texts and whole numbers. A status is made of
// these.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace mmaplink {

class JsonLine {
 public:
  // A text may be any bytes: what is no UTF-8 becomes U+FFFD.
  JsonLine& text(std::string_view name, std::string_view value);
  JsonLine& number(std::string_view name, uint64_t value);
  std::string line() const { return line_ + '}'; }

 private:
  void begin(std::string_view name);
  std::string line_ = "{";
};

// The fields of such a line, in their order.
class JsonFields {
 public:
  // Nothing where it is none. Who wrote it is not trusted.
  static std::optional<JsonFields> parse(std::string_view line);

  // "" and 0 where there is no such field, or it is of the other kind.
  std::string text(std::string_view name) const;
  uint64_t number(std::string_view name) const;
  bool has(std::string_view name) const { return find(name) != nullptr; }
  // In place of one of that name, or behind the others.
  void set(std::string_view name, std::variant<uint64_t, std::string> value);
  // Written anew.
  std::string line() const;

 private:
  using Value = std::variant<uint64_t, std::string>;
  const Value* find(std::string_view name) const;
  std::vector<std::pair<std::string, Value>> fields_;
};

}  // namespace mmaplink
