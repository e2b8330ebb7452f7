// The receiver's end of a lane: takes descriptors out of the peer's half, resolves them to memory
// it has mapped read-only, and writes into its own half how far it has read and what it gives back.
//
// It lives as long as anything that came over it: what downstream still holds stays readable after
// the link and the element are gone, and receipts that come too late for anyone are harmless.
//
// Threads: take() and wait() by one streaming thread at a time; give_back() and the arena table by
// any.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "lib/busy_poll.h"
#include "lib/fd.h"
#include "lib/futex.h"
#include "lib/histogram.h"
#include "lib/layout.h"
#include "lib/result.h"
#include "lib/sealed.h"
#include "lib/shared_words.h"

namespace mmaplink {

// A sender's arena as its receiver sees it.
struct PeerArena {
  uint32_t number;
  Fd fd;
  Mapping map;                  // read-only
  uint64_t dmabuf_size = 0;     // of a dmabuf, which is not mapped here
  Pages pages = Pages::normal;  // as far as is known

  bool is_dmabuf() const { return dmabuf_size > 0; }
  uint64_t size() const { return is_dmabuf() ? dmabuf_size : map.size(); }
};

// Memory of the peer that was found to lie where its descriptor says.
struct View {
  std::shared_ptr<const PeerArena> arena;
  uint64_t offset = 0;
  size_t size = 0;
  // Of a dmabuf there are none.
  std::span<const std::byte> bytes() const {
    if (arena->is_dmabuf()) return {};
    return {arena->map.data() + offset, size};
  }
};

struct Incoming {
  Descriptor descriptor;         // our copy
  View memory;                   // size 0: none
  std::vector<std::byte> extra;  // our copy; left as it is for the item that comes next
  uint64_t extra_number = 0;     // of that copy; another one is another number
};

template <class Words = SharedWords>
class BasicReceiveLane {
 public:
  enum class Take {
    item,
    nothing,  // the ring is empty, or has only given what was withdrawn
    pending,  // the arena of the next item is not announced yet
  };
  // Bounds for what one peer may make us map; more is a protocol error.
  struct Limits {
    size_t arenas = kMostArenas;
    uint64_t bytes = uint64_t{64} << 30;
    size_t extra = 16 << 20;
  };

  struct Usage {
    size_t held = 0;  // items taken and not given back
    size_t arenas = 0;
    uint64_t bytes = 0;        // of arenas
    uint64_t hugetlb = 0;      // of them, in such pages
    uint64_t transparent = 0;  // likewise, of our own
  };

  BasicReceiveLane(std::shared_ptr<SealedMemory> own, std::shared_ptr<const Mapping> peer);

  // The peer is gone: what it has published until the first call of this is all there is, whatever
  // it goes on writing. By the thread that takes.
  void close();
  // Always with the same `item`: an item may have the bytes of the one before.
  Result<Take> take(Incoming& item);
  bool empty() const;  // for the thread that takes
  // Lets go of what the last item lay in. By the thread that takes.
  void forget() { last_arena_.reset(); }
  // Sleeps until the peer publishes, `kick` is kicked, or the deadline.
  void wait(const Kick& kick, uint32_t seen, Deadline deadline);
  // For an item that comes at a regular pace wait() looks for at most so many ns, from shortly
  // before it is due, in place of sleeping. 0, as it is at first, is never. By the thread that
  // takes.
  void set_busy_poll(uint64_t most) { busy_poll_.set_most(most); }

  // What to add to the sender's times to have them by our clock. To be set before anything is read.
  void set_clock_offset(uint64_t ns) { clock_offset_ = ns; }

  // Called, by whichever thread it is, when something was read or given back, and before somebody
  // waits. To be set before anything is read.
  void on_progress(std::function<void()> call) { on_progress_ = std::move(call); }
  // Whether somebody has begun to wait since anything was read. Known with on_progress().
  bool waits() const { return waits_.load(std::memory_order_relaxed); }

  // "I am done with the descriptor of this ticket."
  void give_back(uint64_t ticket);

  // `pages` is known of our own: of a peer's only those of hugetlbfs are.
  Status add_arena(uint32_t number, Fd fd, uint64_t size, Pages pages = Pages::normal);
  Status add_dmabuf(uint32_t number, Fd fd, uint64_t size);
  // The same of what is mapped already.
  Status add_mapped(uint32_t number, Mapping map);
  Status retire_arena(uint32_t number);
  bool knows(uint32_t arena) const;
  // Failure::protocol where the numbers do not fit; nullptr where the arena is not known yet.
  Result<View> resolve(uint32_t arena, uint64_t offset, uint64_t size);

  Usage usage() const;
  const Histogram& latency() const { return latency_; }  // publish to take, ns

 private:
  Status check(const Incoming& item);
  Status may_add(uint32_t number, uint64_t size);
  void add(PeerArena arena);
  Result<bool> resolve_item(Incoming& item);
  static Result<View> within(const std::shared_ptr<const PeerArena>& arena, uint64_t offset,
                             uint64_t size);
  Result<uint64_t> behind();  // descriptors not taken yet
  void finish();
  void write_receipt(uint64_t ticket);

  std::shared_ptr<SealedMemory> own_memory_;
  std::shared_ptr<const Mapping> peer_memory_;
  Half& own_;
  const Half& peer_;
  const Limits limits_;

  uint64_t index_ = 0;         // the next descriptor
  uint64_t last_first_ = 0;    // the first sequence of the last item
  uint64_t writer_woken_ = 0;  // the wish of the peer that it was woken for last
  uint64_t clock_offset_ = 0;
  std::optional<uint64_t> end_;  // closed: no descriptor from here on
  bool pending_ = false;         // the item that take() was given last waits for its arena
  Spinner spinner_;
  BusyPoll busy_poll_;
  std::shared_ptr<const PeerArena> last_arena_;  // what the last item lay in …
  uint64_t last_retired_ = 0;                    // … looked up when this was retired_
  Histogram latency_;
  uint32_t since_percentiles_ = 0;

  std::function<void()> on_progress_;
  std::atomic<bool> waits_{false};
  std::atomic<uint64_t> owed_{0};  // receipts for what was taken

  mutable typename Words::Mutex receipts_mutex_;
  uint64_t receipt_head_ = 0;
  uint64_t woken_for_ = 0;

  mutable typename Words::Mutex arenas_mutex_;
  std::unordered_map<uint32_t, std::shared_ptr<const PeerArena>> arenas_;
  uint64_t arena_bytes_ = 0;
  uint64_t populated_ = 0;            // bytes, ever; the endpoint's thread's
  std::atomic<uint64_t> retired_{0};  // arenas, ever
};

extern template class BasicReceiveLane<SharedWords>;
using ReceiveLane = BasicReceiveLane<>;

}  // namespace mmaplink
