// The C++ side of GstMmapMemory, for the pool and the elements.
#pragma once

#include <memory>
#include <optional>
#include <utility>

#include "gst/gstmmapmemory.h"
#include "lib/arena.h"
#include "lib/receive_lane.h"
#include "lib/sender.h"

namespace gstmmap {

// What all memory of a sender is aligned to, a cache line, as a mask like that of
// GstAllocationParams.
inline constexpr gsize kMemoryAlign = 63;

// What an allocator does when max-memory is used up.
enum class WhenFull { wait, fail };

// An allocator of a sender's memory; it keeps the sender. Transfer full.
GstAllocator* allocator_new(std::shared_ptr<mmaplink::Sender> sender, WhenFull when_full);
// The sender of one of our allocators; nullptr for others.
mmaplink::Sender* allocator_sender(GstAllocator* allocator);

// Gives a descriptor back when it goes.
class GiveBack {
 public:
  GiveBack() = default;
  GiveBack(std::shared_ptr<mmaplink::ReceiveLane> lane, uint64_t ticket)
      : lane_(std::move(lane)), ticket_(ticket) {}
  GiveBack(GiveBack&& other) noexcept
      : lane_(std::move(other.lane_)), ticket_(std::exchange(other.ticket_, 0)) {}
  GiveBack& operator=(GiveBack&& other) noexcept {
    give();
    lane_ = std::move(other.lane_);
    ticket_ = std::exchange(other.ticket_, 0);
    return *this;
  }
  ~GiveBack() { give(); }

 private:
  void give() const {
    if (ticket_ != 0) lane_->give_back(ticket_);
  }

  std::shared_ptr<mmaplink::ReceiveLane> lane_;
  uint64_t ticket_ = 0;
};

// Read-only memory over what a peer sent. Transfer full; nullptr where the system has none. The
// second is for one of several memories that came with one descriptor.
GstMemory* memory_new_received(mmaplink::View view, GiveBack give_back);
GstMemory* memory_new_received(mmaplink::View view, std::shared_ptr<GiveBack> give_back);

// Of the first kind, over what is mapped here.
bool is_received(GstMemory* memory);
// Lets go of the view, and gives back.
void empty_received(GstMemory* memory);
// An empty one lies over that then, which is mapped here.
void fill_received(GstMemory* memory, mmaplink::View view, GiveBack give_back);
// Goes with the memory; nullptr of any that has none.
struct Shell;
Shell* shell_of(GstMemory* memory);
void set_shell(GstMemory* memory, std::shared_ptr<Shell> shell);

// Whether it lies in an arena of a stream that is over.
bool is_over(GstMemory* memory);

// Where a memory lies, if that sender can send it as it is: in an arena of its own, recognised by
// its type, or by its address where an element wrapped it; or in memory of others that may be
// handed on. Of the thread that publishes. `dmabufs`: whether all readers can be handed these.
std::optional<mmaplink::Place> memory_place(GstMemory* memory, mmaplink::Sender& sender,
                                            bool dmabufs);

}  // namespace gstmmap
