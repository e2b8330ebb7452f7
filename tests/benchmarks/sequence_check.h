// Tells which frames arrived, and in which order.
//
// Every sequence number has its own mark, so that a frame that arrives late is
// one reordered frame and not one lost and one duplicated. Memory is taken by
// expect() alone: adding to a count must cause no page fault.

#pragma once

#include <cstdint>
#include <vector>

namespace bench {

class SequenceCheck {
 public:
  // At most that many.
  void expect(std::uint32_t frames) { seen_.assign(frames, false); }

  void arrived(std::uint32_t sequence);

  std::uint64_t distinct() const { return distinct_; }
  std::uint64_t duplicated() const { return duplicated_; }
  std::uint64_t reordered() const { return reordered_; }
  // Numbers that no sender can have written: the stamp was damaged.
  std::uint64_t impossible() const { return impossible_; }

 private:
  std::vector<bool> seen_;
  std::uint64_t after_highest_ = 0;
  std::uint64_t distinct_ = 0;
  std::uint64_t duplicated_ = 0;
  std::uint64_t reordered_ = 0;
  std::uint64_t impossible_ = 0;
};

}  // namespace bench
