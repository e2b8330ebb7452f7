// Memory from a hostile peer, as its half and as an arena, to a sink and to a source; and what a
// hostile reader can do to ours, or a sender to its own while it is read: spoil its own frame.
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "lib/link.h"
#include "tests/elements/forged_peer.h"

using mmaplink::ArenaMade;
using mmaplink::Fd;
using mmaplink::Half;
using mmaplink::Hello;
using mmaplink::kVersion;
using mmaplink::page_size;
using mmaplink::Welcome;
using test::Feed;
using test::ForgedPeer;
using test::ForgedServer;
using test::Harness;
using test::kAllSeals;
using test::kReads;
using test::kSends;
using test::memfd;
using test::Play;
using test::Scene;

namespace {

constexpr auto kNotSealed = "the peer's memory is not sealed";
constexpr auto kOtherSize = "the peer's memory is not of the size it announced";
constexpr auto kHoles = "the peer's memory has holes";

Fd without_memory(int fd) {
  fail_unless(fd >= 0);
  return Fd(fd);
}

// A hole in the middle, made before the seals forbid it.
Fd punched(size_t size) {
  Fd fd = memfd(size, 0, size);
  const int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  const auto page = static_cast<off_t>(page_size());
  fail_unless_equals_int(fallocate(fd.get(), mode, page, page), 0);
  fail_unless_equals_int(fcntl(fd.get(), F_ADD_SEALS, kAllSeals), 0);
  return fd;
}

Fd on_disk() {
  Fd fd(open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  fail_unless(static_cast<bool>(fd));
  return fd;
}

// What is no memory of `size` bytes that anyone could rely on.
struct Bad {
  const char* name;
  std::function<Fd(size_t size)> make;
  const char* refusal;
};

const std::vector<Bad>& all_bad() {
  static const std::vector<Bad> all = {
      {"unsealed", [](size_t size) { return memfd(size, 0, size); }, kNotSealed},
      {"may shrink", [](size_t size) { return memfd(size, kAllSeals & ~F_SEAL_SHRINK, size); },
       kNotSealed},
      {"may grow", [](size_t size) { return memfd(size, kAllSeals & ~F_SEAL_GROW, size); },
       kNotSealed},
      {"may be written",
       [](size_t size) { return memfd(size, kAllSeals & ~F_SEAL_FUTURE_WRITE, size); }, kNotSealed},
      {"may get more seals",
       [](size_t size) { return memfd(size, kAllSeals & ~F_SEAL_SEAL, size); }, kNotSealed},
      {"truncated by a page",
       [](size_t size) { return memfd(size - page_size(), kAllSeals, size - page_size()); },
       kOtherSize},
      {"truncated by a byte", [](size_t size) { return memfd(size - 1, kAllSeals, size - 1); },
       kOtherSize},
      {"oversized",
       [](size_t size) { return memfd(size + page_size(), kAllSeals, size + page_size()); },
       kOtherSize},
      {"of no size", [](size_t) { return memfd(0, kAllSeals, 0); }, kOtherSize},
      {"all holes", [](size_t size) { return memfd(size, kAllSeals, 0); }, kHoles},
      {"there behind its end",
       [](size_t size) {
         Fd fd = memfd(size, 0, 0);
         const auto end = static_cast<off_t>(size);
         fail_unless_equals_int(fallocate(fd.get(), FALLOC_FL_KEEP_SIZE, end, end), 0);
         fail_unless_equals_int(fcntl(fd.get(), F_ADD_SEALS, kAllSeals), 0);
         return fd;
       },
       kHoles},
      {"half there", [](size_t size) { return memfd(size, kAllSeals, size / 2); }, kHoles},
      {"hole-punched", punched, kHoles},
      {"a file on disk", [](size_t) { return on_disk(); }, kNotSealed},
      {"a device", [](size_t) { return without_memory(open("/dev/zero", O_RDWR | O_CLOEXEC)); },
       kNotSealed},
      {"a directory", [](size_t) { return without_memory(open("/proc", O_RDONLY | O_CLOEXEC)); },
       kNotSealed},
      {"an eventfd", [](size_t) { return without_memory(eventfd(0, EFD_CLOEXEC)); }, kNotSealed},
  };
  return all;
}

constexpr size_t kArenaSize = 64 << 10;

}  // namespace

TEST(halves_of_clients_are_checked) {
  const Scene scene;
  Play play(scene);
  const size_t size = mmaplink::round_to_page(sizeof(Half));
  for (const Bad& bad : all_bad()) {
    const Fd fd = bad.make(size);
    play.attack(
        bad.name, false,
        [&](ForgedPeer& peer) {
          peer.send(Hello{kVersion, kReads}, {fd.get()});
        },
        bad.refusal);
  }
}

TEST(halves_of_servers_are_checked) {
  const Scene scene;
  Play play(scene);
  ForgedServer server(scene.path("forged"));
  const size_t size = mmaplink::round_to_page(sizeof(Half));
  for (const Bad& bad : all_bad()) {
    const Fd fd = bad.make(size);
    const Harness source("mmapsrc socket-path=" + scene.path("forged"));
    source.play();
    ForgedPeer peer(server.accept());
    peer.send(Welcome{kVersion, kSends, test::kMapsAll}, {fd.get()});
    const std::string said = peer.wait_hang_up();
    fail_unless(said == bad.refusal, "%s: hung up with '%s'", bad.name, said.c_str());
    const std::string error = source.wait_error();
    fail_unless(test::contains(error, bad.refusal + 1), "%s: %s", bad.name, error.c_str());
    source.pull_event(GST_EVENT_EOS);
    play.step();
  }
}

TEST(arenas_for_sinks_are_checked) {
  const Scene scene;
  Play play(scene);
  for (const Bad& bad : all_bad()) {
    const Fd fd = bad.make(kArenaSize);
    play.attack(
        bad.name, true,
        [&](ForgedPeer& peer) {
          peer.send(ArenaMade{1, kArenaSize}, {fd.get()});
        },
        bad.refusal);
  }
}

TEST(arenas_for_sources_are_checked) {
  for (const Bad& bad : all_bad()) {
    const Fd fd = bad.make(kArenaSize);
    test::attack_source(
        bad.name,
        [&](ForgedPeer& peer) {
          peer.send(ArenaMade{1, kArenaSize}, {fd.get()});
        },
        bad.refusal);
  }
}

// Of hugetlbfs they are believed no more. tests/lib/huge_pages.cpp has those that cost some.
// Nothing where the kernel has none: then nobody can send any.
static Fd huge_memfd(int seals) {
  Fd fd(memfd_create("forged", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB));
  if (!fd) {
    fail_unless(errno == EINVAL || errno == ENODEV || errno == ENOSYS || errno == EOPNOTSUPP);
    g_print("SKIP huge pages: this kernel has none\n");
    return fd;
  }
  const auto size = static_cast<off_t>(mmaplink::huge_page_size());
  fail_unless_equals_int(ftruncate(fd.get(), size), 0);
  fail_unless_equals_int(fcntl(fd.get(), F_ADD_SEALS, seals), 0);
  return fd;
}

struct BadHuge {
  const char* name;
  int seals;
  const char* refusal;
};
constexpr BadHuge kBadHuge[] = {
    {"huge pages that may be written", kAllSeals & ~F_SEAL_FUTURE_WRITE, kNotSealed},
    {"huge pages that are not there", kAllSeals, kHoles}};

TEST(huge_pages_for_sources_are_checked) {
  for (const auto& [name, seals, refusal] : kBadHuge) {
    const Fd fd = huge_memfd(seals);
    if (!fd) return;
    test::attack_source(
        name,
        [&](ForgedPeer& peer) {
          peer.send(ArenaMade{1, mmaplink::huge_page_size()}, {fd.get()});
        },
        refusal);
  }
}

TEST(huge_pages_for_sinks_are_checked) {
  const Scene scene;
  Play play(scene);
  for (const auto& [name, seals, refusal] : kBadHuge) {
    const Fd fd = huge_memfd(seals);
    if (!fd) return;
    play.attack(
        name, true,
        [&](ForgedPeer& peer) {
          peer.send(ArenaMade{1, mmaplink::huge_page_size()}, {fd.get()});
        },
        refusal);
  }
}

TEST(announced_sizes_are_checked) {
  const Fd good = memfd(kArenaSize, kAllSeals, kArenaSize);
  for (const uint64_t size : {uint64_t{0}, uint64_t{1}, uint64_t{kArenaSize} - 1,
                              uint64_t{kArenaSize} + page_size(), uint64_t{1} << 36})
    test::attack_source(
        "announced size",
        [&](ForgedPeer& peer) {
          peer.send(ArenaMade{1, size}, {good.get()});
        },
        kOtherSize);
  for (const uint64_t size : {(uint64_t{1} << 36) + 1, uint64_t{1} << 63, ~uint64_t{0}})
    test::attack_source(
        "announced size",
        [&](ForgedPeer& peer) {
          peer.send(ArenaMade{1, size}, {good.get()});
        },
        "the peer announced more memory than a peer may");
}

// Who is told that it is one must not ask it as if it were.
TEST(what_is_no_dmabuf_is_refused) {
  std::array<int, 2> ends{};
  fail_unless_equals_int(pipe2(ends.data(), O_CLOEXEC), 0);
  const Fd read(ends[0]);
  const Fd write(ends[1]);
  const Fd sealed = memfd(kArenaSize, kAllSeals, kArenaSize);
  const Fd named(memfd_create("\nexp_name:\tx\n", MFD_CLOEXEC));
  const Fd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  for (const Fd* fd : {&read, &sealed, &named, &null})
    test::attack_source(
        "no dmabuf",
        [&](ForgedPeer& peer) {
          peer.send(ArenaMade{1, kArenaSize, true}, {fd->get()});
        },
        "the memory is no dmabuf");
}

TEST(number_of_arenas_is_bounded) {
  const Fd good = memfd(page_size(), kAllSeals, page_size());
  const auto announces = [&](ForgedPeer& peer) {
    for (uint32_t i = 1; i <= 4097; ++i)
      if (!peer.send(ArenaMade{i, page_size()}, {good.get()})) return;
  };
  const std::string refusal = "the peer announced more memory than a peer may";
  test::attack_source("too many arenas", announces, refusal);
  const Scene scene;
  Play play(scene);
  play.attack("too many arenas", true, announces, refusal);
}

// A number may serve again once it is retired, and not before. What lay in the first stays.
TEST(arenas_are_renumbered) {
  const Scene scene;
  Feed feed(scene);
  feed.peer.publish_number(1);
  const auto before = feed.source.pull();
  feed.peer.send(mmaplink::ArenaRetired{1});
  std::memset(feed.peer.announce(1, 2 * kArenaSize), 2, 2 * kArenaSize);
  // Not before it is seen that the number is another arena's.
  fail_unless(test::becomes([&] { return feed.source.stat("arena-bytes") == 2 * kArenaSize; }));
  mmaplink::Descriptor descriptor;
  descriptor.kind = 1;
  descriptor.extra_from = 1;
  descriptor.arena = 1;
  descriptor.size = test::kVideoSize;
  descriptor.media_offset = 2;
  feed.peer.publish(descriptor);
  fail_unless_equals_uint64(feed.source.pull_number(), 2);
  GstMapInfo map;
  fail_unless(gst_buffer_map(before.get(), &map, GST_MAP_READ));
  fail_unless(map.data[0] == 1 && map.data[map.size - 1] == 1);
  gst_buffer_unmap(before.get(), &map);
  feed.peer.announce(1, kArenaSize);
  fail_unless(feed.peer.wait_hang_up() == "an arena was announced twice");
}

// What a reader gets of ours is for reading.
TEST(readers_can_not_touch_our_memory) {
  const Scene scene;
  Play play(scene);
  ForgedPeer peer(scene.path());
  peer.join(play.sink);
  // Its half, and the arena of the frames.
  fail_unless(play.until([&] { return peer.look() && peer.fds.size() >= 2; }));
  for (const Fd& fd : peer.fds) {
    const Fd again(open(("/proc/self/fd/" + std::to_string(fd.get())).c_str(), O_RDWR | O_CLOEXEC));
    for (const int one : {fd.get(), again.get()}) {
      fail_unless(mmap(nullptr, page_size(), PROT_READ | PROT_WRITE, MAP_SHARED, one, 0) ==
                  MAP_FAILED);
      fail_unless(pwrite(one, "x", 1, 0) < 0);
      fail_unless(ftruncate(one, 0) != 0 && ftruncate(one, 1 << 30) != 0);
      fail_unless(fallocate(one, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) != 0);
      fail_unless(fcntl(one, F_ADD_SEALS, F_SEAL_WRITE) != 0);
    }
  }
  for (int i = 0; i < 20; ++i) play.step();
}

// A sender that writes into its frame while it is read spoils that frame, and no other.
TEST(a_frame_rewritten_while_it_is_read_spoils_no_other) {
  const Scene scene;
  Feed feed(scene);
  std::atomic<bool> over{false};
  std::thread rewrites([&] {  // frames of even numbers, for ever
    for (int value = 0; !over; ++value) std::memset(feed.arena, value & 0xff, test::kVideoSize);
  });
  for (guint64 i = 0; i < 400; i += 2) {
    feed.peer.publish_number(i);
    feed.peer.publish_number(i + 1);
    const auto spoilt = feed.source.pull();
    fail_unless_equals_uint64(GST_BUFFER_OFFSET(spoilt.get()), i);
    fail_unless_equals_uint64(gst_buffer_get_size(spoilt.get()), test::kVideoSize);
    fail_unless_equals_uint64(feed.source.pull_number(), i + 1);
  }
  over = true;
  rewrites.join();
}
