// Payload memory: blocks that never overlap, within max-memory, in arenas that come and go.
#include "lib/arena.h"

#include <map>
#include <set>
#include <thread>

#include "tests/lib/helpers.h"

namespace mmaplink::test {
namespace {

constexpr uint64_t kMega = 1 << 20;
constexpr size_t k4K = 3840 * 2160 * 3 / 2;
constexpr size_t k720p = 1280 * 720 * 3 / 2;

std::shared_ptr<ArenaStore> make_store(uint64_t max_memory = 512 * kMega) {
  return std::make_shared<ArenaStore>(max_memory);
}

void blocks_are_aligned() {
  const auto store = make_store();
  std::vector<Block> blocks;
  for (size_t align = 1; align <= page_size(); align *= 2)
    for (const size_t size : {size_t{1}, size_t{100}, size_t{4097}, size_t{3} << 20}) {
      blocks.push_back(must(store->allocate(size, align)));
      const auto address = reinterpret_cast<uintptr_t>(blocks.back().data());
      g_assert_cmpuint(address % std::max<size_t>(align, 64), ==, 0);
      g_assert_cmpuint(blocks.back().size(), ==, size);
    }
  blocks.push_back(must(store->allocate(5, 0)));
  g_assert_true(fails(store->allocate(5, 2 * page_size()), Failure::settings,
                      "alignment of " + std::to_string(2 * page_size()) + " bytes"));
}

void a_block_lies_in_its_arena() {
  const auto store = make_store();
  for (const size_t size : {size_t{1}, size_t{5000}, k720p, k4K}) {
    const Block block = must(store->allocate(size, 64));
    g_assert_true(block.data() == block.arena()->data() + block.offset());
    g_assert_cmpuint(block.offset() + size, <=, block.arena()->size());
    // A peer that is given the arena sees the block there.
    const Mapping view = must(map_sealed(block.arena()->fd(), block.arena()->size()));
    block.data()[size - 1] = std::byte{42};
    g_assert_true(view.data()[block.offset() + size - 1] == std::byte{42});
  }
}

// Thousands of blocks of all sizes come and go, each with its own bytes at both ends.
void blocks_do_not_overlap() {
  struct Kept {
    Block block;
    uint64_t mark;
  };
  const auto store = make_store(192 * kMega);
  std::map<const std::byte*, size_t> shadow;
  std::vector<Kept> kept;
  Random random;
  const auto ends = [](const Block& block) {
    return std::array{block.data(), block.data() + block.size() - 1};
  };
  const auto release = [&](size_t i) {
    for (const std::byte* end : ends(kept[i].block))
      g_assert_true(*end == static_cast<std::byte>(kept[i].mark));
    shadow.erase(kept[i].block.data());
    std::swap(kept[i], kept.back());
    kept.pop_back();
  };
  constexpr size_t kFrames[] = {k720p, 2 * kMega, 3 * kMega + 17};
  for (uint64_t round = 0; round < 30000; ++round) {
    if (!kept.empty() && random.below(100) < 48) {
      release(random.below(static_cast<uint32_t>(kept.size())));
      continue;
    }
    const size_t size = random.one_in(8)    ? kFrames[random.below(3)]
                        : random.one_in(20) ? 1 + random.below(kMega + 1)
                                            : 1 + random.below(9000);
    auto got = store->allocate(size, size_t{1} << random.below(13));
    g_assert_cmpuint(store->usage().bytes, <=, store->max_memory());
    if (!got) {
      g_assert_true(says(got.error(), Failure::limit, "max-memory=201326592 is used up"));
      while (kept.size() > 20) release(random.below(static_cast<uint32_t>(kept.size())));
      continue;
    }
    const auto next = shadow.lower_bound(got->data());
    if (next != shadow.end()) g_assert_true(got->data() + size <= next->first);
    if (next != shadow.begin())
      g_assert_true(std::prev(next)->first + std::prev(next)->second <= got->data());
    shadow.emplace(got->data(), size);
    for (std::byte* end : ends(*got)) *end = static_cast<std::byte>(round);
    kept.push_back({std::move(*got), round});
  }
  while (!kept.empty()) release(kept.size() - 1);
  // What is kept for what may be wanted next is not much.
  g_assert_cmpuint(store->usage().bytes, <=, 48 * kMega);
}

void max_memory_is_respected() {
  for (const size_t size : {size_t{60000}, size_t{1} << 20, k720p, 5 * kMega + 1}) {
    const auto store = make_store(32 * kMega);
    std::vector<Block> blocks;
    for (;;) {
      auto got = store->allocate(size, 64);
      g_assert_cmpuint(store->usage().bytes, <=, 32 * kMega);
      if (!got) {
        g_assert_true(says(got.error(), Failure::limit, "max-memory=33554432 is used up"));
        break;
      }
      blocks.push_back(std::move(*got));
    }
    // Most of it can be used, though.
    g_assert_cmpuint(blocks.size() * size, >=, 24 * kMega);
    // One more as soon as one is back.
    blocks.pop_back();
    if (size > kMega) blocks.push_back(must(store->allocate(size, 64)));
    blocks.clear();
    blocks.push_back(must(store->allocate(size, 64)));
  }
}

void what_never_fits_is_said_so() {
  const auto store = make_store(10 * kMega);
  g_assert_true(fails(store->allocate(10 * kMega + 1, 64), Failure::settings,
                      "10485761 bytes are more than max-memory=10485760"));
  must(store->allocate(10 * kMega, 64));
  // Arenas are whole pages: what fits by its bytes only would be waited for in vain.
  const auto odd = make_store(10 * page_size() - 1);
  g_assert_true(fails(odd->allocate(10 * page_size() - 1, 64), Failure::settings, "max-memory="));
  const auto tiny = make_store(1000);
  g_assert_true(fails(tiny->allocate(1000, 64), Failure::settings, "max-memory=1000"));
  g_assert_true(fails(tiny->allocate(0, 64), Failure::settings, "max-memory=1000"));
}

void absurd_sizes_are_errors() {
  const auto store = make_store(~uint64_t{0});
  for (const size_t size : {~size_t{0}, ~size_t{0} - page_size(), size_t{1} << 63}) {
    const auto got = store->allocate(size, 64);
    g_assert_true(!got && got.error().failure != Failure::limit);
  }
}

void empty_arenas_make_room_at_the_limit() {
  const auto store = make_store(48 * kMega);
  must(store->allocate(k720p, 64));
  must(store->allocate(100, 64));
  g_assert_cmpuint(store->usage().arenas, ==, 2);
  must(store->allocate(47 * kMega, 64));
  g_assert_cmpuint(store->usage().bytes, ==, 47 * kMega);
}

void small_blocks_share_a_chunk() {
  const auto store = make_store();
  std::vector<Block> blocks;
  for (int i = 0; i < 1000; ++i) blocks.push_back(must(store->allocate(1000, 64)));
  g_assert_cmpuint(store->usage().arenas, ==, 1);
}

void large_blocks_of_one_size_share_arenas() {
  const auto store = make_store();
  std::vector<Block> blocks;
  std::set<uint32_t> numbers;
  for (int i = 0; i < 32; ++i) {
    blocks.push_back(must(store->allocate(k720p, 64)));
    numbers.insert(blocks.back().arena()->number());
    g_assert_cmpuint(blocks.back().offset() % page_size(), ==, 0);
  }
  g_assert_cmpuint(numbers.size(), <=, 4);
}

// As a reader does that shows the last frame until the next one comes.
void little_memory_is_enough_for_who_holds_the_last_block() {
  const auto store = std::make_shared<ArenaStore>(4 << 20);
  std::optional<Block> last;
  for (int i = 0; i < 1000; ++i) {
    auto next = store->allocate(115'200, 1);
    g_assert_true(static_cast<bool>(next));
    last.emplace(std::move(*next));
  }
}

// A chunk starts anew when all of its blocks are back: as much memory after a million blocks as
// after a few.
void a_million_small_blocks_take_no_more_memory() {
  const auto store = make_store();
  std::vector<std::optional<Block>> window(50);
  Random random;
  ArenaStore::Usage early{};
  for (uint32_t i = 0; i < 1000000; ++i) {
    window[i % window.size()] = must(store->allocate(1 + random.below(4000), 64));
    if (i == 20000) early = store->usage();
  }
  g_assert_cmpuint(store->usage().arenas, <=, early.arenas);
  g_assert_cmpuint(store->usage().bytes, <=, 12 * kMega);
}

void an_arena_retires_with_its_last_block() {
  const auto store = make_store();
  std::vector<uint32_t> retired;
  store->on_retired([&](uint32_t number) { retired.push_back(number); });
  std::vector<Block> big;
  for (int i = 0; i < 6; ++i) big.push_back(must(store->allocate(k4K, 64)));
  const size_t arenas = store->usage().arenas;
  const size_t mapped = memfd_mappings();
  g_assert_cmpuint(arenas, >=, 3);
  big.clear();
  // One is kept: frames of that size may go on.
  g_assert_cmpuint(store->usage().arenas, ==, 1);
  g_assert_cmpuint(retired.size(), ==, arenas - 1);
  g_assert_cmpuint(memfd_mappings(), ==, mapped - retired.size());
  // Which the next one gets.
  const Block again = must(store->allocate(k4K, 64));
  g_assert_cmpuint(store->usage().arenas, ==, 1);
}

void a_smaller_size_gives_memory_back() {
  const auto store = make_store();
  std::vector<Block> frames;
  for (int i = 0; i < 8; ++i) frames.push_back(must(store->allocate(k4K, 64)));
  g_assert_cmpuint(store->usage().bytes, >=, 8 * k4K);
  // The stream goes on in 720p, while the last 4K frames are on their way.
  std::vector<Block> smaller;
  for (int i = 0; i < 8; ++i) {
    smaller.push_back(must(store->allocate(k720p, 64)));
    frames.erase(frames.begin());
  }
  g_assert_cmpuint(store->usage().bytes, <=, 40 * kMega);
  g_assert_cmpuint(store->usage().arenas, ==, 1);
  // And where nothing was on its way.
  const auto quiet = make_store();
  must(quiet->allocate(k4K, 64));
  const Block only = must(quiet->allocate(k720p, 64));
  g_assert_cmpuint(quiet->usage().arenas, ==, 1);
}

void what_is_no_longer_wanted_is_not_kept() {
  const auto store = make_store();
  std::vector<uint32_t> retired;
  store->on_retired([&](uint32_t number) { retired.push_back(number); });
  must(store->allocate(k720p, 64));
  g_assert_cmpuint(store->usage().arenas, ==, 1);
  store->no_longer_wants(k4K);  // another size
  g_assert_cmpuint(store->usage().arenas, ==, 1);
  store->no_longer_wants(k720p);
  g_assert_cmpuint(store->usage().arenas, ==, 0);
  g_assert_cmpuint(retired.size(), ==, 1);
  // What is still out goes when it is back.
  std::optional<Block> late = must(store->allocate(k4K, 64));
  store->no_longer_wants(k4K);
  g_assert_cmpuint(store->usage().arenas, ==, 1);
  late.reset();
  g_assert_cmpuint(store->usage().arenas, ==, 0);
  g_assert_cmpuint(retired.size(), ==, 2);
}

void finds_what_lies_in_its_arenas() {
  const auto store = make_store();
  const Block small = must(store->allocate(1000, 64));
  auto large = std::make_unique<const Block>(must(store->allocate(k4K, 64)));
  for (const Block* block : {&small, large.get()})
    for (const size_t from : {size_t{0}, size_t{1}, block->size() - 1}) {
      const auto place = store->find(block->data() + from, block->size() - from);
      g_assert_true(place && place->arena == block->arena());
      g_assert_cmpuint(place->offset, ==, block->offset() + from);
    }
  const Arena& arena = *small.arena();
  g_assert_true(store->find(arena.data(), arena.size()).has_value());
  g_assert_false(store->find(arena.data(), arena.size() + 1).has_value());
  g_assert_false(store->find(arena.data() + 1, arena.size()).has_value());
  g_assert_false(store->find(arena.data() + arena.size(), 0).has_value());
  g_assert_false(store->find(arena.data() + 1, ~size_t{0}).has_value());
  const int elsewhere = 0;
  g_assert_false(store->find(&elsewhere, sizeof elsewhere).has_value());
  g_assert_false(make_store()->find(small.data(), 1).has_value());
  // What has been found stays mapped, also when it is retired.
  const auto place = store->find(large->data(), 10);
  const Block other = must(store->allocate(k720p, 64));
  const std::byte* data = large->data();
  large.reset();
  g_assert_false(store->find(data, 1).has_value());
  g_assert_true(place->arena->data()[place->offset] == *data);
}

// Callbacks come without a lock: they may use the store.
void callbacks_may_use_the_store() {
  const auto store = make_store();
  std::multiset<uint32_t> retired;
  int freed = 0;
  store->on_retired([&](uint32_t number) {
    retired.insert(number);
    store->usage();
    must(store->allocate(10, 64));
  });
  store->on_freed([&] {
    ++freed;
    if (freed > 20) return;
    must(store->allocate(10, 64));  // comes back here
  });
  std::set<uint32_t> numbers;
  for (const size_t size : {k4K, k720p, k4K, 4 * kMega, k720p}) {
    const Block block = must(store->allocate(size, 64));
    numbers.insert(block.arena()->number());
  }
  g_assert_cmpint(freed, >=, 5);
  g_assert_cmpuint(retired.size(), ==, 4);
  for (const uint32_t number : retired) {
    g_assert_cmpuint(retired.count(number), ==, 1);
    g_assert_true(numbers.contains(number));
  }
  store->on_retired({});
  store->on_freed({});
  must(store->allocate(k4K, 64));
  g_assert_cmpuint(retired.size(), ==, 4);
}

void blocks_keep_the_store() {
  auto store = make_store();
  const std::weak_ptr<ArenaStore> weak = store;
  std::optional<Block> small = must(store->allocate(10, 64));
  std::optional<Block> large = must(store->allocate(k720p, 64));
  store.reset();
  small->data()[0] = large->data()[k720p - 1] = std::byte{1};
  large.reset();
  g_assert_false(weak.expired());
  small.reset();
  g_assert_true(weak.expired());
  g_assert_cmpuint(memfd_mappings(), ==, 0);
}

void moved_blocks_come_back_once() {
  const auto store = make_store();
  int freed = 0;
  store->on_freed([&] { ++freed; });
  {
    Block first = must(store->allocate(10, 64));
    Block second(std::move(first));
    Block third = must(store->allocate(20, 64));
    third = std::move(second);
    g_assert_cmpuint(third.size(), ==, 10);
  }
  g_assert_cmpint(freed, ==, 2);
}

void numbers_are_never_used_twice() {
  std::set<uint32_t> numbers;
  for (int i = 0; i < 50; ++i) {
    const Block block = must(make_store()->allocate(k720p, 64));
    g_assert_true(numbers.insert(block.arena()->number()).second);
    g_assert_cmpuint(block.arena()->number(), !=, 0);
  }
}

void many_threads_use_one_store() {
  const auto store = make_store(256 * kMega);
  std::atomic<int> retired{0};
  store->on_retired([&](uint32_t) { ++retired; });
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      Random random(t + 1);
      std::vector<std::optional<Block>> window(10);
      for (int i = 0; i < 3000; ++i) {
        auto& block = window[random.below(10)];
        block.reset();
        block = must(store->allocate(random.one_in(50) ? 2 * kMega : 1 + random.below(50000), 64));
        block->data()[0] = block->data()[block->size() - 1] = static_cast<std::byte>(t);
        (void)store->find(block->data(), 1);
        for (const auto& mine : window)
          if (mine) g_assert_true(mine->data()[mine->size() - 1] == static_cast<std::byte>(t));
      }
    });
  for (auto& thread : threads) thread.join();
}

}  // namespace
}  // namespace mmaplink::test

int main(int argc, char** argv) {
  using namespace mmaplink::test;
  return run_all(
      argc, argv,
      {{"/arena/blocks-are-aligned", blocks_are_aligned},
       {"/arena/a-block-lies-in-its-arena", a_block_lies_in_its_arena},
       {"/arena/blocks-do-not-overlap", blocks_do_not_overlap},
       {"/arena/max-memory-is-respected", max_memory_is_respected},
       {"/arena/what-never-fits-is-said-so", what_never_fits_is_said_so},
       {"/arena/absurd-sizes-are-errors", absurd_sizes_are_errors},
       {"/arena/empty-arenas-make-room-at-the-limit", empty_arenas_make_room_at_the_limit},
       {"/arena/small-blocks-share-a-chunk", small_blocks_share_a_chunk},
       {"/arena/little-memory-is-enough-for-who-holds-the-last-block",
        little_memory_is_enough_for_who_holds_the_last_block},
       {"/arena/large-blocks-of-one-size-share-arenas", large_blocks_of_one_size_share_arenas},
       {"/arena/a-million-small-blocks-take-no-more-memory",
        a_million_small_blocks_take_no_more_memory},
       {"/arena/an-arena-retires-with-its-last-block", an_arena_retires_with_its_last_block},
       {"/arena/a-smaller-size-gives-memory-back", a_smaller_size_gives_memory_back},
       {"/arena/what-is-no-longer-wanted-is-not-kept", what_is_no_longer_wanted_is_not_kept},
       {"/arena/finds-what-lies-in-its-arenas", finds_what_lies_in_its_arenas},
       {"/arena/callbacks-may-use-the-store", callbacks_may_use_the_store},
       {"/arena/blocks-keep-the-store", blocks_keep_the_store},
       {"/arena/moved-blocks-come-back-once", moved_blocks_come_back_once},
       {"/arena/numbers-are-never-used-twice", numbers_are_never_used_twice},
       {"/arena/many-threads-use-one-store", many_threads_use_one_store}});
}
