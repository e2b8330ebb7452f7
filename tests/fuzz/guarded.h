// Memory that ends where a page begins which nobody may touch: GStreamer's own code is built
// without AddressSanitizer, which therefore can't see how far it reads and writes.
#pragma once

#include <sys/mman.h>

#include "lib/sealed.h"
#include "tests/fuzz/fuzz.h"

namespace fuzz {

class Guarded {
 public:
  explicit Guarded(size_t size) : size_(size), whole_(mmaplink::round_to_page(size)) {
    void* start = mmap(nullptr, whole_ + mmaplink::page_size(), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(start != MAP_FAILED, "memory");
    start_ = static_cast<std::byte*>(start);
    check(mprotect(start_ + whole_, mmaplink::page_size(), PROT_NONE) == 0, "its end");
  }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  ~Guarded() { munmap(start_, whole_ + mmaplink::page_size()); }

  void* data() const { return start_ + whole_ - size_; }
  size_t size() const { return size_; }

 private:
  const size_t size_, whole_;
  std::byte* start_;
};

}  // namespace fuzz
