#include "lib/passed_sockets.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
// behind <sys/socket.h>, which it needs
#include <linux/vm_sockets.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "lib/socket.h"
#include "lib/vsock.h"

namespace mmaplink {

namespace {

constexpr int kFirst = 3;  // SD_LISTEN_FDS_START
constexpr int kMost = 1024;

std::optional<int> number_in(const char* name) {
  const char* text = getenv(name);  // NOLINT(concurrency-mt-unsafe): who starts us has set it
  if (text == nullptr) return std::nullopt;
  int value = 0;
  const auto [end, error] = std::from_chars(text, text + std::strlen(text), value);
  if (error != std::errc{} || *end != '\0' || value < 0) return std::nullopt;
  return value;
}

// By the file, too: there are several names for a path.
bool is_on_path(const sockaddr_storage& storage, const std::string& path) {
  const auto& address = reinterpret_cast<const sockaddr_un&>(storage);
  const std::string own(address.sun_path, strnlen(address.sun_path, sizeof address.sun_path));
  if (own == path) return true;
  struct stat one {};
  struct stat other {};
  return !own.empty() && lstat(own.c_str(), &one) == 0 && lstat(path.c_str(), &other) == 0 &&
         one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

bool is_at(const sockaddr_storage& storage, const std::string& path) {
  const auto& own = reinterpret_cast<const sockaddr_vm&>(storage);
  auto wanted = parse_vsock(path);
  return wanted && own.svm_port == wanted->svm_port &&
         (own.svm_cid == wanted->svm_cid || own.svm_cid == VMADDR_CID_ANY ||
          wanted->svm_cid == VMADDR_CID_ANY);
}

}  // namespace

Result<Fd> passed_listener(const std::string& path) {
  const auto pid = number_in("LISTEN_PID");
  const auto count = number_in("LISTEN_FDS");
  if (pid != getpid() || !count || *count > kMost) return Fd();
  for (int fd = kFirst; fd < kFirst + *count; ++fd) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) continue;
    const bool is_it = is_vsock(path) ? address.ss_family == AF_VSOCK && is_at(address, path)
                                      : address.ss_family == AF_UNIX && is_on_path(address, path);
    if (!is_it) continue;
    if (socket_option(fd, SO_TYPE) != SOCK_STREAM || socket_option(fd, SO_ACCEPTCONN) != 1)
      return Error{Failure::settings,
                   "descriptor " + std::to_string(fd) + ", which was passed for socket-path " +
                       path + ", does not listen: it takes ListenStream= with Accept=no"};
    Fd copy(fcntl(fd, F_DUPFD_CLOEXEC, 0));
    // Nobody else is to have it; and accept() must not wait for one that has gone again.
    const int flags = fcntl(fd, F_GETFL);
    if (!copy || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 || flags < 0 ||
        fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0)
      return system_error(errno, "the socket that was passed for " + path);
    return copy;
  }
  return Fd();
}

}  // namespace mmaplink
