#include "tests/fuzz/link_input.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

namespace fuzz {

using mmaplink::Descriptor;
using mmaplink::ExtraFrom;
using mmaplink::Fd;
using mmaplink::Half;

namespace {

// Two items that a receiver can take once it knows arenas 1 and 2, and one that lies outside.
Fd make_half() {
  const auto memory = must(mmaplink::Link::make_half());
  auto& half = *reinterpret_cast<Half*>(memory->map.data());
  for (uint64_t i = 0; i < 3; ++i) {
    Descriptor& out = half.slots[i].descriptor;
    out = Descriptor{};
    out.sequence = i + 1;
    out.first = i + 1;
    out.ticket = 1 + i;
    out.arena = static_cast<uint32_t>(i % 2 + 1);
    out.offset = 64;
    out.size = i < 2 ? 512 : kArena + kPage;
    out.extra_from = static_cast<uint32_t>(i == 1 ? ExtraFrom::block : ExtraFrom::slot);
    out.extra_arena = 1;
    out.extra_size = 16;
  }
  half.head = 3;
  return Fd(dup(memory->fd.get()));
}

Fd make_arena(size_t size) {
  const auto memory = must(mmaplink::make_sealed("mmap-fuzz", size));
  return Fd(dup(memory.fd.get()));
}

Fd make_memfd(int seals, bool with_memory) {
  Fd fd(memfd_create("mmap-fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  check(ftruncate(fd.get(), kPage) == 0, "ftruncate");
  const std::vector<char> page(kPage);
  if (with_memory) check(write(fd.get(), page.data(), kPage) == kPage, "write");
  check(fcntl(fd.get(), F_ADD_SEALS, seals) == 0, "seals");
  return fd;
}

Fd make(Kind kind) {
  constexpr int kAll = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;
  switch (kind) {
    case Kind::none:
      break;
    case Kind::half:
      return make_half();
    case Kind::page:
      return make_arena(kPage);
    case Kind::arena:
      return make_arena(kArena);
    case Kind::unsealed:
      return make_memfd(0, true);
    case Kind::holes:
      return make_memfd(kAll, false);
    case Kind::half_sealed:
      return make_memfd(F_SEAL_SHRINK, true);
    case Kind::pipe: {
      int ends[2];
      check(pipe2(ends, O_CLOEXEC) == 0, "pipe");
      close(ends[1]);
      return Fd(ends[0]);
    }
    case Kind::null:
      return Fd(open("/dev/null", O_RDWR | O_CLOEXEC));
    case Kind::directory:
      return Fd(open("/", O_RDONLY | O_CLOEXEC));
    case Kind::event:
      return Fd(eventfd(0, EFD_CLOEXEC));
    case Kind::socket:
      return Fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  }
  return Fd();
}

constexpr size_t kKinds = static_cast<size_t>(Kind::last) + 1;

const std::array<Fd, kKinds>& descriptors() {
  static const auto& all = *[] {
    auto* made = new std::array<Fd, kKinds>;
    for (size_t i = 1; i < kKinds; ++i) {
      (*made)[i] = make(static_cast<Kind>(i));
      check(static_cast<bool>((*made)[i]), "a descriptor");
    }
    return made;
  }();
  return all;
}

}  // namespace

// The descriptor's kind, and in the upper half how many more of it.
Piece next_piece(Input& input) {
  const auto what = input.byte();
  const size_t kind = what % 16;
  const size_t size = input.byte();
  Piece piece;
  if (kind > 0 && kind < kKinds) piece.fds.assign(1 + what / 16u, descriptors()[kind].get());
  // Nothing can't be sent, least of all with a descriptor.
  piece.bytes = input.take(size > 0 ? size : 1);
  return piece;
}

bool send_piece(int socket, const Piece& piece) {
  if (piece.bytes.empty()) return true;
  iovec part{const_cast<std::byte*>(piece.bytes.data()), piece.bytes.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  const size_t size = sizeof(int) * piece.fds.size();
  std::vector<char> control(CMSG_SPACE(size));
  if (!piece.fds.empty()) {
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(size);
    std::memcpy(CMSG_DATA(rights), piece.fds.data(), size);
  }
  const ssize_t sent = sendmsg(socket, &header, MSG_NOSIGNAL);
  if (sent < 0) {
    check(errno == EPIPE || errno == ECONNRESET || errno == EAGAIN, "sendmsg");
    return false;
  }
  check(static_cast<size_t>(sent) == piece.bytes.size(), "a socket takes that much");
  return true;
}

void read(const mmaplink::View& view) {
  if (!view.arena) return;
  volatile auto sum = std::byte{};
  for (const std::byte byte : view.bytes()) sum = sum ^ byte;
}

Sockets::Sockets() {
  int fds[2];
  check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0, "sockets");
  peer = Fd(fds[0]);
  own = Fd(fds[1]);
}

int free_fd() {
  descriptors();  // are there for good
  const Fd probe(open("/dev/null", O_RDONLY | O_CLOEXEC));
  return probe.get();
}

}  // namespace fuzz
