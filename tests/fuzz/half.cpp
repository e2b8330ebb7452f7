// A peer that writes whatever it likes into its half, between any two calls of ours: its
// descriptors and indices against a ReceiveLane, its receipts and indices against a SendLane and
// the Sender above it.
//
// Whatever it writes, each thing that we hold for it is let go of exactly once in the end.
#include "tests/fuzz/half.h"

#include <algorithm>
#include <deque>

#include "lib/sender.h"
#include "lib/ticket.h"
#include "tests/fuzz/link_input.h"

namespace {

using namespace mmaplink;
using fuzz::check;
using fuzz::Input;
using fuzz::must;
using fuzz::Step;

constexpr size_t kMaxMemory = 64 << 20;
constexpr size_t kMuchExtraSize = 1000;
constexpr int kMostYields = 8;

Half& at(const SealedMemory& memory) { return *reinterpret_cast<Half*>(memory.map.data()); }

// The same memory for all inputs: making it takes longer than using it.
struct Memory {
  const std::shared_ptr<SealedMemory> own = must(Link::make_half());
  const std::shared_ptr<SealedMemory> peer = must(Link::make_half());
  const SealedMemory arena = must(make_sealed("mmap-fuzz", fuzz::kArena));
};
Memory& memory() {
  static auto& all = *new Memory;
  return all;
}

class World {
 public:
  World() : own_(at(*memory().own)), peer_(at(*memory().peer)) {
    std::memset(static_cast<void*>(&own_), 0, sizeof own_);
    std::memset(static_cast<void*>(&peer_), 0, sizeof peer_);
    fuzz::Sockets sockets;
    peer_socket_ = std::move(sockets.peer);
    link_ = must(Link::make(std::make_shared<Channel>(std::move(sockets.own)), memory().own,
                            memory().peer->fd, {}));
    sender_->add(link_);
  }
  ~World() {
    for (const uint64_t ticket : taken_) in().give_back(ticket);
    sender_->remove(*link_);
    check(sender_->in_flight() == 0 && out().held() == 0, "a peer that is gone holds nothing");
    check(holds_ == released_, "what was held is let go of once");
  }

  void run(Input& input) {
    const auto step = static_cast<Step>(input.byte() % (static_cast<uint8_t>(Step::last) + 1));
    if (!may_yield(step) || yields_++ < kMostYields) do_step(step, input);
    check(own_.claimed >= claimed_ && own_.taken >= read_ && own_.head >= head_,
          "our indices only grow");
    claimed_ = own_.claimed;
    read_ = own_.taken;
    head_ = own_.head;
    check(released_ <= holds_ && out().held() <= kRows, "nothing is let go of twice");
  }

 private:
  SendLane& out() { return link_->send_lane(); }
  ReceiveLane& in() { return *link_->receive_lane(); }

  // These look on for a while before they give up, which is time for other inputs.
  static bool may_yield(Step step) {
    return step == Step::wait || step == Step::wait_for_room || step == Step::withdraw_all ||
           step == Step::leave;
  }

  void do_step(Step step, Input& input) {
    switch (step) {
      case Step::set_word: {
        const auto which = input.byte();
        return set_word(which, input.get<uint64_t>());
      }
      case Step::move_word: {
        const auto which = input.byte();
        const auto by = input.get<int8_t>();
        return set_word(which, word(which) + static_cast<uint64_t>(int64_t{by}));
      }
      case Step::set_slot:
        return set_slot(input);
      case Step::send:
        return send(input.get<fuzz::Item>());
      case Step::read:
        return read(input.byte());
      case Step::set_receipt:
        return give_receipt(input.get<uint64_t>());
      case Step::take:
        return take();
      case Step::give_back:
        return give_back();
      case Step::wait:
        return in().wait(kick_, kick_.value(), Clock::now());
      case Step::add_arena:
        return (void)in().add_arena(input.byte(), Fd(dup(memory().arena.fd.get())), fuzz::kArena);
      case Step::retire_arena:
        return (void)in().retire_arena(input.byte());
      case Step::publish:
        return publish(input.byte());
      case Step::send_leaky:
        return send_leaky(input.byte());
      case Step::withdraw_oldest: {
        std::vector<Held> freed;
        out().withdraw_oldest(freed);
        return;
      }
      case Step::withdraw_all:
        return sender_->withdraw(*link_);
      case Step::wait_for_room:
        return out().wait_for_room(4, kick_, kick_.value(), Clock::now());
      case Step::collect:
        return sender_->collect();
      case Step::wait_for_memory:
        sender_->interrupt(true);
        sender_->wait_for_memory(sender_->progress());
        return sender_->interrupt(false);
      case Step::leave:
        return (void)sender_->leave(*link_);
      case Step::add:
        return sender_->add(link_);
    }
  }

  // --- the peer ---------------------------------------------------------------------------------

  std::atomic<uint64_t>& index(uint8_t which) {
    const std::array all{&peer_.head,        &peer_.revoked,      &peer_.claimed,
                         &peer_.taken,       &peer_.receipt_head, &peer_.writer_wants,
                         &peer_.latency_p50, &peer_.latency_p99};
    return *all[which % all.size()];
  }
  uint64_t word(uint8_t which) {
    switch (which % fuzz::kWords) {
      case 8:
        return peer_.reader_waiting;
      case 9:
        return peer_.receipts_waiting;
      default:
        return index(which % fuzz::kWords);
    }
  }
  void set_word(uint8_t which, uint64_t value) {
    switch (which % fuzz::kWords) {
      case 8:
        peer_.reader_waiting = static_cast<uint32_t>(value);
        break;
      case 9:
        peer_.receipts_waiting = static_cast<uint32_t>(value);
        break;
      default:
        index(which % fuzz::kWords) = value;
    }
  }

  void set_slot(Input& input) {
    const size_t slot = input.byte();
    const size_t place = input.get<uint16_t>() % (sizeof(Slot) / sizeof(uint64_t));
    const auto value = input.get<uint64_t>();
    std::memcpy(reinterpret_cast<std::byte*>(&peer_.slots[slot]) + place * sizeof value, &value,
                sizeof value);
  }

  void send(const fuzz::Item& item) {
    const uint64_t head = peer_.head;
    Descriptor& out = peer_.slots[head % kSlots].descriptor;
    out = Descriptor{};
    out.sequence = head + 1 + item.sequence;
    out.first = out.sequence;
    out.ticket = item.ticket;
    out.arena = item.arena;
    out.offset = item.offset;
    out.size = item.size;
    out.extra_from = item.extra_from % 4u;
    out.extra_arena = item.arena;
    out.extra_offset = item.extra_offset;
    out.extra_size = item.extra_size;
    peer_.head = head + 1;
  }

  void give_receipt(uint64_t receipt) {
    const uint64_t head = peer_.receipt_head;
    peer_.receipts[head % kReceipts] = receipt;
    peer_.receipt_head = head + 1;
  }

  void read(uint8_t bits) {
    const uint64_t next = peer_.taken;
    uint64_t ticket = own_.slots[next % kSlots].descriptor.ticket;
    if ((bits & fuzz::kClaims) != 0) peer_.claimed = next + 1;
    if ((bits & fuzz::kTakes) != 0) peer_.taken = next + 1;
    if ((bits & fuzz::kForges) != 0) ticket += uint64_t{1} << 32;
    if ((bits & fuzz::kSkips) != 0) ticket |= kSkipped;
    if ((bits & fuzz::kReturns) != 0) give_receipt(ticket);
    if ((bits & fuzz::kReturnsTwice) != 0) give_receipt(ticket);
  }

  // --- us ---------------------------------------------------------------------------------------

  void take() {
    auto took = in().take(item_);
    if (!took) return check(took.error().failure == Failure::protocol, "the peer's fault");
    if (*took != ReceiveLane::Take::item) return;
    check(item_.extra.size() == item_.descriptor.extra_size, "it has the bytes that it says");
    check(item_.memory.size == item_.descriptor.size, "and as much memory");
    fuzz::read(item_.memory);
    if (item_.descriptor.ticket != 0) taken_.push_back(item_.descriptor.ticket);
  }

  void give_back() {
    if (taken_.empty()) return;
    in().give_back(taken_.front());
    taken_.pop_front();
  }

  Outgoing make(uint8_t bits) {
    static const std::array<std::byte, kMuchExtraSize> extra{std::byte{1}};
    Outgoing item;
    item.droppable = (bits & fuzz::kDroppable) != 0;
    item.may_repeat = (bits & fuzz::kRepeats) != 0;
    if ((bits & fuzz::kExtra) != 0) item.extra = std::span(extra).first(100);
    if ((bits & fuzz::kMuchExtra) != 0) item.extra = extra;
    if ((bits & fuzz::kHolds) != 0) {
      ++holds_;
      item.hold = Hold(&released_, [](void* count) { ++*static_cast<size_t*>(count); });
    }
    return item;
  }

  size_t most(uint8_t bits) { return (bits & fuzz::kShortQueue) != 0 ? 2 : kSlots; }

  void publish(uint8_t bits) {
    Outgoing item = make(bits);
    if (item.extra.size() > kSlotExtra)
      item.extra_block = must(sender_->store()->allocate(item.extra.size(), 1));
    (void)link_->publish(item, {}, most(bits));
  }

  // What must arrive would be waited for.
  void send_leaky(uint8_t bits) {
    const Leaky leaky = (bits & fuzz::kUpstream) != 0 ? Leaky::upstream : Leaky::downstream;
    sender_->publish(*link_, make(bits | fuzz::kDroppable), {most(bits), leaky}, {});
  }

  Half& own_;
  Half& peer_;
  Fd peer_socket_;
  size_t holds_ = 0;
  size_t released_ = 0;
  const std::shared_ptr<Sender> sender_ = Sender::make(kMaxMemory);
  std::shared_ptr<Link> link_;
  Kick kick_;
  Incoming item_;
  std::deque<uint64_t> taken_;
  uint64_t claimed_ = 0, read_ = 0, head_ = 0;
  int yields_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  memory();
  const int before = fuzz::free_fd();
  {
    Input input(data, size);
    World world;
    while (!input.empty()) world.run(input);
  }
  check(fuzz::free_fd() == before, "no descriptor is left open");
  return 0;
}
