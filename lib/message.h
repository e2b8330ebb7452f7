// The control messages of a link: what they hold, and bytes ⇄ struct.
//
//     client                                   server
//       ── HELLO + its half ──────────────────▶       version, byte order, which lanes it has
//       ◀───────────────── WELCOME + its half ──       (or REFUSE: a text, and hang-up)
//       ◀── LANES / ARENA + fd / RETIRE / NOTE ──▶     any number, either way
//
// A message is a header of eight bytes (total size, type), fixed fields, and at most one trailing
// text or byte string. At most kMaxMessage bytes; descriptors travel with its first byte.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "lib/result.h"

namespace mmaplink {

inline constexpr size_t kMaxMessage = 64 << 10;
inline constexpr size_t kMessageHeader = 8;

// Which lanes a side has something at the end of.
struct Lanes {
  bool sends = false;
  bool receives = false;
  friend bool operator==(Lanes, Lanes) = default;
};

struct Hello {
  uint32_t version = 0;
  Lanes lanes;
};
struct Welcome {
  uint32_t version = 0;
  Lanes lanes;
};
struct Refuse {
  std::string text;
};
struct ArenaMade {
  uint32_t number = 0;
  uint64_t size = 0;
};
struct ArenaRetired {
  uint32_t number = 0;
};
// For the layer above: opaque here.
struct Note {
  uint32_t kind = 0;
  std::vector<std::byte> bytes;
};

using Message = std::variant<Hello, Welcome, Refuse, Lanes, ArenaMade, ArenaRetired, Note>;

// Whether a message of this kind is accompanied by one descriptor.
bool carries_fd(const Message& message);

std::vector<std::byte> build(const Message& message);

// Size of the message that starts here: nothing while the header is not complete.
Result<std::optional<size_t>> message_size(std::span<const std::byte> bytes);
// `bytes` is one whole message.
Result<Message> parse(std::span<const std::byte> bytes);

}  // namespace mmaplink
