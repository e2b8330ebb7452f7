// What the fuzzers of lib/ share: a peer's bytes in pieces, with descriptors of good and bad kinds,
// and a look at what is left open.
//
// A piece is a byte for its descriptors, a byte for its length, and as many bytes.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "lib/channel.h"
#include "lib/link.h"
#include "tests/fuzz/fuzz.h"

namespace fuzz {

enum class Kind : uint8_t {
  none,
  half,         // as a peer's should be, with some items in it
  page,         // sealed, one page: the arena of kPage bytes
  arena,        // sealed, the arena of kArena bytes
  unsealed,     // a memfd that may shrink under us
  holes,        // sealed, and not there
  half_sealed,  // only against shrinking
  pipe,
  null,  // /dev/null
  directory,
  event,
  socket,
  last = socket,
};

inline constexpr size_t kPage = 4 << 10;
inline constexpr size_t kArena = 64 << 10;

struct Piece {
  std::vector<int> fds;  // borrowed
  Bytes bytes;
};
Piece next_piece(Input& input);

// Sends it as a peer would; false where the other end has hung up.
bool send_piece(int socket, const Piece& piece);

// All of it, where there is any.
void read(const mmaplink::View& view);

struct Sockets {
  Sockets();
  mmaplink::Fd peer;
  mmaplink::Fd own;
};

// The lowest descriptor that is free: the same before and after, or one was left open.
int free_fd();

}  // namespace fuzz
