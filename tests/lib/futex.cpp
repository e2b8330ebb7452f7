// Waiting for words to change: every reason a wait ends, also across processes, on memory mapped
// read-only, and on a kernel without futex_waitv.
#include "lib/futex.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

#include <thread>
#include <vector>

#include "tests/lib/helpers.h"

namespace mmaplink::test {
namespace {

// No test waits this long; one that does has missed its wake-up.
Deadline far_away() { return Clock::now() + std::chrono::seconds(20); }

uint64_t kernel_now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

void clock_is_monotonic() {
  const uint64_t before = kernel_now();
  const uint64_t now = monotonic_ns();
  g_assert_cmpuint(before, <=, now);
  g_assert_cmpuint(now, <=, kernel_now());
}

void returns_where_a_word_differs() {
  const std::atomic<uint32_t> first{1};
  const std::atomic<uint32_t> second{2};
  const Deadline deadline = far_away();
  for (const bool shared : {false, true}) {
    wait_any(std::array{WaitWord{&first, 0, shared}, WaitWord{&second, 2, shared}}, deadline);
    wait_any(std::array{WaitWord{&first, 1, shared}, WaitWord{&second, 0, shared}}, deadline);
  }
  g_assert_true(Clock::now() < deadline);
}

void returns_at_a_deadline() {
  const std::atomic<uint32_t> word{0};
  const std::array words{WaitWord{&word, 0, false}};
  wait_any(words, Clock::now() - std::chrono::hours(1));
  wait_any(words, Clock::now());
  const Deadline soon = Clock::now() + std::chrono::milliseconds(20);
  while (Clock::now() < soon) wait_any(words, soon);
}

// A waiter that looks, waits and looks again, as everything in lib/ does.
void wait_until_set(const std::atomic<uint32_t>& word, bool shared, const Kick& kick) {
  const Deadline deadline = far_away();
  while (word == 0) {
    wait_any(std::array{WaitWord{&word, 0, shared}, kick.word(kick.value())}, deadline);
    g_assert_true(Clock::now() < deadline);
  }
}

void is_woken_by_another_thread() {
  for (const bool shared : {false, true})
    for (int round = 0; round < 200; ++round) {
      std::atomic<uint32_t> word{0};
      const Kick kick;
      std::thread waiter([&] { wait_until_set(word, shared, kick); });
      word = 1;
      wake(&word, shared);
      waiter.join();
    }
}

void is_kicked() {
  for (int round = 0; round < 200; ++round) {
    const std::atomic<uint32_t> never{0};
    std::atomic<bool> stop{false};
    Kick kick;
    std::thread waiter([&] {
      const Deadline deadline = far_away();
      for (;;) {
        // The order that misses nothing: value, condition, wait.
        const uint32_t seen = kick.value();
        if (stop) return;
        wait_any(std::array{WaitWord{&never, 0, true}, kick.word(seen)}, deadline);
        g_assert_true(Clock::now() < deadline);
      }
    });
    stop = true;
    kick.kick();
    waiter.join();
  }
}

void a_kick_before_the_wait_counts() {
  const std::atomic<uint32_t> never{0};
  Kick kick;
  const uint32_t seen = kick.value();
  kick.kick();
  g_assert_cmpuint(kick.value(), !=, seen);
  const Deadline deadline = far_away();
  wait_any(std::array{WaitWord{&never, 0, true}, kick.word(seen)}, deadline);
  g_assert_true(Clock::now() < deadline);
}

void watches_many_words() {
  std::vector<std::atomic<uint32_t>> values(200);
  std::vector<WaitWord> words;
  for (const auto& value : values) words.push_back({&value, 0, false});
  const Deadline deadline = far_away();
  // The last of the 128 that are watched.
  std::thread waker([&] {
    values[127] = 1;
    wake(&values[127], false);
  });
  while (values[127] == 0) wait_any(words, deadline);
  wait_any(words, deadline);
  g_assert_true(Clock::now() < deadline);
  waker.join();
}

void watches_the_low_half_of_an_index() {
  std::atomic<uint64_t> index{0x1122334455667788};
  uint32_t low = 0;
  std::memcpy(&low, low_word(index), sizeof low);
  g_assert_cmphex(low, ==, 0x55667788);
  const Deadline deadline = far_away();
  ++index;
  wait_any(std::array{WaitWord{low_word(index), low, true}}, deadline);
  g_assert_true(Clock::now() < deadline);
}

// The peer's half is mapped read-only, and both waiting and waking work on that.
void works_on_read_only_memory() {
  const auto memory = must(make_sealed("mmap-test", page_size()));
  auto* word = reinterpret_cast<std::atomic<uint32_t>*>(memory.map.data());
  auto* answer = word + 16;
  const Mapping view = must(map_sealed(memory.fd, page_size()));
  const auto* seen = reinterpret_cast<const std::atomic<uint32_t>*>(view.data());
  std::thread peer([&] {
    const Deadline deadline = far_away();
    while (*seen == 0) wait_any(std::array{WaitWord{seen, 0, true}}, deadline);
    // Wakes who waits on the writable mapping, through this one.
    *answer = 1;
    wake(seen + 16, true);
  });
  *word = 1;
  wake(word, true);
  wait_until_set(*answer, true, Kick());
  peer.join();
}

void is_woken_by_another_process() {
  void* data =
      mmap(nullptr, page_size(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  g_assert_true(data != MAP_FAILED);
  auto* ping = static_cast<std::atomic<uint32_t>*>(data);
  auto* pong = ping + 16;
  constexpr uint32_t kRounds = 200;
  const auto turn = [](std::atomic<uint32_t>& mine, std::atomic<uint32_t>& other, uint32_t from) {
    const Deadline deadline = far_away();
    while (other == from && Clock::now() < deadline)
      wait_any(std::array{WaitWord{&other, from, true}}, deadline);
    ++mine;
    wake(&mine, true);
    return Clock::now() < deadline;
  };
  const pid_t child = fork();
  if (child == 0) {
    for (uint32_t i = 0; i < kRounds; ++i)
      if (!turn(*pong, *ping, i)) _exit(1);
    _exit(0);
  }
  ++*ping;
  wake(ping, true);
  for (uint32_t i = 0; i + 1 < kRounds; ++i) g_assert_true(turn(*ping, *pong, i));
  int status = 0;
  waitpid(child, &status, 0);
  g_assert_cmpint(status, ==, 0);
  munmap(data, page_size());
}

// Makes this process one whose kernel does not know futex_waitv.
bool refuse_futex_waitv(int code) {
  const auto errno_bits = static_cast<uint32_t>(code) & SECCOMP_RET_DATA;
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_futex_waitv, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | errno_bits),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{std::size(filter), filter};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

void works_without_futex_waitv() {
  for (const int code : {ENOSYS, EPERM})
    g_assert_true(in_child([code] {
      if (!refuse_futex_waitv(code)) return false;
      std::atomic<uint32_t> word{0};
      // A word of the process, as a kick is, second in the list: found by looking again. A timer
      // changes it, as the child has no other thread.
      static Kick kick;
      const uint32_t seen = kick.value();
      signal(SIGALRM, [](int) { kick.kick(); });
      const itimerval once{{0, 0}, {0, 20000}};
      setitimer(ITIMER_REAL, &once, nullptr);
      const Deadline deadline = far_away();
      while (kick.value() == seen && Clock::now() < deadline)
        wait_any(std::array{WaitWord{&word, 0, true}, kick.word(seen)}, deadline);
      wait_any(std::array{WaitWord{&word, 1, true}, kick.word(seen)}, deadline);
      wait_any(std::array{WaitWord{&word, 0, true}}, Clock::now() - std::chrono::hours(1));
      return Clock::now() < deadline;
    }));
}

}  // namespace
}  // namespace mmaplink::test

int main(int argc, char** argv) {
  using namespace mmaplink::test;
  return run_all(argc, argv,
                 {{"/futex/clock-is-monotonic", clock_is_monotonic},
                  {"/futex/returns-where-a-word-differs", returns_where_a_word_differs},
                  {"/futex/returns-at-a-deadline", returns_at_a_deadline},
                  {"/futex/is-woken-by-another-thread", is_woken_by_another_thread},
                  {"/futex/is-kicked", is_kicked},
                  {"/futex/a-kick-before-the-wait-counts", a_kick_before_the_wait_counts},
                  {"/futex/watches-many-words", watches_many_words},
                  {"/futex/watches-the-low-half-of-an-index", watches_the_low_half_of_an_index},
                  {"/futex/works-on-read-only-memory", works_on_read_only_memory},
                  {"/futex/is-woken-by-another-process", is_woken_by_another_process},
                  {"/futex/works-without-futex-waitv", works_without_futex_waitv}});
}
