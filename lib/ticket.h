// A ticket names a row in the sender's private table and which use of that row is meant, so that a
// receipt that comes twice, late or forged matches nothing.
//
//     63 skipped │ 62 … 32 generation (never 0) │ 31 … 0 row
#pragma once

#include <cstdint>

namespace mmaplink {

inline constexpr uint32_t kGenerations = 0x7fffffff;

// In a receipt: the item was withdrawn while the receiver claimed it. The sender may have freed
// the row already, and ignores it then.
inline constexpr uint64_t kSkipped = uint64_t{1} << 63;

inline uint64_t make_ticket(uint32_t row, uint32_t generation) {
  return uint64_t{generation} << 32 | row;
}
inline uint32_t ticket_row(uint64_t ticket) { return static_cast<uint32_t>(ticket); }
inline uint32_t ticket_generation(uint64_t ticket) {
  return static_cast<uint32_t>(ticket >> 32) & kGenerations;
}
inline uint32_t next_generation(uint32_t generation) {
  return generation == kGenerations ? 1 : generation + 1;
}

}  // namespace mmaplink
