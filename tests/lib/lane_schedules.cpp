// The lanes of lib/ in interleavings that are chosen: all with few switches, thousands at random,
// and with a side that dies at each of its steps. tests/model has all interleavings of a model of
// them.
#include <algorithm>

#include "tests/lib/schedule.h"

namespace mmaplink::test {
namespace {

using Sending = BasicSendLane<ScheduledWords>;
using Receiving = BasicReceiveLane<ScheduledWords>;
using Marks = std::vector<uint64_t>;

constexpr uint64_t kEvents = 100;  // marks of what must arrive are from here on
constexpr size_t kMost = 10;       // frames of a test
constexpr size_t kCleared = 16;    // slots and receipts that it uses

// The ordinary run is a tenth of what there is to see with `-m slow`.
uint64_t seeds() { return g_test_slow() ? 5000 : 500; }
int switches(int most) { return g_test_slow() ? most : std::max(most - 1, 0); }

// A sender, a receiver and what comes of them. Made anew for each schedule, but for the memory.
class World {
 public:
  World() {
    // As new; only what the run before has used is to be cleared.
    for (Half* half : {&sender_half(), &receiver_half()}) {
      std::memset(static_cast<void*>(half), 0, offsetof(Half, receipts));
      std::memset(static_cast<void*>(&half->receipts), 0, kCleared * sizeof(uint64_t));
      std::memset(static_cast<void*>(&half->slots), 0, kCleared * sizeof(Slot));
    }
    receiving = std::make_shared<Receiving>(
        memory().receiver, std::shared_ptr<const Mapping>(memory().sender, &memory().sender->map));
  }

  static Half& sender_half() { return *reinterpret_cast<Half*>(memory().sender->map.data()); }
  static Half& receiver_half() { return *reinterpret_cast<Half*>(memory().receiver->map.data()); }

  Outgoing item(uint64_t mark) {
    Outgoing out = mark >= kEvents ? event(mark) : frame(mark);
    if (mark < kEvents) {
      ++holds;
      out.hold = Hold(&released[mark], [](void* count) { ++*static_cast<int*>(count); });
    }
    return out;
  }

  void expect(bool right, const char* what) {
    if (!right && wrong.empty()) wrong = what;
  }

  Sending sending{sender_half(), receiver_half()};
  std::shared_ptr<Receiving> receiving;
  Kick sender_kick;
  Kick receiver_kick;
  bool sender_alone = false;  // as Link::alive() says of the peer
  bool receiver_alone = false;

  Marks taken;
  int holds = 0;
  std::array<int, kMost> released{};
  std::string wrong;

 private:
  struct Memory {
    std::shared_ptr<SealedMemory> sender = must(Link::make_half());
    std::shared_ptr<SealedMemory> receiver = must(Link::make_half());
  };
  static Memory& memory() {
    static Memory both;
    return both;
  }

 public:
  static void prepare() { memory(); }
};

// --- what the sides do --------------------------------------------------------------------------

void collect(World& world) {
  std::vector<Held> freed;
  if (world.sending.has_receipts(1))
    world.expect(bool(world.sending.drain(freed)), "a receipt is refused");
}

enum class Full { waits, withdraws };

// As Sender::publish(). False: the peer is gone.
bool send(World& world, Outgoing item, size_t most, Full full) {
  for (bool tried = false;;) {
    const uint32_t seen = world.sender_kick.value();
    if (world.sender_alone) return false;
    auto room = world.sending.publish(item, most);
    if (!room || *room == Sending::Room::closed) {
      world.expect(world.sender_alone, "the sender finds its peer wrong");
      return false;
    }
    if (*room == Sending::Room::yes) return true;
    collect(world);
    if (full == Full::withdraws && item.droppable) {
      std::vector<Held> freed;
      if (!world.sending.withdraw_oldest(freed) && tried) return true;
      tried = true;
      continue;
    }
    world.sending.wait_for_room(most, world.sender_kick, seen, Deadline::max());
  }
}

// As Source::turn(), until `last` has come or the peer is gone and all it left is read.
void receive_until(World& world, uint64_t last) {
  Incoming item;
  for (;;) {
    const uint32_t seen = world.receiver_kick.value();
    const bool closing = world.receiver_alone;
    if (closing) world.receiving->close();
    auto took = world.receiving->take(item);
    if (!took) {
      world.expect(false, "the receiver finds its peer wrong");
      return;
    }
    if (*took == Receiving::Take::nothing) {
      if (closing) return;
      world.receiving->wait(world.receiver_kick, seen, Deadline::max());
      continue;
    }
    const uint64_t mark = item.descriptor.pts;
    world.taken.push_back(mark);
    if (mark < kMost)
      world.expect(world.released[mark] == 0 || world.sender_alone,
                   "memory is let go of while the receiver has it");
    if (item.descriptor.ticket != 0) world.receiving->give_back(item.descriptor.ticket);
    if (mark == last) return;
  }
}

// The threads of the endpoints, which see the hang-up.
void add_hang_ups(Schedule& schedule, World& world) {
  schedule.add_for_death_of(kSender, [&] {
    world.receiver_alone = true;
    schedule.kick(world.receiver_kick);
  });
  schedule.add_for_death_of(kReceiver, [&] {
    world.sender_alone = true;
    std::vector<Held> freed;
    world.sending.free_all(freed);
    schedule.kick(world.sender_kick);
  });
}

// What always holds in the end.
void check_end(const Schedule& schedule, World& world, bool all_frames) {
  const Marks& taken = world.taken;
  Marks sorted = taken;
  std::sort(sorted.begin(), sorted.end());
  world.expect(std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end(),
               "an item has come twice");
  Marks frames;
  Marks events;
  for (const uint64_t mark : taken) (mark < kEvents ? frames : events).push_back(mark);
  world.expect(std::is_sorted(frames.begin(), frames.end()), "frames are in disorder");
  for (size_t i = 0; i < events.size(); ++i)
    world.expect(events[i] == kEvents + i, "an event is missing, or in disorder");
  if (all_frames)
    for (size_t i = 0; i < frames.size(); ++i)
      world.expect(frames[i] == i, "a frame is missing, or in disorder");
  if (schedule.died(kSender)) return;
  // Receipts that nobody has read yet.
  std::vector<Held> freed;
  if (schedule.died(kReceiver)) {
    world.expect(world.sender_alone, "the hang-up was not seen");
    world.sending.free_all(freed);
  } else {
    world.expect(bool(world.sending.drain(freed)), "a receipt is refused");
  }
  freed.clear();
  world.expect(world.sending.held() == 0, "the sender thinks that the receiver holds something");
  for (int i = 0; i < world.holds; ++i)
    world.expect(world.released[static_cast<size_t>(i)] == 1, "memory is not let go of once");
}

// --- scenarios ----------------------------------------------------------------------------------

using Scenario = void (*)(Schedule&, World&);

// The queue is soon full and soon empty: both sleep. All that is announced arrives.
void a_queue_of_one(Schedule& schedule, World& world) {
  constexpr uint64_t kItems = 3;
  schedule.add(kSender, [&] {
    for (uint64_t i = 0; i < kItems; ++i)
      if (!send(world, world.item(i), 1, Full::waits)) break;
  });
  schedule.add(kReceiver, [&] { receive_until(world, kItems - 1); });
  add_hang_ups(schedule, world);
  world.expect(schedule.run(), "somebody sleeps for ever");
  if (!schedule.died(kReceiver))
    world.expect(world.taken.size() == World::sender_half().head, "what was announced is lost");
  check_end(schedule, world, true);
}

// Frames give way to others, events arrive.
void frames_give_way(Schedule& schedule, World& world) {
  schedule.add(kSender, [&] {
    for (const uint64_t mark : {kEvents, uint64_t{0}, kEvents + 1, uint64_t{1}, kEvents + 2})
      if (!send(world, world.item(mark), 1, Full::withdraws)) break;
  });
  schedule.add(kReceiver, [&] { receive_until(world, kEvents + 2); });
  add_hang_ups(schedule, world);
  world.expect(schedule.run(), "somebody sleeps for ever");
  check_end(schedule, world, false);
}

// Another thread of the sender withdraws all, as a flush does.
void a_flush_withdraws_all(Schedule& schedule, World& world) {
  schedule.add(kSender, [&] {
    for (const uint64_t mark : {kEvents, uint64_t{0}, uint64_t{1}, kEvents + 1})
      if (!send(world, world.item(mark), 3, Full::waits)) break;
  });
  schedule.add(kSender, [&] {
    std::vector<Held> freed;
    world.sending.withdraw_all(freed);
    freed.clear();
    collect(world);
  });
  schedule.add(kReceiver, [&] { receive_until(world, kEvents + 1); });
  add_hang_ups(schedule, world);
  world.expect(schedule.run(), "somebody sleeps for ever");
  check_end(schedule, world, false);
}

// A slot is written again only after it has been copied. Nearly all of the ring is filled, and
// stays, outside of the schedule.
void a_ring_goes_round(Schedule& schedule, World& world) {
  constexpr size_t kNoLimit = 2 * kSlots;
  for (uint64_t i = 0; i < kSlots; ++i) send(world, world.item(kEvents + i), kNoLimit, Full::waits);
  schedule.add(kSender, [&] {
    for (uint64_t i = 0; i < 2; ++i)
      if (!send(world, world.item(kEvents + kSlots + i), kNoLimit, Full::waits)) break;
  });
  schedule.add(kReceiver, [&] {
    receive_until(world, kEvents + 3);
    // A sender that looked just before a slot was free is woken when the next is claimed. Here that
    // does not come, and this is what its deadline is for.
    schedule.kick(world.sender_kick);
  });
  add_hang_ups(schedule, world);
  world.expect(schedule.run(), "somebody sleeps for ever");
  check_end(schedule, world, true);
}

// Two threads of the sender wait for receipts, one until all have come, as Sender::collect_always()
// does, the other for any, as Sender::wait_for_memory(). Two of the receiver give back.
void receipts_wake_whoever_watches(Schedule& schedule, World& world) {
  constexpr uint64_t kItems = 3;
  std::array<uint64_t, kItems> tickets{};
  for (uint64_t i = 0; i < kItems; ++i) {
    world.expect(send(world, world.item(i), kItems, Full::waits), "there is no room");
    Incoming item;
    world.expect(bool(world.receiving->take(item)), "nothing to take");
    tickets[i] = item.descriptor.ticket;
  }
  const auto watch = [&](size_t until) {
    for (;;) {
      const uint32_t seen = world.sender_kick.value();
      collect(world);
      const size_t held = world.sending.held();
      if (held == 0) schedule.kick(world.sender_kick);  // for the other
      if (world.sender_alone || held <= until) break;
      const std::array words{world.sending.watch_receipts(), world.sender_kick.word(seen)};
      ScheduledWords::wait(words, Deadline::max());
      world.sending.stop_watching();
    }
  };
  schedule.add(kSender, [=] { watch(0); });
  schedule.add(kSender, [=] { watch(kItems - 1); });
  schedule.add(kReceiver, [&] {
    world.receiving->give_back(tickets[0]);
    world.receiving->give_back(tickets[1]);
  });
  schedule.add(kReceiver, [&] { world.receiving->give_back(tickets[2]); });
  add_hang_ups(schedule, world);
  world.expect(schedule.run(), "somebody sleeps for ever");
  check_end(schedule, world, true);
}

// --- schedules ----------------------------------------------------------------------------------

// What is wrong with one schedule; empty if nothing is.
std::string wrong_with(Scenario scenario, Chooser& chooser, std::optional<Death> death = {},
                       bool* reached = nullptr, bool without_fences = false) {
  World world;
  Schedule schedule(chooser, death);
  schedule.without_fences = without_fences;
  scenario(schedule, world);
  if (reached && death && schedule.died(death->side)) *reached = true;
  return world.wrong;
}

void none_is_wrong(const std::string& wrong, const std::string& where) {
  if (!wrong.empty()) g_error("%s, %s", wrong.c_str(), where.c_str());
}

// All schedules with at most that many switches.
template <Scenario scenario, int most>
void each_schedule() {
  EachChooser chooser(switches(most));
  size_t count = 0;
  do {
    none_is_wrong(wrong_with(scenario, chooser), "schedule " + std::to_string(count++));
  } while (chooser.next());
  g_test_message("%zu schedules", count);
}

template <Scenario scenario>
void random_schedules() {
  for (uint64_t seed = 1; seed <= seeds(); ++seed) {
    RandomChooser chooser(seed);
    none_is_wrong(wrong_with(scenario, chooser), "seed " + std::to_string(seed));
  }
}

// Each side dies at each of its steps: in all schedules with so many switches, and some at random.
template <Scenario scenario, int most>
void deaths() {
  size_t count = 0;
  for (const Side side : {kSender, kReceiver}) {
    const std::string who = side == kSender ? "the sender" : "the receiver";
    // In some schedules it has more steps than in others.
    for (size_t step = 0, not_reached = 0; not_reached < 3; ++step) {
      const Death death{side, step};
      const std::string where = who + " dies at step " + std::to_string(step);
      bool reached = false;
      EachChooser each(switches(most));
      do {
        none_is_wrong(wrong_with(scenario, each, death, &reached), where);
        ++count;
      } while (each.next());
      for (uint64_t seed = 1; seed <= 20; ++seed, ++count) {
        RandomChooser chooser(seed);
        none_is_wrong(wrong_with(scenario, chooser, death, &reached),
                      where + ", seed " + std::to_string(seed));
      }
      not_reached = reached ? 0 : not_reached + 1;
    }
  }
  g_test_message("%zu schedules with a death", count);
}

// Without its fences the same code loses wake-ups, or items: the schedules find it.
template <Scenario scenario>
void fences_are_needed() {
  std::string wrong;
  uint64_t seed = 1;
  for (; wrong.empty() && seed <= 50'000; ++seed) {
    RandomChooser chooser(seed);
    wrong = wrong_with(scenario, chooser, {}, nullptr, true);
  }
  g_test_message("without fences: %s, seed %" G_GUINT64_FORMAT, wrong.c_str(), seed - 1);
  g_assert_false(wrong.empty());
}

}  // namespace
}  // namespace mmaplink::test

int main(int argc, char** argv) {
  using namespace mmaplink::test;
  World::prepare();
  return run_all(
      argc, argv,
      {{"/lane-schedules/a-queue-of-one", each_schedule<a_queue_of_one, 2>},
       {"/lane-schedules/a-queue-of-one-at-random", random_schedules<a_queue_of_one>},
       {"/lane-schedules/a-queue-of-one-and-a-death", deaths<a_queue_of_one, 1>},
       {"/lane-schedules/a-queue-of-one-without-fences", fences_are_needed<a_queue_of_one>},
       {"/lane-schedules/frames-give-way", each_schedule<frames_give_way, 2>},
       {"/lane-schedules/frames-give-way-at-random", random_schedules<frames_give_way>},
       {"/lane-schedules/frames-give-way-and-a-death", deaths<frames_give_way, 1>},
       {"/lane-schedules/frames-give-way-without-fences", fences_are_needed<frames_give_way>},
       {"/lane-schedules/a-flush-withdraws-all", each_schedule<a_flush_withdraws_all, 2>},
       {"/lane-schedules/a-flush-withdraws-all-at-random", random_schedules<a_flush_withdraws_all>},
       {"/lane-schedules/a-flush-withdraws-all-and-a-death", deaths<a_flush_withdraws_all, 1>},
       {"/lane-schedules/a-ring-goes-round", each_schedule<a_ring_goes_round, 2>},
       {"/lane-schedules/receipts", each_schedule<receipts_wake_whoever_watches, 1>},
       {"/lane-schedules/receipts-at-random", random_schedules<receipts_wake_whoever_watches>},
       {"/lane-schedules/receipts-and-a-death", deaths<receipts_wake_whoever_watches, 0>},
       {"/lane-schedules/receipts-without-fences",
        fences_are_needed<receipts_wake_whoever_watches>}});
}
