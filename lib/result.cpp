#include "lib/result.h"

#include <cerrno>
#include <system_error>

namespace mmaplink {

namespace {

Failure failure_of(int code) {
  switch (code) {
    case ENOENT:
    case ENOTDIR:
      return Failure::not_found;
    case EACCES:
    case EPERM:
    case EROFS:
      return Failure::permission;
    case ENOSPC:
    case ENOMEM:
    case EMFILE:
    case ENFILE:
    case EDQUOT:
    case EAGAIN:  // of threads
      return Failure::no_space;
    case EADDRINUSE:
    case EBUSY:
      return Failure::busy;
    default:
      return Failure::system;
  }
}

}  // namespace

Error system_error(int code, std::string what) {
  return Error{failure_of(code), std::move(what) + ": " + std::generic_category().message(code)};
}

}  // namespace mmaplink
