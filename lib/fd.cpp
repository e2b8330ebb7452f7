#include "lib/fd.h"

#include <fcntl.h>

#include <cerrno>

namespace mmaplink {

Result<Fd> Fd::duplicate() const {
  Fd copy(fcntl(fd_, F_DUPFD_CLOEXEC, 0));
  if (!copy) return system_error(errno, "duplicating a descriptor");
  return copy;
}

}  // namespace mmaplink
