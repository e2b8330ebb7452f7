#include "lib/vsock.h"

#include <sys/socket.h>
// behind <sys/socket.h>, which it needs
#include <linux/vm_sockets.h>

#include <cerrno>
#include <charconv>
#include <cstdint>
#include <optional>

#include "lib/system.h"

namespace mmaplink {

namespace {

constexpr std::string_view kPrefix = "vsock:";
constexpr int kBacklog = 64;

std::optional<uint32_t> number(std::string_view text) {
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

Result<Fd> vsock_socket(const std::string& path) {
  Fd fd(sys::socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (fd) return fd;
  const int code = errno;
  Error error = system_error(code, "the socket-path " + path);
  if (code == EAFNOSUPPORT) error.text += ": this kernel has no vsock (module vsock)";
  return error;
}

}  // namespace

bool is_vsock(std::string_view path) { return path.starts_with(kPrefix); }

Result<sockaddr_vm> parse_vsock(const std::string& path) {
  const auto rest = std::string_view(path).substr(kPrefix.size());
  const size_t colon = rest.find(':');
  const auto word = rest.substr(0, colon);
  const auto cid = word == "any" ? std::optional<uint32_t>(VMADDR_CID_ANY) : number(word);
  const uint32_t port = colon == std::string_view::npos
                            ? VMADDR_PORT_ANY
                            : number(rest.substr(colon + 1)).value_or(VMADDR_PORT_ANY);
  if (!cid || port == VMADDR_PORT_ANY)
    return Error{Failure::settings, "the socket-path " + path +
                                        " is not vsock:CID:PORT with two numbers, such as "
                                        "vsock:2:5000 for port 5000 of the host"};
  sockaddr_vm address{};
  address.svm_family = AF_VSOCK;
  address.svm_cid = *cid;
  address.svm_port = port;
  return address;
}

Result<Fd> listen_on_vsock(const std::string& path) {
  auto address = parse_vsock(path);
  if (!address) return address.error();
  auto fd = vsock_socket(path);
  if (!fd) return fd;
  if (bind(fd->get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) != 0) {
    const int code = errno;
    if (code == EADDRINUSE) return Error{Failure::busy, "a server is already listening on " + path};
    Error error = system_error(code, "the socket-path " + path);
    if (code == EADDRNOTAVAIL)
      error.text += ": that CID is not this machine's; a server may say vsock:any:PORT";
    return error;
  }
  if (listen(fd->get(), kBacklog) != 0) return system_error(errno, "listening on " + path);
  return fd;
}

Result<Fd> connect_to_vsock(const std::string& path) {
  auto address = parse_vsock(path);
  if (!address) return address.error();
  if (address->svm_cid == VMADDR_CID_ANY)
    return Error{Failure::settings,
                 "the socket-path " + path + " of a client names no CID: 2 is the host"};
  auto fd = vsock_socket(path);
  if (!fd) return fd;
  if (connect(fd->get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) == 0 ||
      errno == EINPROGRESS)
    return fd;
  const int code = errno;
  if (code == ECONNRESET || code == ECONNREFUSED)
    return Error{Failure::not_found, "no server on " + path};
  Error error = system_error(code, "connecting to " + path);
  if (code == ENODEV)
    error.text += ": nothing here leads to that CID (modules vhost_vsock, vsock_loopback)";
  return error;
}

}  // namespace mmaplink
