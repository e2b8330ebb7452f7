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

// One of ordinary memory, made by the driver udmabuf (linux/udmabuf.h), whole pages: for drivers to
// write into, as v4l2src does with io-mode=dmabuf-import. Whoever is handed it can write to it,
// too. Failure::settings where this system has no such driver, or does not let us use it.
Result<Fd> make_dmabuf(uint64_t size);
Status check_can_make_dmabufs();

}  // namespace mmaplink
