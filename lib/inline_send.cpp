#include "lib/inline_send.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace mmaplink {

namespace {

Error wrong(const char* text) { return Error{Failure::protocol, text}; }

}  // namespace

InlineSend::InlineSend(std::shared_ptr<Channel> channel, LocalLane lane,
                       std::shared_ptr<PathRegion> region)
    : channel_(std::move(channel)),
      local_(std::move(lane)),
      lane_(std::make_shared<ReceiveLane>(local_.receiver, local_.sender_map())),
      region_(std::move(region)),
      current_(std::make_shared<Current>()) {}

Status InlineSend::add_arena(const std::shared_ptr<Arena>& known) const {
  const Arena& arena = *known;
  // A piece of a file, of this link or of another.
  if (!arena.fd())
    return lane_->add_mapped(arena.number(), Mapping(arena.data(), arena.size(), known));
  auto fd = arena.fd().duplicate();
  if (!fd) return fd.error();
  return lane_->add_arena(arena.number(), std::move(*fd), arena.size());
}

// Who finds that another thread is at it leaves it to that one.
Status InlineSend::pump(const SendLane& lane) {
  // SYNC: acquire and release: what one thread leaves behind is seen by the one that goes on.
  if (calls_.fetch_add(1, std::memory_order_acq_rel) != 0) return ok();
  Status good = ok();
  uint32_t seen = 1;
  do {
    if (good) good = send_what_goes(lane);
    const uint32_t now = calls_.fetch_sub(seen, std::memory_order_acq_rel);
    seen = now - seen;
  } while (seen != 0);
  return good;
}

Status InlineSend::send_what_goes(const SendLane& lane) {
  // A backlog that is gone is news for the endpoint's thread, which pumps then.
  while (channel_->idle()) {
    while (!sending_ && current_->head.size() < kMostTogether) {
      auto taken = take_next(lane);
      if (!taken) return taken.error();
      if (!*taken) break;
      add_small();
    }
    add_question();
    if (!sending_ && current_->head.empty()) return ok();
    if (auto sent = send_next_part(); !sent) return sent;
  }
  return ok();
}

bool InlineSend::may_take() const {
  if (waits_.load(std::memory_order_relaxed)) return true;
  const std::lock_guard lock(mutex_);
  return has_begun_ && sent_.size() < kMostAhead && bytes_ < kMostBytesAhead &&
         under_way_.load(std::memory_order_relaxed) < ahead_.load(std::memory_order_relaxed);
}

// Of what may go ahead.
size_t InlineSend::half_ahead() const {
  return (std::min(ahead_.load(std::memory_order_relaxed), kMostAhead) + 1) / 2;
}

bool InlineSend::may_collect(const SendLane& lane) const {
  const size_t half = half_ahead();
  const std::lock_guard lock(mutex_);
  return sent_.size() >= std::max<size_t>(half, 2) && lane.unread() < half;
}

// Of one that is small all goes into the head: copied here, it costs no call of its own.
void InlineSend::add_small() {
  Current& current = *current_;
  size_t size = 0;
  for (const auto& left : current.left) size += left.size();
  if (size > kSmall) return;
  for (const auto& left : current.left) {
    const auto header = build(Part{static_cast<uint32_t>(left.size())});
    current.head.insert(current.head.end(), header.begin(), header.end());
    current.head.insert(current.head.end(), left.begin(), left.end());
  }
  current.left.clear();
  sending_ = false;
}

// Once for each item, and behind it, or it would be asked for nothing.
void InlineSend::add_question() {
  if (!asks_.exchange(false, std::memory_order_relaxed) || asked_) return;
  {
    const std::lock_guard lock(mutex_);
    if (tickets_out_ == 0) return;
  }
  asked_ = true;
  const auto question = build(Asks{});
  current_->head.insert(current_->head.end(), question.begin(), question.end());
}

// Whether there is an item to be sent.
Result<bool> InlineSend::take_next(const SendLane& lane) {
  Current& current = *current_;
  // All of the last one has gone. Nobody is to wait for room that it takes up.
  current.incoming.memory = View{};
  current.further.clear();
  lane_->forget();
  if (!may_take()) return false;
  auto took = lane_->take(current.incoming);
  if (!took) return took.error();
  // No arena is announced later here.
  if (*took == ReceiveLane::Take::pending) return wrong("an item lies in memory that has gone");
  if (*took != ReceiveLane::Take::item) return false;
  const Descriptor& descriptor = current.incoming.descriptor;
  const auto& extra = current.incoming.extra;
  // Those that belong to the item before are sent again.
  const auto extra_size = static_cast<size_t>(descriptor.extra_size);
  uint64_t size = descriptor.size;
  current.left.clear();
  current.further.clear();
  if (extra_size > 0) current.left.emplace_back(extra);
  if (descriptor.size > 0) {
    current.left.push_back(current.incoming.memory.bytes());
    uint64_t more = 0;
    if (extra_size >= sizeof more) std::memcpy(&more, extra.data(), sizeof more);
    for (uint64_t i = 0; i < more; ++i) {
      FurtherPlace place;
      std::memcpy(&place, extra.data() + sizeof more + i * sizeof place, sizeof place);
      auto view = lane_->resolve(place.arena, place.offset, place.size);
      if (!view) return view.error();
      if (!view->arena) return wrong("an item lies in memory that has gone");
      current.left.push_back(view->bytes());
      current.further.push_back(std::move(*view));
      size += place.size;
    }
  }
  const bool droppable = lane.is_droppable(descriptor.sequence);
  ItemBegins begins{descriptor, droppable};
  begins.in_place = put_in_place(begins.descriptor);
  if (begins.in_place) size = 0;
  sending_ = true;
  const std::lock_guard lock(mutex_);
  ++count_;
  if (descriptor.ticket != 0) ++tickets_out_;
  sent_.push_back({size, droppable});
  bytes_ += size;
  if (droppable) under_way_.fetch_add(1, std::memory_order_relaxed);
  waits_.store(false, std::memory_order_relaxed);
  // Who is told late keeps little memory, but of a pool that waits for its own buffers.
  asked_ = local_.sender_half().receipts_waiting.load(std::memory_order_relaxed) != 0;
  const bool is_full_of_bytes = bytes_ >= kMostBytesAhead;
  begins.is_full =
      is_full_of_bytes || sent_.size() >= kMostAhead ||
      under_way_.load(std::memory_order_relaxed) >= ahead_.load(std::memory_order_relaxed);
  const bool at_once =
      asked_ || is_full_of_bytes || (begins.is_full && drops_.load(std::memory_order_relaxed));
  begins.together = at_once ? 1 : static_cast<uint32_t>(std::max<size_t>(half_ahead(), 1));
  const auto head = build(begins);
  current.head.insert(current.head.end(), head.begin(), head.end());
  return true;
}

// Whether all of its memories lie in the file: their places there go along instead.
bool InlineSend::put_in_place(Descriptor& descriptor) {
  if (!region_ || descriptor.size == 0) return false;
  Current& current = *current_;
  const auto offset_of = [&](const View& view) {
    return region_->offset_of(view.bytes().data(), view.size);
  };
  const auto first = offset_of(current.incoming.memory);
  if (!first) return false;
  std::vector<uint64_t> more;
  for (const View& view : current.further) {
    const auto offset = offset_of(view);
    if (!offset) return false;
    more.push_back(*offset);
  }
  descriptor.offset = *first;
  if (!more.empty()) {
    // The bytes stay as they are for an item that repeats them.
    current.extra = current.incoming.extra;
  }
  for (size_t i = 0; i < more.size(); ++i)
    std::memcpy(current.extra.data() + sizeof(uint64_t) + i * sizeof(FurtherPlace) +
                    offsetof(FurtherPlace, offset),
                &more[i], sizeof more[i]);
  current.left.clear();
  if (descriptor.extra_size > 0)
    current.left.emplace_back(more.empty() ? current.incoming.extra : current.extra);
  return true;
}

Status InlineSend::send_next_part() {
  Current& current = *current_;
  std::span<const std::byte> part;
  auto head = std::exchange(current.head, {});
  if (!current.left.empty()) {
    auto& rest = current.left.front();
    part = rest.first(std::min(rest.size(), kMostPart));
    rest = rest.subspan(part.size());
    if (rest.empty()) current.left.pop_front();
    const auto header = build(Part{static_cast<uint32_t>(part.size())});
    head.insert(head.end(), header.begin(), header.end());
  }
  sending_ = !current.left.empty();
  return channel_->send_part(std::move(head), part, current_);
}

Status InlineSend::withdraw() {
  {
    const std::lock_guard lock(mutex_);
    if (sent_.empty()) return ok();
  }
  return channel_->send(Withdrawn{});
}

Status InlineSend::take(const Progress& progress) {
  {
    const std::lock_guard lock(mutex_);
    const uint64_t count = progress.claimed - claimed_;
    if (count > sent_.size()) return wrong("the peer has read what was not sent to it");
    if (progress.tickets.size() > tickets_out_)
      return wrong("the peer gave back what it does not hold");
    if (count == 0 && progress.tickets.empty() && !progress.waits)
      return wrong("progress of the peer that is none");
    // Once for each item, and before the first.
    if (progress.waits && heard_waits_++ > count_)
      return wrong("the peer says again and again that it waits");
    for (uint64_t i = 0; i < count; ++i) {
      bytes_ -= sent_.front().size;
      if (sent_.front().droppable) under_way_.fetch_sub(1, std::memory_order_relaxed);
      sent_.pop_front();
    }
    claimed_ = progress.claimed;
    tickets_out_ -= progress.tickets.size();
    // It may not know yet what was sent meanwhile.
    if (progress.waits) has_begun_ = true;
    if (progress.waits && sent_.empty()) waits_.store(true, std::memory_order_relaxed);
  }
  // Which ones it holds the sending end knows.
  for (const uint64_t ticket : progress.tickets) lane_->give_back(ticket);
  return ok();
}

}  // namespace mmaplink
