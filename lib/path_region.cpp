#include "lib/path_region.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <limits>
#include <string_view>
#include <system_error>
#include <utility>

#include "lib/socket.h"
#include "lib/system.h"

namespace mmaplink {

namespace {

constexpr std::string_view kPrefix = "mmap-";
constexpr uint64_t kFileMagic = 0x6d6d61702d72676e;  // "mmap-rgn"
constexpr int kTries = 16;

// In page 0.
struct Head {
  uint64_t magic;
  uint64_t zero;
  Token server;
  Token client;
};

Result<Token> new_token() {
  Token token;
  if (getrandom(token.data(), token.size(), 0) != static_cast<ssize_t>(token.size()))
    return system_error(errno, "random numbers");
  return token;
}

std::string hex(const Token& token) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const uint8_t byte : token) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

std::string file_in(const std::string& directory, const Token& name) {
  return directory + "/" + std::string(kPrefix) + hex(name);
}

bool is_name(std::string_view name) {
  return name.size() == kPrefix.size() + 2 * Token().size() && name.starts_with(kPrefix) &&
         name.find_first_not_of("0123456789abcdef", kPrefix.size()) == name.npos;
}

// Not through a symbolic link, which open() refuses, too.
bool is_directory(const std::string& path) {
  struct stat st {};
  return lstat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode);
}

Error of(int code, const std::string& path, const char* what) {
  if (code == ELOOP)
    return Error{Failure::settings, "the path mmap=" + path +
                                        " is a symbolic link, which is not followed: give the path "
                                        "of the file itself"};
  return system_error(code, "the path mmap=" + path + ": " + what);
}

// A byte of the file for each role, so that a server and its client don't lock out each other.
Status lock(const Fd& fd, const std::string& path, bool server) {
  struct flock one {};
  one.l_type = F_WRLCK;
  one.l_whence = SEEK_SET;
  one.l_start = server ? 0 : 1;
  one.l_len = 1;
  if (fcntl(fd.get(), F_OFD_SETLK, &one) == 0) return ok();
  if (errno == EAGAIN || errno == EACCES)
    return Error{Failure::busy, "the path mmap=" + path + " is in use by another link: a file is for one, a "
                                "directory for any number"};
  return of(errno, path, "locking it");
}

// Of servers of ours that were killed: nobody has them locked.
void remove_leftovers(const std::string& directory) {
  std::error_code failed;
  std::filesystem::directory_iterator entry(directory, failed);
  for (; !failed && entry != std::filesystem::directory_iterator(); entry.increment(failed)) {
    const std::string path = entry->path();
    if (!is_name(entry->path().filename().native())) continue;
    const Fd fd(sys::open(path.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
    struct stat st {};
    if (fd && fstat(fd.get(), &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() &&
        lock(fd, path, true))
      unlink(path.c_str());
  }
}

// Huge pages can't be mapped by halves.
Result<uint64_t> page_of(const Fd& fd, const std::string& path) {
  struct statfs fs {};
  if (fstatfs(fd.get(), &fs) != 0) return of(errno, path, "its file system");
  const bool huge = static_cast<unsigned long>(fs.f_type) == HUGETLBFS_MAGIC;
  return huge ? std::max<uint64_t>(static_cast<uint64_t>(fs.f_bsize), page_size()) : page_size();
}

Status set_access(const Fd& fd, const std::string& path, const Access& access) {
  if (access.group && fchown(fd.get(), static_cast<uid_t>(-1), *access.group) != 0)
    return of(errno, path, "giving it to the group");
  if (fchmod(fd.get(), access.group ? 0660 : 0600) != 0) return of(errno, path, "its mode");
  return ok();
}

}  // namespace

Status check_region_path(const std::string& path) {
  struct stat st {};
  if (lstat(path.c_str(), &st) == 0) {
    if (S_ISLNK(st.st_mode)) return of(ELOOP, path, "");
    if (S_ISDIR(st.st_mode) || S_ISREG(st.st_mode) || S_ISCHR(st.st_mode)) return ok();
    return Error{Failure::settings, "the path mmap=" + path + " is neither a file nor a directory"};
  }
  if (errno != ENOENT) return of(errno, path, "looking for it");
  const std::string directory = directory_of(path);
  if (lstat(directory.c_str(), &st) != 0)
    return of(errno, path, ("its directory " + directory).c_str());
  return ok();
}

// What an arena of ours lies in.
struct PathRegion::Piece {
  Piece(std::shared_ptr<PathRegion> of, uint64_t at, uint64_t bytes)
      : region(std::move(of)), offset(at), size(bytes) {}
  Piece(const Piece&) = delete;
  Piece& operator=(const Piece&) = delete;
  ~Piece() { region->release(offset, size); }

  const std::shared_ptr<PathRegion> region;
  const uint64_t offset;
  const uint64_t size;
};

Result<std::shared_ptr<PathRegion>> PathRegion::make(const std::string& path, uint64_t half,
                                                     const Access& access, Wake wake) {
  const std::shared_ptr<PathRegion> region(new PathRegion);
  region->is_server_ = true;
  region->path_ = path;
  auto token = new_token();
  if (!token) return token.error();
  region->terms_.token = *token;
  const bool in_directory = is_directory(path);
  if (in_directory) remove_leftovers(path);
  // One that another server takes for a leftover before it is locked is made again.
  for (int i = 0; i < kTries; ++i) {
    if (in_directory) {
      auto name = new_token();
      if (!name) return name.error();
      region->terms_.in_directory = true;
      region->terms_.name = *name;
      region->path_ = file_in(path, *name);
    }
    // Not to wait for a lease that somebody has on it.
    constexpr int kFlags = O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK;
    const char* file = region->path_.c_str();
    region->fd_ = Fd(sys::open(file, kFlags | O_CREAT | O_EXCL));
    region->made_ = static_cast<bool>(region->fd_);
    if (!region->fd_ && errno == EEXIST && !in_directory) region->fd_ = Fd(sys::open(file, kFlags));
    if (!region->fd_) return of(errno, region->path_, "opening it");
    if (auto locked = lock(region->fd_, region->path_, true); !locked) {
      // By one that looks for leftovers.
      if (region->made_ && locked.error().failure == Failure::busy) continue;
      return locked.error();
    }
    struct stat st {};
    if (fstat(region->fd_.get(), &st) != 0) return of(errno, region->path_, "fstat");
    if (region->made_ && st.st_nlink == 0) continue;
    if (st.st_uid != geteuid() && st.st_uid != 0)
      return Error{Failure::permission, "the path mmap=" + region->path_ + " belongs to uid " +
                                            std::to_string(st.st_uid) +
                                            ", which is neither root nor we"};
    if (!S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode))
      return Error{Failure::settings, "the path mmap=" + region->path_ + " is neither a file nor a device"};
    if (region->made_)
      if (auto set = set_access(region->fd_, region->path_, access); !set) return set.error();
    auto page = page_of(region->fd_, region->path_);
    if (!page) return page.error();
    region->terms_.page = region->page_ = *page;
    const auto up = [&](uint64_t size) { return (size + *page - 1) & ~(*page - 1); };
    auto size = static_cast<uint64_t>(st.st_size);
    if (size == 0 && S_ISCHR(st.st_mode))
      size = static_cast<uint64_t>(std::max<off_t>(lseek(region->fd_.get(), 0, SEEK_END), 0));
    if (size == 0 && !S_ISREG(st.st_mode))
      return Error{Failure::settings, "the path mmap=" + region->path_ +
                                          " is a device that does not say what size it has"};
    if (size == 0) {
      size = *page + 2 * up(half);
      if (sys::ftruncate(region->fd_.get(), static_cast<off_t>(size)) != 0)
        return of(errno, region->path_, "ftruncate");
    }
    region->terms_.size = size;
    if (auto mapped = region->map(std::move(wake)); !mapped) return mapped.error();
    return region;
  }
  return Error{Failure::busy, "the path mmap=" + path + ": each file that is made there is removed at once"};
}

Result<std::shared_ptr<PathRegion>> PathRegion::open(const std::string& path,
                                                     const RegionTerms& terms, uid_t server,
                                                     Wake wake) {
  const std::shared_ptr<PathRegion> region(new PathRegion);
  region->terms_ = terms;
  region->path_ = path;
  const bool in_directory = is_directory(path);
  if (in_directory != terms.in_directory)
    return Error{Failure::settings,
                 "the path mmap=" + path + " is " + (in_directory ? "a directory" : "no directory") +
                     " here, and " + (in_directory ? "none" : "one") + " at the server"};
  if (in_directory) region->path_ = file_in(path, terms.name);
  region->fd_ = Fd(
      sys::open(region->path_.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
  if (!region->fd_) return of(errno, region->path_, "opening what the server has there");
  struct stat st {};
  if (fstat(region->fd_.get(), &st) != 0) return of(errno, region->path_, "fstat");
  if (!S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode))
    return Error{Failure::settings, "the path mmap=" + region->path_ + " is neither a file nor a device"};
  if (st.st_uid != geteuid() && st.st_uid != server && st.st_uid != 0)
    return Error{Failure::permission, "the path mmap=" + region->path_ + " belongs to uid " +
                                          std::to_string(st.st_uid) +
                                          ", which is neither the server nor root nor we"};
  if (S_ISREG(st.st_mode) && static_cast<uint64_t>(st.st_size) != terms.size)
    return Error{Failure::settings, "the path mmap=" + region->path_ + " has " + std::to_string(st.st_size) +
                                        " bytes here and " + std::to_string(terms.size) +
                                        " at the server: it is another file"};
  auto page = page_of(region->fd_, region->path_);
  if (!page) return page.error();
  if (terms.page < *page || (terms.page & (terms.page - 1)) != 0)
    return Error{Failure::settings, "the path mmap=" + region->path_ + " has pages of " +
                                        std::to_string(*page) + " bytes here, and of " +
                                        std::to_string(terms.page) + " at the server"};
  region->page_ = *page;
  if (auto locked = lock(region->fd_, region->path_, false); !locked) return locked.error();
  auto token = new_token();
  if (!token) return token.error();
  region->token_ = *token;
  if (auto mapped = region->map(std::move(wake)); !mapped) return mapped.error();
  return region;
}

Status PathRegion::map(Wake wake) {
  const uint64_t page = terms_.page;
  const uint64_t half = terms_.size > page ? (terms_.size - page) / 2 & ~(page - 1) : 0;
  if (half == 0 || terms_.size > static_cast<uint64_t>(std::numeric_limits<off_t>::max()) / 2)
    return Error{Failure::settings, "the path mmap=" + path_ + " has " + std::to_string(terms_.size) +
                                        " bytes, which is no size for a region"};
  const uint64_t whole = page + 2 * half;
  own_size_ = half;
  own_ = is_server_ ? page : page + half;
  peers_ = is_server_ ? page + half : page;
  // A device has all its memory already, and refuses.
  if (is_server_ && sys::fallocate(fd_.get(), static_cast<off_t>(page)) != 0 && errno == ENOSPC)
    return no_room(errno, "its first page");
  void* data = sys::mmap(whole, PROT_READ | PROT_WRITE, fd_.get(), MAP_SHARED | MAP_NORESERVE);
  if (data == MAP_FAILED) return of(errno, path_, "mmap");
  map_ = Mapping(static_cast<std::byte*>(data), whole);
  madvise(data, whole, MADV_DONTFORK);
  auto guard = BusErrorGuard::make(data, whole, page, wake->get());
  if (!guard) return guard.error();
  guard_ = std::move(*guard);
  wake_ = std::move(wake);
  // Nothing of ours writes there.
  if (mprotect(map_.data() + peers_, half, PROT_READ) != 0) return of(errno, path_, "mprotect");
  free_.emplace(own_, half);
  auto* head = reinterpret_cast<Head*>(map_.data());
  if (is_server_) {
    head->server = terms_.token;
    head->client = Token{};
    std::atomic_thread_fence(std::memory_order_release);
    head->magic = kFileMagic;
    return ok();
  }
  Token found;
  std::memcpy(found.data(), head->server.data(), found.size());
  if (head->magic != kFileMagic || found != terms_.token)
    return Error{Failure::settings, "the path mmap=" + path_ + " is not the file that the server has"};
  head->client = token_;
  std::atomic_thread_fence(std::memory_order_release);
  return ok();
}

Status PathRegion::settle(const Token& clients) {
  const auto* head = reinterpret_cast<const Head*>(map_.data());
  std::atomic_thread_fence(std::memory_order_acquire);
  Token found;
  std::memcpy(found.data(), head->client.data(), found.size());
  if (broken() || found != clients)
    return Error{Failure::settings, "the path mmap=" + path_ + " is not the file that the client has"};
  if (std::exchange(made_, false)) unlink(path_.c_str());
  return ok();
}

// A process that we have forked may have the file open, too, and would keep the lock.
void PathRegion::unlock() const {
  struct flock all {};
  all.l_type = F_UNLCK;
  all.l_whence = SEEK_SET;
  fcntl(fd_.get(), F_OFD_SETLK, &all);
}

PathRegion::~PathRegion() {
  unlock();
  if (made_) unlink(path_.c_str());
  guard_.reset();
}

Error PathRegion::no_room(int code, const char* what) const {
  Error error = of(code, path_, what);
  if (code != ENOSPC) return error;
  struct statvfs fs {};
  // hugetlbfs knows a limit of its own, if it has one, and not what is set aside.
  if (pages() == Pages::hugetlb)
    error.text += "; set more huge pages aside (sysctl vm.nr_hugepages), or mount it with more";
  else if (fstatvfs(fd_.get(), &fs) == 0)
    error.text += "; " + std::to_string(uint64_t{fs.f_bavail} * fs.f_frsize) + " are free there";
  return error;
}

Result<SealedMemory> PathRegion::allocate(size_t size) {
  size = (size + terms_.page - 1) & ~(terms_.page - 1);
  uint64_t offset = 0;
  {
    const std::lock_guard lock(mutex_);
    const auto found = std::find_if(free_.begin(), free_.end(),
                                    [&](const auto& piece) { return piece.second >= size; });
    if (size == 0 || found == free_.end())
      return Error{Failure::limit,
                   "our half of " + path_ + ", " + std::to_string(own_size_) + " bytes, is in use"};
    offset = found->first;
    const uint64_t left = found->second - size;
    free_.erase(found);
    if (left > 0) free_.emplace(offset + size, left);
  }
  auto piece = std::make_shared<Piece>(shared_from_this(), offset, size);
  if (sys::fallocate(fd_.get(), static_cast<off_t>(size), static_cast<off_t>(offset)) != 0 &&
      errno != EOPNOTSUPP && errno != ENODEV && errno != EINVAL) {
    const std::string what = std::to_string(size) + " bytes more for it";
    return no_room(errno, what.c_str());
  }
  SealedMemory made;
  made.map = Mapping(map_.data() + offset, size, std::move(piece), pages());
  // A hint: what is not there comes as it is written.
  sys::populate(made.map.data(), size, MADV_POPULATE_WRITE);
  return made;
}

size_t PathRegion::room() const {
  const std::lock_guard lock(mutex_);
  uint64_t most = 0;
  for (const auto& [offset, size] : free_) most = std::max(most, size);
  return most;
}

// Gives its memory back, where the file system takes it.
void PathRegion::release(uint64_t offset, uint64_t size) {
  if (!ended_.load(std::memory_order_relaxed))
    fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
              static_cast<off_t>(offset), static_cast<off_t>(size));
  const std::lock_guard lock(mutex_);
  auto next = free_.lower_bound(offset);
  if (next != free_.end() && offset + size == next->first) {
    size += next->second;
    next = free_.erase(next);
  }
  if (next != free_.begin()) {
    const auto last = std::prev(next);
    if (last->first + last->second == offset) {
      last->second += size;
      return;
    }
  }
  free_.emplace(offset, size);
}

std::optional<uint64_t> PathRegion::offset_of(const std::byte* data, size_t size) const {
  const std::byte* begin = map_.data() + own_;
  if (data < begin || data > begin + own_size_ ||
      size > own_size_ - static_cast<size_t>(data - begin))
    return std::nullopt;
  return own_ + static_cast<uint64_t>(data - begin);
}

Mapping PathRegion::view() { return Mapping(map_.data(), map_.size(), shared_from_this()); }

bool PathRegion::is_peers(uint64_t offset, uint64_t size) const {
  return offset >= peers_ && offset - peers_ <= own_size_ && size <= own_size_ - (offset - peers_);
}

}  // namespace mmaplink
