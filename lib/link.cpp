#include "lib/link.h"

namespace mmaplink {

namespace {

Half& own_half(const Link::Parts& parts) {
  if (parts.inline_send) return parts.inline_send->sender_half();
  return *reinterpret_cast<Half*>(parts.own->map.data());
}

const Half& peers_half(const Link::Parts& parts) {
  if (parts.inline_send) return parts.inline_send->receiver_half();
  return *reinterpret_cast<const Half*>(parts.peers->data());
}

std::shared_ptr<ReceiveLane> receiving_end(const Link::Parts& parts) {
  if (parts.inline_receive) return parts.inline_receive->lane();
  return std::make_shared<ReceiveLane>(parts.own, parts.peers);
}

}  // namespace

Result<std::shared_ptr<SealedMemory>> Link::make_half() {
  auto memory = make_sealed("mmap-half", sizeof(Half));
  if (!memory) return memory.error();
  return std::make_shared<SealedMemory>(std::move(*memory));
}

Result<std::shared_ptr<Link>> Link::make(std::shared_ptr<Channel> channel,
                                         std::shared_ptr<SealedMemory> own, const Fd& peer_half,
                                         const Peer& peer, Modes modes,
                                         std::shared_ptr<PathRegion> region) {
  Parts parts;
  parts.region = std::move(region);
  parts.own = std::move(own);
  if (modes.any_mapped()) {
    auto map = map_sealed(peer_half, round_to_page(sizeof(Half)));
    if (!map) return map.error();
    parts.peers = std::make_shared<const Mapping>(std::move(*map));
  }
  if (!modes.send.mapped) {
    auto lane = LocalLane::make();
    if (!lane) return lane.error();
    channel->widen();
    parts.inline_send = std::make_unique<InlineSend>(channel, std::move(*lane), parts.region);
  }
  if (!modes.receive.mapped) {
    auto lane = LocalLane::make();
    if (!lane) return lane.error();
    parts.inline_receive = std::make_unique<InlineReceive>(channel, std::move(*lane), parts.region);
    channel->set_part_target(parts.inline_receive.get());
  }
  auto link = std::make_shared<Link>(std::move(channel), std::move(parts), peer, std::move(modes));
  if (link->parts_.inline_receive)
    link->receive_lane_->on_progress([weak = std::weak_ptr(link)] {
      const auto to = weak.lock();
      if (!to) return;
      if (auto told = to->parts_.inline_receive->tell(); !told) to->hang_up(told.error().text);
    });
  return link;
}

Link::Link(std::shared_ptr<Channel> channel, Parts parts, const Peer& peer, Modes modes)
    : channel_(std::move(channel)),
      parts_(std::move(parts)),
      peer_(peer),
      modes_(std::move(modes)),
      send_lane_(own_half(parts_), peers_half(parts_)),
      receive_lane_(receiving_end(parts_)) {}

// The channel's reader has gone before.
Link::~Link() = default;

Status Link::announce(const std::shared_ptr<Arena>& arena) {
  if (last_announced_.load(std::memory_order_relaxed) == arena->number()) return ok();
  {
    const std::lock_guard lock(mutex_);
    last_announced_.store(arena->number(), std::memory_order_relaxed);
    if (!announced_.insert(arena->number()).second) return ok();
  }
  if (parts_.inline_send) return parts_.inline_send->add_arena(arena);
  // A peer's has its descriptor as long as what is to be published lies in it.
  const auto origin = arena->origin();
  const Fd& fd = origin ? origin->fd : arena->fd();
  if (!fd) return Error{Failure::system, "memory in a file, for a link that has none"};
  std::shared_ptr<const void> keep = arena;
  if (origin) keep = origin;
  return channel_->send(ArenaMade{arena->number(), arena->size(), arena->is_dmabuf()}, fd.get(),
                        std::move(keep));
}

Result<SendLane::Room> Link::publish(Outgoing& item, std::span<const Place> places,
                                     size_t max_queued, size_t ahead, bool drops) {
  for (const Place& place : places)
    if (auto said = announce(place.arena); !said) return said.error();
  if (item.extra_block)
    if (auto said = announce(item.extra_block->arena()); !said) return said.error();
  if (!parts_.inline_send) return send_lane_.publish(item, max_queued);
  // What is on the way waits to be read, too.
  InlineSend& out = *parts_.inline_send;
  out.set_ahead(ahead, drops);
  const size_t under_way = out.under_way();
  const bool is_small = item.droppable && item.descriptor.size <= kSmall;
  auto room = send_lane_.publish(item, max_queued > under_way ? max_queued - under_way : 1);
  const bool collects =
      is_small && room && *room == SendLane::Room::yes && out.may_collect(send_lane_);
  if (!collects) pump();
  return room;
}

void Link::pump() {
  if (!parts_.inline_send || !alive()) return;
  if (auto sent = parts_.inline_send->pump(send_lane_); !sent) hang_up(sent.error().text);
}

void Link::withdraw(std::vector<Held>& freed) {
  send_lane_.withdraw_all(freed);
  withdraw_inline();
}

void Link::close(std::vector<Held>& freed) {
  send_lane_.close(freed);
  withdraw_inline();
}

void Link::withdraw_inline() {
  if (!parts_.inline_send || !alive()) return;
  if (auto said = parts_.inline_send->withdraw(); !said) hang_up(said.error().text);
  // What must arrive was published again.
  pump();
}

Status Link::add_arena(const ArenaMade& arena, Fd fd) {
  if (parts_.inline_receive) return Error{Failure::protocol, "an arena of what is inline"};
  if (arena.is_dmabuf) return receive_lane_->add_dmabuf(arena.number, std::move(fd), arena.size);
  return receive_lane_->add_arena(arena.number, std::move(fd), arena.size);
}

Status Link::retire_arena(const ArenaRetired& arena) {
  if (parts_.inline_receive) return Error{Failure::protocol, "an arena of what is inline"};
  return receive_lane_->retire_arena(arena.number);
}

Status Link::withdraw_items() {
  if (!parts_.inline_receive) return Error{Failure::protocol, "inline items of what is mapped"};
  return parts_.inline_receive->withdraw();
}

Status Link::begin_item(const ItemBegins& item, uint64_t max_memory, HugePages huge) {
  if (!parts_.inline_receive) return Error{Failure::protocol, "an inline item of what is mapped"};
  return parts_.inline_receive->begin(item, max_memory, huge);
}

Status Link::take_progress(const Progress& progress) {
  if (!parts_.inline_send) return Error{Failure::protocol, "progress of what is mapped"};
  if (auto taken = parts_.inline_send->take(progress); !taken) return taken;
  pump();
  return ok();
}

bool Link::peer_starves() const {
  return parts_.inline_send ? parts_.inline_send->peer_starves() : send_lane_.peer_starves();
}

void Link::ask_for_receipts() {
  if (!parts_.inline_send || !alive()) return;
  parts_.inline_send->ask();
  pump();
}

Status Link::tell_receipts() {
  if (!parts_.inline_receive) return Error{Failure::protocol, "receipts of what is mapped"};
  return parts_.inline_receive->asked();
}

uint64_t Link::unread() const {
  return send_lane_.unread() + (parts_.inline_send ? parts_.inline_send->under_way() : 0);
}

void Link::retire(uint32_t arena) {
  {
    const std::lock_guard lock(mutex_);
    last_announced_.store(0, std::memory_order_relaxed);
    if (announced_.erase(arena) == 0) return;
  }
  if (parts_.inline_send) {
    if (auto retired = parts_.inline_send->retire_arena(arena); !retired)
      hang_up(retired.error().text);
    pump();  // which lets go of it
    return;
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
