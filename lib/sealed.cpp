#include "lib/sealed.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

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

Fd create_memfd(const char* name) {
  const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  Fd fd(sys::memfd_create(name, flags | MFD_NOEXEC_SEAL));
  if (!fd && errno == EINVAL) fd = Fd(sys::memfd_create(name, flags));
  return fd;
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

Result<SealedMemory> make_sealed(const char* name, size_t size) {
  if (size == 0 || size > static_cast<size_t>(std::numeric_limits<off_t>::max()) - page_size())
    return Error{Failure::no_space, "shared memory of " + std::to_string(size) + " bytes"};
  size = round_to_page(size);
  const std::string what = "shared memory of " + std::to_string(size) + " bytes";
  SealedMemory made;
  made.fd = create_memfd(name);
  if (!made.fd) return system_error(errno, what + ": memfd_create");
  if (sys::ftruncate(made.fd.get(), static_cast<off_t>(size)) != 0)
    return system_error(errno, what + ": ftruncate");
  if (sys::fallocate(made.fd.get(), static_cast<off_t>(size)) != 0)
    return system_error(errno, what + ": fallocate");
  void* data = sys::mmap(size, PROT_READ | PROT_WRITE, made.fd.get());
  if (data == MAP_FAILED) return system_error(errno, what + ": mmap");
  made.map = Mapping(static_cast<std::byte*>(data), size);
  madvise(data, size, MADV_DONTFORK);
  // Page table entries now, not one fault a page while frames flow; and pages that were written,
  // since others are holes to the peer. Before Linux 5.14 it is done by hand.
  if (sys::populate(data, size, MADV_POPULATE_WRITE) != 0) {
    if (errno != EINVAL) return system_error(errno, what + ": populate");
    for (size_t at = 0; at < size; at += page_size())
      *const_cast<volatile std::byte*>(made.map.data() + at) = std::byte{0};
  }
  if (sys::seal(made.fd.get(), kSeals) != 0) return system_error(errno, what + ": seals");
  return made;
}

Result<Mapping> map_sealed(const Fd& fd, size_t size, bool populate) {
  const auto wrong = [](const char* text) { return Error{Failure::protocol, text}; };
  // First, since it asks no file system: one of the peer's own (FUSE) may never answer. Only memory
  // can be sealed, and any other descriptor gets no further.
  const int seals = fcntl(fd.get(), F_GET_SEALS);
  if (seals < 0 || (seals & kSeals) != kSeals) return wrong("the peer's memory is not sealed");
  struct statfs fs {};
  if (fstatfs(fd.get(), &fs) != 0) return system_error(errno, "fstatfs of the peer's memory");
  if (static_cast<unsigned long>(fs.f_type) != TMPFS_MAGIC)
    return wrong("the peer's memory is not on tmpfs");
  struct stat st {};
  if (fstat(fd.get(), &st) != 0) return system_error(errno, "fstat of the peer's memory");
  if (size == 0 || st.st_size < 0 || static_cast<size_t>(st.st_size) != size ||
      size != round_to_page(size))
    return wrong("the peer's memory is not of the size it announced");
  // Reading a hole would allocate the page, and charge us for what the peer has not got. What is
  // there stays: F_SEAL_FUTURE_WRITE refuses to punch holes too. The blocks of the file would not
  // do: some may lie beyond its end.
  const off_t hole = lseek(fd.get(), 0, SEEK_HOLE);
  if (hole < 0) return system_error(errno, "lseek in the peer's memory");
  if (hole != static_cast<off_t>(size)) return wrong("the peer's memory has holes");
  void* data = sys::mmap(size, PROT_READ, fd.get());
  if (data == MAP_FAILED) return system_error(errno, "mmap of the peer's memory");
  Mapping map(static_cast<std::byte*>(data), size);
  madvise(data, size, MADV_DONTFORK);
  // A hint: where it is refused the pages fault in as they are read.
  if (populate) sys::populate(data, size, MADV_POPULATE_READ);
  return map;
}

}  // namespace mmaplink
