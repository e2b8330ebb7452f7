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

// What pages memory lies in. Transparent huge pages were such when they were made: the kernel may
// split them. Those of hugetlbfs stay.
enum class Pages { normal, transparent, hugetlb };
// Whether huge pages are wanted: `tries` takes normal ones where there are none.
enum class HugePages { no, tries, require };

// One mmap(2), unmapped with its object, or a piece of one that `of` keeps. Not inherited by forked
// children.
class Mapping {
 public:
  Mapping() = default;
  Mapping(std::byte* data, size_t size, std::shared_ptr<const void> of = nullptr,
          Pages pages = Pages::normal)
      : data_(data), size_(size), of_(std::move(of)), pages_(pages) {}
  Mapping(Mapping&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)),
        of_(std::move(other.of_)),
        pages_(other.pages_) {}
  Mapping& operator=(Mapping&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(of_, other.of_);
    std::swap(pages_, other.pages_);
    return *this;
  }
  ~Mapping();

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }
  Pages pages() const { return pages_; }

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
  std::shared_ptr<const void> of_;
  Pages pages_ = Pages::normal;
};

struct SealedMemory {
  Fd fd;        // none for a piece of a file (path_region.h)
  Mapping map;  // read and write
};

size_t page_size();
size_t round_to_page(size_t size);
// What one entry of the second level of page tables maps: 2 MiB where pages have 4 KiB.
size_t huge_page_size();
// To whole pages. With `tries` huge ones are for what fills at least half of the first.
size_t round_up(size_t size, HugePages huge);

// Makes round_up(size, huge) bytes, backed by memory now: a full tmpfs or memory limit is an error
// here, not a SIGBUS later. Huge pages are those of hugetlbfs, else transparent ones; the mapping
// says what they are.
Result<SealedMemory> make_sealed(const char* name, size_t size, HugePages huge = HugePages::no);

// Checks the peer's descriptor (all four seals, on tmpfs or hugetlbfs, exactly `size` bytes, whole
// pages, none missing) and maps it read-only, with its pages, unless these are to come as they are
// read; huge ones never are. The descriptor is not needed afterwards.
Result<Mapping> map_sealed(const Fd& fd, size_t size, bool populate = true);

}  // namespace mmaplink
