// Items of which only the place goes through the socket, since they lie in the link's file: they
// are read where they are, held by their sender until they come back, and nowhere else.
#include <sys/eventfd.h>

#include <array>
#include <cstring>

#include "tests/lib/helpers.h"

namespace mmaplink::test {
namespace {

using Take = ReceiveLane::Take;
constexpr uint64_t kHalf = 1 << 20;

struct Files {
  Files() { must(server->settle(client->token())); }
  static PathRegion::Wake new_wake() {
    return std::make_shared<const Fd>(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  }
  const TempDir dir;
  const std::shared_ptr<PathRegion> server =
      must(PathRegion::make(dir.path(), kHalf, {}, new_wake()));
  const std::shared_ptr<PathRegion> client =
      must(PathRegion::open(dir.path(), server->terms(), geteuid(), new_wake()));
};

// A link between a client, which sends, and a server.
struct Pair : Files {
  Pair() {
    SocketPair sockets;
    const Modes modes{{false, "test", true}, {false, "test", true}};
    const auto make = [&](Fd socket, const std::shared_ptr<PathRegion>& region) {
      return must(Link::make(std::make_shared<Channel>(std::move(socket)), nullptr, Fd(), Peer{},
                             modes, region));
    };
    sends = make(std::move(sockets.a), client);
    reads = make(std::move(sockets.b), server);
    store->use(client);
    const Kick kick;
    reads->receive_lane()->wait(kick, kick.value(), Clock::now());
    pump();
  }
  // As the endpoints' threads would, until nothing moves any more.
  void pump() {
    for (bool moved = true; moved;) {
      moved = read(*reads, *sends);
      moved = read(*sends, *reads) || moved;
    }
  }
  bool read(Link& to, Link& from) {
    must(from.channel().flush());
    from.pump();
    bool any = false;
    must(to.channel().receive([&](Channel::Received received) {
      any = true;
      if (const auto* begins = std::get_if<ItemBegins>(&received.message)) {
        in_place += begins->in_place;
        ++items;
        must(to.begin_item(*begins, kDefaultMemory));
      } else if (const auto* progress = std::get_if<Progress>(&received.message)) {
        must(to.take_progress(*progress));
      }
      return true;
    }));
    return any;
  }
  // One of several memories, each full of its number.
  void send(std::vector<std::shared_ptr<Block>> blocks) {
    Outgoing out;
    std::vector<Place> places;
    std::vector<std::byte> extra(sizeof(uint64_t));
    const uint64_t more = blocks.size() - 1;
    std::memcpy(extra.data(), &more, sizeof more);
    for (const auto& block : blocks) {
      places.push_back({block->arena(), block->offset()});
      std::memset(block->data(), static_cast<int>(places.size()), block->size());
      if (places.size() == 1) {
        out.descriptor.arena = block->arena()->number();
        out.descriptor.offset = block->offset();
        out.descriptor.size = block->size();
      } else {
        const FurtherPlace place{block->offset(), block->size(), block->arena()->number(), 0};
        const auto bytes = std::as_bytes(std::span(&place, 1));
        extra.insert(extra.end(), bytes.begin(), bytes.end());
      }
    }
    out.extra = extra;
    using Held = std::vector<std::shared_ptr<Block>>;
    out.hold = Hold(new Held(std::move(blocks)), [](void* held) { delete static_cast<Held*>(held); });
    g_assert_true(must(sends->publish(out, places, kSlots)) == SendLane::Room::yes);
    pump();
  }
  std::shared_ptr<Block> block(size_t size) const {
    return std::make_shared<Block>(must(store->allocate(size, 64)));
  }
  size_t freed() {
    pump();
    std::vector<Held> all;
    must(sends->send_lane().drain(all));
    return all.size();
  }

  const std::shared_ptr<ArenaStore> store = std::make_shared<ArenaStore>(kDefaultMemory);
  std::shared_ptr<Link> sends, reads;
  size_t items = 0;
  size_t in_place = 0;
};

void only_the_place_is_sent() {
  Pair pair;
  const auto first = pair.block(100'000);
  const std::weak_ptr<Block> held = first;
  pair.send({first, pair.block(200'000), pair.block(3)});
  g_assert_cmpuint(pair.in_place, ==, 1);
  Incoming item;
  g_assert_true(must(pair.reads->receive_lane()->take(item)) == Take::item);
  const auto bytes = item.memory.bytes();
  g_assert_cmpuint(bytes.size(), ==, 100'000);
  g_assert_true(bytes.front() == std::byte{1} && bytes.back() == std::byte{1});
  // Where it was written: what is written now is seen.
  std::memset(first->data(), 9, first->size());
  g_assert_true(bytes.front() == std::byte{9});
  for (size_t i = 0; i < 2; ++i) {
    FurtherPlace place;
    std::memcpy(&place, item.extra.data() + sizeof(uint64_t) + i * sizeof place, sizeof place);
    const View view =
        must(pair.reads->receive_lane()->resolve(place.arena, place.offset, place.size));
    g_assert_cmpuint(view.size, ==, i == 0 ? 200'000 : 3);
    g_assert_true(view.bytes().back() == static_cast<std::byte>(i + 2));
  }
  // Held until it comes back.
  g_assert_cmpuint(pair.freed(), ==, 0);
  pair.reads->receive_lane()->give_back(item.descriptor.ticket);
  g_assert_cmpuint(pair.freed(), ==, 1);
}

void what_lies_elsewhere_is_copied() {
  Pair pair;
  const auto large = pair.block(2 * kHalf);
  pair.send({large});
  pair.send({pair.block(100), pair.block(2 * kHalf)});
  g_assert_cmpuint(pair.items, ==, 1);  // the second waits for the first
  Incoming item;
  for (const size_t size : {size_t{2 * kHalf}, size_t{100}}) {
    while (must(pair.reads->receive_lane()->take(item)) != Take::item) pair.pump();
    g_assert_cmpuint(item.memory.size, ==, size);
    g_assert_true(item.memory.bytes().back() == std::byte{1});
    pair.reads->receive_lane()->give_back(item.descriptor.ticket);
    const Kick kick;
    pair.reads->receive_lane()->wait(kick, kick.value(), Clock::now());
    pair.pump();
  }
  g_assert_cmpuint(pair.in_place, ==, 0);
}

// As an item that comes to a receiver of its own.
Status receive(const std::shared_ptr<PathRegion>& region, uint64_t offset, uint64_t size,
               const std::vector<FurtherPlace>& further = {}, uint64_t more = 0) {
  const SocketPair sockets;
  InlineReceive in(std::make_shared<Channel>(must(sockets.b.duplicate())), must(LocalLane::make()),
                   region);
  Descriptor descriptor;
  descriptor.size = size;
  descriptor.offset = offset;
  std::vector<std::byte> extra;
  if (!further.empty() || more > 0) {
    const uint64_t count = more > 0 ? more : further.size();
    const auto head = std::as_bytes(std::span(&count, 1));
    const auto places = std::as_bytes(std::span(further));
    extra.assign(head.begin(), head.end());
    extra.insert(extra.end(), places.begin(), places.end());
  }
  descriptor.extra_size = extra.size();
  if (auto begun = in.begin({descriptor, true, true}, kDefaultMemory); !begun) return begun;
  if (extra.empty()) return ok();
  if (auto begun = in.begin_part(extra.size()); !begun) return begun;
  std::memcpy(in.space().data(), extra.data(), extra.size());
  return in.filled(extra.size());
}

void places_outside_of_the_peers_half_are_refused() {
  const Files files;
  const auto& region = files.server;
  const uint64_t page = page_size();
  const uint64_t theirs = page + kHalf;  // the client's, behind the server's
  const uint64_t end = theirs + kHalf;
  must(receive(region, theirs, kHalf));
  must(receive(region, end - 1, 1));
  const auto refused = [&](uint64_t offset, uint64_t size) {
    return fails(receive(region, offset, size), Failure::protocol, "outside of its half");
  };
  g_assert_true(refused(theirs - 1, 1) && refused(theirs - 1, 2) && refused(0, 1));
  g_assert_true(refused(page, 10) && refused(end, 1) && refused(end - 1, 2));
  g_assert_true(refused(theirs, kHalf + 1) && refused(~uint64_t{0}, 2));
  g_assert_true(refused(theirs, ~uint64_t{0}) && refused(theirs + 1, ~uint64_t{0} - theirs));
  g_assert_true(fails(receive(region, theirs, 0), Failure::protocol, "without memory"));
  g_assert_true(fails(receive(nullptr, theirs, 1), Failure::protocol, "that is not there"));
  // Of further memories likewise.
  must(receive(region, theirs, 10, {{theirs + 10, 20, 0, 0}}));
  for (const FurtherPlace& place :
       {FurtherPlace{end, 1, 0, 0}, {0, 1, 0, 0}, {theirs, 0, 0, 0}, {theirs, kHalf + 1, 0, 0}})
    g_assert_true(
        fails(receive(region, theirs, 10, {place}), Failure::protocol, "outside of its half"));
  for (const uint64_t more : {uint64_t{2}, uint64_t{kMostFurther + 1}, ~uint64_t{0}})
    g_assert_true(fails(receive(region, theirs, 10, {{theirs, 1, 0, 0}}, more), Failure::protocol,
                        "more memories than it may have"));
}

}  // namespace
}  // namespace mmaplink::test

int main(int argc, char** argv) {
  using namespace mmaplink::test;
  return run_all(argc, argv,
                 {{"/in_place/only-the-place-is-sent", only_the_place_is_sent},
                  {"/in_place/what-lies-elsewhere-is-copied", what_lies_elsewhere_is_copied},
                  {"/in_place/places-outside-of-the-peers-half-are-refused",
                   places_outside_of_the_peers_half_are_refused}});
}
