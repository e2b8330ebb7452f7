#include "lib/dmabuf.h"

#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <string>

namespace mmaplink {

// The kernel says there what is open, and the exporter only of these.
Result<uint64_t> dmabuf_size(int fd) {
  std::ifstream info("/proc/self/fdinfo/" + std::to_string(fd));
  bool is_one = false;
  for (std::string line; std::getline(info, line);) is_one |= line.starts_with("exp_name:");
  if (!is_one) return Error{Failure::protocol, "the memory is no dmabuf"};
  const off_t size = lseek(fd, 0, SEEK_END);
  if (size <= 0) return system_error(size == 0 ? EINVAL : errno, "the size of a dmabuf");
  lseek(fd, 0, SEEK_SET);
  return static_cast<uint64_t>(size);
}

}  // namespace mmaplink
