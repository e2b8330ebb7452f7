// Memory that others have made: what may be handed on, how much of it is known at a time, and when
// it is let go of.
#include "lib/foreign_arenas.h"

#include <fcntl.h>
#include <sys/mman.h>

#include "tests/lib/helpers.h"

namespace mmaplink::test {
namespace {

constexpr int kAll = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;

struct Known {
  std::vector<uint32_t> retired;
  ForeignArenas foreign{[this](uint32_t number) { retired.push_back(number); }};
};

Fd memfd(size_t size, size_t written, int seals) {
  Fd fd(memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  const std::vector<char> bytes(written, 'x');
  g_assert_cmpint(ftruncate(fd.get(), static_cast<off_t>(size)), ==, 0);
  g_assert_cmpint(pwrite(fd.get(), bytes.data(), written, 0), ==, static_cast<ssize_t>(written));
  if (seals != 0) g_assert_cmpint(fcntl(fd.get(), F_ADD_SEALS, seals), ==, 0);
  return fd;
}

View view_of(uint32_t number) {
  Fd fd(dup(must(make_sealed("test", page_size())).fd.get()));
  auto map = must(map_sealed(fd, page_size()));
  return {std::make_shared<const PeerArena>(PeerArena{number, std::move(fd), std::move(map)}), 64,
          100};
}

void sealed_memory_is_an_arena() {
  Known known;
  const size_t page = page_size();
  const Fd fd = memfd(2 * page, 2 * page, kAll);
  const auto place = known.foreign.find(fd.get(), 100, page);
  g_assert_true(place && place->arena && place->offset == 100);
  g_assert_cmpuint(place->arena->size(), ==, 2 * page);
  g_assert_true(*reinterpret_cast<const char*>(place->arena->data()) == 'x');
  // The same memory, by another number.
  const Fd other(dup(fd.get()));
  const auto again = known.foreign.find(other.get(), 0, 1);
  g_assert_true(again && again->arena == place->arena);
  g_assert_cmpuint(known.foreign.count(), ==, 1);
  g_assert_false(known.foreign.find(fd.get(), page, page + 1));
  g_assert_false(known.foreign.find(fd.get(), ~uint64_t{0}, 2));
}

void what_could_change_is_none() {
  Known known;
  const size_t page = page_size();
  for (const int one : {F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_FUTURE_WRITE, F_SEAL_SEAL})
    g_assert_false(known.foreign.find(memfd(page, page, kAll & ~one).get(), 0, 1));
  g_assert_false(known.foreign.find(memfd(page, page, 0).get(), 0, 1));
  g_assert_false(known.foreign.find(memfd(2 * page, page, kAll).get(), 0, 1));      // a hole
  g_assert_false(known.foreign.find(memfd(page - 1, page - 1, kAll).get(), 0, 1));  // no whole page
  const TempDir directory;
  const Fd file(open(directory.path("file").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  g_assert_cmpint(ftruncate(file.get(), static_cast<off_t>(page)), ==, 0);
  g_assert_false(known.foreign.find(file.get(), 0, 1));
  g_assert_false(known.foreign.find(-1, 0, 1));
  g_assert_cmpuint(known.foreign.count(), ==, 0);
}

void a_view_is_one_as_long_as_it_is_there() {
  Known known;
  uint32_t number = 0;
  {
    const View view = view_of(7);
    const auto place = known.foreign.find(view, 70);
    g_assert_true(place && place->offset == 70 && place->arena->data() == view.arena->map.data());
    number = place->arena->number();
    g_assert_cmpuint(number, !=, 7);
    g_assert_true(known.foreign.find(view, 64)->arena == place->arena);
  }
  // It is seen with the next one that is not known yet.
  const View other = view_of(7);
  g_assert_true(known.foreign.find(other, 64));
  g_assert_true(known.retired == std::vector<uint32_t>{number});
  g_assert_cmpuint(known.foreign.count(), ==, 1);
  const View without{std::make_shared<const PeerArena>(PeerArena{}), 0, 0};
  g_assert_false(known.foreign.find(without, 0));
}

// What is being read stays known, whatever else comes.
void as_many_are_known_as_a_peer_takes() {
  Known known;
  std::vector<Fd> all;
  std::vector<std::optional<Place>> used;
  for (size_t i = 0; i < kMostForeignArenas; ++i) {
    all.push_back(memfd(page_size(), page_size(), kAll));
    used.push_back(known.foreign.find(all.back().get(), 0, 1));
    g_assert_true(used.back().has_value());
  }
  const Fd more = memfd(page_size(), page_size(), kAll);
  g_assert_false(known.foreign.find(more.get(), 0, 1));
  g_assert_true(known.retired.empty());
  const uint32_t first = used.front()->arena->number();
  used.erase(used.begin(), used.begin() + 40);
  g_assert_true(known.foreign.find(more.get(), 0, 1));
  g_assert_cmpuint(known.retired.size(), ==, 40 - 32);  // the oldest of these
  g_assert_cmpuint(known.retired.front(), ==, first);
  used.clear();
  known.foreign.forget();
  g_assert_cmpuint(known.foreign.count(), ==, 0);
}

void what_is_read_is_not_forgotten() {
  Known known;
  const Fd fd = memfd(page_size(), page_size(), kAll);
  {
    const auto place = known.foreign.find(fd.get(), 0, 1);
    known.foreign.forget();
    g_assert_true(known.retired.empty());
  }
  known.foreign.forget();
  g_assert_cmpuint(known.retired.size(), ==, 1);
}

}  // namespace
}  // namespace mmaplink::test

int main(int argc, char** argv) {
  using namespace mmaplink::test;
  return run_all(
      argc, argv,
      {{"/foreign-arenas/sealed-memory-is-an-arena", sealed_memory_is_an_arena},
       {"/foreign-arenas/what-could-change-is-none", what_could_change_is_none},
       {"/foreign-arenas/a-view-is-one-as-long-as-it-is-there",
        a_view_is_one_as_long_as_it_is_there},
       {"/foreign-arenas/as-many-are-known-as-a-peer-takes", as_many_are_known_as_a_peer_takes},
       {"/foreign-arenas/what-is-read-is-not-forgotten", what_is_read_is_not_forgotten}});
}
