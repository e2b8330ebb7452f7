// The control socket's ends: a server's listening socket with its path, and a client's connection.
//
// A socket that a dead server left behind is recognised by trying it, under a lock on its
// directory, and replaced; a live server's socket is never taken.
#pragma once

#include <sys/types.h>

#include <string>

#include "lib/access.h"
#include "lib/fd.h"
#include "lib/result.h"

namespace mmaplink {

// Whether a path can be a control socket at all: length, not another kind of file nor a symbolic
// link, and in a directory where nobody else can take its place.
Status check_socket_path(const std::string& path);
std::string directory_of(const std::string& path);

class Listener {
 public:
  static Result<Listener> open(const std::string& path, const Access& access);
  Listener(Listener&&) noexcept = default;
  Listener& operator=(Listener&&) noexcept = default;
  ~Listener();  // removes the path, if it is still ours

  int fd() const { return fd_.get(); }
  // Another mode or group than before.
  Status set_access(const Access& access) const;
  // No descriptor when nobody waits any more.
  Result<Fd> accept();

 private:
  Listener() = default;
  Fd fd_;
  std::string path_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

// Failure::not_found while nobody listens there: try again later.
Result<Fd> connect_to(const std::string& path);

Result<Peer> peer_of(const Fd& socket);

}  // namespace mmaplink
