#include "lib/local_lane.h"

namespace mmaplink {

Result<LocalLane> LocalLane::make() {
  LocalLane lane;
  for (auto* half : {&lane.sender, &lane.receiver}) {
    auto memory = make_sealed("mmap-local", sizeof(Half));
    if (!memory) return memory.error();
    *half = std::make_shared<SealedMemory>(std::move(*memory));
  }
  return lane;
}

}  // namespace mmaplink
