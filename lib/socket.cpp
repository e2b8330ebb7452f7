#include "lib/socket.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
// behind <sys/socket.h>, which it needs
#include <linux/vm_sockets.h>

#include <cerrno>
#include <chrono>
#include <thread>

#include "lib/passed_sockets.h"
#include "lib/system.h"
#include "lib/vsock.h"

namespace mmaplink {

namespace {

constexpr size_t kMostPath = sizeof(sockaddr_un::sun_path) - 1;
constexpr int kBacklog = 64;
// Held by another server for the few microseconds of its own bind; bounded, because anyone who
// can read the directory can lock it.
constexpr int kLockTries = 200;
constexpr auto kLockPause = std::chrono::milliseconds(5);

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, kMostPath);
  return address;
}

Fd unix_socket() { return Fd(sys::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK)); }

bool connect_fd(const Fd& fd, const std::string& path) {
  const sockaddr_un address = address_of(path);
  return connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

Status lock_directory(const Fd& directory, const std::string& name) {
  for (int i = 0; i < kLockTries; ++i) {
    if (flock(directory.get(), LOCK_EX | LOCK_NB) == 0) return ok();
    if (errno != EWOULDBLOCK && errno != EINTR) break;
    std::this_thread::sleep_for(kLockPause);
  }
  if (errno == EWOULDBLOCK)
    return Error{Failure::busy, "directory " + name + " stays locked by another process"};
  return system_error(errno, "locking directory " + name);
}

// Removes a socket that nobody listens on.
Status clear_leftover(const std::string& path) {
  struct stat st {};
  if (lstat(path.c_str(), &st) != 0) {
    if (errno == ENOENT) return ok();
    return system_error(errno, path);
  }
  const Fd probe = unix_socket();
  if (!probe) return system_error(errno, "socket");
  if (connect_fd(probe, path) || errno == EAGAIN) {
    std::string text = "a server is already listening on " + path;
    if (auto owner = peer_of(probe); owner && owner->pid != 0)
      text += " (pid " + std::to_string(owner->pid) + ")";
    return Error{Failure::busy, text};
  }
  if (errno != ECONNREFUSED) return system_error(errno, path);
  if (unlink(path.c_str()) != 0 && errno != ENOENT)
    return system_error(errno, "removing the leftover socket " + path);
  return ok();
}

}  // namespace

std::string directory_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

Status check_socket_path(const std::string& path) {
  if (path.empty()) return Error{Failure::settings, "no socket-path is set"};
  if (is_vsock(path)) {
    auto address = parse_vsock(path);
    return address ? ok() : Status(address.error());
  }
  if (path.size() > kMostPath)
    return Error{Failure::settings, "the socket-path is " + std::to_string(path.size()) +
                                        " bytes long; a socket's path has at most " +
                                        std::to_string(kMostPath)};
  const std::string directory = directory_of(path);
  struct stat st {};
  if (stat(directory.c_str(), &st) != 0)
    return system_error(errno, "the directory " + directory + " of socket-path " + path);
  if (!S_ISDIR(st.st_mode))
    return Error{Failure::not_found, directory + " of socket-path " + path + " is no directory"};
  // Others could remove the socket there, and put their own in its place.
  if ((st.st_mode & S_IWOTH) != 0 && (st.st_mode & S_ISVTX) == 0)
    return Error{Failure::permission, "everybody can replace files in the directory " + directory +
                                          " of socket-path " + path +
                                          ": take another one, or set its sticky bit (chmod +t)"};
  if (lstat(path.c_str(), &st) == 0) {
    if (S_ISLNK(st.st_mode))
      return Error{Failure::settings, "the socket-path " + path +
                                          " is a symbolic link, which is not followed: give the "
                                          "path of the socket itself"};
    if (!S_ISSOCK(st.st_mode))
      return Error{Failure::settings, "the socket-path " + path + " is there and is not a socket"};
  } else if (errno != ENOENT) {
    return system_error(errno, "the socket-path " + path);
  }
  return ok();
}

Result<Listener> Listener::open(const std::string& path, const Access& access) {
  if (auto good = check_socket_path(path); !good) return good.error();
  auto passed = passed_listener(path);
  if (passed && !*passed && is_vsock(path)) passed = listen_on_vsock(path);
  if (!passed) return passed.error();
  Listener made;
  made.path_ = path;
  made.fd_ = std::move(*passed);
  if (made.fd_) return made;
  const std::string name = directory_of(path);
  const Fd directory(sys::open(name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return system_error(errno, "directory " + name);
  if (auto locked = lock_directory(directory, name); !locked) return locked.error();
  if (auto clear = clear_leftover(path); !clear) return clear.error();

  made.fd_ = unix_socket();
  if (!made.fd_) return system_error(errno, "socket");
  const sockaddr_un address = address_of(path);
  // Linux gives the file the mode of the socket's inode, less the umask: set before bind the path
  // is never open wider than asked for, set again after it the umask does not matter.
  if (fchmod(made.fd_.get(), access.mode & 0700) != 0)
    return system_error(errno, "mode of " + path);
  if (bind(made.fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return system_error(errno, "the socket-path " + path);
  struct stat st {};
  if (lstat(path.c_str(), &st) != 0) return system_error(errno, path);
  made.made_ = true;  // removed from here on, whatever fails
  made.device_ = st.st_dev;
  made.inode_ = st.st_ino;
  if (auto set = made.set_access(access); !set) return set.error();
  if (listen(made.fd_.get(), kBacklog) != 0) return system_error(errno, "listening on " + path);
  return made;
}

Status Listener::set_access(const Access& access) const {
  if (!made_) return ok();
  // Only root gives a file to a group that it is not in itself.
  if (access.group && lchown(path_.c_str(), static_cast<uid_t>(-1), *access.group) != 0) {
    const int code = errno;
    Error error =
        system_error(code, "giving " + path_ + " to group " + std::to_string(*access.group));
    if (code == EPERM) error.text += ": that takes a member of the group, or root";
    if (code == EINVAL)
      error.text +=
          ": this user namespace has no such group; the directory can give its own to "
          "the socket (chmod g+s), with perms=432";
    return error;
  }
  if (chmod(path_.c_str(), access.whole_mode()) != 0)
    return system_error(errno, "mode of " + path_);
  return ok();
}

Access Listener::access_of(Access asked) const {
  struct stat st {};
  if (made_ || is_vsock(path_) || lstat(path_.c_str(), &st) != 0) return asked;
  asked.mode = st.st_mode & 0777;
  asked.group.reset();
  return asked;
}

Listener::~Listener() {
  if (!fd_ || !made_) return;
  struct stat st {};
  if (lstat(path_.c_str(), &st) == 0 && st.st_dev == device_ && st.st_ino == inode_)
    unlink(path_.c_str());
}

Result<Fd> Listener::accept() {
  const int fd = sys::accept(fd_.get(), SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd >= 0) return Fd(fd);
  if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED) return Fd();
  return system_error(errno, "accepting a client on " + path_);
}

Result<Fd> connect_to(const std::string& path) {
  if (auto good = check_socket_path(path); !good) return good.error();
  if (is_vsock(path)) return connect_to_vsock(path);
  Fd fd = unix_socket();
  if (!fd) return system_error(errno, "socket");
  if (connect_fd(fd, path)) return fd;
  // EAGAIN: a server that has no time for us just now.
  if (errno == ENOENT || errno == ECONNREFUSED || errno == EAGAIN)
    return Error{Failure::not_found, "no server on " + path};
  const int code = errno;
  Error error = system_error(code, "connecting to " + path);
  if (code == EACCES)
    error.text += ": its server lets uid " + std::to_string(geteuid()) +
                  " in by the properties group or perms";
  return error;
}

bool is_connected(const Fd& socket) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  return getpeername(socket.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0;
}

Status connection_of(const Fd& socket, const std::string& path) {
  int code = 0;
  socklen_t size = sizeof code;
  if (getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &code, &size) != 0) code = errno;
  if (code == 0) return ok();
  // Nobody listens, or nobody is there: maybe later.
  if (code == ECONNRESET || code == ECONNREFUSED || code == ETIMEDOUT || code == EHOSTUNREACH)
    return Error{Failure::not_found, "no server on " + path};
  return system_error(code, "connecting to " + path);
}

Result<std::shared_ptr<const GivenSocket>> given_socket(int fd) {
  const std::string name = "descriptor " + std::to_string(fd);
  auto given = std::make_shared<GivenSocket>();
  given->fd = Fd(fcntl(fd, F_DUPFD_CLOEXEC, 0));
  given->name = name;
  struct stat st {};
  if (!given->fd || fstat(given->fd.get(), &st) != 0) {
    Error error = system_error(errno, "the property fd, " + name);
    error.failure = Failure::settings;
    return error;
  }
  given->inode = st.st_ino;
  if (socket_option(given->fd.get(), SO_TYPE) != SOCK_STREAM || !is_connected(given->fd))
    return Error{Failure::settings, "the property fd, " + name +
                                        ", is no connected stream socket, such as of "
                                        "socketpair(AF_UNIX, SOCK_STREAM, …)"};
  return std::shared_ptr<const GivenSocket>(std::move(given));
}

int socket_option(int fd, int option) {
  int value = 0;
  socklen_t size = sizeof value;
  return getsockopt(fd, SOL_SOCKET, option, &value, &size) == 0 ? value : -1;
}

bool passes_descriptors(const Fd& socket) {
  return socket_option(socket.get(), SO_DOMAIN) == AF_UNIX;
}

Result<Peer> peer_of(const Fd& socket) {
  if (!passes_descriptors(socket) && socket) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    if (getpeername(socket.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0)
      return system_error(errno, "address of the peer");
    if (address.ss_family != AF_VSOCK) return Peer{0, kNoUid, "another machine"};
    const auto cid = reinterpret_cast<const sockaddr_vm&>(address).svm_cid;
    return Peer{0, kNoUid, "vsock CID " + std::to_string(cid)};
  }
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0)
    return system_error(errno, "credentials of the peer");
  return Peer{credentials.pid, credentials.uid};
}

}  // namespace mmaplink
