// Buffers of drivers, as they are shared between devices and processes (dma-buf): frames of a
// camera, or of a GPU. They are handed on as they are, and mapped by whoever looks at them.
#pragma once

#include <cstdint>

#include "lib/fd.h"
#include "lib/result.h"

namespace mmaplink {

// Its size in bytes. Failure::protocol where the descriptor is of anything else; that is found out
// without asking the file system of a descriptor that a peer has made, which may never answer.
Result<uint64_t> dmabuf_size(int fd);

}  // namespace mmaplink
