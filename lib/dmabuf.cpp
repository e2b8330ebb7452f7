#include "lib/dmabuf.h"

#include <fcntl.h>
#include <linux/udmabuf.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <string>

#include "lib/sealed.h"
#include "lib/system.h"

namespace mmaplink {

namespace {

constexpr const char* kDriver = "/dev/udmabuf";

Result<Fd> open_driver() {
  Fd driver(sys::open(kDriver, O_RDWR | O_CLOEXEC));
  if (driver) return driver;
  Error error = system_error(errno, std::string("udmabuf=true takes ") + kDriver);
  error.failure = Failure::settings;
  error.text += " (the module udmabuf, since Linux 4.20; group kvm on most systems)";
  return error;
}

}  // namespace

Status check_can_make_dmabufs() {
  auto driver = open_driver();
  return driver ? ok() : Status(driver.error());
}

Result<Fd> make_dmabuf(uint64_t size) {
  auto driver = open_driver();
  if (!driver) return driver;
  size = round_to_page(size);
  const std::string what = "a dmabuf of " + std::to_string(size) + " bytes";
  const Fd memory(sys::memfd_create("mmap-udmabuf", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory) return system_error(errno, what + ": memfd_create");
  // That it does not shrink is what the driver asks for; that it is written by us alone it refuses.
  if (sys::ftruncate(memory.get(), static_cast<off_t>(size)) != 0 ||
      sys::seal(memory.get(), F_SEAL_SHRINK | F_SEAL_GROW) != 0)
    return system_error(errno, what);
  udmabuf_create create{};
  create.memfd = static_cast<uint32_t>(memory.get());
  create.flags = UDMABUF_FLAGS_CLOEXEC;
  create.size = size;
  Fd made(ioctl(driver->get(), UDMABUF_CREATE, &create));
  if (!made) return system_error(errno, what + ": " + kDriver);
  return made;
}

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
