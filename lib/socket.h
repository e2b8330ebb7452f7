// The control socket's ends: a server's listening socket with its path, and a client's connection.
//
// A socket that a dead server left behind is recognised by trying it, under a lock on its
// directory, and replaced; a live server's socket is never taken. A path may also be that of
// another machine (vsock.h), a socket may have been passed to this program (passed_sockets.h), or
// the application gives one that is connected.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>

#include "lib/access.h"
#include "lib/fd.h"
#include "lib/result.h"

namespace mmaplink {

// Whether a path can be a control socket at all: length, not another kind of file nor a symbolic
// link, and in a directory where nobody else can take its place; or an address of a vsock.
Status check_socket_path(const std::string& path);
std::string directory_of(const std::string& path);

class Listener {
 public:
  static Result<Listener> open(const std::string& path, const Access& access);
  Listener(Listener&&) noexcept = default;
  Listener& operator=(Listener&&) noexcept = default;
  ~Listener();  // removes the path, if it is still ours

  int fd() const { return fd_.get(); }
  // Another mode or group than before. Of one that was passed to us its maker decides.
  Status set_access(const Access& access) const;
  // Who may come: of one that was passed to us its file says it, in place of mode and group.
  Access access_of(Access asked) const;
  // No descriptor when nobody waits any more.
  Result<Fd> accept();

 private:
  Listener() = default;
  Fd fd_;
  std::string path_;
  bool made_ = false;  // the file at that path
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

// Failure::not_found while nobody listens there: try again later. It may not be connected yet, but
// is when it can be written to; or there is an error then.
Result<Fd> connect_to(const std::string& path);
bool is_connected(const Fd& socket);
Status connection_of(const Fd& socket, const std::string& path);

// A connected stream socket of the application's, in place of a path.
struct GivenSocket {
  Fd fd;
  ino_t inode = 0;   // whichever number it has
  std::string name;  // for a person
};
// Of the number `fd`, which stays the application's. Failure::settings where it is no such socket.
Result<std::shared_ptr<const GivenSocket>> given_socket(int fd);

// Of SOL_SOCKET; -1 where there is none.
int socket_option(int fd, int option);

Result<Peer> peer_of(const Fd& socket);
// Only between processes of one system.
bool passes_descriptors(const Fd& socket);

}  // namespace mmaplink
