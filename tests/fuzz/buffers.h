// What an input of buffers.cpp begins with.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fuzz {

// Arena 1 has the first memory; further ones may lie in 2 too.
inline constexpr size_t kArenaSize = 64 << 10;
inline constexpr size_t kSmallArenaSize = 4 << 10;
inline constexpr auto kCustomMeta = "GstMmapFuzzMeta";

struct Shape {
  uint64_t pts;
  uint32_t flags;
  uint16_t offset, size;
};

}  // namespace fuzz
