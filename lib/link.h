// One connection of two processes: a control channel and a region, which is two halves. It lives
// from handshake to hang-up and is never reused.
//
// Owned by its endpoint while connected, and shared with whoever sends or receives over it. The
// endpoint's thread reads its messages; any thread may send. When the peer dies the endpoint's
// thread calls end(): waiters wake up, and what the peer held is free.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_set>

#include "lib/allowance.h"
#include "lib/channel.h"
#include "lib/inline_receive.h"
#include "lib/inline_send.h"
#include "lib/receive_lane.h"
#include "lib/send_lane.h"
#include "lib/socket.h"
#include "lib/stall.h"
#include "lib/turnaround.h"

namespace mmaplink {

class Link {
 public:
  static constexpr uint32_t kAsksPerSecond = 250;
  // Maps the peer's half, where anything is mapped. `own` was, or will be, sent to it.
  static Result<std::shared_ptr<Link>> make(std::shared_ptr<Channel> channel,
                                            std::shared_ptr<SealedMemory> own, const Fd& peer_half,
                                            const Peer& peer, Modes modes = {},
                                            std::shared_ptr<PathRegion> region = nullptr);
  static Result<std::shared_ptr<SealedMemory>> make_half();

  const Peer& peer() const { return peer_; }
  const Modes& modes() const { return modes_; }
  // The file that payload lies in, where that is agreed on.
  const std::shared_ptr<PathRegion>& region() const { return parts_.region; }
  Channel& channel() { return *channel_; }
  bool alive() const { return alive_.load(std::memory_order_acquire); }  // pairs with end()
  Lanes peer_lanes() const {
    const uint32_t bits = peer_lanes_.load(std::memory_order_relaxed);
    return {(bits & 1) != 0, (bits & 2) != 0};
  }
  void set_peer_lanes(Lanes lanes) {
    peer_lanes_.store(uint32_t{lanes.sends} | uint32_t{lanes.receives} << 1,
                      std::memory_order_relaxed);
  }

  // Announces the arenas the item lies in, where the peer does not know them yet, and publishes.
  // Room::no leaves the item as it is.
  // Of `max_queued`, `ahead` may be on their way to a peer that does not wait for them, where the
  // direction is inline. `drops`: what finds no room is.
  Result<SendLane::Room> publish(Outgoing& item, std::span<const Place> places, size_t max_queued,
                                 size_t ahead = 0, bool drops = false);
  // Takes back what the peer has not begun to read and may be dropped.
  void withdraw(std::vector<Held>& freed);
  // Likewise, and nothing more is published.
  void close(std::vector<Held>& freed);
  void retire(uint32_t arena);
  // Whether the peer has read all there is, waits, and so gives nothing back.
  bool peer_starves() const;
  // Published, and the peer has not begun to read them, by what it says.
  uint64_t unread() const;
  // Somebody waits for what the peer gives back: it is to tell at once. Any thread.
  void ask_for_receipts();
  Status note(uint32_t kind, std::vector<std::byte> bytes);

  // What is inline goes on: the socket takes more, or something was published again. Any thread.
  void pump();
  // By the endpoint's thread. Failure::protocol in a direction that is mapped.
  // What comes inline is given `max_memory` bytes in such pages, from the first item on.
  Status begin_item(const ItemBegins& item, uint64_t max_memory, HugePages huge = HugePages::no);
  Status withdraw_items();
  Status take_progress(const Progress& progress);
  Status tell_receipts();
  // Failure::protocol in a direction that is inline.
  Status add_arena(const ArenaMade& arena, Fd fd);
  Status retire_arena(const ArenaRetired& arena);

  SendLane& send_lane() { return send_lane_; }
  Stall& stall() { return stall_; }  // of the thread that publishes
  // What the peer may ask of what lies behind a sink, where others have to do with that. Of the
  // thread that asks it.
  Allowance& asks() { return asks_; }
  const std::shared_ptr<ReceiveLane>& receive_lane() const { return receive_lane_; }
  // As a server, of what goes through its pipeline and back.
  Turnaround& turnaround() { return turnaround_; }

  // As a server that receives: this client's stream goes through the pipeline now, and nothing of
  // another one's is left in there.
  void give_turn() {
    has_turn_.store(true, std::memory_order_release);
    is_news_.store(true, std::memory_order_release);
    channel_->call_attention();
  }
  // By the endpoint's thread, which tells both sides.
  bool take_news() { return is_news_.exchange(false, std::memory_order_acquire); }
  bool has_turn() const {
    return has_turn_.load(std::memory_order_acquire);
  }  // pairs with give_turn()

  // The peer stops, and says so before it hangs up.
  void set_goodbye() { goodbye_.store(true, std::memory_order_relaxed); }
  bool said_goodbye() const { return goodbye_.load(std::memory_order_relaxed); }

  // The peer's pipeline has failed, and its error was posted here: a hang-up is no news.
  void set_failed_there() { failed_there_.store(true, std::memory_order_relaxed); }
  bool failed_there() const { return failed_there_.load(std::memory_order_relaxed); }

  // What the peer has said of its reading: that it has had enough, or that its pipeline has failed.
  enum class Reading { on, enough, failed };
  void set_reading(Reading reading) { reading_.store(reading, std::memory_order_release); }
  Reading reading() const {
    return reading_.load(std::memory_order_acquire);
  }  // pairs with set_reading()

  // What the peer sends has come to its end: a goodbye is no news, either.
  void set_ended_there(bool ended) { ended_there_.store(ended, std::memory_order_relaxed); }
  bool left_at_the_end() const {
    return ended_there_.load(std::memory_order_relaxed) && said_goodbye();
  }

  // Likewise the other way: that peer was told that this pipeline has failed. What it would get
  // then, the end of the stream, might be there before that.
  void set_failed_here() { failed_here_.store(true, std::memory_order_release); }
  bool failed_here() const {
    return failed_here_.load(std::memory_order_acquire);
  }  // pairs with set_failed_here()

  // Says why to the peer and ends the connection; the endpoint's thread does the rest.
  void hang_up(const std::string& why);
  std::optional<std::string> hung_up_because() const;

  // By the endpoint's thread alone: nothing more will come.
  void end() {
    alive_.store(false, std::memory_order_release);
    if (parts_.region) parts_.region->unlock();
  }

  // What its directions are made of: both halves where any is mapped, the others where any is not.
  struct Parts {
    std::shared_ptr<SealedMemory> own;
    std::shared_ptr<const Mapping> peers;
    std::unique_ptr<InlineSend> inline_send;
    std::unique_ptr<InlineReceive> inline_receive;
    std::shared_ptr<PathRegion> region;
  };
  Link(std::shared_ptr<Channel> channel, Parts parts, const Peer& peer, Modes modes);
  ~Link();

 private:
  Status announce(const std::shared_ptr<Arena>& arena);
  void withdraw_inline();

  const std::shared_ptr<Channel> channel_;
  const Parts parts_;
  const Peer peer_;
  const Modes modes_;
  SendLane send_lane_;
  const std::shared_ptr<ReceiveLane> receive_lane_;
  Turnaround turnaround_;
  Stall stall_;
  Allowance asks_{kAsksPerSecond, 2 * kAsksPerSecond};
  std::atomic<bool> alive_{true};
  std::atomic<uint32_t> peer_lanes_{0};
  std::atomic<bool> failed_there_{false};
  std::atomic<Reading> reading_{Reading::on};
  std::atomic<bool> failed_here_{false};
  std::atomic<bool> goodbye_{false};
  std::atomic<bool> ended_there_{false};
  std::atomic<bool> has_turn_{false};
  std::atomic<bool> is_news_{false};
  std::atomic<uint32_t> last_announced_{0};  // spares most look-ups; 0 is no arena

  mutable std::mutex mutex_;
  std::unordered_set<uint32_t> announced_;
  std::optional<std::string> why_;
};

}  // namespace mmaplink
