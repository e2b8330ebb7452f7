// What a sink holds until its peers give it back, and who waits for memory meanwhile.
#include "lib/sender.h"

#include "tests/lib/sending.h"

namespace mmaplink::test {
namespace {

using Published = Sender::Published;
using Take = ReceiveLane::Take;
using Waited = Sender::Waited;

// A reader that has read all there is and waits for more.
class Starving {
 public:
  explicit Starving(Sending& sending)
      : sending_(sending), thread_([this] {
          for (;;) {
            const uint32_t seen = kick_.value();
            if (stop_) return;
            if (sending_.take() != Take::item)
              sending_.pair.b().receive_lane()->wait(kick_, seen, Deadline::max());
          }
        }) {}
  ~Starving() {
    stop_ = true;
    kick_.kick();
    thread_.join();
  }

 private:
  Sending& sending_;
  Kick kick_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

void collecting_lets_go() {
  std::atomic<int> released{0};
  Sending sending;
  const auto frame_and_receipt = [&] {
    Outgoing item = frame(0);
    item.hold = counting_hold(released);
    g_assert_true(sending.publish(std::move(item)) == Published::yes);
    g_assert_true(sending.take() == Take::item);
    sending.give_back();
  };
  frame_and_receipt();
  g_assert_cmpint(released, ==, 0);
  g_assert_cmpuint(sending.sender->in_flight(), ==, 1);
  sending.sender->collect();
  g_assert_cmpint(released, ==, 1);
  g_assert_cmpuint(sending.sender->in_flight(), ==, 0);
  // Called for every frame it may leave a few, but not many.
  for (int i = 2; i < 100; ++i) {
    frame_and_receipt();
    sending.sender->collect_some();
    g_assert_cmpint(released, >, i - 16);
  }
}

void a_hold_may_call_back() {
  Sending sending;
  struct Again {
    Sending& sending;
    int left;
  } again{sending, 20};
  const auto call = [](void* data) {
    auto* mine = static_cast<Again*>(data);
    mine->sending.sender->collect();
    mine->sending.sender->in_flight();
    if (--mine->left > 0) mine->sending.sender->made_progress();
  };
  for (int i = 0; i < 20; ++i) {
    Outgoing item = frame(0);
    item.hold = Hold(&again, call);
    g_assert_true(sending.publish(std::move(item), {100, Leaky::none}) == Published::yes);
  }
  sending.take_all();
  sending.sender->collect();
  g_assert_cmpint(again.left, ==, 0);
}

void receipts_are_read_as_they_come() {
  std::atomic<int> released{0};
  Sending sending;
  for (int round = 1; round <= 2; ++round) {
    sending.sender->collect_always();
    sending.sender->collect_always();
    for (int i = 0; i < 200; ++i) {
      Outgoing item = frame(0);
      item.hold = counting_hold(released);
      g_assert_true(sending.publish(std::move(item)) == Published::yes);
      g_assert_true(sending.take() == Take::item);
      const int had = released;
      sending.give_back();
      if (i % 20 == 0) g_assert_true(eventually([&] { return released > had; }));
    }
    g_assert_true(eventually([&] { return released == 200 * round; }));
    sending.sender->stop();
    sending.sender->stop();
  }
}

void memory_that_comes_back_ends_the_wait() {
  Sending sending(8 * kMega);
  g_assert_true(sending.publish(frame_with(sending.sender->allocate(8 * kMega, 64))) ==
                Published::yes);
  Blocked<bool> allocated([&] { return sending.sender->allocate(8 * kMega, 64).has_value(); });
  g_assert_false(allocated.done());
  g_assert_true(sending.take() == Take::item);
  sending.give_back();
  g_assert_true(allocated.get());
  // Upstream gives it back, not a peer.
  auto held = sending.sender->allocate(8 * kMega, 64);
  Blocked<bool> again([&] { return sending.sender->allocate(8 * kMega, 64).has_value(); });
  g_assert_false(again.done());
  held.reset();
  g_assert_true(again.get());
}

void the_memory_of_a_peer_that_died_comes_back() {
  Sending sending(8 * kMega);
  for (int i = 0; i < 2; ++i)
    g_assert_true(sending.publish(frame_with(sending.sender->allocate(4 * kMega, 64))) ==
                  Published::yes);
  Blocked<bool> allocated([&] { return sending.sender->allocate(8 * kMega, 64).has_value(); });
  g_assert_false(allocated.done());
  g_assert_cmpuint(sending.sender->remove(sending.pair.a()), ==, 2);
  g_assert_cmpuint(sending.sender->remove(sending.pair.a()), ==, 0);
  g_assert_true(allocated.get());
  g_assert_true(sending.sender->links().empty());
}

// Nobody will ever give anything back: said to a person, with what to do.
void exhausted_memory_is_said() {
  Sending sending(8 * kMega);
  std::vector<Error> said;
  sending.sender->on_no_memory([&](const Error& why) { said.push_back(why); });
  for (int i = 0; i < 4; ++i)
    g_assert_true(sending.publish(frame_with(sending.sender->allocate(2 * kMega, 64))) ==
                  Published::yes);
  const Starving reader(sending);
  g_assert_false(sending.sender->allocate(2 * kMega, 64).has_value());
  g_assert_cmpuint(said.size(), ==, 1);
  g_assert_true(says(said[0], Failure::limit,
                     "max-memory=8388608 is used up: the peer holds 4 buffers, gives none back and "
                     "waits for more; raise max-memory"));
  g_assert_true(sending.sender->wait_for_memory(sending.sender->progress()) == Waited::exhausted);
  g_assert_cmpuint(said.size(), ==, 2);
  sending.sender->on_no_memory({});
  sending.sender->no_memory(said[0]);
  g_assert_cmpuint(said.size(), ==, 2);
}

void memory_that_never_fits_is_said_at_once() {
  Sending sending(8 * kMega);
  std::vector<Error> said;
  sending.sender->on_no_memory([&](const Error& why) { said.push_back(why); });
  g_assert_false(sending.sender->allocate(9 * kMega, 64).has_value());
  g_assert_cmpuint(said.size(), ==, 1);
  g_assert_true(says(said[0], Failure::settings, "more than max-memory=8388608"));
}

void progress_is_what_came_back_since() {
  Sending sending;
  const uint64_t seen = sending.sender->progress();
  sending.sender->allocate(100, 64);  // and back
  g_assert_cmpuint(sending.sender->progress(), >, seen);
  g_assert_true(sending.sender->wait_for_memory(seen) == Waited::progress);
}

void readers_are_told_of_retired_arenas() {
  Sending sending;
  for (const size_t size : {4 * kMega, 2 * kMega, 4 * kMega}) {
    auto block = sending.sender->allocate(size, 64);
    const std::vector<Place> places{{block->arena(), block->offset()}};
    g_assert_true(sending.publish(frame_with(std::move(block)), {}, places) == Published::yes);
    sending.take_all();
    sending.sender->collect();
  }
  sending.pair.pump();
  g_assert_cmpuint(sending.pair.b().receive_lane()->usage().arenas, ==, 1);
  g_assert_cmpuint(sending.pair.to_b.size(), ==, 5);
}

// The store outlives its sender, as memory does that upstream still holds.
void memory_outlives_the_sender() {
  auto sender = Sender::make(64 * kMega);
  auto block = sender->allocate(2 * kMega, 64);
  const auto store = sender->store();
  {
    LinkPair pair;
    sender->add(pair.shared_a());
    sender->collect_always();
    sender.reset();
  }
  block->data()[0] = std::byte{1};
  block.reset();
  must(store->allocate(kMega * 4, 64));
}

}  // namespace
}  // namespace mmaplink::test

int main(int argc, char** argv) {
  using namespace mmaplink::test;
  return run_all(
      argc, argv,
      {{"/sender-memory/collecting-lets-go", collecting_lets_go},
       {"/sender-memory/a-hold-may-call-back", a_hold_may_call_back},
       {"/sender-memory/receipts-are-read-as-they-come", receipts_are_read_as_they_come},
       {"/sender-memory/memory-that-comes-back-ends-the-wait",
        memory_that_comes_back_ends_the_wait},
       {"/sender-memory/the-memory-of-a-peer-that-died-comes-back",
        the_memory_of_a_peer_that_died_comes_back},
       {"/sender-memory/exhausted-memory-is-said", exhausted_memory_is_said},
       {"/sender-memory/memory-that-never-fits-is-said-at-once",
        memory_that_never_fits_is_said_at_once},
       {"/sender-memory/progress-is-what-came-back-since", progress_is_what_came_back_since},
       {"/sender-memory/readers-are-told-of-retired-arenas", readers_are_told_of_retired_arenas},
       {"/sender-memory/memory-outlives-the-sender", memory_outlives_the_sender}});
}
