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
#include <deque>
#include <memory>
#include <mutex>
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
  Status begin_part(size_t size) override;
  std::span<std::byte> space() override;
  Status filled(size_t size) override;

  // Tells the peer what there is to tell.
  Status tell();

 private:
  struct Returned;
  struct Hold_;

  Status place_memories();
  Status find_memories();
  Result<uint64_t> count_further() const;
  Status publish();
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
  Descriptor descriptor_;
  std::vector<std::byte> extra_;
  std::shared_ptr<Block> block_;
  std::deque<std::span<std::byte>> spaces_;
  size_t last_size_ = 0;

  std::mutex mutex_;       // held while the peer is told, so that it is told in order
  uint64_t received_ = 0;  // items
  uint64_t told_claimed_ = 0;
  std::optional<uint64_t> told_waits_;  // at how many received
};

}  // namespace mmaplink
