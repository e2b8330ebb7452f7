// The control stream of a peer: bytes in pieces, with descriptors, into a Channel, and what comes
// out of it into a link. As the endpoint would do it, but in one thread.
#include "tests/fuzz/link_input.h"

namespace {

using mmaplink::Channel;
using mmaplink::Link;

// What was parsed is built, parsed and built again: both times the same bytes.
void check_message(const mmaplink::Message& message) {
  const auto bytes = mmaplink::build(message);
  fuzz::check(*fuzz::must(mmaplink::message_size(bytes)) == bytes.size(),
              "a message knows its size");
  const auto again = fuzz::must(mmaplink::parse(bytes));
  fuzz::check(again.index() == message.index() && mmaplink::build(again) == bytes, "as it was");
}

// One for all inputs: nothing is read from it.
const std::shared_ptr<mmaplink::SealedMemory>& own_half() {
  static const auto& half = *new auto(fuzz::must(Link::make_half()));
  return half;
}

class Peer {
 public:
  // False where we would hang up on it.
  bool receive() {
    bool good = true;
    const auto open = channel_->receive([&](Channel::Received received) {
      check_message(received.message);
      fuzz::check(static_cast<bool>(received.fd) == mmaplink::carries_fd(received.message),
                  "a descriptor comes where there is to be one");
      good = handle(std::move(received));
      return good;
    });
    return good && open;
  }
  bool send(const fuzz::Piece& piece) { return fuzz::send_piece(sockets_.peer.get(), piece); }

 private:
  bool handle(Channel::Received received) {
    using namespace mmaplink;
    if (carries_fd(received.message) && !std::holds_alternative<ArenaMade>(received.message))
      return !link_ && greet(received.fd);
    if (std::holds_alternative<Refuse>(received.message) || !link_) return false;
    ReceiveLane& lane = *link_->receive_lane();
    if (const auto* made = std::get_if<ArenaMade>(&received.message))
      return static_cast<bool>(link_->add_arena(*made, std::move(received.fd)));
    if (const auto* retired = std::get_if<ArenaRetired>(&received.message))
      return static_cast<bool>(lane.retire_arena(retired->number));
    if (const auto* lanes = std::get_if<Lanes>(&received.message)) {
      link_->set_peer_lanes(*lanes);
      return take(lane);
    }
    if (const auto* note = std::get_if<Note>(&received.message))
      return static_cast<bool>(link_->note(note->kind, note->bytes));
    // Of what is inline, which nothing is here, or a greeting without memory.
    if (const auto* item = std::get_if<ItemBegins>(&received.message))
      fuzz::check(!link_->begin_item(*item, kDefaultMemory),
                  "no inline items in a direction that is mapped");
    return false;
  }

  bool greet(const mmaplink::Fd& half) {
    auto link = Link::make(channel_, own_half(), half, {});
    if (link) link_ = *link;
    return static_cast<bool>(link);
  }

  bool take(mmaplink::ReceiveLane& lane) {
    for (;;) {
      auto took = lane.take(item_);
      if (!took) return false;
      if (*took != mmaplink::ReceiveLane::Take::item) return true;
      fuzz::read(item_.memory);
      lane.give_back(item_.descriptor.ticket);
    }
  }

  fuzz::Sockets sockets_;
  const std::shared_ptr<Channel> channel_ = std::make_shared<Channel>(std::move(sockets_.own));
  std::shared_ptr<Link> link_;
  mmaplink::Incoming item_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  own_half();
  const int before = fuzz::free_fd();
  fuzz::Input input(data, size);
  {
    Peer peer;
    while (!input.empty() && peer.send(fuzz::next_piece(input)) && peer.receive()) {
    }
  }
  fuzz::check(fuzz::free_fd() == before, "no descriptor is left open");
  return 0;
}
