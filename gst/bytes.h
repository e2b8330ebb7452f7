// Plain values into bytes and out of them again, in the host's own order: for what crosses between
// two processes of one host.
#pragma once

#include <glib.h>

#include <cstddef>
#include <cstdint>
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
  // To the end of the bytes.
  void text(std::string_view text) { bytes(std::as_bytes(std::span(text))); }
  void bytes(std::span<const std::byte> bytes) {
    to_.insert(to_.end(), bytes.begin(), bytes.end());
  }
  // With its length in front.
  void sized_text(std::string_view value) {
    put(static_cast<uint32_t>(value.size()));
    text(value);
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
  std::span<const std::byte> rest() { return std::exchange(left_, {}); }
  std::string rest_as_text() { return text_of(rest()); }
  std::string sized_text() { return text_of(take(get<uint32_t>())); }
  bool empty() const { return left_.empty(); }
  bool good() const { return !broken_; }
  bool complete() const { return !broken_ && left_.empty(); }

 private:
  std::string text_of(std::span<const std::byte> bytes) {
    std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    // What reads it wants a terminated string of UTF-8.
    broken_ |= text.find('\0') != std::string::npos ||
               !g_utf8_validate(text.data(), static_cast<gssize>(text.size()), nullptr);
    return text;
  }

  std::span<const std::byte> left_;
  bool broken_ = false;
};

}  // namespace gstmmap
