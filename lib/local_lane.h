// A lane whose two ends are in this process: where a direction is inline, one at each side stands
// between the elements and the socket. So an element publishes, waits, withdraws and gives back as
// it does in a mapped direction.
#pragma once

#include <memory>

#include "lib/layout.h"
#include "lib/result.h"
#include "lib/sealed.h"

namespace mmaplink {

struct LocalLane {
  std::shared_ptr<SealedMemory> sender;
  std::shared_ptr<SealedMemory> receiver;

  static Result<LocalLane> make();

  Half& sender_half() const { return *reinterpret_cast<Half*>(sender->map.data()); }
  Half& receiver_half() const { return *reinterpret_cast<Half*>(receiver->map.data()); }
  // As its receiver wants it.
  std::shared_ptr<const Mapping> sender_map() const { return {sender, &sender->map}; }
};

}  // namespace mmaplink
