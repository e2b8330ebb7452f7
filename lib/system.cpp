#include "lib/system.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <system_error>

#ifndef MADV_COLLAPSE  // Linux 6.1
#define MADV_COLLAPSE 25
#endif

namespace mmaplink::sys {

namespace {

constexpr int kNone = -1;
std::atomic<int> armed{kNone};
std::atomic<int> error_code{0};
std::atomic<int> left_to_skip{0};
std::atomic<int> count_failed{0};

// Whether this call is to fail; errno says why, then.
bool fails(Call call) {
  if (armed.load(std::memory_order_relaxed) != static_cast<int>(call)) return false;
  if (left_to_skip.fetch_sub(1) > 0) return false;
  ++count_failed;
  errno = error_code;
  return true;
}

}  // namespace

void arm(Call call, int code, int skip) {
  error_code = code;
  left_to_skip = skip;
  count_failed = 0;
  armed = static_cast<int>(call);
}

void disarm() { armed = kNone; }

int failed() { return count_failed; }

int memfd_create(const char* name, unsigned flags) {
  const bool huge = (flags & MFD_HUGETLB) != 0;
  return fails(huge ? Call::huge_pages : Call::memfd_create) ? -1 : ::memfd_create(name, flags);
}

int ftruncate(int fd, off_t size) { return fails(Call::ftruncate) ? -1 : ::ftruncate(fd, size); }

int fallocate(int fd, off_t size, off_t offset) {
  return fails(Call::fallocate) ? -1 : ::fallocate(fd, 0, offset, size);
}

void* mmap(size_t size, int protection, int fd, int flags, void* at) {
  return fails(Call::mmap) ? MAP_FAILED : ::mmap(at, size, protection, flags, fd, 0);
}

int populate(void* data, size_t size, int advice) {
  return fails(Call::populate) ? -1 : madvise(data, size, advice);
}

int collapse(void* data, size_t size) {
  return fails(Call::huge_pages) ? -1 : madvise(data, size, MADV_COLLAPSE);
}

int seal(int fd, int seals) { return fails(Call::seal) ? -1 : fcntl(fd, F_ADD_SEALS, seals); }

int open(const char* path, int flags) { return fails(Call::open) ? -1 : ::open(path, flags, 0600); }

int socket(int domain, int type) { return fails(Call::socket) ? -1 : ::socket(domain, type, 0); }

int socketpair(int type, int* two) {
  return fails(Call::socket) ? -1 : ::socketpair(AF_UNIX, type, 0, two);
}

int accept(int fd, int flags) {
  return fails(Call::accept) ? -1 : accept4(fd, nullptr, nullptr, flags);
}

int epoll_create() { return fails(Call::epoll_create) ? -1 : epoll_create1(EPOLL_CLOEXEC); }

int epoll_add(int epoll, int fd, unsigned events) {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  return fails(Call::epoll_add) ? -1 : epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

int eventfd() { return fails(Call::eventfd) ? -1 : ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

int pidfd_open(pid_t pid) {
  return fails(Call::pidfd) ? -1 : static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
}

Result<std::thread> thread(std::function<void()> run) {
  const char* what = "starting a thread";
  if (fails(Call::thread)) return system_error(errno, what);
  // The one place where the standard library has nothing but an exception to say so.
  try {
    return std::thread(std::move(run));
  } catch (const std::system_error& error) {
    return system_error(error.code().value(), what);
  }
}

}  // namespace mmaplink::sys
