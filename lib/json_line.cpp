#include "lib/json_line.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace mmaplink {

namespace {

constexpr size_t kMostFields = 64;

// Bytes of the character that this begins with; 0 where it is no UTF-8 (RFC 3629).
size_t character_size(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = byte(0);
  size_t size = 0;
  if (first < 0x80)
    size = 1;
  else if (first >= 0xc2 && first < 0xe0)
    size = 2;
  else if (first >= 0xe0 && first < 0xf0)
    size = 3;
  else if (first >= 0xf0 && first < 0xf5)
    size = 4;
  if (size > text.size()) return 0;
  for (size_t i = 1; i < size; ++i)
    if ((byte(i) & 0xc0) != 0x80) return 0;
  // Longer than need be, half of a pair of UTF-16, beyond the last one.
  if ((first == 0xe0 && byte(1) < 0xa0) || (first == 0xed && byte(1) >= 0xa0) ||
      (first == 0xf0 && byte(1) < 0x90) || (first == 0xf4 && byte(1) >= 0x90))
    return 0;
  return size;
}

// Of one that a terminal may take for an order, U+0080 to U+009F among them.
void put_code(std::string& to, unsigned char c) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  to += "\\u00";
  to += kDigits[c >> 4];
  to += kDigits[c & 15];
}

void put_quoted(std::string& to, std::string_view text) {
  to += '"';
  while (!text.empty()) {
    const size_t size = character_size(text);
    const auto c = static_cast<unsigned char>(text[0]);
    if (size == 0) {
      to += "\xef\xbf\xbd";  // U+FFFD
    } else if (c == '"' || c == '\\') {
      to += '\\';
      to += text[0];
    } else if (c < 0x20 || c == 0x7f) {
      put_code(to, c);
    } else if (c == 0xc2 && static_cast<unsigned char>(text[1]) < 0xa0) {
      put_code(to, static_cast<unsigned char>(text[1]));
    } else {
      to += text.substr(0, size);
    }
    text.remove_prefix(size == 0 ? 1 : size);
  }
  to += '"';
}

void put_character(std::string& to, uint32_t c) {
  const auto put = [&](uint32_t byte) { to += static_cast<char>(byte); };
  const auto put_rest = [&](int shift) { put(0x80 | ((c >> shift) & 0x3f)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xc0 | c >> 6);
    put_rest(0);
  } else if (c < 0x10000) {
    put(0xe0 | c >> 12);
    put_rest(6);
    put_rest(0);
  } else {
    put(0xf0 | c >> 18);
    put_rest(12);
    put_rest(6);
    put_rest(0);
  }
}

// What is left of a line.
class Parser {
 public:
  explicit Parser(std::string_view line) : left_(line) {}

  bool take(char c) {
    skip_space();
    if (!left_.starts_with(c)) return false;
    left_.remove_prefix(1);
    return true;
  }
  bool at_end() {
    skip_space();
    return left_.empty();
  }
  bool at_text() {
    skip_space();
    return left_.starts_with('"');
  }
  std::optional<uint64_t> number() {
    skip_space();
    uint64_t value = 0;
    const char* begin = left_.data();
    const auto [end, error] = std::from_chars(begin, begin + left_.size(), value);
    if (error != std::errc{}) return std::nullopt;
    left_.remove_prefix(static_cast<size_t>(end - begin));
    return value;
  }
  std::optional<std::string> text() {
    if (!take('"')) return std::nullopt;
    std::string value;
    while (!left_.empty()) {
      const char c = left_[0];
      left_.remove_prefix(1);
      if (c == '"') return value;
      if (static_cast<unsigned char>(c) < 0x20) return std::nullopt;
      if (c != '\\')
        value += c;
      else if (!take_escaped(value))
        return std::nullopt;
    }
    return std::nullopt;
  }

 private:
  void skip_space() {
    while (left_.starts_with(' ') || left_.starts_with('\t')) left_.remove_prefix(1);
  }
  // Four digits.
  std::optional<uint32_t> code() {
    uint32_t value = 0;
    const char* begin = left_.data();
    if (left_.size() < 4) return std::nullopt;
    const auto [end, error] = std::from_chars(begin, begin + 4, value, 16);
    if (error != std::errc{} || end != begin + 4) return std::nullopt;
    left_.remove_prefix(4);
    return value;
  }
  bool take_escaped(std::string& to) {
    if (left_.empty()) return false;
    const char c = left_[0];
    left_.remove_prefix(1);
    if (c == 'u') return take_code(to);
    constexpr std::string_view kNames = "\"\\/bfnrt";
    constexpr std::string_view kMeanings = "\"\\/\b\f\n\r\t";
    const size_t which = kNames.find(c);
    if (which == std::string_view::npos) return false;
    to += kMeanings[which];
    return true;
  }
  bool take_code(std::string& to) {
    constexpr uint32_t kNone = 0xfffd;
    const auto is_half = [](uint32_t c, uint32_t which) { return (c & ~0x3ffu) == which; };
    auto c = code();
    if (!c) return false;
    if (is_half(*c, 0xd800) && left_.starts_with("\\u")) {
      const auto before = left_;
      left_.remove_prefix(2);
      const auto second = code();
      if (!second) return false;
      if (is_half(*second, 0xdc00)) {
        put_character(to, 0x10000 + ((*c & 0x3ff) << 10) + (*second & 0x3ff));
        return true;
      }
      left_ = before;
    }
    put_character(to, is_half(*c, 0xd800) || is_half(*c, 0xdc00) ? kNone : *c);
    return true;
  }

  std::string_view left_;
};

}  // namespace

void JsonLine::begin(std::string_view name) {
  if (line_.size() > 1) line_ += ',';
  put_quoted(line_, name);
  line_ += ':';
}

JsonLine& JsonLine::text(std::string_view name, std::string_view value) {
  begin(name);
  put_quoted(line_, value);
  return *this;
}

JsonLine& JsonLine::number(std::string_view name, uint64_t value) {
  begin(name);
  line_ += std::to_string(value);
  return *this;
}

void JsonFields::set(std::string_view name, Value value) {
  const auto found = std::find_if(fields_.begin(), fields_.end(),
                                  [&](const auto& field) { return field.first == name; });
  if (found != fields_.end())
    found->second = std::move(value);
  else
    fields_.emplace_back(name, std::move(value));
}

std::optional<JsonFields> JsonFields::parse(std::string_view line) {
  Parser from(line);
  JsonFields all;
  if (!from.take('{')) return std::nullopt;
  if (from.take('}')) return from.at_end() ? std::optional(all) : std::nullopt;
  do {
    auto name = from.text();
    if (!name || !from.take(':') || all.fields_.size() == kMostFields) return std::nullopt;
    if (from.at_text()) {
      auto value = from.text();
      if (!value) return std::nullopt;
      all.fields_.emplace_back(std::move(*name), std::move(*value));
    } else {
      const auto value = from.number();
      if (!value) return std::nullopt;
      all.fields_.emplace_back(std::move(*name), *value);
    }
  } while (from.take(','));
  return from.take('}') && from.at_end() ? std::optional(std::move(all)) : std::nullopt;
}

const JsonFields::Value* JsonFields::find(std::string_view name) const {
  for (const auto& field : fields_)
    if (field.first == name) return &field.second;
  return nullptr;
}

std::string JsonFields::text(std::string_view name) const {
  const auto* value = find(name);
  const auto* text = value != nullptr ? std::get_if<std::string>(value) : nullptr;
  return text != nullptr ? *text : std::string();
}

uint64_t JsonFields::number(std::string_view name) const {
  const auto* value = find(name);
  const auto* number = value != nullptr ? std::get_if<uint64_t>(value) : nullptr;
  return number != nullptr ? *number : 0;
}

std::string JsonFields::line() const {
  JsonLine to;
  for (const auto& [name, value] : fields_) {
    if (const auto* number = std::get_if<uint64_t>(&value))
      to.number(name, *number);
    else
      to.text(name, std::get<std::string>(value));
  }
  return to.line();
}

}  // namespace mmaplink
