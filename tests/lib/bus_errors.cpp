// A file that is cut short under its mapping: zeros for whoever reads there, word for its owner, and
// nothing new for anybody else.
#include "lib/bus_errors.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <csignal>

#include "lib/sealed.h"
#include "tests/lib/helpers.h"

namespace mmaplink::test {
namespace {

struct File {
  explicit File(size_t pages) {
    g_assert_cmpint(ftruncate(fd.get(), static_cast<off_t>(pages * page_size())), ==, 0);
    void* data = mmap(nullptr, pages * page_size(), PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
    g_assert_true(data != MAP_FAILED);
    map = Mapping(static_cast<std::byte*>(data), pages * page_size());
    for (size_t i = 0; i < pages; ++i) at(i) = std::byte{7};
  }
  volatile std::byte& at(size_t page) { return map.data()[page * page_size()]; }
  void cut(size_t pages) const {
    g_assert_cmpint(ftruncate(fd.get(), static_cast<off_t>(pages * page_size())), ==, 0);
  }
  Fd fd{memfd_create("mmap-test", MFD_CLOEXEC)};
  Mapping map;
};

struct Guarded : File {
  explicit Guarded(size_t pages) : File(pages) {}
  uint64_t wakes() const {
    eventfd_t count = 0;
    return eventfd_read(wake.get(), &count) == 0 ? count : 0;
  }
  const Fd wake{eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
  const std::unique_ptr<BusErrorGuard> guard =
      must(BusErrorGuard::make(map.data(), map.size(), page_size(), wake.get()));
};

void what_has_gone_reads_as_zeros() {
  Guarded file(4);
  g_assert_false(file.guard->broken());
  file.cut(2);
  g_assert_true(file.at(1) == std::byte{7});
  g_assert_false(file.guard->broken());
  g_assert_true(file.at(3) == std::byte{0});
  g_assert_true(file.guard->broken());
  g_assert_cmpuint(file.wakes(), ==, 1);
  file.at(3) = std::byte{1};  // may be written, too
  g_assert_true(file.at(2) == std::byte{0});
  g_assert_true(file.at(1) == std::byte{7});
  // And shorter still.
  file.cut(0);
  g_assert_true(file.at(0) == std::byte{0});
  g_assert_cmpuint(file.wakes(), >=, 1);
}

void each_is_told_of_its_own() {
  Guarded one(2);
  Guarded other(2);
  other.cut(0);
  g_assert_true(other.at(1) == std::byte{0});
  g_assert_true(other.guard->broken());
  g_assert_false(one.guard->broken());
  g_assert_cmpuint(one.wakes(), ==, 0);
}

// Pages of the file larger than those of the system, and a mapping that begins anywhere: what lies
// in front of it is not ours.
void what_lies_beside_it_stays() {
  const size_t page = page_size();
  void* all = mmap(nullptr, 64 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  g_assert_true(all != MAP_FAILED);
  auto* const bytes = static_cast<volatile std::byte*>(all);
  for (size_t i = 0; i < 64; ++i) bytes[i * page] = std::byte{5};
  const Fd fd(memfd_create("mmap-test", MFD_CLOEXEC));
  g_assert_cmpint(ftruncate(fd.get(), static_cast<off_t>(16 * page)), ==, 0);
  std::byte* at = static_cast<std::byte*>(all) + 21 * page;
  g_assert_true(mmap(at, 16 * page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd.get(), 0) ==
                at);
  const Fd wake(eventfd(0, EFD_NONBLOCK));
  const auto guard = must(BusErrorGuard::make(at, 16 * page, 16 * page, wake.get()));
  g_assert_cmpint(ftruncate(fd.get(), 0), ==, 0);
  g_assert_true(bytes[25 * page] == std::byte{0});
  g_assert_true(bytes[20 * page] == std::byte{5} && bytes[37 * page] == std::byte{5});
  munmap(all, 64 * page);
}

// The status of a child that does that.
int status_of(const std::function<void()>& body) {
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGALRM, SIG_DFL);
    alarm(10);
    body();
    _exit(0);
  }
  int status = 0;
  g_assert_cmpint(waitpid(child, &status, 0), ==, child);
  return status;
}

void others_are_killed_as_before() {
  const Guarded guarded(1);
  const auto killed = [](const std::function<void()>& body) {
    const int status = status_of(body);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS;
  };
  g_assert_true(killed([] {
    File file(2);
    file.cut(0);
    std::ignore = file.at(1) == std::byte{0};
  }));
  g_assert_true(killed([] { raise(SIGBUS); }));
  // Of what is guarded no more.
  g_assert_true(killed([] {
    File file(2);
    const Fd wake(eventfd(0, 0));
    must(BusErrorGuard::make(file.map.data(), file.map.size(), page_size(), wake.get())).reset();
    file.cut(0);
    std::ignore = file.at(1) == std::byte{0};
  }));
}

// In a child, where nobody has set one up yet.
void the_handler_before_is_called() {
  const int status = status_of([] {
    struct sigaction own {};
    own.sa_sigaction = [](int, siginfo_t*, void*) { _exit(42); };
    own.sa_flags = SA_SIGINFO;
    sigaction(SIGBUS, &own, nullptr);
    Guarded guarded(2);
    guarded.cut(1);
    if (guarded.at(1) != std::byte{0}) _exit(1);
    File file(2);
    file.cut(0);
    std::ignore = file.at(1) == std::byte{0};
  });
  g_assert_true(WIFEXITED(status));
  g_assert_cmpint(WEXITSTATUS(status), ==, 42);
}

}  // namespace
}  // namespace mmaplink::test

int main(int argc, char** argv) {
  using namespace mmaplink::test;
  // A sanitizer has a handler of its own, which is none of what is looked at here.
  signal(SIGBUS, SIG_DFL);
  return run_all(argc, argv,
                 {{"/bus_errors/the-handler-before-is-called", the_handler_before_is_called},
                  {"/bus_errors/what-has-gone-reads-as-zeros", what_has_gone_reads_as_zeros},
                  {"/bus_errors/each-is-told-of-its-own", each_is_told_of_its_own},
                  {"/bus_errors/what-lies-beside-it-stays", what_lies_beside_it_stays},
                  {"/bus_errors/others-are-killed-as-before", others_are_killed_as_before}});
}
