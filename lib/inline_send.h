// The sender's side of an inline direction: reads the lane that the link's own sending end
// publishes into, in place of the peer, and sends what it takes there over the control socket, a
// part at a time, as long as the peer reads on.
//
// What is taken stays held until the peer gives it back, as if it had the memory mapped: all limits
// are the same. Memory that lies in the link's file stays where it is. A peer that waits is sent
// the next item; how many more go ahead of what it reads, the publisher says.
//
// Owned by its link. Threads: pump() by any: whoever publishes, and the endpoint's thread when the
// socket is writable again or the peer has made progress; one at a time does the work. When the
// peer dies nothing is sent any more; the lane's rows are freed as in any lane. A rogue peer can
// claim or give back what it has not got, which is a protocol error.
#pragma once

#include <array>
#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "lib/arena.h"
#include "lib/channel.h"
#include "lib/local_lane.h"
#include "lib/receive_lane.h"
#include "lib/send_lane.h"

namespace mmaplink {

// On the way, and not begun to be read: more of them, or more bytes before the last one, don't go.
inline constexpr size_t kMostAhead = 16;
inline constexpr size_t kMostBytesAhead = 1 << 20;
// Items of no more bytes are sent together, so many bytes at once.
inline constexpr size_t kSmall = 4 << 10;
inline constexpr size_t kMostTogether = 32 << 10;

class InlineSend {
 public:
  // Of what lies in `region`, where there is one, only the place is sent.
  InlineSend(std::shared_ptr<Channel> channel, LocalLane lane,
             std::shared_ptr<PathRegion> region = nullptr);

  // What the link's own sending end is made of.
  Half& sender_half() const { return local_.sender_half(); }
  const Half& receiver_half() const { return local_.receiver_half(); }

  // Before an item that lies there is published.
  Status add_arena(const std::shared_ptr<Arena>& known) const;
  Status retire_arena(uint32_t number) const { return lane_.get()->retire_arena(number); }

  // Sends what can be sent now of what `lane` has published.
  Status pump(const SendLane& lane);
  // By the endpoint's thread; then pump().
  Status take(const Progress& progress);
  // No more droppable ones than that go to a peer that does not wait. `drops`: what finds no room
  // is dropped, so each that was read is to be told then.
  void set_ahead(size_t items, bool drops) {
    ahead_.store(items, std::memory_order_relaxed);
    drops_.store(drops, std::memory_order_relaxed);
  }
  // Whether a small item that was published may wait for others to be sent with: the peer has
  // enough to read, and will tell of it, which sends them.
  bool may_collect(const SendLane& lane) const;
  // Somebody wants memory: the peer is to tell at once what it gives back. Then pump(). Any thread.
  void ask() { asks_.store(true, std::memory_order_relaxed); }
  // What is on the way is not to be read any more. Any thread.
  Status withdraw();
  // Droppable ones that the peer has not begun to read.
  size_t under_way() const { return under_way_.load(std::memory_order_relaxed); }
  // Whether the peer has read all there is, and waits.
  bool peer_starves() const { return waits_.load(std::memory_order_relaxed); }

 private:
  // Of the item that is being sent; kept by the channel until it has gone.
  struct Current {
    Incoming incoming;
    std::vector<View> further;
    std::deque<std::span<const std::byte>> left;
    std::vector<std::byte> head;   // small items before it, too
    std::vector<std::byte> extra;  // of an item in place
  };

  struct Sent {
    uint64_t size;
    bool droppable;
  };

  Status send_what_goes(const SendLane& lane);
  Result<bool> take_next(const SendLane& lane);
  bool put_in_place(Descriptor& descriptor);
  Status send_next_part();
  bool may_take() const;
  size_t half_ahead() const;
  void add_small();
  void add_question();

  const std::shared_ptr<Channel> channel_;
  const LocalLane local_;
  const std::shared_ptr<ReceiveLane> lane_;
  const std::shared_ptr<PathRegion> region_;
  std::atomic<uint32_t> calls_{0};  // of pump() that nobody has dealt with
  std::atomic<size_t> ahead_{kMostAhead};
  std::atomic<bool> drops_{false};
  std::atomic<bool> asks_{false};
  std::atomic<size_t> under_way_{0};
  std::atomic<bool> waits_{false};  // has read all there is, and said that it waits

  // Whoever pumps.
  const std::shared_ptr<Current> current_;
  bool sending_ = false;
  bool asked_ = false;  // since the last item

  mutable std::mutex mutex_;  // what the peer's progress changes
  bool has_begun_ = false;    // the peer has waited once
  uint64_t count_ = 0;        // of items sent
  uint64_t claimed_ = 0;
  uint64_t heard_waits_ = 0;
  uint64_t tickets_out_ = 0;
  std::deque<Sent> sent_;  // and not claimed
  uint64_t bytes_ = 0;     // of these
};

}  // namespace mmaplink
