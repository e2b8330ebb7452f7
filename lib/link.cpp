#include "lib/link.h"

namespace mmaplink {

namespace {

Half& half_of(const SealedMemory& memory) { return *reinterpret_cast<Half*>(memory.map.data()); }
const Half& half_of(const Mapping& map) { return *reinterpret_cast<const Half*>(map.data()); }

}  // namespace

Result<std::shared_ptr<SealedMemory>> Link::make_half() {
  auto memory = make_sealed("mmap-half", sizeof(Half));
  if (!memory) return memory.error();
  return std::make_shared<SealedMemory>(std::move(*memory));
}

Result<std::shared_ptr<Link>> Link::make(std::shared_ptr<Channel> channel,
                                         std::shared_ptr<SealedMemory> own, const Fd& peer_half,
                                         Peer peer) {
  auto map = map_sealed(peer_half, round_to_page(sizeof(Half)));
  if (!map) return map.error();
  return std::make_shared<Link>(std::move(channel), std::move(own),
                                std::make_shared<const Mapping>(std::move(*map)), peer);
}

Link::Link(std::shared_ptr<Channel> channel, std::shared_ptr<SealedMemory> own,
           std::shared_ptr<const Mapping> peer_half, Peer peer)
    : channel_(std::move(channel)),
      own_memory_(std::move(own)),
      peer_memory_(std::move(peer_half)),
      peer_(peer),
      send_lane_(half_of(*own_memory_), half_of(*peer_memory_)),
      receive_lane_(std::make_shared<ReceiveLane>(own_memory_, peer_memory_)) {}

Status Link::announce(const std::shared_ptr<Arena>& arena) {
  if (last_announced_.load(std::memory_order_relaxed) == arena->number()) return ok();
  {
    const std::lock_guard lock(mutex_);
    last_announced_.store(arena->number(), std::memory_order_relaxed);
    if (!announced_.insert(arena->number()).second) return ok();
  }
  return channel_->send(ArenaMade{arena->number(), arena->size()}, arena->fd().get(), arena);
}

Result<SendLane::Room> Link::publish(Outgoing& item, std::span<const Place> places,
                                     size_t max_queued) {
  for (const Place& place : places)
    if (auto said = announce(place.arena); !said) return said.error();
  if (item.extra_block)
    if (auto said = announce(item.extra_block->arena()); !said) return said.error();
  return send_lane_.publish(item, max_queued);
}

void Link::retire(uint32_t arena) {
  {
    const std::lock_guard lock(mutex_);
    last_announced_.store(0, std::memory_order_relaxed);
    if (announced_.erase(arena) == 0) return;
  }
  // Failing means that the peer is about to be hung up on.
  if (auto said = channel_->send(ArenaRetired{arena}); !said) hang_up(said.error().text);
}

Status Link::note(uint32_t kind, std::vector<std::byte> bytes) {
  return channel_->send(Note{kind, std::move(bytes)});
}

void Link::hang_up(const std::string& why) {
  {
    const std::lock_guard lock(mutex_);
    if (why_) return;
    why_ = why;
  }
  if (auto said = channel_->send(Refuse{why}); !said) { /* it is being hung up on anyway */
  }
  channel_->shut_down();
}

std::optional<std::string> Link::hung_up_because() const {
  const std::lock_guard lock(mutex_);
  return why_;
}

}  // namespace mmaplink
