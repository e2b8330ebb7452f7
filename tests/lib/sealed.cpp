// Sealed memory: its owner alone writes, the peer believes nothing that it has not checked.
#include "lib/sealed.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cerrno>
#include <fstream>
#include <sstream>

#include "lib/system.h"
#include "tests/lib/helpers.h"

namespace mmaplink::test {
namespace {

constexpr int kAllSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;

Fd memfd(size_t size, int seals) {
  Fd fd(memfd_create("mmap-test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  g_assert_cmpint(ftruncate(fd.get(), static_cast<off_t>(size)), ==, 0);
  if (seals != 0) g_assert_cmpint(fcntl(fd.get(), F_ADD_SEALS, seals), ==, 0);
  return fd;
}

bool can_map(int fd, int prot) {
  void* data = mmap(nullptr, page_size(), prot, MAP_SHARED, fd, 0);
  if (data == MAP_FAILED) return false;
  munmap(data, page_size());
  return true;
}

void owner_writes_and_peer_reads() {
  const size_t size = 3 * page_size();
  const auto memory = must(make_sealed("mmap-test", size));
  const Mapping view = must(map_sealed(memory.fd, size));
  g_assert_true(view.data() != memory.map.data());
  for (size_t i = 0; i < size; i += 511) {
    memory.map.data()[i] = static_cast<std::byte>(i);
    g_assert_true(view.data()[i] == static_cast<std::byte>(i));
  }
}

void nobody_else_can_write() {
  const auto memory = must(make_sealed("mmap-test", page_size()));
  const int fd = memory.fd.get();
  g_assert_true(can_map(fd, PROT_READ));
  g_assert_false(can_map(fd, PROT_READ | PROT_WRITE));
  // Nor by opening it again, or by making a read-only mapping writable.
  const Fd again(open(("/proc/self/fd/" + std::to_string(fd)).c_str(), O_RDWR | O_CLOEXEC));
  g_assert_true(static_cast<bool>(again));
  g_assert_false(can_map(again.get(), PROT_READ | PROT_WRITE));
  const Mapping view = must(map_sealed(memory.fd, page_size()));
  g_assert_cmpint(mprotect(view.data(), page_size(), PROT_READ | PROT_WRITE), !=, 0);
  g_assert_cmpint(write(fd, "x", 1), <, 0);
  g_assert_cmpint(pwrite(again.get(), "x", 1, 0), <, 0);
}

void nobody_can_change_its_size() {
  const auto memory = must(make_sealed("mmap-test", 2 * page_size()));
  const int fd = memory.fd.get();
  const auto page = static_cast<off_t>(page_size());
  g_assert_cmpint(ftruncate(fd, page), !=, 0);
  g_assert_cmpint(ftruncate(fd, 3 * page), !=, 0);
  g_assert_cmpint(fallocate(fd, 0, 2 * page, page), !=, 0);
  // A hole would be a page that could be missing when it is read.
  g_assert_cmpint(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, page), !=, 0);
  g_assert_cmpint(madvise(memory.map.data(), page_size(), MADV_REMOVE), !=, 0);
  g_assert_cmpint(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), !=, 0);
}

void is_whole_pages_backed_by_memory() {
  for (const size_t size : {size_t{1}, page_size() - 1, page_size(), page_size() + 1}) {
    const auto memory = must(make_sealed("mmap-test", size));
    g_assert_cmpuint(memory.map.size(), ==, round_to_page(size));
    struct stat st {};
    g_assert_cmpint(fstat(memory.fd.get(), &st), ==, 0);
    g_assert_cmpuint(static_cast<size_t>(st.st_size), ==, round_to_page(size));
    g_assert_cmpuint(static_cast<size_t>(st.st_blocks) * 512, >=, round_to_page(size));
    g_assert_cmpint(fcntl(memory.fd.get(), F_GETFD) & FD_CLOEXEC, ==, FD_CLOEXEC);
  }
  g_assert_cmpuint(round_to_page(0), ==, 0);
}

void refuses_to_make_what_can_not_be() {
  g_assert_true(fails(make_sealed("mmap-test", 0), Failure::no_space, "shared memory of 0 bytes"));
  for (const size_t size : {~size_t{0}, size_t{1} << 63, (size_t{1} << 63) - 1})
    g_assert_true(fails(make_sealed("mmap-test", size), Failure::no_space, "shared memory of "));
}

// What the system has no more of is an error with the size in it, here and not later.
void names_what_ran_out() {
  // A sanitizer looks at the type behind an error's text through a pipe, but only the first time.
  g_assert_true(system_error(EMFILE, "here").failure == Failure::no_space);
  g_assert_true(in_child([] {
    const rlimit none{0, 0};
    setrlimit(RLIMIT_NOFILE, &none);
    return fails(make_sealed("mmap-test", 5000), Failure::no_space,
                 "shared memory of 8192 bytes: memfd_create: Too many open files");
  }));
  g_assert_true(in_child([] {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit little{4096, 4096};
    setrlimit(RLIMIT_FSIZE, &little);
    return fails(make_sealed("mmap-test", 8192), Failure::system,
                 "shared memory of 8192 bytes: ftruncate: File too large");
  }));
}

void refuses_what_is_not_sealed() {
  const auto refused = [](const Fd& fd) {
    return fails(map_sealed(fd, page_size()), Failure::protocol, "the peer's memory is not sealed");
  };
  g_assert_true(refused(memfd(page_size(), 0)));
  for (const int missing : {F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_FUTURE_WRITE, F_SEAL_SEAL})
    g_assert_true(refused(memfd(page_size(), kAllSeals & ~missing)));
  // A memfd that can't be sealed is born with F_SEAL_SEAL alone.
  const Fd closed(memfd_create("mmap-test", MFD_CLOEXEC));
  g_assert_cmpint(ftruncate(closed.get(), static_cast<off_t>(page_size())), ==, 0);
  g_assert_true(refused(closed));
}

void refuses_what_is_no_memory() {
  const auto refused = [](const Fd& fd) {
    return fails(map_sealed(fd, page_size()), Failure::protocol, "the peer's memory is not ");
  };
  g_assert_true(refused(Fd()));
  g_assert_true(refused(Fd(open("/dev/zero", O_RDWR | O_CLOEXEC))));
  const SocketPair sockets;
  g_assert_true(refused(sockets.a));
  // A file on disk, and one on a tmpfs that others have.
  const TempDir directory;
  const std::string names[] = {directory.path("file"),
                               "/dev/shm/mmap-test-" + std::to_string(getpid())};
  for (const auto& name : names) {
    const Fd file(open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    g_assert_true(static_cast<bool>(file));
    unlink(name.c_str());
    g_assert_cmpint(ftruncate(file.get(), static_cast<off_t>(page_size())), ==, 0);
    g_assert_true(refused(file));
  }
}

void refuses_another_size_than_announced() {
  const auto refused = [](const Fd& fd, size_t size) {
    return fails(map_sealed(fd, size), Failure::protocol,
                 "the peer's memory is not of the size it announced");
  };
  const auto memory = must(make_sealed("mmap-test", 2 * page_size()));
  for (const size_t size : {size_t{0}, size_t{1}, page_size(), 2 * page_size() - 1,
                            2 * page_size() + 1, 3 * page_size(), ~size_t{0}})
    g_assert_true(refused(memory.fd, size));
  g_assert_true(refused(memfd(0, kAllSeals), 0));
  g_assert_true(refused(memfd(page_size() / 2, kAllSeals), page_size() / 2));
}

// Reading a hole allocates memory, for whoever reads: a peer could make us pay for gigabytes that
// it has not got.
void refuses_what_is_not_backed_by_memory() {
  const size_t size = 8 * page_size();
  const auto refused = [size](const Fd& fd) {
    return fails(map_sealed(fd, size), Failure::protocol, "the peer's memory has holes");
  };
  const auto sealed = [](Fd fd) {
    g_assert_cmpint(fcntl(fd.get(), F_ADD_SEALS, kAllSeals), ==, 0);
    return fd;
  };
  g_assert_true(refused(memfd(size, kAllSeals)));
  // Which has as many blocks, behind its end.
  Fd beyond = memfd(size, 0);
  g_assert_cmpint(fallocate(beyond.get(), FALLOC_FL_KEEP_SIZE, static_cast<off_t>(size),
                            static_cast<off_t>(size)),
                  ==, 0);
  g_assert_true(refused(sealed(std::move(beyond))));
  for (const size_t hole : {size_t{0}, size_t{3}, size_t{7}}) {
    Fd one = memfd(size, 0);
    for (size_t page = 0; page < 8; ++page)
      if (page != hole)
        g_assert_cmpint(pwrite(one.get(), "x", 1, static_cast<off_t>(page * page_size())), ==, 1);
    g_assert_true(refused(sealed(std::move(one))));
  }
}

// Where the kernel does not populate the pages are there all the same.
void is_backed_on_older_kernels() {
  sys::arm(sys::Call::populate, EINVAL);
  const auto memory = must(make_sealed("mmap-test", 5 * page_size()));
  const Mapping view = must(map_sealed(memory.fd, 5 * page_size()));
  g_assert_cmpint(sys::failed(), ==, 2);
  sys::disarm();
  g_assert_true(view.data()[4 * page_size()] == std::byte{0});
}

// The VmFlags of the mapping that starts there.
std::string flags_of(const void* data) {
  std::ostringstream start;
  start << std::hex << reinterpret_cast<uintptr_t>(data) << "-";
  std::ifstream maps("/proc/self/smaps");
  bool here = false;
  for (std::string line; std::getline(maps, line);) {
    if (line.rfind(start.str(), 0) == 0) here = true;
    if (here && line.rfind("VmFlags:", 0) == 0) return line + " ";
  }
  return "";
}

void children_do_not_inherit_it() {
  const auto memory = must(make_sealed("mmap-test", page_size()));
  const Mapping view = must(map_sealed(memory.fd, page_size()));
  for (const auto* data : {memory.map.data(), view.data()}) {
    g_assert_true(flags_of(data).find(" dc ") != std::string::npos);
  }
  g_assert_true(in_child([] { return memfd_mappings() == 0; }));
}

void mappings_end_with_their_object() {
  const auto memory = must(make_sealed("mmap-test", page_size()));
  g_assert_cmpuint(memfd_mappings(), ==, 1);
  {
    Mapping first = must(map_sealed(memory.fd, page_size()));
    std::byte* data = first.data();
    Mapping second(std::move(first));
    g_assert_true(second.data() == data && second.size() == page_size());
    g_assert_true(first.data() == nullptr && first.size() == 0);  // NOLINT: promised
    g_assert_cmpuint(memfd_mappings(), ==, 2);
    {
      Mapping third = must(map_sealed(memory.fd, page_size()));
      third = std::move(second);
      g_assert_true(third.data() == data);
      g_assert_cmpuint(memfd_mappings(), ==, 3);
    }
    second = Mapping();
  }
  g_assert_cmpuint(memfd_mappings(), ==, 1);
}

// The descriptor may go: what is mapped stays.
void mapping_outlives_the_descriptor_and_the_owner() {
  auto memory = std::make_unique<SealedMemory>(must(make_sealed("mmap-test", page_size())));
  const Mapping view = must(map_sealed(memory->fd, page_size()));
  memory->map.data()[9] = std::byte{9};
  memory.reset();
  g_assert_true(view.data()[9] == std::byte{9});
}

}  // namespace
}  // namespace mmaplink::test

int main(int argc, char** argv) {
  using namespace mmaplink::test;
  return run_all(
      argc, argv,
      {{"/sealed/owner-writes-and-peer-reads", owner_writes_and_peer_reads},
       {"/sealed/nobody-else-can-write", nobody_else_can_write},
       {"/sealed/nobody-can-change-its-size", nobody_can_change_its_size},
       {"/sealed/is-whole-pages-backed-by-memory", is_whole_pages_backed_by_memory},
       {"/sealed/refuses-to-make-what-can-not-be", refuses_to_make_what_can_not_be},
       {"/sealed/names-what-ran-out", names_what_ran_out},
       {"/sealed/refuses-what-is-not-sealed", refuses_what_is_not_sealed},
       {"/sealed/refuses-what-is-no-memory", refuses_what_is_no_memory},
       {"/sealed/refuses-another-size-than-announced", refuses_another_size_than_announced},
       {"/sealed/refuses-what-is-not-backed-by-memory", refuses_what_is_not_backed_by_memory},
       {"/sealed/is-backed-on-older-kernels", is_backed_on_older_kernels},
       {"/sealed/children-do-not-inherit-it", children_do_not_inherit_it},
       {"/sealed/mappings-end-with-their-object", mappings_end_with_their_object},
       {"/sealed/mapping-outlives-the-descriptor-and-the-owner",
        mapping_outlives_the_descriptor_and_the_owner}});
}
