// A sender with its reader in one process, and calls that block.
#pragma once

#include <sys/syscall.h>

#include <thread>

#include "lib/sender.h"
#include "tests/lib/helpers.h"

namespace mmaplink::test {

inline constexpr uint64_t kMega = 1 << 20;

// A sender with one reader, whose items go through pair.b().
struct Sending {
  explicit Sending(uint64_t max_memory = 64 * kMega) : sender(Sender::make(max_memory)) {
    sender->add(pair.shared_a());
  }
  ~Sending() { sender->stop(); }

  Sender::Published publish(Outgoing outgoing, Limits limits = {},
                            const std::vector<Place>& places = {}) {
    return sender->publish(pair.a(), std::move(outgoing), limits, places);
  }
  ReceiveLane::Take take() { return must(pair.b().receive_lane()->take(item)); }
  void give_back() { pair.b().receive_lane()->give_back(item.descriptor.ticket); }
  std::vector<uint64_t> take_all() {
    std::vector<uint64_t> marks;
    for (pair.pump(); take() == ReceiveLane::Take::item; pair.pump()) {
      marks.push_back(item.descriptor.pts);
      if (item.descriptor.ticket != 0) give_back();
    }
    return marks;
  }

  LinkPair pair;
  std::shared_ptr<Sender> sender;
  Incoming item;
};

// A call that blocks, in a thread of its own.
template <class T>
class Blocked {
 public:
  explicit Blocked(std::function<T()> call)
      : thread_([this, call = std::move(call)] {
          id_ = static_cast<pid_t>(syscall(SYS_gettid));
          result_ = call();
          done_ = true;
        }) {
    // Not sure proof that it does: but it has had every chance not to.
    g_assert_true(eventually([this] { return done_ || (id_ != 0 && sleeps(id_)); }));
  }
  bool done() const { return done_; }
  T get() {
    thread_.join();
    return std::move(result_);
  }

 private:
  std::atomic<pid_t> id_{0};
  std::atomic<bool> done_{false};
  T result_{};
  std::thread thread_;
};

// A frame that holds memory of the sender's store.
inline Outgoing frame_with(std::optional<Block> block) {
  g_assert_true(block.has_value());
  Outgoing item = frame(0);
  item.hold =
      Hold(new Block(std::move(*block)), [](void* held) { delete static_cast<Block*>(held); });
  return item;
}

}  // namespace mmaplink::test
