// Listening sockets that whoever started this program has opened for it: socket activation, as
// systemd does it (sd_listen_fds(3): LISTEN_PID, LISTEN_FDS, descriptors from 3 on).
#pragma once

#include <string>

#include "lib/fd.h"
#include "lib/result.h"

namespace mmaplink {

// A descriptor of the one that listens on `path`, a path or vsock:CID:PORT, as often as it is asked
// for; none where none was passed. Failure::settings where what was passed can't be used.
Result<Fd> passed_listener(const std::string& path);

}  // namespace mmaplink
