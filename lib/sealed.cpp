#include "lib/sealed.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <bit>
#include <cerrno>
#include <limits>
#include <string>

#include "lib/system.h"

#ifndef MFD_NOEXEC_SEAL  // Linux 6.3
#define MFD_NOEXEC_SEAL 0x0008U
#endif

namespace mmaplink {

namespace {

constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;
constexpr unsigned kHugeShift = 26;  // MFD_HUGE_SHIFT: above it the power of two that they have
constexpr size_t kBlock = 512;       // of st_blocks

Error wrong(const char* text) { return Error{Failure::protocol, text}; }

Fd create_memfd(const char* name, Pages pages) {
  unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  if (pages == Pages::hugetlb)
    flags |= MFD_HUGETLB | static_cast<unsigned>(std::countr_zero(huge_page_size())) << kHugeShift;
  Fd fd(sys::memfd_create(name, flags | MFD_NOEXEC_SEAL));
  if (!fd && errno == EINVAL) fd = Fd(sys::memfd_create(name, flags));
  return fd;
}

// Of whole huge pages, whatever they turn out to be, at an address where such can be mapped as they
// are: some kernels choose one by themselves, others do not.
void* map_shared(size_t size, int protection, const Fd& fd, int flags = 0) {
  const size_t huge = huge_page_size();
  flags |= MAP_SHARED;
  if (size % huge != 0 || size > std::numeric_limits<size_t>::max() - huge)
    return sys::mmap(size, protection, fd.get(), flags);
  void* room = sys::mmap(size + huge, PROT_NONE, -1, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
  if (room == MAP_FAILED) return room;
  auto* start = static_cast<std::byte*>(room);
  const size_t before = (huge - reinterpret_cast<uintptr_t>(room) % huge) % huge;
  void* data = sys::mmap(size, protection, fd.get(), flags | MAP_FIXED, start + before);
  const int code = errno;
  if (data == MAP_FAILED) {
    munmap(room, size + huge);
  } else {
    if (before > 0) munmap(room, before);
    munmap(start + before + size, huge - before);
  }
  errno = code;
  return data;
}

// Page table entries now, not one fault a page while frames flow; and pages that were written,
// since others are holes to the peer. Before Linux 5.14 it is done by hand, for which the memory
// must be there, and the seal against writing must be heeded by hugetlbfs, which it is from 5.13
// on.
Status populate(const Mapping& map, const std::string& what) {
  if (sys::populate(map.data(), map.size(), MADV_POPULATE_WRITE) == 0) return ok();
  if (errno != EINVAL || map.pages() != Pages::normal)
    return system_error(errno, what + ": populate");
  for (size_t at = 0; at < map.size(); at += page_size())
    *const_cast<volatile std::byte*>(map.data() + at) = std::byte{0};
  return ok();
}

// Memory that was just made is on its way to the kernel's lists, and may be busy once.
Status collapse(const Mapping& map, const std::string& what) {
  for (int tries = 2; tries > 0; --tries) {
    if (sys::collapse(map.data(), map.size()) == 0) return ok();
    if (errno != EAGAIN) break;
  }
  return system_error(errno, what + ": MADV_COLLAPSE");
}

Result<SealedMemory> make(const char* name, size_t size, Pages pages) {
  const std::string what = "shared memory of " + std::to_string(size) + " bytes";
  SealedMemory made;
  made.fd = create_memfd(name, pages);
  if (!made.fd) return system_error(errno, what + ": memfd_create");
  if (sys::ftruncate(made.fd.get(), static_cast<off_t>(size)) != 0)
    return system_error(errno, what + ": ftruncate");
  // Not with small pages that are to be huge ones: those come as they are populated.
  if (pages != Pages::transparent && sys::fallocate(made.fd.get(), static_cast<off_t>(size)) != 0)
    return system_error(errno, what + ": fallocate");
  void* data = map_shared(size, PROT_READ | PROT_WRITE, made.fd);
  if (data == MAP_FAILED) return system_error(errno, what + ": mmap");
  made.map = Mapping(static_cast<std::byte*>(data), size, nullptr, pages);
  madvise(data, size, MADV_DONTFORK);
  // A hint, which spares copying where shmem_enabled is "advise".
  if (pages == Pages::transparent) madvise(data, size, MADV_HUGEPAGE);
  if (auto there = populate(made.map, what); !there) return there.error();
  if (pages == Pages::transparent)
    if (auto huge = collapse(made.map, what); !huge) return huge.error();
  if (sys::seal(made.fd.get(), kSeals) != 0) return system_error(errno, what + ": seals");
  return made;
}

// hugetlbfs has no word for where a hole is, and reading one fills it. That shows in its blocks, so
// that no more than one page is spent on a peer who has fewer than it says; where none is left it
// is an error here, and later it would be a SIGBUS. Filled once, nothing can take them away: the
// seals refuse that as they do on tmpfs.
Status find_huge_pages(const Fd& fd, const Mapping& map, blkcnt_t blocks) {
  for (size_t at = 0; at < map.size(); at += huge_page_size()) {
    if (sys::populate(map.data() + at, huge_page_size(), MADV_POPULATE_READ) != 0)
      return system_error(errno, "populating the peer's huge pages");
    struct stat st {};
    if (fstat(fd.get(), &st) != 0) return system_error(errno, "fstat of the peer's memory");
    if (st.st_blocks != blocks) return wrong("the peer's memory has holes");
  }
  return ok();
}

}  // namespace

Mapping::~Mapping() {
  if (data_ != nullptr && !of_) munmap(data_, size_);
}

size_t page_size() {
  static const auto size = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return size;
}

size_t round_to_page(size_t size) { return (size + page_size() - 1) & ~(page_size() - 1); }

size_t huge_page_size() { return page_size() * (page_size() / sizeof(uint64_t)); }

size_t round_up(size_t size, HugePages huge) {
  const size_t page = huge_page_size();
  const bool fits = huge == HugePages::require || (huge == HugePages::tries && size >= page / 2);
  return fits ? (size + page - 1) & ~(page - 1) : round_to_page(size);
}

Result<SealedMemory> make_sealed(const char* name, size_t size, HugePages huge) {
  if (size == 0 || size > static_cast<size_t>(std::numeric_limits<off_t>::max()) - huge_page_size())
    return Error{Failure::no_space, "shared memory of " + std::to_string(size) + " bytes"};
  size = round_up(size, huge);
  if (huge == HugePages::no || size % huge_page_size() != 0) return make(name, size, Pages::normal);
  auto hugetlb = make(name, size, Pages::hugetlb);
  if (hugetlb) return hugetlb;
  auto transparent = make(name, size, Pages::transparent);
  if (transparent) return transparent;
  if (huge == HugePages::tries) return make(name, size, Pages::normal);
  return Error{Failure::no_space,
               "huge-pages=require, and none were to be had: of hugetlbfs, " +
                   hugetlb.error().text + "; transparent ones, " + transparent.error().text +
                   "; set " + std::to_string(size / huge_page_size()) +
                   " more aside (sysctl vm.nr_hugepages); transparent ones take Linux 6.1, and "
                   "/sys/kernel/mm/transparent_hugepage/shmem_enabled other than deny"};
}

Result<Mapping> map_sealed(const Fd& fd, size_t size, bool populate) {
  // First, since it asks no file system: one of the peer's own (FUSE) may never answer. Only memory
  // can be sealed, and any other descriptor gets no further.
  const int seals = fcntl(fd.get(), F_GET_SEALS);
  if (seals < 0 || (seals & kSeals) != kSeals) return wrong("the peer's memory is not sealed");
  struct statfs fs {};
  if (fstatfs(fd.get(), &fs) != 0) return system_error(errno, "fstatfs of the peer's memory");
  const auto type = static_cast<unsigned long>(fs.f_type);
  if (type != TMPFS_MAGIC && type != HUGETLBFS_MAGIC)
    return wrong("the peer's memory is neither on tmpfs nor on hugetlbfs");
  const bool is_huge = type == HUGETLBFS_MAGIC;
  const size_t page = is_huge ? huge_page_size() : page_size();
  if (is_huge && static_cast<size_t>(fs.f_bsize) != page)
    return wrong("the peer's memory is in pages of another size than we take");
  struct stat st {};
  if (fstat(fd.get(), &st) != 0) return system_error(errno, "fstat of the peer's memory");
  if (size == 0 || st.st_size < 0 || static_cast<size_t>(st.st_size) != size || size % page != 0)
    return wrong("the peer's memory is not of the size it announced");
  // Reading a hole would allocate the page, and charge us for what the peer has not got. What is
  // there stays: F_SEAL_FUTURE_WRITE refuses to punch holes too. The blocks of the file would not
  // do: some may lie beyond its end.
  if (is_huge) {
    if (static_cast<size_t>(st.st_blocks) < size / kBlock)
      return wrong("the peer's memory has holes");
  } else {
    const off_t hole = lseek(fd.get(), 0, SEEK_HOLE);
    if (hole < 0) return system_error(errno, "lseek in the peer's memory");
    if (hole != static_cast<off_t>(size)) return wrong("the peer's memory has holes");
  }
  // Without reserving huge pages for holes in the peer's.
  void* data = map_shared(size, PROT_READ, fd, is_huge ? MAP_NORESERVE : 0);
  if (data == MAP_FAILED) return system_error(errno, "mmap of the peer's memory");
  Mapping map(static_cast<std::byte*>(data), size, nullptr,
              is_huge ? Pages::hugetlb : Pages::normal);
  madvise(data, size, MADV_DONTFORK);
  if (is_huge) {
    if (auto there = find_huge_pages(fd, map, st.st_blocks); !there) return there.error();
  } else if (populate) {
    // A hint: where it is refused the pages fault in as they are read.
    sys::populate(data, size, MADV_POPULATE_READ);
  }
  return map;
}

}  // namespace mmaplink
