// Sealed shared memory: written by its owner alone, mapped read-only by the peer.
//
// The owner maps first and seals afterwards: F_SEAL_FUTURE_WRITE (Linux 5.1, memfd_create(2))
// keeps that one mapping writable and refuses every later one, so the descriptor can be handed out.
// The receiver believes nothing about a descriptor that it has not checked itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "lib/fd.h"
#include "lib/result.h"

namespace mmaplink {

// One mmap(2), unmapped with its object, or a piece of one that `of` keeps. Not inherited by forked
// children.
class Mapping {
 public:
  Mapping() = default;
  Mapping(std::byte* data, size_t size, std::shared_ptr<const void> of = nullptr)
      : data_(data), size_(size), of_(std::move(of)) {}
  Mapping(Mapping&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)),
        of_(std::move(other.of_)) {}
  Mapping& operator=(Mapping&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(of_, other.of_);
    return *this;
  }
  ~Mapping();

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
  std::shared_ptr<const void> of_;
};

struct SealedMemory {
  Fd fd;  // none for a piece of a file (path_region.h)
  Mapping map;  // read and write
};

size_t page_size();
size_t round_to_page(size_t size);

// Makes `size` bytes (rounded up to whole pages), backed by memory now: a full tmpfs or memory
// limit is an error here, not a SIGBUS later.
Result<SealedMemory> make_sealed(const char* name, size_t size);

// Checks the peer's descriptor (all four seals, on tmpfs, exactly `size` bytes, whole pages) and
// maps it read-only, with its pages unless they are to come as they are read. The descriptor is not
// needed afterwards.
Result<Mapping> map_sealed(const Fd& fd, size_t size, bool populate = true);

}  // namespace mmaplink
