// Plain values into bytes and out of them again, in the host's own order: for what crosses between
// two processes of one host.
#pragma once

#include <glib.h>

#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace gstmmap {

class BytesOut {
 public:
  explicit BytesOut(std::vector<std::byte>& to) : to_(to) {}
  template <class T>
  void put(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    const auto* bytes = reinterpret_cast<const std::byte*>(&value);
    to_.insert(to_.end(), bytes, bytes + sizeof value);
  }
  void text(std::string_view text) {
    const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
    to_.insert(to_.end(), bytes, bytes + text.size());
  }

 private:
  std::vector<std::byte>& to_;
};

// Reading past the end gives zeros and is remembered: ask complete() at the end.
class BytesIn {
 public:
  explicit BytesIn(std::span<const std::byte> from) : left_(from) {}
  template <class T>
  T get() {
    static_assert(std::is_trivially_copyable_v<T>);
    T value{};
    const auto bytes = take(sizeof value);
    if (bytes.size() == sizeof value) std::memcpy(&value, bytes.data(), sizeof value);
    return value;
  }
  std::span<const std::byte> take(size_t size) {
    if (left_.size() < size) {
      broken_ = true;
      return {};
    }
    const auto taken = left_.first(size);
    left_ = left_.subspan(size);
    return taken;
  }
  std::string rest_as_text() {
    const auto rest = std::exchange(left_, {});
    std::string text(reinterpret_cast<const char*>(rest.data()), rest.size());
    // What reads it wants a terminated string of UTF-8.
    broken_ |= text.find('\0') != std::string::npos ||
               !g_utf8_validate(text.data(), static_cast<gssize>(text.size()), nullptr);
    return text;
  }
  bool empty() const { return left_.empty(); }
  bool good() const { return !broken_; }
  bool complete() const { return !broken_ && left_.empty(); }

 private:
  std::span<const std::byte> left_;
  bool broken_ = false;
};

}  // namespace gstmmap
