// The control messages of a link: what they hold, and bytes ⇄ struct.
//
//     client                                   server
//       ── HELLO + its half ──────────────────▶       version, byte order, lanes, wishes
//       ◀───────────────── WELCOME + its half ──       (or REFUSE: a text, and hang-up)
//       ── REGION ────────────────────────────▶       where the payload lies in a file: it is found
//       ◀── LANES / ARENA + fd / RETIRE / NOTE ──▶     any number, either way
//       ◀── ITEM, PART… / WITHDRAWN / ASKS / PROGRESS ──▶   where a direction is inline
//
// One that only wants to know what goes on says STATUS_ASK in place of HELLO (status.h).
//
// A half goes along where anything is mapped. A message is a header of eight bytes (total size,
// type), fixed fields, and at most one trailing text or byte string. At most kMaxMessage bytes;
// descriptors travel with its first byte. The bytes of a PART, kMostPart at most, are none of the
// message: the channel puts them where they belong.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "lib/layout.h"
#include "lib/mode.h"
#include "lib/path_region.h"
#include "lib/result.h"

namespace mmaplink {

inline constexpr size_t kMaxMessage = 64 << 10;
inline constexpr size_t kMessageHeader = 8;
// Of an inline item, at once: what a control message waits for at the most.
inline constexpr size_t kMostPart = 1 << 20;

// Who connects has so long for the handshake, and so many may be at it at once.
inline constexpr auto kGreeting = std::chrono::seconds(5);
inline constexpr size_t kMostGreeting = 64;

// Which lanes a side has something at the end of.
struct Lanes {
  bool sends = false;
  bool receives = false;
  friend bool operator==(Lanes, Lanes) = default;
};

struct Hello {
  uint32_t version = 0;
  Lanes lanes;
  Wishes wishes = {};
  uint64_t now = 0;  // by its CLOCK_MONOTONIC, in ns
  // What the client asks of a server that has more than one thing to give; opaque here. A server
  // with one takes no notice of it.
  std::string request = {};
};
inline constexpr size_t kMostRequest = 4096;
struct Welcome {
  uint32_t version = 0;
  Lanes lanes;
  Wishes wishes = {};
  Mapped mapped = {};
  RegionTerms region = {};  // where it is in a file
  uint64_t now = 0;
};
// The client has found that file: what it has put there.
struct RegionFound {
  Token token = {};
};
struct Refuse {
  std::string text;
};
struct ArenaMade {
  uint32_t number = 0;
  uint64_t size = 0;
  bool is_dmabuf = false;  // or sealed memory
};
struct ArenaRetired {
  uint32_t number = 0;
};
// What is inline begins: `descriptor.extra_size` bytes of extra, then those of its memories, come
// in parts. Each part is as large as it may be, and belongs to one of them. Of memories that are in
// place nothing comes: they lie in the link's file, and offsets are from its beginning.
struct ItemBegins {
  Descriptor descriptor;
  bool droppable = false;
  bool in_place = false;
  // Reads and tickets that are told together, while the reader is busy: it has more to do before it
  // can wait. And whether nothing goes ahead of this item before some are told.
  uint32_t together = 1;
  bool is_full = false;
};
struct Part {
  uint32_t size = 0;
};
// Of the sender of an inline direction: droppable items before this are not to be read any more.
struct Withdrawn {};
// Likewise: it wants memory. What is given back is told at once until the next item begins.
struct Asks {};
// Of the reader of an inline direction: how many items since the link began do not wait to be read,
// what it gives back, and whether it has nothing to read and waits.
struct Progress {
  uint64_t claimed = 0;
  bool waits = false;
  std::vector<uint64_t> tickets;
};
inline constexpr size_t kMostTickets = 4096;  // of one message
// For the layer above: opaque here.
struct Note {
  uint32_t kind = 0;
  std::vector<std::byte> bytes;
};

struct StatusAsk {
  uint32_t version = 0;
};
// A piece of the answer's text: whatever bytes the peer likes.
struct StatusPart {
  bool last = false;
  std::string text;
};

using Message =
    std::variant<Hello, Welcome, Refuse, Lanes, ArenaMade, ArenaRetired, Note, ItemBegins, Part,
                 Progress, Withdrawn, Asks, RegionFound, StatusAsk, StatusPart>;

// Failure::refused for a client that speaks another version than this server.
Status check_version(const Hello& hello);
// Whether a message of this kind is accompanied by one descriptor.
bool carries_fd(const Message& message);

std::vector<std::byte> build(const Message& message);

// Size of the message that starts here: nothing while the header is not complete.
Result<std::optional<size_t>> message_size(std::span<const std::byte> bytes);
// Whether it is one whose bytes go elsewhere. `bytes` begins with its header.
bool is_part(std::span<const std::byte> bytes);
// `bytes` is one whole message.
Result<Message> parse(std::span<const std::byte> bytes);

}  // namespace mmaplink
