#include "lib/inline_receive.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <string>
#include <utility>

#include "lib/inline_send.h"

namespace mmaplink {

namespace {

constexpr size_t kAlign = 64;
// What must arrive, and was withdrawn as it was read, waits twice.
constexpr size_t kMostWaiting = 2 * kMostAhead;
// A peer that can send nothing more hears of each that is read, if they are not read faster.
constexpr uint64_t kFast = 1'000'000;  // ns
constexpr ReceiveLane::Limits kLimits;

Error wrong(std::string text) { return Error{Failure::protocol, std::move(text)}; }
size_t aligned(uint64_t size) { return (size + kAlign - 1) / kAlign * kAlign; }

}  // namespace

// Tickets that are to go back, of items whose memory is free again.
struct InlineReceive::Returned {
  std::mutex mutex;
  std::vector<uint64_t> tickets;
};

// What an item in the lane holds.
struct InlineReceive::Hold_ {
  std::shared_ptr<Returned> returned;
  std::shared_ptr<Block> block;
  uint64_t ticket;
  ~Hold_() {
    if (ticket == 0) return;
    const std::lock_guard lock(returned->mutex);
    returned->tickets.push_back(ticket);
  }
};

InlineReceive::InlineReceive(std::shared_ptr<Channel> channel, LocalLane lane,
                             std::shared_ptr<PathRegion> region)
    : channel_(std::move(channel)),
      local_(std::move(lane)),
      sender_(local_.sender_half(), local_.receiver_half()),
      lane_(std::make_shared<ReceiveLane>(local_.receiver, local_.sender_map())),
      returned_(std::make_shared<Returned>()),
      region_(std::move(region)),
      region_number_(region_ ? ArenaStore::new_number() : 0) {
  // Nobody else adds any now.
  if (region_) std::ignore = lane_->add_mapped(region_number_, region_->view());
}

InlineReceive::~InlineReceive() {
  if (store_) store_->on_retired({});
}

void InlineReceive::make_store(uint64_t max_memory, HugePages huge) {
  store_ = std::make_shared<ArenaStore>(std::min(max_memory, kLimits.bytes), huge);
  store_->on_retired([weak = std::weak_ptr(lane_)](uint32_t number) {
    // It may be one that nothing was ever published in.
    if (const auto to = weak.lock()) std::ignore = to->retire_arena(number);
  });
}

Status InlineReceive::begin(const ItemBegins& item, uint64_t max_memory, HugePages huge) {
  if (!store_) make_store(max_memory, huge);
  if (coming_) return wrong("an item began within another");
  auto waiting = sender_.waiting();
  if (!waiting) return waiting.error();
  if (*waiting >= kMostWaiting) return wrong("the peer sent more than it may");
  descriptor_ = item.descriptor;
  droppable_ = item.droppable;
  withdrawn_ = false;
  together_ = std::max<uint32_t>(item.together, 1);
  is_full_ = item.is_full;
  asked_ = false;
  if (descriptor_.extra_size > kLimits.extra) return wrong("an item's own bytes are too many");
  in_place_ = item.in_place;
  if (in_place_ && !region_) return wrong("an item in a file that is not there");
  if (!in_place_ && descriptor_.size > store_->max_memory())
    return wrong("the peer sent " + std::to_string(descriptor_.size) +
                 " bytes at once, more than max-memory=" + std::to_string(store_->max_memory()));
  coming_ = true;
  placed_ = false;
  spaces_.clear();
  block_.reset();
  extra_.resize(descriptor_.extra_size);
  if (!extra_.empty()) spaces_.emplace_back(extra_);
  return filled(0);
}

Status InlineReceive::begin_part(size_t size) {
  if (spaces_.empty() || size != std::min(spaces_.front().size(), kMostPart))
    return wrong("a part that is not due");
  return ok();
}

std::span<std::byte> InlineReceive::space() {
  return spaces_.empty() ? std::span<std::byte>() : spaces_.front();
}

Status InlineReceive::filled(size_t size) {
  if (size > 0) {
    spaces_.front() = spaces_.front().subspan(size);
    if (spaces_.front().empty()) spaces_.pop_front();
  }
  if (!spaces_.empty()) return ok();
  if (!placed_) {
    placed_ = true;
    if (auto placed = in_place_ ? find_memories() : place_memories(); !placed) return placed;
  }
  return spaces_.empty() ? publish() : ok();
}

// Memories of the item besides the first, whose places its bytes begin with.
Result<uint64_t> InlineReceive::count_further() const {
  uint64_t more = 0;
  if (extra_.size() >= sizeof more) std::memcpy(&more, extra_.data(), sizeof more);
  if (more > kMostFurther ||
      (more > 0 && extra_.size() < sizeof more + more * sizeof(FurtherPlace)))
    return wrong("an item has more memories than it may have");
  return more;
}

// They lie in the file, and in the half of it that is the peer's.
Status InlineReceive::find_memories() {
  if (descriptor_.size == 0) return wrong("an item in a file without memory");
  auto counted = count_further();
  if (!counted) return counted.error();
  const uint64_t more = *counted;
  if (!region_->is_peers(descriptor_.offset, descriptor_.size))
    return wrong("an item lies outside of its half of the file");
  descriptor_.arena = region_number_;
  for (uint64_t i = 0; i < more; ++i) {
    std::byte* at = extra_.data() + sizeof more + i * sizeof(FurtherPlace);
    FurtherPlace place;
    std::memcpy(&place, at, sizeof place);
    if (place.size == 0 || !region_->is_peers(place.offset, place.size))
      return wrong("an item lies outside of its half of the file");
    place.arena = region_number_;
    std::memcpy(at, &place, sizeof place);
  }
  return ok();
}

// All memories of the item in one block, and their places in its bytes.
Status InlineReceive::place_memories() {
  if (descriptor_.size == 0) return ok();
  auto counted = count_further();
  if (!counted) return counted.error();
  const uint64_t more = *counted;
  std::array<FurtherPlace, kMostFurther> places{};
  if (more > 0)
    std::memcpy(places.data(), extra_.data() + sizeof more, more * sizeof(FurtherPlace));
  uint64_t size = aligned(descriptor_.size);
  for (uint64_t i = 0; i < more; ++i) {
    if (places[i].size == 0 || places[i].size > store_->max_memory())
      return wrong("an item has a memory of a size that can't be");
    size += aligned(places[i].size);
  }
  auto block = allocate_payload(size);
  if (!block) return block.error();
  block_ = std::make_shared<Block>(std::move(*block));
  uint64_t at = 0;
  const auto place = [&](uint32_t& arena, uint64_t& offset, uint64_t bytes) {
    arena = block_->arena()->number();
    offset = block_->offset() + at;
    spaces_.emplace_back(block_->data() + at, bytes);
    at += aligned(bytes);
  };
  place(descriptor_.arena, descriptor_.offset, descriptor_.size);
  for (uint64_t i = 0; i < more; ++i) place(places[i].arena, places[i].offset, places[i].size);
  if (more > 0)
    std::memcpy(extra_.data() + sizeof more, places.data(), more * sizeof(FurtherPlace));
  return ok();
}

Result<Block> InlineReceive::allocate_payload(size_t size) {
  // What was wanted before is not kept for it.
  if (last_size_ != size) store_->no_longer_wants(last_size_);
  last_size_ = size;
  return allocate(size);
}

// What is free again is known when the lane's receipts are read.
Result<Block> InlineReceive::allocate(size_t size) {
  std::vector<Held> freed;
  if (auto drained = sender_.drain(freed); !drained) return drained.error();
  freed.clear();
  auto block = store_->allocate(size, kAlign);
  if (block) {
    if (auto known = know(*block->arena()); !known) return known.error();
    return block;
  }
  if (block.error().failure != Failure::limit) return block;
  return Error{Failure::no_space,
               "more comes inline than max-memory=" + std::to_string(store_->max_memory()) +
                   " of its receiver has room for"};
}

// Has the lane know it. One that a block lies in is not retired meanwhile.
Status InlineReceive::know(const Arena& arena) const {
  if (lane_->knows(arena.number())) return ok();
  auto fd = arena.fd().duplicate();
  if (!fd) return fd.error();
  return lane_->add_arena(arena.number(), std::move(*fd), arena.size(), arena.pages());
}

// What has not come whole is dropped when it has.
Status InlineReceive::withdraw() {
  if (coming_ && droppable_) withdrawn_ = true;
  std::vector<Held> freed;
  sender_.withdraw_all(freed);
  freed.clear();
  return tell();
}

Status InlineReceive::publish() {
  coming_ = false;
  Hold hold = no_hold();
  if (block_ || descriptor_.ticket != 0)
    hold = Hold(new Hold_{returned_, std::move(block_), descriptor_.ticket},
                [](void* held) { delete static_cast<Hold_*>(held); });
  is_news_ = true;
  if (withdrawn_) {
    hold.reset();
    received_.fetch_add(1, std::memory_order_release);
    return ok();
  }
  Outgoing item;
  item.descriptor = descriptor_;
  item.extra = extra_;
  item.droppable = item.may_repeat = droppable_;
  item.hold = std::move(hold);
  if (extra_.size() > kSlotExtra) {
    auto block = allocate(extra_.size());
    if (!block) return block.error();
    item.extra_block = std::move(*block);
  }
  auto room = sender_.publish_quietly(item, kSlots);
  if (!room) return room.error();
  if (*room != SendLane::Room::yes) return wrong("the peer sent more than it may");
  // SYNC: release, pairs with the acquire in tell_due().
  received_.fetch_add(1, std::memory_order_release);
  return ok();
}

// Whoever reads is woken once for all of it. What was found to be free on the way is told.
Status InlineReceive::read_all() {
  if (!std::exchange(is_news_, false)) return ok();
  sender_.wake_peer();
  return tell();
}

Status InlineReceive::asked() {
  if (asked_.exchange(true)) return wrong("the peer asks again and again");
  return tell();
}

// Who finds that another thread is at it leaves it to that one, as in InlineSend::pump.
Status InlineReceive::tell() {
  if (calls_.fetch_add(1, std::memory_order_acq_rel) != 0) return ok();
  Status good = ok();
  uint32_t seen = 1;
  do {
    if (good) good = tell_due();
    const uint32_t now = calls_.fetch_sub(seen, std::memory_order_acq_rel);
    seen = now - seen;
  } while (seen != 0);
  return good;
}

Status InlineReceive::tell_due() {
  std::vector<Held> freed;
  if (auto drained = sender_.drain(freed); !drained) return drained;
  freed.clear();
  // Before what waits: one that was read as it came, and is not counted yet, is told of later.
  const uint64_t received = received_.load(std::memory_order_acquire);
  auto waiting = sender_.waiting();
  if (!waiting) return waiting.error();
  // SYNC: acquire, pairs with the release fence in ReceiveLane::take: one that has claimed the last
  // item is not seen to wait any more.
  std::atomic_thread_fence(std::memory_order_acquire);
  // An item that must arrive is published again where it was withdrawn as it was read.
  const uint64_t claimed = std::max(told_claimed_, received - std::min(received, *waiting));
  const bool waits = *waiting == 0 && lane_->waits() && told_waits_ != received;
  std::vector<uint64_t> tickets;
  {
    const std::lock_guard inner(returned_->mutex);
    // While the reader is busy it will be here again: reads and tickets wait for others then.
    if (!waits && !is_due(claimed - told_claimed_, returned_->tickets.size())) return ok();
    tickets.swap(returned_->tickets);
  }
  size_t at = 0;
  do {
    const size_t count = std::min(tickets.size() - at, kMostTickets);
    Progress progress{claimed, waits && at == 0, {}};
    progress.tickets.assign(tickets.begin() + static_cast<ptrdiff_t>(at),
                            tickets.begin() + static_cast<ptrdiff_t>(at + count));
    if (auto sent = channel_->send(progress); !sent) return sent;
    at += count;
  } while (at < tickets.size());
  told_claimed_ = claimed;
  told_ns_ = monotonic_ns();
  if (waits) told_waits_ = received;
  return ok();
}

bool InlineReceive::is_due(uint64_t reads, size_t tickets) const {
  if (reads >= together_ || tickets >= together_) return true;
  if ((reads > 0 || tickets > 0) && (asked_ || lane_->waits())) return true;
  return reads > 0 && is_full_ && monotonic_ns() - told_ns_ >= kFast;
}

}  // namespace mmaplink
