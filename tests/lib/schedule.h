// Threads of which one runs at a time, and the next is chosen at each step at which they could see
// something of each other: so a test runs the lanes of lib/ through interleavings that it chooses.
//
// The threads are fibres of the thread that calls run(). A step is an access to a word that two
// processes see, a lock, a wait or a wake-up: ScheduledWords stands for SharedWords in the lanes
// and asks the schedule at each. A store may be held back until the next full fence of its thread,
// as a store buffer does. Whoever sleeps is woken by a wake-up alone, never by a deadline: where
// nobody can go on any more, one was lost.
//
// Each thread belongs to a side, a process, which may die at a chosen step: its threads do nothing
// more but what destructors do, in which there is no step.
#pragma once

#include <ucontext.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/send_lane.h"
#include "tests/lib/helpers.h"

namespace mmaplink::test {

enum Side { kSender, kReceiver, kSides };

// Decides what is next: 0 is to go on as before, and counts nothing.
class Chooser {
 public:
  virtual ~Chooser() = default;
  // `forced`: the thread before can't go on, so that each option is as good as the other.
  virtual size_t choose(size_t options, bool forced) = 0;
};

class RandomChooser : public Chooser {
 public:
  explicit RandomChooser(uint64_t seed) : random_(seed) {}
  size_t choose(size_t options, bool forced) override;

 private:
  Random random_;
};

// All choices with at most that many that are neither 0 nor forced, one list of them after another.
class EachChooser : public Chooser {
 public:
  explicit EachChooser(int most) : most_(most) {}
  size_t choose(size_t options, bool forced) override;
  bool next();  // false: there is none left

 private:
  struct Choice {
    size_t taken;
    size_t options;
    bool forced;
  };
  int most_;
  size_t at_ = 0;
  std::vector<Choice> choices_;
};

struct Death {
  Side side;
  size_t step;  // of that side, from 0
};

class Schedule {
 public:
  Schedule(Chooser& chooser, std::optional<Death> death);
  ~Schedule();
  Schedule(const Schedule&) = delete;
  Schedule& operator=(const Schedule&) = delete;

  // Before run().
  void add(Side side, std::function<void()> body);
  // A thread that goes on when the other side has died.
  void add_for_death_of(Side other, std::function<void()> body);
  // Runs all of them. False: somebody sleeps for ever.
  bool run();

  bool without_fences = false;  // to see that they are needed
  bool died(Side side) const { return dead_[side]; }

  // For the threads, by way of ScheduledWords:
  static Schedule* current();  // null outside of run()
  void step();
  void pause();  // a step at which nobody dies, for destructors
  void store(void* address, uint64_t value, size_t size);
  void fence();  // all that this thread has stored arrives
  void wait(std::span<const WaitWord> words);
  void wake(const void* address);
  void unblock(const void* address);  // the same, and no step
  void yield();
  void kick(Kick& kick);

 private:
  struct Died {};
  struct Store {
    void* address;
    uint64_t value;
    size_t size;
  };
  struct Fibre {
    std::function<void()> body;
    Side side;
    bool for_death;
    ucontext_t context;
    std::unique_ptr<char[]> stack;
    void* fake_stack = nullptr;  // AddressSanitizer's
    bool finished = false;
    bool blocked = false;
    bool unwinding = false;
    std::vector<const void*> sleeps_on;
    std::vector<Store> stores;
  };

  Fibre& make(Side side, std::function<void()> body);
  static void enter();
  void body_of(Fibre& fibre);
  void block(std::vector<const void*> addresses);
  Fibre* another();
  void go_on_with_another();  // than the one that runs
  void switch_to(Fibre* next);
  void kill(Side side);
  std::vector<Fibre*> ready() const;

  Chooser& chooser_;
  std::optional<Death> death_;
  std::vector<std::unique_ptr<Fibre>> fibres_;
  Fibre* running_ = nullptr;  // null: the caller of run()
  bool ending_ = false;
  ucontext_t caller_;
  void* caller_fake_stack_ = nullptr;
  const void* caller_stack_ = nullptr;
  size_t caller_stack_size_ = 0;
  size_t steps_[kSides] = {};
  bool dead_[kSides] = {};
};

// What the lanes do at each step, where a schedule runs; outside of one, as SharedWords.
struct ScheduledWords {
  class Mutex {
   public:
    void lock();
    void unlock();

   private:
    uint32_t locked_ = 0;
  };

  template <class T>
  static T load(const std::atomic<T>& word, std::memory_order) {
    step();
    return word.load();
  }
  static uint64_t load(const uint64_t& word) {
    step();
    return SharedWords::load(word);
  }
  template <class T>
  static void store(std::atomic<T>& word, std::type_identity_t<T> value, std::memory_order) {
    store_later(&word, value, sizeof value);
  }
  static void store(uint64_t& word, uint64_t value, std::memory_order) {
    store_later(&word, value, sizeof value);
  }
  static void fence(std::memory_order order);
  static void copy_in(void* to, const void* from, size_t size);
  static void copy_out(void* to, const void* from, size_t size);
  static void wait(std::span<const WaitWord> words, Deadline deadline);
  static void wake(const std::atomic<uint64_t>& index);
  static void yield();
  template <class Ready>
  static bool look_on(Spinner&, uint64_t, Ready ready) {
    return ready();
  }
  template <class Ready>
  static bool look_until(uint64_t, Ready ready) {
    return ready();
  }
  static bool is_slow(const Spinner&) { return false; }

 private:
  static void step();
  static void store_later(void* address, uint64_t value, size_t size);
};

}  // namespace mmaplink::test
