// SIGBUS in mappings of files that another process may cut short: what has gone reads as zeros
// from then on, and the owner of the mapping is told. Any other is for the handler that was there
// before, or kills as it would have.
//
// Sealed memory needs none of this. Owned by whoever owns the mapping; it must end before that is
// unmapped. Threads: any. The handler is installed with the first guard and stays: another one may
// have been installed over it by then.
#pragma once

#include <cstddef>
#include <memory>

#include "lib/result.h"

namespace mmaplink {

class BusErrorGuard {
 public:
  // `page` is the size of the file's pages; `wake` an eventfd that is written when the file has
  // been cut short, which stays open for as long as the guard is there.
  static Result<std::unique_ptr<BusErrorGuard>> make(void* data, size_t size, size_t page,
                                                     int wake);
  ~BusErrorGuard();
  BusErrorGuard(const BusErrorGuard&) = delete;
  BusErrorGuard& operator=(const BusErrorGuard&) = delete;

  // Something of it has gone.
  bool broken() const;

 private:
  explicit BusErrorGuard(size_t slot) : slot_(slot) {}
  const size_t slot_;
};

}  // namespace mmaplink
