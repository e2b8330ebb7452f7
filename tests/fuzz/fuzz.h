// What the fuzzers share: how a program of theirs begins, how it says that something is wrong, and
// how it gets numbers out of its bytes.
//
// Any input is a valid one: what is missing at its end is zero.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>
#include <utility>

#include "lib/result.h"

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv);
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace fuzz {

using Bytes = std::span<const std::byte>;

// Ends the program where it is not so.
void check(bool so, const char* what);

// The value of a call that must work.
template <class T>
T must(mmaplink::Result<T> result) {
  check(static_cast<bool>(result), result ? "" : result.error().text.c_str());
  return std::move(*result);
}

inline Bytes bytes_of(const uint8_t* data, size_t size) {
  return std::as_bytes(std::span(data, size));
}

class Input {
 public:
  Input(const uint8_t* data, size_t size) : left_(bytes_of(data, size)) {}
  bool empty() const { return left_.empty(); }
  template <class T>
  T get() {
    static_assert(std::is_trivially_copyable_v<T>);
    T value{};
    const Bytes bytes = take(sizeof value);
    if (!bytes.empty()) std::memcpy(&value, bytes.data(), bytes.size());
    return value;
  }
  uint8_t byte() { return get<uint8_t>(); }
  // That many, or as many as there are.
  Bytes take(size_t most) {
    const Bytes taken = left_.first(most < left_.size() ? most : left_.size());
    left_ = left_.subspan(taken.size());
    return taken;
  }
  Bytes rest() { return std::exchange(left_, {}); }

 private:
  Bytes left_;
};

}  // namespace fuzz
