// Memory in huge pages: what it says that it lies in is what it lies in, on any kernel and whatever
// was set aside; and a peer's is believed no more than that in small ones.
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <cerrno>
#include <fstream>
#include <sstream>

#include "lib/arena.h"
#include "lib/sealed.h"
#include "lib/system.h"
#include "tests/lib/helpers.h"

namespace mmaplink::test {
namespace {

constexpr int kAllSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;
const size_t kHuge = huge_page_size();

// Armed for as long as it lives.
struct Armed {
  Armed(sys::Call call, int code, int skip = 0) { sys::arm(call, code, skip); }
  Armed(const Armed&) = delete;
  Armed& operator=(const Armed&) = delete;
  ~Armed() { sys::disarm(); }
};

// Bytes that /proc/self/smaps has in such fields of the mapping that starts there.
size_t mapped(const void* data, const std::string& field) {
  std::ostringstream start;
  start << std::hex << reinterpret_cast<uintptr_t>(data) << "-";
  std::ifstream maps("/proc/self/smaps");
  bool here = false;
  size_t kilobytes = 0;
  for (std::string line; std::getline(maps, line);) {
    if (line.rfind(start.str(), 0) == 0) here = true;
    if (here && line.rfind("VmFlags:", 0) == 0) break;
    const auto at = line.find(field + ":");
    if (here && at != line.npos) kilobytes += std::stoul(line.substr(at + field.size() + 1));
  }
  return kilobytes << 10;
}

unsigned long file_system(const Fd& fd) {
  struct statfs fs {};
  g_assert_cmpint(fstatfs(fd.get(), &fs), ==, 0);
  return static_cast<unsigned long>(fs.f_type);
}

const char* name_of(Pages pages) {
  return pages == Pages::hugetlb       ? "hugetlb"
         : pages == Pages::transparent ? "transparent"
                                       : "normal";
}

void check(const SealedMemory& memory) {
  const Pages pages = memory.map.pages();
  std::byte* data = memory.map.data();
  const size_t size = memory.map.size();
  g_test_message("%zu bytes: %s", size, name_of(pages));
  g_assert_cmpuint(file_system(memory.fd), ==,
                   pages == Pages::hugetlb ? HUGETLBFS_MAGIC : TMPFS_MAGIC);
  // A system that makes all shared memory of transparent ones is not asked what it did.
  if (pages == Pages::transparent) g_assert_cmpuint(mapped(data, "ShmemPmdMapped"), ==, size);
  g_assert_cmpuint(mapped(data, "_Hugetlb"), ==, pages == Pages::hugetlb ? size : 0);
  // Sealed as any other.
  const int fd = memory.fd.get();
  g_assert_cmpint(fcntl(fd, F_GET_SEALS) & kAllSeals, ==, kAllSeals);
  g_assert_true(mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
  const auto end = static_cast<off_t>(size);
  g_assert_cmpint(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, end), !=, 0);
  g_assert_cmpint(ftruncate(fd, 0), !=, 0);
  g_assert_cmpint(madvise(data, size, MADV_REMOVE), !=, 0);
  // And taken by a peer, who sees the same bytes, in pages as large.
  const Mapping view = must(map_sealed(memory.fd, size));
  g_assert_true((view.pages() == Pages::hugetlb) == (pages == Pages::hugetlb));
  if (pages == Pages::transparent)
    g_assert_cmpuint(mapped(view.data(), "ShmemPmdMapped"), ==, size);
  for (size_t at = 0; at < size; at += page_size()) data[at] = static_cast<std::byte>(at >> 12);
  for (size_t at = 0; at < size; at += page_size())
    g_assert_true(view.data()[at] == static_cast<std::byte>(at >> 12));
}

bool says_what_is_missing(const Error& error) {
  return says(error, Failure::no_space, "huge-pages=require, and none were to be had") &&
         says(error, Failure::no_space, "vm.nr_hugepages") &&
         says(error, Failure::no_space, "shmem_enabled");
}

void is_what_it_says() {
  for (const size_t size : {kHuge / 2, kHuge, kHuge + 1, 3 * kHuge}) {
    const auto memory = must(make_sealed("mmap-test", size, HugePages::tries));
    g_assert_cmpuint(memory.map.size(), ==, (size + kHuge - 1) / kHuge * kHuge);
    check(memory);
  }
  for (const size_t size : {size_t{1}, kHuge, 3 * kHuge}) {
    auto memory = make_sealed("mmap-test", size, HugePages::require);
    if (!memory) {
      g_test_message("%s", memory.error().text.c_str());
      g_assert_true(says_what_is_missing(memory.error()));
      continue;
    }
    g_assert_true(memory->map.pages() != Pages::normal);
    g_assert_cmpuint(memory->map.size(), ==, (size + kHuge - 1) / kHuge * kHuge);
    check(*memory);
  }
}

// What would leave most of a huge page empty is not given one.
void little_stays_little() {
  for (const size_t size : {size_t{1}, page_size() + 1, kHuge / 2 - 1 - page_size()}) {
    const auto memory = must(make_sealed("mmap-test", size, HugePages::tries));
    g_assert_cmpuint(memory.map.size(), ==, round_to_page(size));
    g_assert_true(memory.map.pages() == Pages::normal);
  }
  const auto not_asked = must(make_sealed("mmap-test", 2 * kHuge));
  g_assert_true(not_asked.map.pages() == Pages::normal);
  check(not_asked);
}

void without_hugetlbfs_there_are_transparent_ones() {
  const Armed armed(sys::Call::fallocate, ENOSPC);  // nothing set aside
  auto memory = make_sealed("mmap-test", 2 * kHuge, HugePages::require);
  if (memory) {
    g_assert_true(memory->map.pages() == Pages::transparent);
    check(*memory);
    return;
  }
  // A kernel before 6.1, or without them.
  g_test_message("%s", memory.error().text.c_str());
  g_assert_true(says_what_is_missing(memory.error()));
  g_assert_true(says(memory.error(), Failure::no_space, "fallocate: No space left on device"));
  g_assert_true(says(memory.error(), Failure::no_space, "MADV_COLLAPSE"));
}

void without_any_there_are_normal_ones_or_an_error() {
  // The second skips the memfd; where nothing was set aside that goes no further, either.
  for (const int skip : {0, 1}) {
    const Armed armed(sys::Call::huge_pages, ENODEV, skip);
    const auto memory = must(make_sealed("mmap-test", 2 * kHuge, HugePages::tries));
    if (skip == 0) g_assert_true(memory.map.pages() == Pages::normal);
    if (skip == 1) g_assert_true(memory.map.pages() != Pages::transparent);
    check(memory);
  }
  const Armed armed(sys::Call::huge_pages, ENODEV);
  const auto none = make_sealed("mmap-test", 2 * kHuge, HugePages::require);
  g_assert_false(static_cast<bool>(none));
  g_assert_true(says_what_is_missing(none.error()));
  g_assert_true(says(none.error(), Failure::no_space, "memfd_create: No such device"));
  g_assert_true(says(none.error(), Failure::no_space, "MADV_COLLAPSE: No such device"));
}

// Those that know no MADV_POPULATE_WRITE may not heed the seal against writing on hugetlbfs.
void older_kernels_have_normal_ones() {
  const Armed armed(sys::Call::populate, EINVAL);
  const auto memory = must(make_sealed("mmap-test", 2 * kHuge, HugePages::tries));
  g_assert_true(memory.map.pages() == Pages::normal);
  check(memory);
  const auto none = make_sealed("mmap-test", 2 * kHuge, HugePages::require);
  g_assert_false(static_cast<bool>(none));
  g_assert_true(says_what_is_missing(none.error()));
}

// --- a peer's -----------------------------------------------------------------------------------

Fd memfd(size_t size) {
  Fd fd(memfd_create("mmap-test", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB));
  // Where the kernel has none at all.
  if (fd) g_assert_cmpint(ftruncate(fd.get(), static_cast<off_t>(size)), ==, 0);
  return fd;
}

// Pages of it, where there are any.
bool fill(const Fd& fd, size_t from, size_t to) {
  return fallocate(fd.get(), FALLOC_FL_KEEP_SIZE, static_cast<off_t>(from),
                   static_cast<off_t>(to - from)) == 0;
}

const Fd& sealed(const Fd& fd, int seals = kAllSeals) {
  g_assert_cmpint(fcntl(fd.get(), F_ADD_SEALS, seals), ==, 0);
  return fd;
}

size_t pages_of(const Fd& fd) {
  struct stat st {};
  g_assert_cmpint(fstat(fd.get(), &st), ==, 0);
  return static_cast<size_t>(st.st_blocks) * 512 / kHuge;
}

// Skips, and says why, where nothing was set aside: then nobody has memory to send, either.
bool skip_without(bool there) {
  if (!there) g_test_skip("not enough huge pages are set aside: sysctl vm.nr_hugepages=16");
  return !there;
}

void refuses_what_is_not_sealed() {
  for (const int missing : {F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_FUTURE_WRITE, F_SEAL_SEAL}) {
    const Fd fd = memfd(kHuge);
    if (skip_without(static_cast<bool>(fd))) return;
    g_assert_true(fails(map_sealed(sealed(fd, kAllSeals & ~missing), kHuge), Failure::protocol,
                        "the peer's memory is not sealed"));
  }
}

void refuses_holes() {
  const auto refused = [](const Fd& fd, size_t size) {
    return fails(map_sealed(fd, size), Failure::protocol, "the peer's memory has holes");
  };
  const Fd empty = memfd(3 * kHuge);
  if (skip_without(static_cast<bool>(empty))) return;
  g_assert_true(refused(sealed(empty), 3 * kHuge));
  g_assert_cmpuint(pages_of(empty), ==, 0);
  for (const size_t hole : {size_t{0}, size_t{1}, size_t{2}}) {
    const Fd one = memfd(3 * kHuge);
    for (size_t page = 0; page < 3; ++page)
      if (page != hole && skip_without(fill(one, page * kHuge, (page + 1) * kHuge))) return;
    g_assert_true(refused(sealed(one), 3 * kHuge));
    g_assert_cmpuint(pages_of(one), ==, 2);
  }
}

// It has as many pages as it should, but some behind its end. The first that is missing is filled
// in our name, and no other.
void pays_for_one_hole_at_most() {
  const Fd beyond = memfd(3 * kHuge);
  if (skip_without(beyond && fill(beyond, 0, kHuge) && fill(beyond, 3 * kHuge, 5 * kHuge))) return;
  g_assert_cmpuint(pages_of(beyond), ==, 3);
  g_assert_true(fails(map_sealed(sealed(beyond), 3 * kHuge), Failure::protocol,
                      "the peer's memory has holes"));
  g_assert_cmpuint(pages_of(beyond), ==, 4);
}

// Which would be a SIGBUS where it is read.
void what_can_not_be_had_is_an_error() {
  const Fd fd = memfd(kHuge);
  if (skip_without(fd && fill(fd, 0, kHuge))) return;
  const Armed armed(sys::Call::populate, EFAULT);
  g_assert_true(fails(map_sealed(sealed(fd), kHuge, false), Failure::system,
                      "populating the peer's huge pages: Bad address"));
}

void refuses_another_size_than_announced() {
  const Fd fd = memfd(2 * kHuge);
  if (skip_without(fd && fill(fd, 0, 2 * kHuge))) return;
  sealed(fd);
  for (const size_t size : {size_t{0}, page_size(), kHuge, 2 * kHuge - page_size(), 3 * kHuge})
    g_assert_true(fails(map_sealed(fd, size), Failure::protocol,
                        "the peer's memory is not of the size it announced"));
}

void refuses_pages_of_other_sizes() {
  constexpr unsigned kGigabyte = 30U << 26;
  const Fd fd(memfd_create("mmap-test", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB | kGigabyte));
  if (!fd) return g_test_skip("this kernel has no huge pages of another size");
  g_assert_cmpint(ftruncate(fd.get(), 1 << 30), ==, 0);
  g_assert_true(fails(map_sealed(sealed(fd), 1 << 30), Failure::protocol,
                      "the peer's memory is in pages of another size"));
}

// --- arenas -------------------------------------------------------------------------------------

std::shared_ptr<ArenaStore> make_store(size_t huge_pages, HugePages huge) {
  return std::make_shared<ArenaStore>(huge_pages * kHuge, huge);
}

void arenas_are_of_whole_ones() {
  const auto store = make_store(64, HugePages::tries);
  std::vector<Block> blocks;
  for (const size_t size : {size_t{100}, kHuge + 1, 3 * kHuge + 5})
    blocks.push_back(must(store->allocate(size, 64)));
  uint64_t bytes = 0;
  for (const auto& block : blocks) {
    g_assert_cmpuint(block.arena()->size() % kHuge, ==, 0);
    bytes += block.arena()->size();
  }
  const auto usage = store->usage();
  g_assert_cmpuint(usage.bytes, ==, bytes);
  g_assert_cmpuint(usage.hugetlb + usage.transparent, <=, bytes);
  {
    const Armed armed(sys::Call::huge_pages, ENODEV);
    const auto none = make_store(64, HugePages::tries);
    blocks.push_back(must(none->allocate(3 * kHuge, 64)));
    g_assert_cmpuint(none->usage().hugetlb + none->usage().transparent, ==, 0);
    g_assert_true(fails(make_store(64, HugePages::require)->allocate(100, 64), Failure::no_space,
                        "huge-pages=require"));
  }
}

void max_memory_counts_whole_ones() {
  // For the second there is half of a huge page left.
  const auto store = std::make_shared<ArenaStore>(3 * kHuge + kHuge / 2, HugePages::tries);
  const Block large = must(store->allocate(2 * kHuge + kHuge / 2, 64));
  g_assert_cmpuint(large.arena()->size(), ==, 3 * kHuge);
  const Block small = must(store->allocate(kHuge / 2, 64));
  g_assert_cmpuint(small.arena()->size(), ==, kHuge / 2);
  g_assert_cmpuint(store->usage().bytes, ==, store->max_memory());

  const auto less = std::make_shared<ArenaStore>(kHuge + kHuge / 2, HugePages::require);
  g_assert_true(fails(less->allocate(kHuge + 1, 64), Failure::settings,
                      "bytes in huge pages are more than max-memory"));
  const auto least = std::make_shared<ArenaStore>(kHuge / 2, HugePages::require);
  g_assert_true(fails(least->allocate(1, 64), Failure::settings, "in huge pages"));
}

// As many as fit, down to the last, in whole ones.
void required_ones_fill_max_memory() {
  const auto store = make_store(5, HugePages::require);
  std::vector<Block> blocks;
  for (;;) {
    auto block = store->allocate(kHuge + kHuge / 4, 64);
    if (!block) {
      g_test_message("%s", block.error().text.c_str());
      if (block.error().failure == Failure::no_space) return;  // is_what_it_says() looks at that
      g_assert_true(block.error().failure == Failure::limit);
      break;
    }
    g_assert_true(block->arena()->pages() != Pages::normal);
    g_assert_cmpuint(store->usage().bytes, <=, 5 * kHuge);
    blocks.push_back(std::move(*block));
  }
  g_assert_cmpuint(blocks.size(), >=, 3);
}

}  // namespace
}  // namespace mmaplink::test

int main(int argc, char** argv) {
  using namespace mmaplink::test;
  return run_all(
      argc, argv,
      {{"/huge-pages/is-what-it-says", is_what_it_says},
       {"/huge-pages/little-stays-little", little_stays_little},
       {"/huge-pages/without-hugetlbfs-there-are-transparent-ones",
        without_hugetlbfs_there_are_transparent_ones},
       {"/huge-pages/without-any-there-are-normal-ones-or-an-error",
        without_any_there_are_normal_ones_or_an_error},
       {"/huge-pages/older-kernels-have-normal-ones", older_kernels_have_normal_ones},
       {"/huge-pages/refuses-what-is-not-sealed", refuses_what_is_not_sealed},
       {"/huge-pages/refuses-holes", refuses_holes},
       {"/huge-pages/pays-for-one-hole-at-most", pays_for_one_hole_at_most},
       {"/huge-pages/what-can-not-be-had-is-an-error", what_can_not_be_had_is_an_error},
       {"/huge-pages/refuses-another-size-than-announced", refuses_another_size_than_announced},
       {"/huge-pages/refuses-pages-of-other-sizes", refuses_pages_of_other_sizes},
       {"/huge-pages/arenas-are-of-whole-ones", arenas_are_of_whole_ones},
       {"/huge-pages/max-memory-counts-whole-ones", max_memory_counts_whole_ones},
       {"/huge-pages/required-ones-fill-max-memory", required_ones_fill_max_memory}});
}
