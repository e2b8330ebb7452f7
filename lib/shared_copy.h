// The only way bytes leave memory that a peer can write: copied out once, word by word, into
// memory of our own. No reference into shared memory is handed to anyone who would parse it.
//
// The words are relaxed atomics because the peer may be writing them at this very moment: what is
// torn by that is found by the sequence number, and is otherwise the peer's own loss.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace mmaplink {

// `size` a multiple of 8, both aligned to 8.
inline void copy_from_shared(void* to, const void* from, size_t size) {
  auto* out = static_cast<std::byte*>(to);
  const auto* in = static_cast<const uint64_t*>(from);
  for (size_t i = 0; i < size / sizeof(uint64_t); ++i) {
    const uint64_t word = __atomic_load_n(&in[i], __ATOMIC_RELAXED);
    std::memcpy(out + i * sizeof word, &word, sizeof word);
  }
}

inline void copy_to_shared(void* to, const void* from, size_t size) {
  auto* out = static_cast<uint64_t*>(to);
  const auto* in = static_cast<const std::byte*>(from);
  for (size_t i = 0; i < size / sizeof(uint64_t); ++i) {
    uint64_t word;
    std::memcpy(&word, in + i * sizeof word, sizeof word);
    __atomic_store_n(&out[i], word, __ATOMIC_RELAXED);
  }
}

inline size_t round_to_words(size_t size) { return (size + 7) & ~size_t{7}; }

}  // namespace mmaplink
