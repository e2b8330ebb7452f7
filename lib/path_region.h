// A region that is a file which both sides open, each by a path of its own: where no descriptor
// can be handed over, or none that may be mapped (bind mounts, hugetlbfs, a virtual machine's
// ivshmem device). The payload of both directions lies in it, half and half; what decides anything
// goes over the control socket.
//
// Unlike sealed memory it can be written by both: it is for processes that trust each other so
// far. What is believed of it is nothing but its size. Neither side's bytes can make the other read
// outside of it, and one that cuts the file short ends the link (bus_errors.h).
//
// Made by a server, opened by its client; owned by the link, by the store that has pieces of it,
// and by all memory that lies in it. Threads: any for allocate() and what asks; the rest by the
// endpoint's. When the peer dies it stays readable as long as anybody holds it.
//
//     page 0: magic, both tokens | the server's half | the client's half
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "lib/access.h"
#include "lib/bus_errors.h"
#include "lib/sealed.h"

namespace mmaplink {

// Made anew for each link: who finds it in the file sees the same bytes as who has put it there.
using Token = std::array<uint8_t, 16>;

// What a server says of it.
struct RegionTerms {
  uint64_t size = 0;
  uint64_t page = 0;  // what the server reckons with, which may be larger than the client's own
  Token token{};
  bool in_directory = false;  // the path is that of a directory …
  Token name{};               // … and this the name of the file, in hexadecimal behind "mmap-"
};

// Whether one can be at that path: what is there may be one, or its directory is there.
Status check_region_path(const std::string& path);

class PathRegion : public std::enable_shared_from_this<PathRegion> {
 public:
  using Wake = std::shared_ptr<const Fd>;

  // A file at `path`, or a new one in the directory there, of twice `half` bytes; one that is there
  // keeps its size and is not removed. `wake` is written when the peer has cut it short.
  static Result<std::shared_ptr<PathRegion>> make(const std::string& path, uint64_t half,
                                                  const Access& access, Wake wake);
  // That file, by the client's own path.
  static Result<std::shared_ptr<PathRegion>> open(const std::string& path, const RegionTerms& terms,
                                                  uid_t server, Wake wake);
  ~PathRegion();
  PathRegion(const PathRegion&) = delete;
  PathRegion& operator=(const PathRegion&) = delete;

  const RegionTerms& terms() const { return terms_; }
  // The client's, which open() has put into the file.
  const Token& token() const { return token_; }
  // As a server: whether the client sees the same bytes. The file goes then, if it was made for it.
  Status settle(const Token& clients);
  // The link has ended: others may use the file, though some of it is still held here. What is
  // written into it then shows in frames that are.
  void unlock() const;
  // Nothing more is sent from it: what the peer still holds stays as it is.
  void end() { ended_.store(true, std::memory_order_relaxed); }
  bool broken() const { return guard_->broken(); }
  const std::string& path() const { return path_; }
  Pages pages() const { return page_ > page_size() ? Pages::hugetlb : Pages::normal; }
  const Fd& fd() const { return fd_; }

  // A piece of our half, whole pages, backed by memory now. Failure::limit where there is no room
  // in it, Failure::no_space where the file system has none.
  Result<SealedMemory> allocate(size_t size);
  size_t capacity() const { return own_size_; }  // of our half
  size_t room() const;                           // the largest piece there is now
  // Where in the file something of our half lies.
  std::optional<uint64_t> offset_of(const std::byte* data, size_t size) const;
  // The whole file, in which only the peer's half is to be read: whether this lies there.
  Mapping view();
  bool is_peers(uint64_t offset, uint64_t size) const;

 private:
  struct Piece;
  PathRegion() = default;
  Status map(Wake wake);
  Error no_room(int code, const char* what) const;
  void release(uint64_t offset, uint64_t size);

  std::string path_;
  Fd fd_;
  Mapping map_;
  Wake wake_;  // written by the guard, which ends before it, and before the mapping
  std::unique_ptr<BusErrorGuard> guard_;
  RegionTerms terms_;
  uint64_t page_ = 0;  // of its file system here
  Token token_{};
  bool is_server_ = false;
  bool made_ = false;  // and not yet removed
  std::atomic<bool> ended_{false};
  uint64_t own_ = 0;  // our half
  uint64_t own_size_ = 0;
  uint64_t peers_ = 0;

  mutable std::mutex mutex_;
  std::map<uint64_t, uint64_t> free_;  // pieces of our half: offset, size
};

}  // namespace mmaplink
