#include "lib/send_lane.h"

#include <algorithm>

#include "lib/ticket.h"

namespace mmaplink {

namespace {

Error wrong(const char* text) { return Error{Failure::protocol, text}; }

}  // namespace

template <class Words>
BasicSendLane<Words>::BasicSendLane(Half& own, const Half& peer) : own_(own), peer_(peer) {}

template <class Words>
Status BasicSendLane<Words>::refresh() {
  // SYNC: acquire, pairs with the release of `taken` in ReceiveLane::finish: a slot below is
  // written again only after the peer has copied it.
  const uint64_t taken = Words::load(peer_.taken, std::memory_order_acquire);
  const uint64_t claimed = Words::load(peer_.claimed, std::memory_order_relaxed);
  // What is taken was claimed before: `claimed` is read last and is never behind.
  if (claimed - claimed_ > head_ - claimed_ || taken - taken_ > claimed - taken_)
    return wrong("the peer's read index left the ring");
  taken_ = taken;
  claimed_ = claimed;
  forget_below(first_waiting());
  return ok();
}

template <class Words>
void BasicSendLane<Words>::forget_below(uint64_t index) {
  for (; counted_ < index; ++counted_)
    if (queued_[counted_ % kSlots].droppable) --queued_droppable_;
}

template <class Words>
bool BasicSendLane<Words>::fits(bool droppable, size_t max_queued) const {
  // A slot that the peer has claimed and not yet copied stays as it is.
  const uint64_t in_use = claimed_ != taken_ ? taken_ : first_waiting();
  return head_ - in_use < kSlots && rows_live_ < kRows &&
         (!droppable || queued_droppable_ < max_queued);
}

template <class Words>
void BasicSendLane<Words>::wait_for_room(size_t max_queued, const Kick& kick, uint32_t seen,
                                         Deadline deadline) {
  uint32_t expected = 0;
  const uint64_t claimed_before = Words::load(peer_.claimed, std::memory_order_relaxed);
  if (Words::look_on(spinner_, head_, [&] {
        return Words::load(peer_.claimed, std::memory_order_relaxed) != claimed_before;
      }))
    return;
  {
    const std::lock_guard lock(mutex_);
    // Woken when half of the queue is gone, so that a sender that is ahead sleeps once for several
    // frames and the peer never runs dry meanwhile. Where the peer takes long for each it is woken
    // for each: several at once would be made in the way of an encoder's threads, which then wait
    // for each other.
    const size_t most = Words::is_slow(spinner_) ? max_queued - 1 : max_queued / 2;
    const uint64_t keep = std::min<uint64_t>(most, head_);
    const uint64_t wants = std::max(head_ - keep, claimed_ + 1);
    Words::store(own_.writer_wants, wants, std::memory_order_relaxed);
    // SYNC: full fence, pairs with the one after `claimed` in ReceiveLane::take: either the peer
    // sees writer_wants, or we see its index.
    Words::fence(std::memory_order_seq_cst);
    const uint64_t claimed = Words::load(peer_.claimed, std::memory_order_relaxed);
    expected = static_cast<uint32_t>(claimed);
    if (claimed >= wants) {
      Words::store(own_.writer_wants, 0, std::memory_order_relaxed);
      return;
    }
  }
  const std::array words{WaitWord{low_word(peer_.claimed), expected, true}, kick.word(seen)};
  Words::wait(words, deadline);
  Words::store(own_.writer_wants, 0, std::memory_order_relaxed);
}

template <class Words>
Result<typename BasicSendLane<Words>::Room> BasicSendLane<Words>::publish(Outgoing& item,
                                                                          size_t max_queued) {
  const std::lock_guard lock(mutex_);
  auto room = publish_locked(item, max_queued);
  if (room && *room == Room::yes) wake_locked();
  return room;
}

template <class Words>
Result<typename BasicSendLane<Words>::Room> BasicSendLane<Words>::publish_quietly(
    Outgoing& item, size_t max_queued) {
  const std::lock_guard lock(mutex_);
  return publish_locked(item, max_queued);
}

template <class Words>
void BasicSendLane<Words>::wake_peer() {
  const std::lock_guard lock(mutex_);
  wake_locked();
}

template <class Words>
Result<typename BasicSendLane<Words>::Room> BasicSendLane<Words>::publish_locked(
    Outgoing& item, size_t max_queued) {
  if (closed_) return Room::closed;
  // The peer's index is read only when our last look at it does not do.
  if (!fits(item.droppable, max_queued)) {
    if (auto checked = refresh(); !checked) return checked.error();
    if (!fits(item.droppable, max_queued)) return Room::no;
  }
  Descriptor& descriptor = item.descriptor;
  descriptor.first = head_ + 1;
  descriptor.extra_size = static_cast<uint32_t>(item.extra.size());
  const bool again = item.may_repeat && !item.extra.empty() &&
                     item.extra.size() == last_extra_.size() &&
                     std::memcmp(item.extra.data(), last_extra_.data(), last_extra_.size()) == 0;
  const auto from = item.extra_block ? ExtraFrom::block
                    : again          ? ExtraFrom::before
                                     : ExtraFrom::slot;
  descriptor.extra_from = static_cast<uint32_t>(from);
  if (!again) last_extra_.clear();
  if (!again && item.may_repeat && from == ExtraFrom::slot)
    last_extra_.assign(item.extra.begin(), item.extra.end());
  if (item.extra_block) {
    std::memcpy(item.extra_block->data(), item.extra.data(), item.extra.size());
    descriptor.extra_arena = item.extra_block->arena()->number();
    descriptor.extra_offset = item.extra_block->offset();
  }
  const bool returns = item.hold || item.extra_block;
  std::shared_ptr<const Block> extra;
  if (item.extra_block) extra = std::make_shared<const Block>(std::move(*item.extra_block));
  descriptor.ticket = returns ? open_row(std::move(item.hold), std::move(extra)) : 0;
  write(descriptor, item.extra, item.droppable, !item.droppable || !item.may_repeat);
  announce_head();
  return Room::yes;
}

template <class Words>
void BasicSendLane<Words>::write(const Descriptor& descriptor, std::span<const std::byte> extra,
                                 bool droppable, bool keep) {
  Queued& queued = queued_[head_ % kSlots];
  queued.ticket = descriptor.ticket;
  queued.droppable = droppable;
  queued.again.reset();
  if (droppable) ++queued_droppable_;
  if (keep) queued.again.reset(new Kept{descriptor, {extra.begin(), extra.end()}, droppable});

  Slot& slot = own_.slots[head_ % kSlots];
  // SYNC: the sequence goes first to 0 and last to its number; a reader of a slot that was
  // withdrawn under it sees in ReceiveLane::take that it changed.
  Words::store(slot.descriptor.sequence, 0, std::memory_order_relaxed);
  Words::fence(std::memory_order_release);
  constexpr size_t kAfterSequence = sizeof(uint64_t);
  Words::copy_out(reinterpret_cast<std::byte*>(&slot.descriptor) + kAfterSequence,
                  reinterpret_cast<const std::byte*>(&descriptor) + kAfterSequence,
                  sizeof(Descriptor) - kAfterSequence);
  if (descriptor.extra_from == static_cast<uint32_t>(ExtraFrom::slot) && !extra.empty()) {
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-member-init): filled as far as it is copied
    alignas(8) std::array<std::byte, kSlotExtra> words;
    std::memset(words.data() + round_to_words(extra.size()) - sizeof(uint64_t), 0,
                sizeof(uint64_t));
    std::memcpy(words.data(), extra.data(), extra.size());
    Words::copy_out(slot.extra.data(), words.data(), round_to_words(extra.size()));
  }
  Words::store(slot.descriptor.sequence, head_ + 1, std::memory_order_release);
  ++head_;
}

template <class Words>
void BasicSendLane<Words>::announce_head() {
  // SYNC: release, pairs with the acquire of `head` in ReceiveLane::take: the slot is complete.
  Words::store(own_.head, head_, std::memory_order_release);
}

template <class Words>
void BasicSendLane<Words>::wake_locked() {
  // SYNC: full fence, pairs with the one in ReceiveLane::wait: either the peer sees the new head
  // before it sleeps, or we see that it waits.
  Words::fence(std::memory_order_seq_cst);
  const uint64_t wants = Words::load(peer_.reader_waiting, std::memory_order_relaxed);
  // Woken once for what it wants, however many items follow. One that has read what was published
  // just now, and waits for the next already, is woken for that one.
  if (wants == 0 || head_ < wants || wants == woken_for_) return;
  woken_for_ = wants;
  Words::wake(own_.head);
}

template <class Words>
bool BasicSendLane<Words>::withdraw_oldest(std::vector<Held>& freed) {
  const std::lock_guard lock(mutex_);
  return withdraw(Withdraw::oldest, freed);
}

template <class Words>
void BasicSendLane<Words>::withdraw_all(std::vector<Held>& freed) {
  // Only while the peer copies what must arrive it is to be tried again.
  constexpr int kTries = 100;
  for (int i = 0; i < kTries; ++i) {
    {
      const std::lock_guard lock(mutex_);
      if (withdraw(Withdraw::all, freed) || queued_droppable_ == 0) return;
    }
    Words::yield();
  }
}

template <class Words>
bool BasicSendLane<Words>::withdraw(Withdraw which, std::vector<Held>& freed) {
  if (!refresh()) return false;  // publish() reports it
  const uint64_t first = first_waiting();
  if (queued_droppable_ == 0) return false;
  // What the peer has claimed and not yet taken it may take for withdrawn as well, if it has not
  // looked at `revoked` yet. A frame can go that way. What must arrive can't, and is taken soon.
  if (claimed_ != taken_ && claimed_ > revoked_ && !queued_[(claimed_ - 1) % kSlots].droppable)
    return false;
  // An item that must arrive stands in front: everything waiting is withdrawn, and all but the
  // oldest droppable one is published again, in order.
  const bool all = which == Withdraw::all || !queued_[first % kSlots].droppable;
  const uint64_t end = all ? head_ : first + 1;
  const uint64_t stay = head_ - first - (which == Withdraw::all ? queued_droppable_ : 0);
  // That must not come round to a slot which the peer may begin to copy before it can see that it
  // is withdrawn.
  const uint64_t in_use = claimed_ != taken_ ? taken_ : first;
  if (all && head_ - in_use + stay > kSlots) return false;
  last_extra_.clear();  // what is withdrawn may have carried it
  revoked_ = end;
  // SYNC: release, pairs with the acquire of `revoked` in ReceiveLane::behind: `head` is as new.
  Words::store(own_.revoked, end, std::memory_order_release);
  // SYNC: full fence, pairs with the one after `claimed` in ReceiveLane::take: either the peer sees
  // that the item is withdrawn, or we see that it was claimed and let it go.
  Words::fence(std::memory_order_seq_cst);
  const uint64_t was_claimed = claimed_;
  if (!refresh()) return false;
  bool withdrawn = false;
  std::vector<std::unique_ptr<Kept>> again;
  for (uint64_t i = std::max(first, was_claimed); i < end; ++i) {
    Queued& queued = queued_[i % kSlots];
    // Claimed as we withdrew: the peer may have skipped it or not. A row stays till its receipt.
    const bool claimed = i < claimed_;
    const bool goes = queued.droppable && (which == Withdraw::all || !withdrawn || !queued.again);
    if (claimed && queued.droppable) continue;
    if (goes) {
      close_row(queued.ticket, freed);
      withdrawn = true;
    } else {
      // What must arrive is sent again even if it was claimed. A peer that has taken it sees by
      // its first sequence that it is the same.
      again.push_back(std::move(queued.again));
      again.back()->descriptor.ticket = renew_row(queued.ticket, claimed, freed);
    }
  }
  for (const auto& item : again) write(item->descriptor, item->extra, item->droppable, true);
  if (!again.empty()) {
    announce_head();
    wake_locked();
  }
  return withdrawn;
}

template <class Words>
Status BasicSendLane<Words>::drain(std::vector<Held>& freed) {
  const std::lock_guard lock(mutex_);
  // SYNC: acquire, pairs with the release of receipt_head in ReceiveLane::give_back.
  const uint64_t head = Words::load(peer_.receipt_head, std::memory_order_acquire);
  uint64_t read = receipts_read_.load(std::memory_order_relaxed);
  if (peer_gone_) return ok();
  if (head - read > kReceipts) return wrong("the peer's receipts left their ring");
  receipts_read_.store(head, std::memory_order_relaxed);
  for (; read != head; ++read) {
    const uint64_t receipt =
        Words::load(peer_.receipts[read % kReceipts], std::memory_order_relaxed);
    if (!close_row(receipt & ~kSkipped, freed) && (receipt & kSkipped) == 0)
      return wrong("the peer gave back what it does not hold");
  }
  return ok();
}

template <class Words>
WaitWord BasicSendLane<Words>::watch_receipts() {
  const std::lock_guard lock(mutex_);
  ++watchers_;
  const uint64_t read = receipts_read_.load(std::memory_order_relaxed);
  Words::store(own_.receipts_waiting, read + 1, std::memory_order_relaxed);
  // SYNC: full fence, pairs with the one in ReceiveLane::give_back.
  Words::fence(std::memory_order_seq_cst);
  return {low_word(peer_.receipt_head), static_cast<uint32_t>(read), true};
}

template <class Words>
void BasicSendLane<Words>::stop_watching() {
  const std::lock_guard lock(mutex_);
  if (--watchers_ == 0) Words::store(own_.receipts_waiting, 0, std::memory_order_relaxed);
}

template <class Words>
uint64_t BasicSendLane<Words>::open_row(Hold hold, std::shared_ptr<const Block> extra) {
  if (free_rows_.empty()) {
    free_rows_.push_back(static_cast<uint32_t>(rows_.size()));
    rows_.emplace_back();
  }
  const uint32_t number = free_rows_.back();
  free_rows_.pop_back();
  Row& row = rows_[number];
  row.live = true;
  row.held = Held{std::move(hold), std::move(extra)};
  ++rows_live_;
  return make_ticket(number, row.generation);
}

// The row of an item that is published again: a ticket of its own, because the peer gives a receipt
// for the first place too, where it comes by and skips it.
template <class Words>
uint64_t BasicSendLane<Words>::renew_row(uint64_t ticket, bool claimed, std::vector<Held>& freed) {
  if (ticket == 0) return 0;
  Held& held = rows_[ticket_row(ticket)].held;
  auto extra = held.extra;
  Hold hold = claimed ? no_hold() : std::move(held.hold);
  if (!claimed) close_row(ticket, freed);
  return open_row(std::move(hold), std::move(extra));
}

template <class Words>
bool BasicSendLane<Words>::close_row(uint64_t ticket, std::vector<Held>& freed) {
  const uint32_t number = ticket_row(ticket);
  if (number >= rows_.size()) return false;
  Row& row = rows_[number];
  if (!row.live || row.generation != ticket_generation(ticket)) return false;
  row.live = false;
  row.generation = next_generation(row.generation);
  freed.push_back(std::move(row.held));
  row.held = Held{};
  free_rows_.push_back(number);
  --rows_live_;
  return true;
}

template <class Words>
void BasicSendLane<Words>::close(std::vector<Held>& freed) {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  withdraw_all(freed);
}

template <class Words>
void BasicSendLane<Words>::reopen() {
  const std::lock_guard lock(mutex_);
  closed_ = false;
}

template <class Words>
bool BasicSendLane<Words>::closed() const {
  const std::lock_guard lock(mutex_);
  return closed_;
}

template <class Words>
size_t BasicSendLane<Words>::free_all(std::vector<Held>& freed) {
  const std::lock_guard lock(mutex_);
  const size_t had = rows_live_;
  closed_ = true;
  peer_gone_ = true;
  for (uint32_t number = 0; number < rows_.size(); ++number)
    if (rows_[number].live) close_row(make_ticket(number, rows_[number].generation), freed);
  return had;
}

template <class Words>
bool BasicSendLane<Words>::is_droppable(uint64_t sequence) const {
  const std::lock_guard lock(mutex_);
  return head_ - sequence < kSlots && queued_[(sequence - 1) % kSlots].droppable;
}

template <class Words>
Result<size_t> BasicSendLane<Words>::waiting() {
  const std::lock_guard lock(mutex_);
  if (auto checked = refresh(); !checked) return checked.error();
  return static_cast<size_t>(head_ - first_waiting());
}

template <class Words>
size_t BasicSendLane<Words>::held() const {
  const std::lock_guard lock(mutex_);
  return rows_live_;
}

template <class Words>
bool BasicSendLane<Words>::peer_starves() const {
  const std::lock_guard lock(mutex_);
  return Words::load(peer_.reader_waiting, std::memory_order_relaxed) != 0 &&
         Words::load(peer_.claimed, std::memory_order_relaxed) == head_;
}

template class BasicSendLane<SharedWords>;

}  // namespace mmaplink
