// A ring with a thread at each end, over one mapping, so that a thread sanitizer sees every access
// of both (meson setup -Db_sanitize=thread). A million items: frames with payload that is written
// anew as soon as its receipt is there, events small and large, withdrawals at random, a reader
// that is sometimes ahead, sometimes behind and sometimes asleep.
#include <cstring>
#include <set>
#include <thread>

#include "tests/lib/helpers.h"

namespace mmaplink::test {
namespace {

using Room = SendLane::Room;
using Take = ReceiveLane::Take;

constexpr uint64_t kItems = 500000;  // for each of the two cases
constexpr uint64_t kPhase = 4096;    // items, after which the queue behaves in another way
constexpr uint32_t kFrame = 1;
constexpr uint32_t kEvent = 2;

void fail(const char* what, uint64_t mark) { g_error("%s at item %" G_GUINT64_FORMAT, what, mark); }

class Stress {
 public:
  explicit Stress(bool withdraws) : withdraws_(withdraws) {
    store_->on_retired([this](uint32_t number) {
      // A chunk may come and go without ever having been announced.
      if (announced_.erase(number) != 0) must(lane_.in().retire_arena(number));
    });
  }
  ~Stress() { store_->on_retired({}); }

  void run() {
    std::thread reader([this] { read(); });
    write();
    done_ = true;
    kick_.kick();
    reader.join();
    drain();
    if (lane_.out().held() != 0) fail("rows are left over", lane_.out().held());
    if (released_ != frames_) fail("holds were not let go of once each", frames_);
    if (last_event_ != events_) fail("events did not arrive", last_event_);
    if (!withdraws_ && frames_taken_ != frames_) fail("frames did not arrive", frames_taken_);
    g_test_message("%" G_GUINT64_FORMAT " frames, %" G_GUINT64_FORMAT " taken, %" G_GUINT64_FORMAT
                   " events, %" G_GUINT64_FORMAT " repeated",
                   frames_, frames_taken_, events_, repeated_);
  }

 private:
  // What a frame holds: its memory, written over as soon as that is free.
  struct Payload {
    Block block;
    uint64_t& released;
  };

  // --- the sender's thread

  void write() {
    for (uint64_t mark = 1; mark <= kItems; ++mark) {
      const bool leaky = withdraws_ && (mark / kPhase) % 3 != 0;
      const size_t most = 1 + (mark / kPhase) % 7 * 3;
      Outgoing item = random_.one_in(8) ? make_event(mark) : make_frame(mark);
      const bool is_frame = item.droppable;
      if (publish(item, most, leaky)) {
        if (is_frame) ++frames_;
        announce_late();
      } else if (!is_frame) {
        fail("no room for an event", mark);
      }
      if (withdraws_ && random_.one_in(40)) withdraw();
      if (random_.one_in(16)) drain();
    }
  }

  bool publish(Outgoing& item, size_t most, bool leaky) {
    const Deadline deadline = Clock::now() + std::chrono::seconds(60);
    for (int tries = 0; Clock::now() < deadline; ++tries) {
      if (must(lane_.out().publish(item, most)) == Room::yes) return true;
      announce_late();
      drain();
      if (leaky && item.droppable) {
        if (tries > 2) {
          --released_;  // its hold goes, and it never was one of the frames
          return false;
        }
        withdraw();
      } else {
        lane_.out().wait_for_room(most, kick_, kick_.value(), deadline);
      }
    }
    return false;
  }

  Outgoing make_frame(uint64_t mark) {
    Outgoing item = frame(mark);
    item.descriptor.kind = kFrame;
    auto* payload = new Payload{allocate(64 + random_.below(4000)), released_};
    const Block& block = payload->block;
    std::memcpy(block.data(), &mark, sizeof mark);
    std::memcpy(block.data() + block.size() - sizeof mark, &mark, sizeof mark);
    item.descriptor.arena = block.arena()->number();
    item.descriptor.offset = block.offset();
    item.descriptor.size = block.size();
    item.hold = Hold(payload, [](void* held) {
      auto* mine = static_cast<Payload*>(held);
      // Whoever reads it still would see this.
      std::memset(mine->block.data(), 0xff, mine->block.size());
      ++mine->released;
      delete mine;
    });
    return item;
  }

  Outgoing make_event(uint64_t mark) {
    Outgoing item = event(mark);
    item.descriptor.kind = kEvent;
    item.descriptor.dts = ++events_;
    text_.assign(random_.one_in(4) ? kSlotExtra + 1 + random_.below(2000) : random_.below(100),
                 static_cast<char>(events_));
    if (text_.size() > kSlotExtra) item.extra_block = allocate(text_.size());
    item.extra = as_bytes(text_);
    return item;
  }

  Block allocate(size_t size) {
    Block block = must(store_->allocate(size, 64));
    if (!announced_.contains(block.arena()->number())) late_.push_back(block.arena());
    if (random_.one_in(2)) announce_late();
    return block;
  }

  // Arenas are announced by the control socket: before an item that lies in one, or after it.
  void announce_late() {
    for (const auto& arena : late_)
      if (announced_.insert(arena->number()).second) announce(lane_.in(), *arena);
    late_.clear();
  }

  void withdraw() {
    std::vector<Held> freed;
    lane_.out().withdraw_oldest(freed);
  }

  void drain() { lane_.drain(); }

  // --- the reader's thread

  void read() {
    Random random(2);
    std::vector<uint64_t> tickets;
    uint64_t last = 0;
    for (;;) {
      const uint32_t seen = kick_.value();
      const bool ended = done_;
      const Take got = lane_.take();
      if (got == Take::item) {
        const Incoming& item = lane_.item;
        check(item, last);
        if (item.descriptor.ticket != 0) tickets.push_back(item.descriptor.ticket);
        if (random.one_in(1000)) std::this_thread::yield();
        if (random.one_in(100000)) lane_.in().wait(kick_, seen, Clock::now());
      }
      while (!tickets.empty() &&
             (tickets.size() > 24 || got == Take::nothing || random.one_in(3))) {
        std::swap(tickets[random.below(static_cast<uint32_t>(tickets.size()))], tickets.back());
        lane_.in().give_back(tickets.back());
        tickets.pop_back();
      }
      if (got == Take::item) continue;
      if (got == Take::nothing && ended) return;
      if (got == Take::pending)
        std::this_thread::yield();
      else
        lane_.in().wait(kick_, seen, Clock::now() + std::chrono::seconds(60));
    }
  }

  void check(const Incoming& item, uint64_t& last) {
    const uint64_t mark = item.descriptor.pts;
    if (item.descriptor.kind == kEvent) {
      const uint64_t number = item.descriptor.dts;
      if (number > last_event_ + 1) fail("an event is missing", mark);
      for (const std::byte byte : item.extra)
        if (byte != static_cast<std::byte>(number)) fail("an event has other bytes", mark);
      // One that was claimed as it was withdrawn comes twice rather than never.
      if (number <= last_event_) {
        ++repeated_;
        return;
      }
      last_event_ = number;
    } else {
      uint64_t marks[2];
      const auto bytes = item.memory.bytes();
      std::memcpy(&marks[0], bytes.data(), sizeof mark);
      std::memcpy(&marks[1], bytes.data() + bytes.size() - sizeof mark, sizeof mark);
      if (marks[0] != mark || marks[1] != mark) fail("a frame was written over", mark);
      ++frames_taken_;
    }
    if (mark <= last) fail("out of order", mark);
    if (!withdraws_ && mark != last + 1) fail("something is missing", mark);
    last = mark;
  }

  const bool withdraws_;
  std::shared_ptr<ArenaStore> store_ = std::make_shared<ArenaStore>(256 << 20);
  Lane lane_;
  Kick kick_;
  std::atomic<bool> done_{false};

  // The sender's.
  Random random_;
  std::set<uint32_t> announced_;
  std::vector<std::shared_ptr<Arena>> late_;
  std::string text_;
  uint64_t frames_ = 0;
  uint64_t events_ = 0;
  uint64_t released_ = 0;
  // The reader's.
  uint64_t frames_taken_ = 0;
  uint64_t last_event_ = 0;
  uint64_t repeated_ = 0;
};

void in_order() { Stress(false).run(); }
void with_withdrawals() { Stress(true).run(); }

}  // namespace
}  // namespace mmaplink::test

int main(int argc, char** argv) {
  using namespace mmaplink::test;
  return run_all(
      argc, argv,
      {{"/lane-stress/in-order", in_order}, {"/lane-stress/with-withdrawals", with_withdrawals}});
}
