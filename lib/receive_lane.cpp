#include "lib/receive_lane.h"

#include <algorithm>
#include <array>
#include <string>

#include "lib/dmabuf.h"
#include "lib/ticket.h"

namespace mmaplink {

namespace {

constexpr uint32_t kPercentilesEvery = 64;  // items
constexpr int kMostTries = 1000;
// Nobody has sent as many: ours must not come round.
constexpr uint64_t kMostIndex = ~uint64_t{0} / 2;
constexpr uint64_t kMostPopulated = 1 << 30;
constexpr uint64_t kMostSkipped = 2 * kSlots;
Error wrong(const char* text) { return Error{Failure::protocol, text}; }

}  // namespace

template <class Words>
BasicReceiveLane<Words>::BasicReceiveLane(std::shared_ptr<SealedMemory> own,
                                          std::shared_ptr<const Mapping> peer)
    : own_memory_(std::move(own)),
      peer_memory_(std::move(peer)),
      own_(*reinterpret_cast<Half*>(own_memory_->map.data())),
      peer_(*reinterpret_cast<const Half*>(peer_memory_->data())),
      limits_() {}

template <class Words>
Result<typename BasicReceiveLane<Words>::Take> BasicReceiveLane<Words>::take(Incoming& item) {
  uint64_t skipped = 0;
  while (!pending_) {
    // A peer that withdraws as fast as it sends is not to keep us from looking up.
    if (skipped++ == kMostSkipped) return Take::nothing;
    auto left = behind();
    if (!left) return left.error();
    if (*left == 0 || (end_ && index_ >= *end_)) return Take::nothing;

    if (on_progress_) {
      waits_.store(false, std::memory_order_relaxed);
      // SYNC: release, pairs with the acquire fence in InlineReceive::tell.
      Words::fence(std::memory_order_release);
    }
    Words::store(own_.claimed, index_ + 1, std::memory_order_relaxed);
    // SYNC: full fence, pairs with those in SendLane::withdraw_oldest and wait_for_room.
    Words::fence(std::memory_order_seq_cst);
    const bool withdrawn = Words::load(peer_.revoked, std::memory_order_relaxed) > index_;
    const uint64_t wants = Words::load(peer_.writer_wants, std::memory_order_relaxed);
    // Once, however many are read until it runs: what it wants next is more.
    if (wants != 0 && index_ + 1 >= wants && wants != writer_woken_) {
      writer_woken_ = wants;
      Words::wake(own_.claimed);
    }

    const Slot& slot = peer_.slots[index_ % kSlots];
    Words::copy_in(&item.descriptor, &slot.descriptor, sizeof item.descriptor);
    const Descriptor& descriptor = item.descriptor;
    const bool in_slot = descriptor.extra_from == static_cast<uint32_t>(ExtraFrom::slot);
    if (in_slot && descriptor.extra_size <= kSlotExtra) {
      ++item.extra_number;
      item.extra.resize(round_to_words(descriptor.extra_size));
      Words::copy_in(item.extra.data(), slot.extra.data(), item.extra.size());
      item.extra.resize(descriptor.extra_size);
    }
    // SYNC: pairs with the release fence in SendLane::write.
    Words::fence(std::memory_order_acquire);
    const uint64_t after = Words::load(slot.descriptor.sequence);
    const bool whole = descriptor.sequence == index_ + 1 && after == index_ + 1;
    const bool sound = whole && descriptor.first - 1 < descriptor.sequence;  // 0 wraps
    if (!sound && !withdrawn) return wrong("a descriptor is out of sequence");
    ++index_;
    if (withdrawn || descriptor.first <= last_first_) {
      // The sender may have let this one go or not; it knows by the ticket. Or it is one that was
      // withdrawn as we took it, and was published again in case that we had not.
      if (whole && descriptor.ticket != 0) give_back(descriptor.ticket | kSkipped);
      finish();
      continue;
    }
    last_first_ = descriptor.first;
    finish();
    item.descriptor.published += clock_offset_;
    if (item.descriptor.base_time < kKeepsTime) item.descriptor.base_time += clock_offset_;
    if (auto checked = check(item); !checked) return checked.error();
    pending_ = true;
  }
  auto resolved = resolve_item(item);
  if (!resolved) return resolved.error();
  if (!*resolved) return Take::pending;
  pending_ = false;

  if (item.descriptor.ticket != 0) owed_.fetch_add(1, std::memory_order_relaxed);
  const uint64_t now = monotonic_ns();
  if (busy_poll_.is_on()) busy_poll_.came(std::min(item.descriptor.published, now));
  latency_.add(now > item.descriptor.published ? now - item.descriptor.published : 0);
  if (++since_percentiles_ == kPercentilesEvery) {
    since_percentiles_ = 0;
    Words::store(own_.latency_p50, latency_.percentile(0.5), std::memory_order_relaxed);
    Words::store(own_.latency_p99, latency_.percentile(0.99), std::memory_order_relaxed);
  }
  if (on_progress_) on_progress_();
  return Take::item;
}

template <class Words>
void BasicReceiveLane<Words>::close() {
  if (end_) return;
  auto left = behind();
  end_ = index_ + (left ? *left : 0);
}

template <class Words>
bool BasicReceiveLane<Words>::empty() const {
  return !pending_ &&
         Words::load(peer_.head, std::memory_order_acquire) == index_;  // as in behind()
}

template <class Words>
Result<uint64_t> BasicReceiveLane<Words>::behind() {
  // SYNC: acquire, pairs with the release of `head` in SendLane::announce_head.
  uint64_t head = Words::load(peer_.head, std::memory_order_acquire);
  if (head - index_ <= kSlots) return head - index_;
  // More than a ring: right only where the sender has withdrawn what it wrote over. The two indices
  // are believed together when neither moved in between.
  for (int tries = 0; tries < kMostTries; ++tries) {
    // SYNC: acquire, pairs with the release of `revoked` in SendLane::withdraw_oldest.
    const uint64_t revoked = Words::load(peer_.revoked, std::memory_order_acquire);
    head = Words::load(peer_.head, std::memory_order_acquire);
    if (Words::load(peer_.revoked, std::memory_order_acquire) != revoked) continue;
    if (revoked < index_ || revoked > head || head - revoked > kSlots || head > kMostIndex) break;
    // What was written over was never claimed by us, and is freed by the sender.
    index_ = std::max(index_, head - kSlots);
    return head - index_;
  }
  return wrong("the peer's write index left the ring");
}

template <class Words>
void BasicReceiveLane<Words>::finish() {
  // SYNC: release, pairs with the acquire of `taken` in SendLane::refresh: the slot is copied.
  Words::store(own_.taken, index_, std::memory_order_release);
}

template <class Words>
Status BasicReceiveLane<Words>::check(const Incoming& item) {
  const Descriptor& descriptor = item.descriptor;
  switch (static_cast<ExtraFrom>(descriptor.extra_from)) {
    case ExtraFrom::slot:
      if (descriptor.extra_size <= kSlotExtra) return ok();
      break;
    case ExtraFrom::block:
      if (descriptor.extra_size <= limits_.extra) return ok();
      break;
    case ExtraFrom::before:
      if (descriptor.extra_size != 0 && descriptor.extra_size == item.extra.size()) return ok();
      break;
  }
  return wrong("a descriptor's bytes are too many, or none of their kind");
}

template <class Words>
Result<bool> BasicReceiveLane<Words>::resolve_item(Incoming& item) {
  const Descriptor& descriptor = item.descriptor;
  item.memory = View{};
  if (descriptor.size != 0) {
    // Mostly the arena is that of the item before; a retired one is let go of.
    const uint64_t retired = retired_.load(std::memory_order_acquire);
    if (retired != last_retired_) last_arena_.reset();
    last_retired_ = retired;
    auto view = last_arena_ && last_arena_->number == descriptor.arena
                    ? within(last_arena_, descriptor.offset, descriptor.size)
                    : resolve(descriptor.arena, descriptor.offset, descriptor.size);
    if (!view) return view.error();
    if (!view->arena) return false;
    last_arena_ = view->arena;
    item.memory = std::move(*view);
  }
  if (descriptor.extra_from == static_cast<uint32_t>(ExtraFrom::block)) {
    ++item.extra_number;
    item.extra.clear();
    if (descriptor.extra_size == 0) return true;
    auto view = resolve(descriptor.extra_arena, descriptor.extra_offset, descriptor.extra_size);
    if (!view) return view.error();
    if (!view->arena) return false;
    if (view->arena->is_dmabuf()) return wrong("a descriptor's bytes lie in a dmabuf");
    const auto bytes = view->bytes();
    item.extra.assign(bytes.begin(), bytes.end());
  }
  return true;
}

template <class Words>
Result<View> BasicReceiveLane<Words>::resolve(uint32_t number, uint64_t offset, uint64_t size) {
  const std::lock_guard lock(arenas_mutex_);
  const auto found = arenas_.find(number);
  if (found == arenas_.end()) return View{};
  return within(found->second, offset, size);
}

template <class Words>
Result<View> BasicReceiveLane<Words>::within(const std::shared_ptr<const PeerArena>& arena,
                                             uint64_t offset, uint64_t size) {
  const uint64_t whole = arena->size();
  if (size > whole || offset > whole - size)
    return wrong("a descriptor points outside of its arena");
  return View{arena, offset, static_cast<size_t>(size)};
}

template <class Words>
Status BasicReceiveLane<Words>::may_add(uint32_t number, uint64_t size) {
  const std::lock_guard lock(arenas_mutex_);
  if (arenas_.contains(number)) return wrong("an arena was announced twice");
  if (arenas_.size() >= limits_.arenas || size > limits_.bytes - arena_bytes_)
    return wrong("the peer announced more memory than a peer may");
  return ok();
}

template <class Words>
void BasicReceiveLane<Words>::add(PeerArena arena) {
  const auto added = std::make_shared<const PeerArena>(std::move(arena));
  const std::lock_guard lock(arenas_mutex_);
  arena_bytes_ += added->size();
  arenas_.emplace(added->number, added);
}

template <class Words>
Status BasicReceiveLane<Words>::add_dmabuf(uint32_t number, Fd fd, uint64_t size) {
  if (auto may = may_add(number, size); !may) return may;
  auto found = dmabuf_size(fd.get());
  if (!found) return found.error();
  if (*found != size) return wrong("a dmabuf is not of the size that was announced");
  add(PeerArena{number, std::move(fd), Mapping(), size});
  return ok();
}

template <class Words>
Status BasicReceiveLane<Words>::add_arena(uint32_t number, Fd fd, uint64_t size, Pages pages) {
  if (auto may = may_add(number, size); !may) return may;
  // Mapped without the lock: faulting in takes time, and frames flow meanwhile. Of a peer that
  // announces more and more it is left to who reads it, since others wait for this thread.
  const bool populates = size <= kMostPopulated - populated_;
  if (populates) populated_ += size;
  auto map = map_sealed(fd, size, populates);
  if (!map) return map.error();
  PeerArena arena{number, std::move(fd), std::move(*map)};
  arena.pages = arena.map.pages() != Pages::normal ? arena.map.pages() : pages;
  add(std::move(arena));
  return ok();
}

template <class Words>
Status BasicReceiveLane<Words>::add_mapped(uint32_t number, Mapping map) {
  // Without a descriptor it does not count: it is memory of somebody else's.
  auto arena = std::make_shared<const PeerArena>(PeerArena{number, Fd(), std::move(map)});
  const std::lock_guard lock(arenas_mutex_);
  if (!arenas_.emplace(number, std::move(arena)).second)
    return wrong("an arena was announced twice");
  return ok();
}

template <class Words>
bool BasicReceiveLane<Words>::knows(uint32_t arena) const {
  const std::lock_guard lock(arenas_mutex_);
  return arenas_.contains(arena);
}

template <class Words>
Status BasicReceiveLane<Words>::retire_arena(uint32_t number) {
  std::shared_ptr<const PeerArena> last;  // unmapped after the lock
  const std::lock_guard lock(arenas_mutex_);
  const auto found = arenas_.find(number);
  if (found == arenas_.end()) return wrong("an unknown arena was retired");
  last = found->second;
  if (last->fd) arena_bytes_ -= last->size();
  arenas_.erase(found);
  retired_.fetch_add(1, std::memory_order_release);  // pairs with the acquire in resolve_item()
  return ok();
}

template <class Words>
typename BasicReceiveLane<Words>::Usage BasicReceiveLane<Words>::usage() const {
  const std::lock_guard lock(arenas_mutex_);
  Usage now{static_cast<size_t>(owed_.load(std::memory_order_relaxed)), arenas_.size(),
            arena_bytes_, 0, 0};
  for (const auto& [number, arena] : arenas_) {
    if (arena->pages == Pages::hugetlb) now.hugetlb += arena->map.size();
    if (arena->pages == Pages::transparent) now.transparent += arena->map.size();
  }
  return now;
}

template <class Words>
void BasicReceiveLane<Words>::wait(const Kick& kick, uint32_t seen, Deadline deadline) {
  if (on_progress_ && !waits_.exchange(true, std::memory_order_relaxed)) on_progress_();
  if (!pending_ && Words::look_on(spinner_, index_, [&] { return !empty(); })) return;
  if (!pending_ && busy_poll_.is_on()) {
    const uint64_t now = monotonic_ns();
    const auto window = busy_poll_.next();
    // Who takes finds nothing when that is over, and waits again.
    if (window && now < window->from) {
      deadline = std::min(deadline, Deadline(std::chrono::nanoseconds(window->from)));
    } else if (window && now < window->until) {
      busy_poll_.looks(now);
      const auto is_over = [&] { return !empty() || kick.value() != seen; };
      if (Words::look_until(window->until, is_over)) return;
    }
  }
  Words::store(own_.reader_waiting, index_ + 1, std::memory_order_relaxed);
  // SYNC: full fence, pairs with the one in SendLane::announce_head.
  Words::fence(std::memory_order_seq_cst);
  const uint64_t head = Words::load(peer_.head, std::memory_order_relaxed);
  if (head == index_ || pending_) {
    const std::array words{WaitWord{low_word(peer_.head), static_cast<uint32_t>(head), true},
                           kick.word(seen)};
    Words::wait(words, deadline);
  }
  Words::store(own_.reader_waiting, 0, std::memory_order_relaxed);
}

template <class Words>
void BasicReceiveLane<Words>::give_back(uint64_t ticket) {
  if ((ticket & kSkipped) == 0) owed_.fetch_sub(1, std::memory_order_relaxed);
  write_receipt(ticket);
  if (on_progress_) on_progress_();
}

template <class Words>
void BasicReceiveLane<Words>::write_receipt(uint64_t ticket) {
  const std::lock_guard lock(receipts_mutex_);
  Words::store(own_.receipts[receipt_head_ % kReceipts], ticket, std::memory_order_relaxed);
  // SYNC: release, pairs with the acquire of receipt_head in SendLane::drain.
  Words::store(own_.receipt_head, ++receipt_head_, std::memory_order_release);
  // SYNC: full fence, pairs with the one in SendLane::watch_receipts.
  Words::fence(std::memory_order_seq_cst);
  const uint64_t wants = Words::load(peer_.receipts_waiting, std::memory_order_relaxed);
  if (wants == 0 || receipt_head_ < wants || wants == woken_for_) return;  // as in announce_head()
  woken_for_ = wants;
  Words::wake(own_.receipt_head);
}

template class BasicReceiveLane<SharedWords>;

}  // namespace mmaplink
