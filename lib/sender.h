// All that one sink needs to send: its arenas, and the links whose peers read from it.
//
// Owned by the sink, its allocator and its pools together: memory that upstream still holds may
// outlive the sink. Threads: publish() by the streaming thread; everything else by any.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "lib/arena.h"
#include "lib/foreign_arenas.h"
#include "lib/futex.h"
#include "lib/link.h"

namespace mmaplink {

enum class Leaky { none, upstream, downstream };

struct Limits {
  size_t max_buffers = 8;  // waiting to be read, per reader
  Leaky leaky = Leaky::none;
  // Asked again and again about one that has not read for `patience`: whether to go on without it.
  // What may be dropped is, then; one that has no room for what must arrive either is hung up on.
  std::function<bool()> passes_over = {};
  std::chrono::nanoseconds patience = std::chrono::milliseconds(250);
  // What must arrive is dropped all the same where there is no room for it until then: a question.
  Deadline until = Deadline::max();
};

class Sender : public std::enable_shared_from_this<Sender> {
 public:
  enum class Published { yes, dropped, dropped_oldest, passed_over, gone, interrupted };
  enum class Waited { progress, interrupted, exhausted };
  using Links = std::vector<std::shared_ptr<Link>>;

  // `peer_timeout`: a peer that is full, or holds most of the memory while there is none left, and
  // neither reads nor gives back for so long is hung up on.
  static std::shared_ptr<Sender> make(
      uint64_t max_memory, std::optional<std::chrono::nanoseconds> peer_timeout = std::nullopt,
      HugePages huge = HugePages::no);
  ~Sender();

  const std::shared_ptr<ArenaStore>& store() const { return store_; }
  // Of the thread that publishes.
  ForeignArenas& foreign() { return foreign_; }

  void add(std::shared_ptr<Link> link);
  // Takes back what that peer has not read yet, but for what must arrive.
  void withdraw(Link& link);
  // Sends that peer nothing more; what it holds it may go on reading: how many items that is.
  size_t leave(const Link& link);
  // That peer is gone. Frees what it held: how many items that was.
  size_t remove(const Link& link);
  void remove_all();
  Links links() const;

  // Blocks while the reader's queue is full, as `limits` says. The item's own fields, memory
  // descriptor and hold are the caller's; `extra` is put where it fits.
  Published publish(Link& link, Outgoing item, const Limits& limits, std::span<const Place> places);

  // Reads what the peers gave back and lets go of it.
  void collect();
  // The same for every frame: leaves a few receipts to be read together.
  void collect_some();
  // While anything is held that comes from a pool that does not ask us for memory, receipts must be
  // read as they come: such a pool may be waiting for its own buffers.
  void collect_always();

  // For whoever found no memory: remembers `progress` before the attempt and waits until memory may
  // have come back. `exhausted` when every peer has read all there is and waits for more, nobody
  // gives anything back for a second, and so never will. `until` interrupts it.
  uint64_t progress() const { return progress_.load(std::memory_order_acquire); }
  Waited wait_for_memory(uint64_t seen, Deadline until = Deadline::max());
  // allocate(), waiting as above. No block when interrupted or when there never will be one.
  std::optional<Block> allocate(size_t size, size_t align, Deadline until = Deadline::max());
  // Told, by whichever thread asked for memory, why there is none. An empty function: nobody.
  void on_no_memory(std::function<void(const Error&)> call);
  void no_memory(const Error& why);
  void made_progress();
  // Items that peers hold.
  size_t in_flight() const;

  // While true every wait ends at once: flush and shut-down.
  void interrupt(bool on);
  bool interrupted() const { return interrupted_.load(std::memory_order_acquire); }
  Kick& kick() { return kick_; }

  // Ends the thread of collect_always(). What peers of live links hold stays alive with the sender,
  // so that nobody writes over what they are about to read.
  void stop();

  Sender(uint64_t max_memory, std::optional<std::chrono::nanoseconds> peer_timeout, HugePages huge);

 private:
  bool give_up_on(Link& link, const Limits& limits, const Outgoing& item, Published& so);
  void collect(Link& link);
  void run_collector();
  void retire(uint32_t arena) const;
  void choose_region();
  void hang_up_on_holder(const Links& peers, Stall& stall, Deadline now) const;
  void wait_for_receipts(const Links& links, uint32_t seen, Deadline deadline);
  bool all_starve(const Links& links) const;

  const std::shared_ptr<ArenaStore> store_;
  ForeignArenas foreign_{[this](uint32_t arena) { retire(arena); }};
  const std::optional<std::chrono::nanoseconds> peer_timeout_;
  std::mutex region_mutex_;  // held while one is chosen
  Kick kick_;
  std::atomic<bool> interrupted_{false};
  std::atomic<uint64_t> progress_{0};
  std::atomic<int> memory_waiters_{0};
  std::atomic<bool> publishing_blocked_{false};
  std::atomic<uint32_t> uncollected_{0};  // calls of collect_some() since the last collect()

  mutable std::mutex mutex_;
  Links links_;
  std::thread collector_;
  std::function<void(const Error&)> on_no_memory_;
  std::atomic<bool> quit_{false};
};

}  // namespace mmaplink
