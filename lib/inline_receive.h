// The receiver's side of an inline direction: puts what comes over the control socket into memory
// of our own, straight from the socket, and publishes it into a lane that the link's own receiving
// end reads, in place of the peer. What that one has read and given back is the peer's to know.
//
// Owned by its link; its lane and memory by what came over it, too. Threads: begin() and the
// PartTarget by the endpoint's thread; tell() by whoever has read something or given something
// back. When the peer dies nothing comes any more: a piece of an item is dropped, whole ones can
// still be read. A rogue peer can send items out of turn, or too many, or too large ones: protocol
// errors.
#pragma once

#include <array>
#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "lib/arena.h"
#include "lib/channel.h"
#include "lib/local_lane.h"
#include "lib/receive_lane.h"
#include "lib/send_lane.h"

namespace mmaplink {

class InlineReceive final : public PartTarget {
 public:
  // With the `region` that items may lie in.
  InlineReceive(std::shared_ptr<Channel> channel, LocalLane lane,
                std::shared_ptr<PathRegion> region = nullptr);
  ~InlineReceive() override;

  // The link's own receiving end. It tells us when it has made progress: on_progress() is to call
  // tell().
  const std::shared_ptr<ReceiveLane>& lane() const { return lane_; }

  // The first one's `max_memory` counts, bytes for all that comes, and `huge`.
  Status begin(const ItemBegins& item, uint64_t max_memory, HugePages huge = HugePages::no);
  Status withdraw();
  // The peer wants memory.
  Status asked();
  Status begin_part(size_t size) override;
  std::span<std::byte> space() override;
  Status filled(size_t size) override;
  Status read_all() override;

  // Tells the peer what is due to be told.
  Status tell();

 private:
  struct Returned;
  struct Hold_;

  Status place_memories();
  Status find_memories();
  Result<uint64_t> count_further() const;
  Status publish();
  Status tell_due();
  bool is_due(uint64_t reads, size_t tickets) const;
  Status know(const Arena& arena) const;
  Result<Block> allocate(size_t size);
  Result<Block> allocate_payload(size_t size);
  void make_store(uint64_t max_memory, HugePages huge);

  const std::shared_ptr<Channel> channel_;
  const LocalLane local_;
  SendLane sender_;
  const std::shared_ptr<ReceiveLane> lane_;
  std::shared_ptr<ArenaStore> store_;  // with the first item
  const std::shared_ptr<Returned> returned_;
  const std::shared_ptr<PathRegion> region_;
  const uint32_t region_number_;  // as what the lane knows it

  // The endpoint's thread's: the item that is coming.
  bool coming_ = false;
  bool placed_ = false;  // its memories
  bool in_place_ = false;
  bool droppable_ = false;
  bool withdrawn_ = false;
  bool is_news_ = false;  // since read_all()
  Descriptor descriptor_;
  std::vector<std::byte> extra_;
  std::shared_ptr<Block> block_;
  std::deque<std::span<std::byte>> spaces_;
  size_t last_size_ = 0;

  // By the endpoint's thread, for whoever tells.
  std::atomic<uint64_t> received_{0};  // items
  std::atomic<uint32_t> together_{1};  // of reads and tickets, as the last item has it …
  std::atomic<bool> is_full_{false};   // … and this
  std::atomic<bool> asked_{false};     // since then

  std::atomic<uint32_t> calls_{0};  // of tell() that nobody has dealt with

  // Whoever tells, one at a time.
  uint64_t told_claimed_ = 0;
  uint64_t told_ns_ = 0;                // when
  std::optional<uint64_t> told_waits_;  // at how many received
};

}  // namespace mmaplink
