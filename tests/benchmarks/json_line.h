// Builds one line of JSON: an object whose members are texts, numbers and
// further objects (or arrays of them), in the order in which they were added.

#pragma once

#include <concepts>
#include <string>
#include <string_view>
#include <vector>

namespace bench {

class JsonLine {
 public:
  JsonLine& text(std::string_view name, std::string_view value);
  JsonLine& number(std::string_view name, double value);
  template <std::integral Integer>
  JsonLine& number(std::string_view name, Integer value) {
    return raw(name, std::to_string(value));
  }
  JsonLine& object(std::string_view name, const JsonLine& value);
  JsonLine& objects(std::string_view name, const std::vector<JsonLine>& values);

  bool empty() const { return members_.empty(); }
  std::string str() const { return "{" + members_ + "}"; }

 private:
  JsonLine& raw(std::string_view name, std::string_view value);

  std::string members_;
};

}  // namespace bench
