// A region that is a file: found by each side's own path, believed in nothing, and gone when both
// have it.
#include "lib/path_region.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "lib/arena.h"
#include "lib/system.h"
#include "tests/lib/helpers.h"

namespace mmaplink::test {
namespace {

using Region = std::shared_ptr<PathRegion>;
constexpr uint64_t kHalf = 1 << 20;

PathRegion::Wake new_wake() {
  return std::make_shared<const Fd>(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
}
Result<Region> make(const std::string& path, uint64_t half = kHalf, const Access& access = {}) {
  return PathRegion::make(path, half, access, new_wake());
}
Result<Region> open(const std::string& path, const RegionTerms& terms) {
  return PathRegion::open(path, terms, geteuid(), new_wake());
}

size_t files_in(const std::string& directory) {
  size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    g_test_message("%s", entry.path().c_str());
    ++count;
  }
  return count;
}

void write_file(const std::string& path, size_t size) {
  const Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  const std::vector<char> bytes(size, 'x');
  g_assert_cmpint(write(fd.get(), bytes.data(), size), ==, static_cast<ssize_t>(size));
}

// What one writes into its half the other reads, and the file is there no more.
void check_pair(const Region& server, const Region& client) {
  must(server->settle(client->token()));
  const Mapping at_client = client->view();
  const Mapping at_server = server->view();
  for (const auto& [from, to] : {std::pair{server, &at_client}, {client, &at_server}}) {
    const auto& other = from == server ? client : server;
    const SealedMemory piece = must(from->allocate(100));
    g_assert_cmpuint(piece.map.size(), ==, page_size());
    std::memset(piece.map.data(), 0x5a, piece.map.size());
    const auto offset = from->offset_of(piece.map.data() + 10, 90);
    g_assert_true(offset.has_value());
    g_assert_true(other->is_peers(*offset, 90));
    g_assert_false(from->is_peers(*offset, 90));
    g_assert_true(to->data()[*offset] == std::byte{0x5a});
  }
}

void a_file_in_a_directory() {
  const TempDir dir;
  const auto server = must(make(dir.path()));
  g_assert_cmpuint(files_in(dir.path()), ==, 1);
  struct stat st {};
  g_assert_cmpint(stat(server->path().c_str(), &st), ==, 0);
  g_assert_cmpuint(st.st_mode & 0777, ==, 0600);
  const auto client = must(open(dir.path(), server->terms()));
  check_pair(server, client);
  g_assert_cmpuint(files_in(dir.path()), ==, 0);
  // Any number of them.
  const auto second = must(make(dir.path()));
  const auto third = must(make(dir.path()));
  g_assert_cmpuint(files_in(dir.path()), ==, 2);
}

void a_file_by_two_paths() {
  const TempDir here;
  const TempDir there;
  const auto server = must(make(here.path("region")));
  g_assert_cmpint(link(here.path("region").c_str(), there.path("other").c_str()), ==, 0);
  check_pair(server, must(open(there.path("other"), server->terms())));
  g_assert_cmpuint(files_in(here.path()), ==, 0);
}

void one_that_was_there_stays_as_it_is() {
  const TempDir dir;
  const size_t size = 5 * page_size() + 100;
  write_file(dir.path("device"), size);
  const auto server = must(make(dir.path("device")));
  g_assert_cmpuint(server->terms().size, ==, size);
  g_assert_cmpuint(server->capacity(), ==, 2 * page_size());
  check_pair(server, must(open(dir.path("device"), server->terms())));
  struct stat st {};
  g_assert_cmpint(stat(dir.path("device").c_str(), &st), ==, 0);
  g_assert_cmpint(st.st_size, ==, static_cast<off_t>(size));
}

// As in sysfs, whose resource2 is an ivshmem device's memory: all there, and never any more.
void a_device_has_all_its_memory() {
  const TempDir dir;
  write_file(dir.path("device"), 64 * page_size());
  const std::pair<sys::Call, int> refusals[] = {{sys::Call::fallocate, EOPNOTSUPP},
                                                {sys::Call::fallocate, ENODEV},
                                                {sys::Call::populate, EINVAL},
                                                {sys::Call::populate, EFAULT}};
  for (const auto& [call, code] : refusals) {
    sys::arm(call, code);
    const auto server = must(make(dir.path("device")));
    check_pair(server, must(open(dir.path("device"), server->terms())));
    g_assert_cmpint(sys::failed(), >, 0);
    sys::disarm();
  }
}

void a_group_may_have_it() {
  const TempDir dir;
  Access access;
  access.group = getegid();
  const auto region = must(make(dir.path(), kHalf, access));
  struct stat st {};
  g_assert_cmpint(stat(region->path().c_str(), &st), ==, 0);
  g_assert_cmpuint(st.st_mode & 0777, ==, 0660);
}

void nobody_else_may_use_it() {
  const TempDir dir;
  const auto server = must(make(dir.path("one")));
  g_assert_true(fails(make(dir.path("one")), Failure::busy, "in use by another link"));
  const auto client = must(open(dir.path("one"), server->terms()));
  g_assert_true(fails(open(dir.path("one"), server->terms()), Failure::busy, "in use by another"));
  g_assert_cmpuint(files_in(dir.path()), ==, 1);
}

void another_file_is_found_out() {
  const TempDir dir;
  const auto server = must(make(dir.path("one")));
  const auto other = must(make(dir.path("other")));
  g_assert_true(
      fails(open(dir.path("other"), server->terms()), Failure::settings, "is not the file that"));
  g_assert_true(fails(open(dir.path("none"), server->terms()), Failure::not_found, "none"));
  RegionTerms in_directory = server->terms();
  in_directory.in_directory = true;
  g_assert_true(fails(open(dir.path("one"), in_directory), Failure::settings,
                      "no directory here, and one at the server"));
  write_file(dir.path("short"), 100);
  g_assert_true(
      fails(open(dir.path("short"), server->terms()), Failure::settings, "it is another file"));
  g_assert_true(fails(open(dir.path(), server->terms()), Failure::settings,
                      "a directory here, and none at the server"));
  // A client that has another file, which knows our token all the same.
  g_assert_true(fails(server->settle(Token{1}), Failure::settings, "the client has"));
  g_assert_true(fails(server->settle(Token{}), Failure::settings, "the client has") ||
                server->token() == Token{});
}

// A token of before is no proof.
void what_was_left_behind_is_not_believed() {
  const TempDir dir;
  RegionTerms old;
  {
    write_file(dir.path("kept"), 8 * page_size());
    const auto server = must(make(dir.path("kept")));
    old = server->terms();
    must(server->settle(must(open(dir.path("kept"), old))->token()));
  }
  const auto server = must(make(dir.path("kept")));
  g_assert_true(server->terms().token != old.token);
  g_assert_true(fails(open(dir.path("kept"), old), Failure::settings, "is not the file"));
}

void leftovers_of_killed_servers_go() {
  const TempDir dir;
  write_file(dir.path("mmap-0123456789abcdef0123456789abcdef"), 100);
  write_file(dir.path("mmap-mine"), 100);
  const auto used = must(make(dir.path()));
  const auto other = must(make(dir.path()));
  g_assert_false(std::filesystem::exists(dir.path("mmap-0123456789abcdef0123456789abcdef")));
  g_assert_true(std::filesystem::exists(dir.path("mmap-mine")));
  g_assert_true(std::filesystem::exists(used->path()));
}

void links_are_not_followed() {
  const TempDir dir;
  write_file(dir.path("file"), 8 * page_size());
  g_assert_cmpint(symlink(dir.path("file").c_str(), dir.path("link").c_str()), ==, 0);
  g_assert_true(fails(make(dir.path("link")), Failure::settings, "symbolic link"));
  const auto server = must(make(dir.path("file")));
  g_assert_true(
      fails(open(dir.path("link"), server->terms()), Failure::settings, "symbolic link"));
  g_assert_cmpint(symlink(dir.path().c_str(), dir.path("to-here").c_str()), ==, 0);
  g_assert_true(fails(make(dir.path("to-here")), Failure::settings, "symbolic link"));
  g_assert_true(fails(make("/dev/null"), Failure::settings, "no size for a region") ||
                !make("/dev/null"));
}

// A full file system is told with its path, what was wanted and what is free.
void no_room_is_an_error_that_says_so() {
  const TempDir dir;
  const auto region = must(make(dir.path()));
  sys::arm(sys::Call::fallocate, ENOSPC);
  const auto refused = region->allocate(3 * page_size());
  sys::disarm();
  const std::string wanted = std::to_string(3 * page_size()) + " bytes more";
  g_assert_true(fails(refused, Failure::no_space, region->path()));
  g_assert_true(fails(refused, Failure::no_space, wanted));
  g_assert_true(fails(refused, Failure::no_space, "are free there"));
  sys::arm(sys::Call::fallocate, ENOSPC);
  const auto not_made = make(dir.path());
  sys::disarm();
  g_assert_true(fails(not_made, Failure::no_space, "its first page"));
  g_assert_cmpuint(files_in(dir.path()), ==, 1);
}

void pieces_come_back() {
  const TempDir dir;
  const auto region = must(make(dir.path(), 8 * page_size()));
  g_assert_cmpuint(region->capacity(), ==, 8 * page_size());
  std::vector<SealedMemory> pieces;
  for (int i = 0; i < 8; ++i) pieces.push_back(must(region->allocate(page_size())));
  g_assert_true(fails(region->allocate(1), Failure::limit, "is in use"));
  pieces.erase(pieces.begin() + 2, pieces.begin() + 4);
  g_assert_true(fails(region->allocate(3 * page_size()), Failure::limit, "is in use"));
  pieces.push_back(must(region->allocate(2 * page_size())));
  // What comes again has nothing of what was there.
  g_assert_true(pieces.back().map.data()[0] == std::byte{0});
  pieces.clear();
  pieces.push_back(must(region->allocate(8 * page_size())));
}

void a_peer_that_cuts_it_short_kills_nobody() {
  const TempDir dir;
  const auto server = must(make(dir.path("one")));
  const auto client = must(open(dir.path("one"), server->terms()));
  must(server->settle(client->token()));
  SealedMemory piece = must(client->allocate(page_size()));
  piece.map.data()[0] = std::byte{1};
  const auto offset = client->offset_of(piece.map.data(), 1);
  const Mapping view = server->view();
  g_assert_true(view.data()[*offset] == std::byte{1});
  g_assert_false(server->broken());
  g_assert_cmpint(truncate(("/proc/self/fd/" + std::to_string(client->fd().get())).c_str(), 0), ==,
                  0);
  g_assert_true(view.data()[*offset] == std::byte{0});
  g_assert_true(server->broken());
}

// Blocks of another size want the room of those that are back.
void a_store_changes_its_sizes_in_little_room() {
  const TempDir dir;
  const auto region = must(make(dir.path(), 4 << 20));
  const auto store = std::make_shared<ArenaStore>(kDefaultMemory);
  store->use(region);
  for (const size_t size : {1'600'000, 2'200'000, 100'000, 3'000'000, 1'600'000})
    for (int i = 0; i < 10; ++i) must(store->allocate(size, 1));
}

// Held by whoever was sent it, after the store has ended or taken other memory.
void what_was_in_it_stays_when_its_time_is_over() {
  const TempDir dir;
  const auto server = must(make(dir.path()));
  const auto client = must(open(dir.path(), server->terms()));
  must(server->settle(client->token()));
  const auto store = std::make_shared<ArenaStore>(kDefaultMemory);
  store->use(server);
  auto block = std::make_optional(must(store->allocate(1000, 1)));
  block->data()[999] = std::byte{7};
  const auto offset = server->offset_of(block->data() + 999, 1);
  const Mapping view = client->view();
  store->use(nullptr);
  block.reset();
  g_assert_true(view.data()[*offset] == std::byte{7});
}

void a_file_serves_again_once_its_link_has_ended() {
  const TempDir dir;
  write_file(dir.path("kept"), 64 * page_size());
  const auto server = must(make(dir.path("kept")));
  const auto client = must(open(dir.path("kept"), server->terms()));
  server->unlock();
  client->unlock();
  // Though both have memory of it.
  const auto next = must(make(dir.path("kept")));
  check_pair(next, must(open(dir.path("kept"), next->terms())));
}

// A store takes it for what is new from then on, and what does not fit in there lies elsewhere.
void a_store_uses_it() {
  const TempDir dir;
  const auto region = must(make(dir.path()));
  const auto store = std::make_shared<ArenaStore>(64 << 20);
  const auto before = must(store->allocate(1000, 1));
  store->use(region);
  g_assert_true(before.arena()->is_over());
  const auto in_it = [&](const Block& block) {
    return region->offset_of(block.data(), block.size()).has_value();
  };
  {
    const auto small = must(store->allocate(1000, 1));
    g_assert_true(in_it(small));
    const auto large = must(store->allocate(2 * kHalf, 1));
    g_assert_false(in_it(large));
  }
  // All of our half, and not more.
  store->no_longer_wants(2 * kHalf);
  std::vector<Block> blocks;
  for (;;) {
    auto block = store->allocate(60'000, 1);
    if (!block) {
      g_assert_true(block.error().failure == Failure::limit);
      break;
    }
    g_assert_true(in_it(*block));
    blocks.push_back(std::move(*block));
  }
  g_assert_cmpuint(blocks.size(), >=, kHalf / 60'000 / 2);
  store->use(nullptr);
  g_assert_false(in_it(must(store->allocate(1000, 1))));
}

}  // namespace
}  // namespace mmaplink::test

int main(int argc, char** argv) {
  using namespace mmaplink::test;
  return run_all(
      argc, argv,
      {{"/path_region/a-file-in-a-directory", a_file_in_a_directory},
       {"/path_region/a-file-by-two-paths", a_file_by_two_paths},
       {"/path_region/one-that-was-there-stays-as-it-is", one_that_was_there_stays_as_it_is},
       {"/path_region/a-device-has-all-its-memory", a_device_has_all_its_memory},
       {"/path_region/a-group-may-have-it", a_group_may_have_it},
       {"/path_region/nobody-else-may-use-it", nobody_else_may_use_it},
       {"/path_region/another-file-is-found-out", another_file_is_found_out},
       {"/path_region/what-was-left-behind-is-not-believed", what_was_left_behind_is_not_believed},
       {"/path_region/leftovers-of-killed-servers-go", leftovers_of_killed_servers_go},
       {"/path_region/links-are-not-followed", links_are_not_followed},
       {"/path_region/no-room-is-an-error-that-says-so", no_room_is_an_error_that_says_so},
       {"/path_region/pieces-come-back", pieces_come_back},
       {"/path_region/a-peer-that-cuts-it-short-kills-nobody",
        a_peer_that_cuts_it_short_kills_nobody},
       {"/path_region/a-store-changes-its-sizes-in-little-room",
        a_store_changes_its_sizes_in_little_room},
       {"/path_region/what-was-in-it-stays-when-its-time-is-over",
        what_was_in_it_stays_when_its_time_is_over},
       {"/path_region/a-file-serves-again-once-its-link-has-ended",
        a_file_serves_again_once_its_link_has_ended},
       {"/path_region/a-store-uses-it", a_store_uses_it}});
}
