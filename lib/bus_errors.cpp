#include "lib/bus_errors.h"

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <mutex>
#include <string>

namespace mmaplink {

namespace {

constexpr size_t kMost = 256;

// Read by the handler, which may interrupt anything: nothing but lock-free words.
struct Slot {
  std::atomic<uintptr_t> begin{0};
  std::atomic<uintptr_t> end{0};  // 0: free
  std::atomic<size_t> page{0};
  std::atomic<int> wake{-1};
  std::atomic<bool> broken{false};
};
static_assert(std::atomic<uintptr_t>::is_always_lock_free);

std::array<Slot, kMost> slots;
struct sigaction before;

// False where the fault is in none of them.
bool mend(uintptr_t address) {
  for (Slot& slot : slots) {
    const uintptr_t begin = slot.begin.load(std::memory_order_acquire);
    const uintptr_t end = slot.end.load(std::memory_order_acquire);
    if (address < begin || address >= end) continue;
    // Used again meanwhile: the two do not belong together, and the fault was none of these.
    if (slot.begin.load(std::memory_order_acquire) != begin) continue;
    // A file is cut at its end: what lies behind has gone, too.
    const size_t page = slot.page.load(std::memory_order_relaxed);
    const uintptr_t from = begin + ((address - begin) & ~(page - 1));
    void* zeros = mmap(reinterpret_cast<void*>(from), end - from, PROT_READ | PROT_WRITE,
                       // cppcheck-suppress invalidFunctionArg ; anonymous memory has no descriptor
                       MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (zeros == MAP_FAILED) return false;
    slot.broken.store(true, std::memory_order_release);
    const uint64_t one = 1;
    [[maybe_unused]] const auto written = write(slot.wake.load(), &one, sizeof one);
    return true;
  }
  return false;
}

void handle(int signal, siginfo_t* info, void* context) {
  const int code = errno;
  const bool mended = info->si_code > 0 && mend(reinterpret_cast<uintptr_t>(info->si_addr));
  errno = code;
  if (mended) return;
  if ((before.sa_flags & SA_SIGINFO) != 0 && before.sa_sigaction != nullptr) {
    before.sa_sigaction(signal, info, context);
  } else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
    before.sa_handler(signal);
  } else if (info->si_code > 0 || before.sa_handler == SIG_DFL) {
    // The instruction is tried again, and kills now; so does a signal that was sent.
    struct sigaction plain {};
    plain.sa_handler = SIG_DFL;
    sigaction(signal, &plain, nullptr);
    if (info->si_code <= 0) raise(signal);
  }
}

Status install() {
  static std::mutex mutex;
  static bool installed = false;
  const std::lock_guard lock(mutex);
  if (installed) return ok();
  struct sigaction action {};
  action.sa_sigaction = handle;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
  sigemptyset(&action.sa_mask);
  // First, since it may be called as soon as it is there.
  if (sigaction(SIGBUS, nullptr, &before) != 0 || sigaction(SIGBUS, &action, nullptr) != 0)
    return system_error(errno, "handling SIGBUS");
  installed = true;
  return ok();
}

std::mutex slots_mutex;

}  // namespace

Result<std::unique_ptr<BusErrorGuard>> BusErrorGuard::make(void* data, size_t size, size_t page,
                                                           int wake) {
  if (auto installed = install(); !installed) return installed.error();
  const std::lock_guard lock(slots_mutex);
  for (size_t i = 0; i < slots.size(); ++i) {
    Slot& slot = slots[i];
    if (slot.end.load() != 0) continue;
    slot.page = page;
    slot.wake = wake;
    slot.broken = false;
    slot.begin.store(reinterpret_cast<uintptr_t>(data), std::memory_order_release);
    slot.end.store(reinterpret_cast<uintptr_t>(data) + size, std::memory_order_release);
    return std::unique_ptr<BusErrorGuard>(new BusErrorGuard(i));
  }
  return Error{Failure::limit, "more than " + std::to_string(kMost) + " files mapped at once"};
}

BusErrorGuard::~BusErrorGuard() {
  slots[slot_].begin.store(UINTPTR_MAX, std::memory_order_release);
  slots[slot_].end.store(0, std::memory_order_release);
}

bool BusErrorGuard::broken() const { return slots[slot_].broken.load(std::memory_order_acquire); }

}  // namespace mmaplink
