// A file descriptor with one owner.
#pragma once

#include <unistd.h>

#include <utility>

#include "lib/result.h"

namespace mmaplink {

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~Fd() { reset(); }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  // To be closed by somebody else from here on.
  int release() { return std::exchange(fd_, -1); }
  // Another one for the same file, not inherited by programs that are executed.
  Result<Fd> duplicate() const;
  void reset() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }

 private:
  int fd_ = -1;
};

}  // namespace mmaplink
