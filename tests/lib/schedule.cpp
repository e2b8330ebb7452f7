#include "tests/lib/schedule.h"

#include <algorithm>
#include <cstring>
#include <exception>

#ifdef MMAP_TEST_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

namespace mmaplink::test {

namespace {

Schedule* g_schedule = nullptr;

// AddressSanitizer has to know which stack is in use.
#ifdef MMAP_TEST_ASAN
constexpr size_t kStack = 256 * 1024;
void leaves(void** fake_stack, const void* stack, size_t size) {
  __sanitizer_start_switch_fiber(fake_stack, stack, size);
}
void arrives(void* fake_stack, const void** stack, size_t* size) {
  __sanitizer_finish_switch_fiber(fake_stack, stack, size);
}
#else
constexpr size_t kStack = 64 * 1024;
void leaves(void**, const void*, size_t) {}
void arrives(void*, const void**, size_t*) {}
#endif

}  // namespace

// --- choosing -----------------------------------------------------------------------------------

size_t RandomChooser::choose(size_t options, bool forced) {
  if (!forced && !random_.one_in(4)) return 0;
  return random_.below(static_cast<uint32_t>(options));
}

size_t EachChooser::choose(size_t options, bool forced) {
  if (at_ == choices_.size()) choices_.push_back({0, options, forced});
  return choices_[at_++].taken;
}

bool EachChooser::next() {
  at_ = 0;
  int spent = 0;
  for (const Choice& choice : choices_) spent += !choice.forced && choice.taken != 0;
  while (!choices_.empty()) {
    Choice& last = choices_.back();
    const bool counts = !last.forced && last.taken == 0;
    if (last.taken + 1 < last.options && spent + counts <= most_) {
      ++last.taken;
      return true;
    }
    spent -= !last.forced && last.taken != 0;
    choices_.pop_back();
  }
  return false;
}

// --- running ------------------------------------------------------------------------------------

Schedule::Schedule(Chooser& chooser, std::optional<Death> death)
    : chooser_(chooser), death_(death) {}

Schedule::~Schedule() = default;

Schedule* Schedule::current() { return g_schedule; }

void Schedule::add(Side side, std::function<void()> body) { make(side, std::move(body)); }

void Schedule::add_for_death_of(Side other, std::function<void()> body) {
  Fibre& fibre = make(other == kSender ? kReceiver : kSender, std::move(body));
  fibre.for_death = true;
  fibre.blocked = true;
  fibre.sleeps_on = {&dead_[other]};
}

Schedule::Fibre& Schedule::make(Side side, std::function<void()> body) {
  auto fibre = std::make_unique<Fibre>();
  fibre->body = std::move(body);
  fibre->side = side;
  fibre->stack = std::make_unique_for_overwrite<char[]>(kStack);
  getcontext(&fibre->context);
  fibre->context.uc_stack.ss_sp = fibre->stack.get();
  fibre->context.uc_stack.ss_size = kStack;
  makecontext(&fibre->context, enter, 0);
  fibres_.push_back(std::move(fibre));
  return *fibres_.back();
}

bool Schedule::run() {
  g_schedule = this;
  go_on_with_another();
  bool all_ended = true;
  for (const auto& fibre : fibres_) {
    if (!fibre->finished &&
        !(fibre->for_death && !dead_[fibre->side == kSender ? kReceiver : kSender]))
      all_ended = false;
    fibre->unwinding = true;
  }
  // Whoever is left lets go of what it has.
  ending_ = true;
  for (const auto& fibre : fibres_)
    if (!fibre->finished) switch_to(fibre.get());
  g_schedule = nullptr;
  return all_ended;
}

void Schedule::enter() { g_schedule->body_of(*g_schedule->running_); }

void Schedule::body_of(Fibre& fibre) {
  const void* stack = nullptr;
  size_t size = 0;
  arrives(nullptr, &stack, &size);
  if (caller_stack_ == nullptr) {  // the first comes from there
    caller_stack_ = stack;
    caller_stack_size_ = size;
  }
  try {
    if (!fibre.unwinding) fibre.body();
  } catch (const Died&) {
  }
  fence();
  fibre.finished = true;
  go_on_with_another();
}

std::vector<Schedule::Fibre*> Schedule::ready() const {
  std::vector<Fibre*> list;
  // Who has died is done with at once.
  for (const auto& fibre : fibres_)
    if (fibre->unwinding && !fibre->finished) return {fibre.get()};
  for (const auto& fibre : fibres_)
    if (!fibre->finished && !fibre->blocked) list.push_back(fibre.get());
  return list;
}

Schedule::Fibre* Schedule::another() {
  const auto others = ready();
  if (others.empty() || ending_) return nullptr;
  return others[others.size() == 1 ? 0 : chooser_.choose(others.size(), true)];
}

// Does not come back to one that has finished: nothing on its stack may have to go then.
void Schedule::go_on_with_another() { switch_to(another()); }

void Schedule::switch_to(Fibre* next) {
  Fibre* const from = running_;
  if (next == from) return;
  running_ = next;
  void** const fake_stack = from ? &from->fake_stack : &caller_fake_stack_;
  if (next)
    leaves(from && from->finished ? nullptr : fake_stack, next->stack.get(), kStack);
  else
    leaves(from->finished ? nullptr : fake_stack, caller_stack_, caller_stack_size_);
  swapcontext(from ? &from->context : &caller_, next ? &next->context : &caller_);
  arrives(*fake_stack, nullptr, nullptr);
}

void Schedule::step() {
  if (running_ == nullptr) return;
  Fibre& self = *running_;
  if (!self.unwinding && death_ && death_->side == self.side && steps_[self.side]++ == death_->step)
    kill(self.side);
  pause();
  if (self.unwinding && std::uncaught_exceptions() == 0) throw Died{};
}

void Schedule::kill(Side side) {
  dead_[side] = true;
  for (const auto& fibre : fibres_) {
    if (fibre->side != side) continue;
    fibre->unwinding = true;
    fibre->blocked = false;
  }
  unblock(&dead_[side]);
}

void Schedule::pause() {
  if (running_ == nullptr || running_->unwinding) return;
  auto others = ready();
  if (others.size() < 2) return;
  // Itself first: to go on costs nothing.
  std::iter_swap(others.begin(), std::find(others.begin(), others.end(), running_));
  switch_to(others[chooser_.choose(others.size(), false)]);
}

void Schedule::store(void* address, uint64_t value, size_t size) {
  step();
  auto& stores = running_->stores;
  stores.push_back({address, value, size});
  if (running_->unwinding || chooser_.choose(2, false) == 0) {
    const bool fences = std::exchange(without_fences, false);
    fence();
    without_fences = fences;
  }
}

void Schedule::fence() {
  if (running_ == nullptr) return;
  for (const Store& store : running_->stores) {
    if (store.size == sizeof(uint32_t))
      __atomic_store_n(static_cast<uint32_t*>(store.address), static_cast<uint32_t>(store.value),
                       __ATOMIC_SEQ_CST);
    else
      __atomic_store_n(static_cast<uint64_t*>(store.address), store.value, __ATOMIC_SEQ_CST);
  }
  running_->stores.clear();
}

void Schedule::block(std::vector<const void*> addresses) {
  Fibre& self = *running_;
  self.sleeps_on = std::move(addresses);
  self.blocked = true;
  go_on_with_another();
  self.sleeps_on.clear();
  if (self.unwinding && std::uncaught_exceptions() == 0) throw Died{};
}

void Schedule::wait(std::span<const WaitWord> words) {
  fence();
  step();
  std::vector<const void*> addresses;
  for (const WaitWord& word : words) {
    const auto* now = static_cast<const uint32_t*>(word.address);
    if (__atomic_load_n(now, __ATOMIC_SEQ_CST) != word.expected) return;
    addresses.push_back(word.address);
  }
  block(std::move(addresses));
}

void Schedule::wake(const void* address) {
  fence();
  step();
  unblock(address);
}

void Schedule::unblock(const void* address) {
  for (const auto& fibre : fibres_) {
    const auto& on = fibre->sleeps_on;
    if (std::find(on.begin(), on.end(), address) != on.end()) fibre->blocked = false;
  }
}

void Schedule::yield() {
  fence();
  if (running_ != nullptr && !running_->unwinding && ready().size() > 1) {
    auto others = ready();
    std::erase(others, running_);
    switch_to(others[others.size() == 1 ? 0 : chooser_.choose(others.size(), true)]);
  }
  step();
}

void Schedule::kick(Kick& kick) {
  step();
  kick.kick();
  wake(kick.word(0).address);
}

// --- words --------------------------------------------------------------------------------------

void ScheduledWords::step() {
  if (auto* schedule = Schedule::current()) schedule->step();
}

void ScheduledWords::store_later(void* address, uint64_t value, size_t size) {
  if (auto* schedule = Schedule::current())
    schedule->store(address, value, size);
  else
    std::memcpy(address, &value, size);
}

void ScheduledWords::fence(std::memory_order order) {
  auto* schedule = Schedule::current();
  if (schedule && order == std::memory_order_seq_cst && !schedule->without_fences)
    schedule->fence();
}

void ScheduledWords::copy_in(void* to, const void* from, size_t size) {
  // In two parts, so that what is torn is seen. The first has the sequence.
  const size_t part = size / 2 / sizeof(uint64_t) * sizeof(uint64_t);
  step();
  SharedWords::copy_in(to, from, part);
  step();
  SharedWords::copy_in(static_cast<std::byte*>(to) + part,
                       static_cast<const std::byte*>(from) + part, size - part);
}

void ScheduledWords::copy_out(void* to, const void* from, size_t size) {
  const size_t part = size / 2 / sizeof(uint64_t) * sizeof(uint64_t);
  step();
  // What was stored before arrives before.
  if (auto* schedule = Schedule::current()) schedule->fence();
  SharedWords::copy_out(to, from, part);
  step();
  SharedWords::copy_out(static_cast<std::byte*>(to) + part,
                        static_cast<const std::byte*>(from) + part, size - part);
}

void ScheduledWords::yield() {
  if (auto* schedule = Schedule::current()) schedule->yield();
}

void ScheduledWords::wait(std::span<const WaitWord> words, Deadline) {
  if (auto* schedule = Schedule::current()) schedule->wait(words);
}

void ScheduledWords::wake(const std::atomic<uint64_t>& index) {
  if (auto* schedule = Schedule::current()) schedule->wake(low_word(index));
}

void ScheduledWords::Mutex::lock() {
  auto* schedule = Schedule::current();
  if (schedule) schedule->fence();
  step();
  while (locked_ != 0) {
    const WaitWord taken{&locked_, 1, false};
    schedule->wait(std::span(&taken, 1));
  }
  locked_ = 1;
}

void ScheduledWords::Mutex::unlock() {
  auto* schedule = Schedule::current();
  if (schedule) {
    schedule->pause();
    schedule->fence();
  }
  locked_ = 0;
  if (schedule) schedule->unblock(&locked_);
}

}  // namespace mmaplink::test
