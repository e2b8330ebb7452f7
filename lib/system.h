// The calls by which the system is asked for memory, descriptors and threads: one seam, at which a
// test makes any of them fail. Elsewhere nothing asks for these.
//
// Each does what the call of that name does. No fault is armed outside of tests.
#pragma once

#include <sys/mman.h>
#include <sys/types.h>

#include <cstddef>
#include <functional>
#include <thread>

#include "lib/result.h"

namespace mmaplink::sys {

enum class Call {
  memfd_create,
  ftruncate,
  fallocate,
  mmap,
  populate,    // madvise(MADV_POPULATE_…)
  huge_pages,  // a memfd of them, and madvise(MADV_COLLAPSE)
  seal,        // fcntl(F_ADD_SEALS)
  open,
  socket,
  accept,
  epoll_create,
  epoll_add,
  eventfd,
  pidfd,
  thread,
};
inline constexpr int kCalls = static_cast<int>(Call::thread) + 1;

// Until it is taken back: the first `skip` calls of this kind go well, the others fail with `code`.
void arm(Call call, int code, int skip = 0);
void disarm();
// How often that has failed since arm().
int failed();

int memfd_create(const char* name, unsigned flags);
int ftruncate(int fd, off_t size);
int fallocate(int fd, off_t size, off_t offset = 0);
void* mmap(size_t size, int protection, int fd, int flags = MAP_SHARED, void* at = nullptr);
int populate(void* data, size_t size, int advice);
int collapse(void* data, size_t size);
int seal(int fd, int seals);
int open(const char* path, int flags);  // what is made is for nobody else (0600)
int socket(int domain, int type);
int socketpair(int type, int* two);  // of AF_UNIX
int accept(int fd, int flags);
int epoll_create();
int epoll_add(int epoll, int fd, unsigned events);
int eventfd();
int pidfd_open(pid_t pid);
Result<std::thread> thread(std::function<void()> run);

}  // namespace mmaplink::sys
