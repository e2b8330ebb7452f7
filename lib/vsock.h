// Control sockets between a virtual machine and its host (AF_VSOCK, vsock(7)): an address in place
// of a path. No descriptor goes over them, and the kernel knows no user at the other end.
#pragma once

#include <string>
#include <string_view>

#include "lib/fd.h"
#include "lib/result.h"

struct sockaddr_vm;

namespace mmaplink {

// Whether a socket-path is one: vsock:CID:PORT. A file of such a name is ./vsock:…
bool is_vsock(std::string_view path);

// Numbers as of vsock(7): 1 is this machine itself, 2 the host. A server's own CID may be `any`.
// Failure::settings for anything else.
Result<sockaddr_vm> parse_vsock(const std::string& path);

Result<Fd> listen_on_vsock(const std::string& path);
// It may be on its way yet: connection_of() in socket.h. Failure::not_found while nobody listens.
Result<Fd> connect_to_vsock(const std::string& path);

}  // namespace mmaplink
