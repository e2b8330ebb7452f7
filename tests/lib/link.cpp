// One connection: arenas are announced before what lies in them can be used, once each, and a
// hang-up says why.
#include "lib/link.h"

#include <sys/mman.h>

#include "tests/lib/helpers.h"

namespace mmaplink::test {
namespace {

using Room = SendLane::Room;
using Take = ReceiveLane::Take;

size_t arenas_made(const std::vector<Message>& messages) {
  return static_cast<size_t>(std::count_if(
      messages.begin(), messages.end(),
      [](const Message& message) { return std::holds_alternative<ArenaMade>(message); }));
}

Outgoing frame_in(const Block& block) {
  Outgoing item = frame(1);
  item.descriptor.arena = block.arena()->number();
  item.descriptor.offset = block.offset();
  item.descriptor.size = block.size();
  return item;
}

Room publish(Link& link, Outgoing item, const std::vector<Place>& places, size_t most = kSlots) {
  return must(link.publish(item, places, most));
}

void a_half_is_checked() {
  SocketPair sockets;
  const auto channel = std::make_shared<Channel>(std::move(sockets.a));
  const auto own = must(Link::make_half());
  const auto make = [&](const Fd& half) { return Link::make(channel, own, half, Peer{}); };
  g_assert_true(fails(make(Fd()), Failure::protocol, "the peer's memory is not sealed"));
  const Fd unsealed(memfd_create("mmap-test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  g_assert_cmpint(ftruncate(unsealed.get(), static_cast<off_t>(own->map.size())), ==, 0);
  g_assert_true(fails(make(unsealed), Failure::protocol, "the peer's memory is not sealed"));
  const auto small = must(make_sealed("mmap-test", page_size()));
  g_assert_true(fails(make(small.fd), Failure::protocol, "not of the size it announced"));
  const auto link = must(make(must(Link::make_half())->fd));
  g_assert_true(link->alive());
}

void both_directions_carry_items() {
  LinkPair pair;
  const auto store = std::make_shared<ArenaStore>(64 << 20);
  const Block block = must(store->allocate(1000, 64));
  Link* ends[] = {&pair.a(), &pair.b()};
  for (int i = 0; i < 2; ++i) {
    g_assert_true(publish(*ends[i], frame_in(block), {{block.arena(), block.offset()}}) ==
                  Room::yes);
    pair.pump();
    Incoming item;
    g_assert_true(must(ends[1 - i]->receive_lane()->take(item)) == Take::item);
    block.data()[5] = static_cast<std::byte>(i + 1);
    g_assert_true(item.memory.bytes()[5] == static_cast<std::byte>(i + 1));
  }
}

void an_arena_is_announced_once() {
  LinkPair pair;
  const auto store = std::make_shared<ArenaStore>(64 << 20);
  const Block small = must(store->allocate(1000, 64));
  const Block large = must(store->allocate(2 << 20, 64));
  for (int i = 0; i < 5; ++i)
    for (const Block* block : {&small, &large})
      publish(pair.a(), frame_in(*block),
              {{small.arena(), small.offset()}, {large.arena(), large.offset()}});
  pair.pump();
  g_assert_cmpuint(arenas_made(pair.to_b), ==, 2);
  g_assert_cmpuint(pair.b().receive_lane()->usage().arenas, ==, 2);
  Incoming item;
  for (int i = 0; i < 10; ++i)
    g_assert_true(must(pair.b().receive_lane()->take(item)) == Take::item);
}

void the_arena_of_large_bytes_is_announced_too() {
  LinkPair pair;
  const auto store = std::make_shared<ArenaStore>(64 << 20);
  const std::string text(2000, 'x');
  Outgoing item = event(1);
  item.extra = as_bytes(text);
  item.extra_block = must(store->allocate(text.size(), 1));
  g_assert_true(publish(pair.a(), std::move(item), {}) == Room::yes);
  pair.pump();
  Incoming got;
  g_assert_true(must(pair.b().receive_lane()->take(got)) == Take::item);
  g_assert_true(as_text(got.extra) == text);
  pair.b().receive_lane()->give_back(got.descriptor.ticket);
  std::vector<Held> freed;
  must(pair.a().send_lane().drain(freed));
  g_assert_cmpuint(freed.size(), ==, 1);
}

void a_retired_arena_is_told_where_it_was_announced() {
  LinkPair pair;
  const auto store = std::make_shared<ArenaStore>(64 << 20);
  const Block block = must(store->allocate(1000, 64));
  const uint32_t number = block.arena()->number();
  const std::vector<Place> places{{block.arena(), block.offset()}};
  pair.a().retire(number);  // never announced
  pair.pump();
  g_assert_true(pair.to_b.empty());
  for (int i = 1; i <= 2; ++i) {
    publish(pair.a(), frame_in(block), places);
    pair.a().retire(number);
    pair.a().retire(number);
    pair.pump();
    // Announced again when it is wanted again.
    g_assert_cmpuint(arenas_made(pair.to_b), ==, i);
    g_assert_cmpuint(pair.to_b.size(), ==, 2 * i);
    g_assert_true(std::holds_alternative<ArenaRetired>(pair.to_b.back()));
    g_assert_cmpuint(pair.b().receive_lane()->usage().arenas, ==, 0);
  }
}

void no_room_leaves_the_item_as_it_is() {
  LinkPair pair;
  std::atomic<int> released{0};
  g_assert_true(publish(pair.a(), frame(1), {}, 1) == Room::yes);
  Outgoing item = frame(2);
  item.hold = counting_hold(released);
  g_assert_true(must(pair.a().publish(item, {}, 1)) == Room::no);
  g_assert_true(item.hold && released == 0);
}

void notes_and_lanes() {
  LinkPair pair;
  must(pair.a().note(3, {std::byte{1}, std::byte{2}}));
  pair.pump();
  const auto& note = std::get<Note>(pair.to_b.at(0));
  g_assert_true(note.kind == 3 && note.bytes.size() == 2 && note.bytes[1] == std::byte{2});
  g_assert_true(pair.a().peer_lanes() == Lanes{});
  for (const bool sends : {true, false})
    for (const bool receives : {true, false}) {
      pair.a().set_peer_lanes({sends, receives});
      g_assert_true(pair.a().peer_lanes() == (Lanes{sends, receives}));
    }
  g_assert_cmpint(pair.a().peer().pid, ==, getpid());
}

void a_hang_up_says_why_once() {
  LinkPair pair;
  g_assert_false(pair.a().hung_up_because().has_value());
  must(pair.a().note(1, {}));
  pair.a().hang_up("the peer's read index left the ring");
  pair.a().hang_up("another reason");
  g_assert_true(pair.a().hung_up_because() == "the peer's read index left the ring");
  g_assert_true(pair.a().alive());  // its endpoint's thread says when it is over
  pair.pump();
  g_assert_false(pair.a_open || pair.b_open);
  g_assert_cmpuint(pair.to_b.size(), ==, 2);  // what was sent before comes before
  g_assert_cmpstr(std::get<Refuse>(pair.to_b[1]).text.c_str(), ==,
                  "the peer's read index left the ring");
  pair.a().end();
  g_assert_false(pair.a().alive());
  g_assert_true(pair.b().alive());
}

// A peer that reads no control messages can't be told of arenas: an error, in the end.
void a_peer_that_reads_nothing_ends_the_link() {
  LinkPair pair;
  for (const size_t size : {size_t{60000}, size_t{0}})
    while (pair.a().note(1, std::vector<std::byte>(size))) {
    }
  const auto store = std::make_shared<ArenaStore>(64 << 20);
  const Block block = must(store->allocate(10, 64));
  Outgoing item = frame_in(block);
  const std::vector<Place> places{{block.arena(), block.offset()}};
  g_assert_true(fails(pair.a().publish(item, places, kSlots), Failure::gone,
                      "the peer does not read its control messages"));
}

void a_link_keeps_what_it_needs() {
  auto pair = std::make_unique<LinkPair>();
  const auto link = pair->shared_a();
  const auto lane = pair->b().receive_lane();
  g_assert_true(publish(*link, frame(1), {}) == Room::yes);
  pair.reset();
  // One end is gone, its memory is not: it is mapped here.
  g_assert_true(publish(*link, frame(2), {}) == Room::yes);
  must(link->note(1, {}));
  Incoming item;
  g_assert_true(must(lane->take(item)) == Take::item);
}

}  // namespace
}  // namespace mmaplink::test

int main(int argc, char** argv) {
  using namespace mmaplink::test;
  return run_all(
      argc, argv,
      {{"/link/a-half-is-checked", a_half_is_checked},
       {"/link/both-directions-carry-items", both_directions_carry_items},
       {"/link/an-arena-is-announced-once", an_arena_is_announced_once},
       {"/link/the-arena-of-large-bytes-is-announced-too",
        the_arena_of_large_bytes_is_announced_too},
       {"/link/a-retired-arena-is-told-where-it-was-announced",
        a_retired_arena_is_told_where_it_was_announced},
       {"/link/no-room-leaves-the-item-as-it-is", no_room_leaves_the_item_as_it_is},
       {"/link/notes-and-lanes", notes_and_lanes},
       {"/link/a-hang-up-says-why-once", a_hang_up_says_why_once},
       {"/link/a-peer-that-reads-nothing-ends-the-link", a_peer_that_reads_nothing_ends_the_link},
       {"/link/a-link-keeps-what-it-needs", a_link_keeps_what_it_needs}});
}
