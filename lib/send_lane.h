// The sender's end of a lane: publishes descriptors into its own half and reads, from the peer's
// half, what the peer has claimed and given back.
//
//     own half   slots[head % kSlots] ──▶ head          revoked, writer_wants
//     peer half  claimed ≤ taken+1, taken, receipts[…] ──▶ receipt_head
//
// A private table of rows says what the peer holds; a ticket names a row and how often it has been
// used. What is read from the peer is checked against this table and against `head`, never
// believed.
//
// Threads: publish() and wait_for_room() by one streaming thread at a time; everything else by any.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "lib/arena.h"
#include "lib/futex.h"
#include "lib/layout.h"
#include "lib/result.h"
#include "lib/shared_words.h"

namespace mmaplink {

// What must live until the peer has given the descriptor back.
using Hold = std::unique_ptr<void, void (*)(void*)>;
inline Hold no_hold() {
  return Hold(nullptr, [](void*) {});
}

// What a row kept, on its way out: dropped by the caller when no lock is held.
struct Held {
  Hold hold = no_hold();
  std::shared_ptr<const Block> extra;  // shared by an item that was published again
};

struct Outgoing {
  Descriptor descriptor;             // its sequences, ticket and extra_… are filled in here
  std::span<const std::byte> extra;  // copied
  std::optional<Block> extra_block;  // holds `extra` where it does not fit a slot
  Hold hold = no_hold();
  bool droppable = false;   // counts against the limit of a queue, and may be left out
  bool may_repeat = false;  // the item before can't be withdrawn: its bytes may serve again
};

template <class Words = SharedWords>
class BasicSendLane {
 public:
  // Both halves outlive the lane.
  BasicSendLane(Half& own, const Half& peer);

  enum class Room { yes, no, closed };
  // Sleeps until there may be room (half of the queue is gone, one wake-up for several frames; or
  // any, where they take longer than a tenth of a millisecond each), `kick` is kicked, or the
  // deadline.
  void wait_for_room(size_t max_queued, const Kick& kick, uint32_t seen, Deadline deadline);

  // Publishes if there is room: fewer than `max_queued` droppable ones are waiting (for one that is
  // droppable itself), and there is a slot and a row. Else `item` stays as it is. Wakes the peer if
  // it sleeps.
  Result<Room> publish(Outgoing& item, size_t max_queued);
  // Likewise, but who sleeps is woken by wake_peer(): once for several.
  Result<Room> publish_quietly(Outgoing& item, size_t max_queued);
  void wake_peer();

  // Takes back the oldest droppable item that the peer has not begun to read; the others stay in
  // order (of those that may repeat others, which can't be published again, all behind an item that
  // must arrive are lost). True if something was withdrawn. Its holds go to `freed`.
  bool withdraw_oldest(std::vector<Held>& freed);

  // All of them at once.
  void withdraw_all(std::vector<Held>& freed);

  // Whether there are receipts to read, `least` of them. A look without a lock, right in the end.
  bool has_receipts(uint64_t least) const {
    return Words::load(peer_.receipt_head, std::memory_order_relaxed) -
               receipts_read_.load(std::memory_order_relaxed) >=
           least;
  }
  // Reads receipts. The caller drops what comes out, with no lock held.
  Status drain(std::vector<Held>& freed);
  // Asks for a wake-up on the next receipt: the word to wait for. Then drain() once more, wait,
  // and stop_watching().
  WaitWord watch_receipts();
  void stop_watching();

  // Closed: nothing more is published, and what waits to be read is withdrawn. What the peer holds
  // stays as it is until the receipts come, or the peer is gone.
  void close(std::vector<Held>& freed);
  void reopen();
  bool closed() const;
  // The peer is gone: everything it held is free.
  size_t free_all(std::vector<Held>& freed);

  // Of an item that was taken just now. False where others lie in its slot already.
  bool is_droppable(uint64_t sequence) const;
  // Published, neither claimed nor withdrawn.
  Result<size_t> waiting();

  size_t held() const;  // descriptors the peer has not given back
  // Grows as the peer reads and gives back.
  uint64_t progress() const {
    return Words::load(peer_.claimed, std::memory_order_relaxed) +
           Words::load(peer_.receipt_head, std::memory_order_relaxed);
  }
  // Published and not yet claimed, by what the peer says.
  uint64_t unread() const {
    return Words::load(own_.head, std::memory_order_relaxed) -
           Words::load(peer_.claimed, std::memory_order_relaxed);
  }
  bool peer_starves() const;  // it has read all there is and waits for more
  uint64_t latency_p50() const { return Words::load(peer_.latency_p50, std::memory_order_relaxed); }
  uint64_t latency_p99() const { return Words::load(peer_.latency_p99, std::memory_order_relaxed); }

 private:
  struct Row {
    uint32_t generation = 1;
    bool live = false;
    Held held;
  };
  struct Kept {
    Descriptor descriptor;
    std::vector<std::byte> extra;
    bool droppable = false;
  };
  struct Queued {  // what we know ourselves of an item in the ring
    uint64_t ticket = 0;
    bool droppable = false;
    std::unique_ptr<Kept> again;  // our own copy of one that may have to be published again
  };

  enum class Withdraw { oldest, all };
  bool withdraw(Withdraw which, std::vector<Held>& freed);
  Status refresh();  // reads and checks what the peer has claimed and taken
  bool fits(bool droppable, size_t max_queued) const;
  uint64_t first_waiting() const { return std::max(claimed_, revoked_); }
  void forget_below(uint64_t index);
  void write(const Descriptor& descriptor, std::span<const std::byte> extra, bool droppable,
             bool keep);
  void announce_head();
  void wake_locked();
  Result<Room> publish_locked(Outgoing& item, size_t max_queued);
  uint64_t open_row(Hold hold, std::shared_ptr<const Block> extra);
  uint64_t renew_row(uint64_t ticket, bool claimed, std::vector<Held>& freed);
  bool close_row(uint64_t ticket, std::vector<Held>& freed);

  Half& own_;
  const Half& peer_;
  mutable typename Words::Mutex mutex_;
  uint64_t head_ = 0;
  uint64_t revoked_ = 0;
  uint64_t claimed_ = 0;  // what the peer last said, checked
  uint64_t taken_ = 0;
  uint64_t counted_ = 0;  // items below no longer count in queued_droppable_
  size_t queued_droppable_ = 0;
  std::atomic<uint64_t> receipts_read_{0};  // changed under the mutex
  uint64_t woken_for_ = 0;                  // the wish of the peer that it was woken for last
  Spinner spinner_;                         // the publishing thread's
  std::vector<std::byte> last_extra_;       // of the item before, where it may serve again
  int watchers_ = 0;
  size_t rows_live_ = 0;
  bool closed_ = false;
  bool peer_gone_ = false;  // all rows were freed: what it wrote before is no error
  std::vector<Row> rows_;
  std::vector<uint32_t> free_rows_;
  std::array<Queued, kSlots> queued_;
};

extern template class BasicSendLane<SharedWords>;
using SendLane = BasicSendLane<>;

}  // namespace mmaplink
