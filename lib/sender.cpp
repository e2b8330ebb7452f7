#include "lib/sender.h"

#include <algorithm>
#include <array>

#include "lib/system.h"

namespace mmaplink {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Every wait looks again after this, whatever was or was not woken.
constexpr auto kSlice = milliseconds(100);
constexpr auto kStarved = seconds(1);

std::string idle_for(std::chrono::nanoseconds timeout) {
  return "it has neither read nor given anything back for peer-timeout=" +
         std::to_string(timeout.count()) + " ns";
}

}  // namespace

std::shared_ptr<Sender> Sender::make(uint64_t max_memory,
                                     std::optional<std::chrono::nanoseconds> peer_timeout,
                                     HugePages huge) {
  auto sender = std::make_shared<Sender>(max_memory, peer_timeout, huge);
  // The store may outlive the sender: it asks whether there still is one.
  const std::weak_ptr<Sender> weak = sender;
  sender->store_->on_retired([weak](uint32_t arena) {
    if (const auto self = weak.lock()) self->retire(arena);
  });
  sender->store_->on_freed([weak] {
    if (const auto self = weak.lock()) self->made_progress();
  });
  return sender;
}

Sender::Sender(uint64_t max_memory, std::optional<std::chrono::nanoseconds> peer_timeout,
               HugePages huge)
    : store_(std::make_shared<ArenaStore>(max_memory, huge)), peer_timeout_(peer_timeout) {}

Sender::~Sender() { stop(); }

void Sender::retire(uint32_t arena) const {
  for (const auto& link : links()) link->retire(arena);
}

void Sender::add(std::shared_ptr<Link> link) {
  {
    const std::lock_guard lock(mutex_);
    link->send_lane().reopen();
    if (std::find(links_.begin(), links_.end(), link) == links_.end())
      links_.push_back(std::move(link));
  }
  choose_region();
  kick_.kick();
}

// The file of the first that has one; what goes to others is copied, through the socket.
void Sender::choose_region() {
  const std::lock_guard lock(region_mutex_);
  const auto all = links();
  const auto first = std::find_if(all.begin(), all.end(),
                                  [](const auto& link) { return link->region() != nullptr; });
  store_->use(first != all.end() ? (*first)->region() : nullptr);
}

void Sender::withdraw(Link& link) {
  std::vector<Held> freed;
  link.withdraw(freed);
  freed.clear();
  collect(link);
  made_progress();
}

size_t Sender::leave(const Link& link) {
  size_t held = 0;
  for (const auto& other : links()) {
    if (other.get() != &link) continue;
    std::vector<Held> freed;
    other->close(freed);
    collect(*other);
    held = other->send_lane().held();
  }
  made_progress();
  kick_.kick();
  return held;
}

size_t Sender::remove(const Link& link) {
  std::shared_ptr<Link> gone;
  {
    const std::lock_guard lock(mutex_);
    const auto found = std::find_if(links_.begin(), links_.end(),
                                    [&](const auto& other) { return other.get() == &link; });
    if (found == links_.end()) return 0;
    gone = std::move(*found);
    links_.erase(found);
  }
  std::vector<Held> freed;
  choose_region();
  const size_t count = gone->send_lane().free_all(freed);
  freed.clear();
  made_progress();
  kick_.kick();
  return count;
}

void Sender::remove_all() {
  for (const auto& link : links()) remove(*link);
}

Sender::Links Sender::links() const {
  const std::lock_guard lock(mutex_);
  return links_;
}

// Whether this peer, which is full, is not waited for any longer, and what becomes of the item
// `so`.
bool Sender::give_up_on(Link& link, const Limits& limits, const Outgoing& item, Published& so) {
  const auto idle = link.stall().look(link.send_lane().progress(), Clock::now());
  so = Published::gone;
  if (peer_timeout_ && idle >= *peer_timeout_) {
    link.hang_up(idle_for(*peer_timeout_));
    return true;
  }
  if (!limits.passes_over || idle < limits.patience || !limits.passes_over()) return false;
  if (item.droppable)
    so = Published::passed_over;
  else
    link.hang_up("it does not read, and others wait for the events that it has no room for");
  return true;
}

Sender::Published Sender::publish(Link& link, Outgoing item, const Limits& limits,
                                  std::span<const Place> places) {
  SendLane& lane = link.send_lane();
  const auto is_late = [&] { return Clock::now() >= limits.until; };
  if (item.extra.size() > kSlotExtra) {
    item.extra_block = allocate(item.extra.size(), 1, limits.until);
    if (!item.extra_block) return is_late() ? Published::dropped : Published::interrupted;
  }
  item.descriptor.published = monotonic_ns();
  const bool item_is_droppable = item.droppable;
  // Where the oldest give way, none are to be out of reach.
  const size_t ahead = limits.leaky == Leaky::downstream ? 0 : limits.max_buffers - 1;
  bool tried = false;
  bool withdrew = false;
  for (;;) {
    const uint32_t seen = kick_.value();
    if (interrupted()) return Published::interrupted;
    if (!link.alive()) return Published::gone;
    auto room =
        link.publish(item, places, limits.max_buffers, ahead, limits.leaky == Leaky::upstream);
    if (!room) {
      link.hang_up(room.error().text);
      return Published::gone;
    }
    if (*room == SendLane::Room::closed) return Published::gone;
    if (*room == SendLane::Room::yes) {
      if (!withdrew && item_is_droppable) link.stall().end();
      return withdrew ? Published::dropped_oldest : Published::yes;
    }
    collect(link);
    if (Published so{}; give_up_on(link, limits, item, so)) return so;
    if (is_late()) return Published::dropped;
    if (item.droppable && limits.leaky == Leaky::upstream) return Published::dropped;
    if (item.droppable && limits.leaky == Leaky::downstream) {
      // One frame for another: where that makes no room, no more of them will. Where nothing can be
      // withdrawn the peer has just begun to read the oldest, and there is room now.
      if (withdrew) return Published::dropped;
      std::vector<Held> freed;
      withdrew = lane.withdraw_oldest(freed);
      if (!withdrew && tried) return Published::dropped;
      tried = true;
      continue;
    }
    publishing_blocked_.store(true, std::memory_order_relaxed);
    lane.wait_for_room(limits.max_buffers, kick_, seen,
                       std::min(limits.until, Clock::now() + kSlice));
    publishing_blocked_.store(false, std::memory_order_relaxed);
    item.descriptor.published = monotonic_ns();
  }
}

void Sender::collect(Link& link) {
  if (!link.send_lane().has_receipts(1)) return;
  // Its memory serves again; what it holds is dropped with no lock held, and may come back here.
  thread_local std::vector<Held> scratch;
  std::vector<Held> freed = std::move(scratch);
  if (auto drained = link.send_lane().drain(freed); !drained) link.hang_up(drained.error().text);
  freed.clear();
  scratch = std::move(freed);
}

void Sender::collect() {
  // Done for each frame: the list is not allocated anew. As above, it may come back here.
  thread_local Links scratch;
  Links all = std::move(scratch);
  {
    const std::lock_guard lock(mutex_);
    all.assign(links_.begin(), links_.end());
  }
  for (const auto& link : all) collect(*link);
  all.clear();
  scratch = std::move(all);
}

void Sender::collect_some() {
  constexpr uint32_t kTogether = 4;
  if (uncollected_.fetch_add(1, std::memory_order_relaxed) + 1 < kTogether) return;
  uncollected_.store(0, std::memory_order_relaxed);
  collect();
}

void Sender::collect_always() {
  const std::lock_guard lock(mutex_);
  if (collector_.joinable()) return;
  quit_ = false;
  auto thread = sys::thread([this] { run_collector(); });
  // Without it receipts are read when the next frame comes.
  if (thread) collector_ = std::move(*thread);
}

// Where frames come one upon the other, whoever publishes reads the receipts with each: to be woken
// for each as well would cost more than all else. What is left then, when they come no more, is
// found a little later.
void Sender::run_collector() {
  constexpr auto kBreath = milliseconds(1);
  constexpr uint64_t kFast = 8;  // read or given back meanwhile: four frames
  const auto progress_of = [](const Links& all) {
    uint64_t sum = 0;
    for (const auto& link : all) sum += link->send_lane().progress();
    return sum;
  };
  bool is_fast = false;
  uint64_t before = 0;
  Deadline since{};
  for (;;) {
    const uint32_t seen = kick_.value();
    if (quit_) return;
    const Links all = links();
    const std::array words{kick_.word(seen)};
    if (is_fast)
      wait_any(words, Clock::now() + kBreath);
    else
      wait_for_receipts(all, seen, Clock::now() + seconds(1));
    collect();
    const Deadline now = Clock::now();
    if (now - since < kBreath) continue;
    const uint64_t progress = progress_of(all);
    is_fast = progress - before >= kFast && now - since < 2 * kBreath;
    before = progress;
    since = now;
  }
}

void Sender::wait_for_receipts(const Links& links, uint32_t seen, Deadline deadline) {
  std::vector<WaitWord> words{kick_.word(seen)};  // first: it is always watched
  for (const auto& link : links) {
    words.push_back(link->send_lane().watch_receipts());
    link->ask_for_receipts();
  }
  wait_any(words, deadline);
  for (const auto& link : links) link->send_lane().stop_watching();
}

bool Sender::all_starve(const Links& links) const {
  if (links.empty() || publishing_blocked_.load(std::memory_order_relaxed)) return false;
  return std::all_of(links.begin(), links.end(), [](const auto& link) {
    return link->send_lane().closed() || link->peer_starves();
  });
}

// On the one that holds most, if it has done nothing for too long.
void Sender::hang_up_on_holder(const Links& peers, Stall& stall, Deadline now) const {
  const auto most = std::max_element(peers.begin(), peers.end(), [](const auto& a, const auto& b) {
    return a->send_lane().held() < b->send_lane().held();
  });
  if (most == peers.end() || (*most)->send_lane().held() == 0) return stall.end();
  if (stall.look((*most)->send_lane().progress(), now) >= *peer_timeout_)
    (*most)->hang_up(idle_for(*peer_timeout_));
}

Sender::Waited Sender::wait_for_memory(uint64_t seen_progress, Deadline until) {
  const struct Counted {
    std::atomic<int>& count;
    explicit Counted(std::atomic<int>& c) : count(c) { ++count; }
    ~Counted() { --count; }
  } counted(memory_waiters_);
  Deadline starves_since = Deadline::max();
  Stall stall;
  for (;;) {
    const uint32_t seen = kick_.value();
    collect();
    if (progress() != seen_progress) return Waited::progress;
    if (interrupted() || Clock::now() >= until) return Waited::interrupted;
    const Links peers = links();
    const Deadline now = Clock::now();
    if (peer_timeout_) hang_up_on_holder(peers, stall, now);
    if (peer_timeout_ || !all_starve(peers))
      starves_since = Deadline::max();
    else if (starves_since == Deadline::max())
      starves_since = now;
    else if (now - starves_since > kStarved) {
      const auto file = store_->small_file();
      const std::string limit =
          file ? *file : "the limit max-memory=" + std::to_string(store_->max_memory());
      no_memory(Error{Failure::limit, limit + " is used up: the peer holds " +
                                          std::to_string(in_flight()) +
                                          " buffers, gives none back and waits for more; " +
                                          (file ? "make that file larger" : "raise max-memory")});
      return Waited::exhausted;
    }
    wait_for_receipts(peers, seen, std::min(until, now + kSlice));
  }
}

std::optional<Block> Sender::allocate(size_t size, size_t align, Deadline until) {
  for (;;) {
    const uint64_t seen = progress();
    auto block = store_->allocate(size, align);
    if (block) return std::move(*block);
    if (block.error().failure != Failure::limit) {
      no_memory(block.error());
      return std::nullopt;
    }
    if (wait_for_memory(seen, until) != Waited::progress) return std::nullopt;
  }
}

void Sender::on_no_memory(std::function<void(const Error&)> call) {
  const std::lock_guard lock(mutex_);
  on_no_memory_ = std::move(call);
}

void Sender::no_memory(const Error& why) {
  std::function<void(const Error&)> call;
  {
    const std::lock_guard lock(mutex_);
    call = on_no_memory_;
  }
  if (call) call(why);
}

void Sender::made_progress() {
  // SYNC: pairs with progress(); a waiter that counted itself before looking is woken.
  progress_.fetch_add(1);
  if (memory_waiters_.load() > 0) kick_.kick();
}

size_t Sender::in_flight() const {
  size_t count = 0;
  for (const auto& link : links()) count += link->send_lane().held();
  return count;
}

void Sender::interrupt(bool on) {
  interrupted_.store(on, std::memory_order_release);
  if (on) kick_.kick();
}

void Sender::stop() {
  std::thread collector;
  {
    const std::lock_guard lock(mutex_);
    collector = std::move(collector_);
  }
  if (!collector.joinable()) return;
  quit_ = true;
  kick_.kick();
  collector.join();
}

}  // namespace mmaplink
