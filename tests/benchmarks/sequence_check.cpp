// Marking of arrived sequence numbers; see sequence_check.h.

#include "sequence_check.h"

namespace bench {

void SequenceCheck::arrived(std::uint32_t sequence) {
  if (sequence >= seen_.size()) {
    ++impossible_;
    return;
  }
  if (seen_[sequence]) {
    ++duplicated_;
    return;
  }
  seen_[sequence] = true;
  ++distinct_;
  if (sequence < after_highest_)
    ++reordered_;
  else
    after_highest_ = std::uint64_t{sequence} + 1;
}

}  // namespace bench
