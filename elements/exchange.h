// What goes past the lanes: questions to the peer with their answers, and the thread that does what
// the peer asks.
//
// Owned by an element. Threads: the endpoint's hands in notices and never waits; any other asks and
// waits, but not for ever; one thread of our own works off what came, each peer's in order and the
// peers in turn, because whatever it calls in its pipeline may take locks and time. That one waits
// for no peer: it goes on with one when its answer is there. A peer that dies ends the questions to
// it.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "gst/wire.h"
#include "lib/endpoint.h"

namespace gstmmap {

class Exchange {
 public:
  using Link = std::shared_ptr<mmaplink::Link>;
  using Bytes = std::vector<std::byte>;
  // Called by the worker, for all notices but answers. False where the notice makes no sense: the
  // peer is hung up on.
  using Handle = std::function<bool(const Link&, Notice, std::span<const std::byte>)>;
  struct Answer {
    bool good = false;
    Bytes bytes;
  };

  // `own`: a sink and a source may share a link; what one says is for the other one over there.
  Exchange(mmaplink::Side own, Handle handle) : own_(own), handle_(std::move(handle)) {}
  ~Exchange() { stop(); }

  mmaplink::Status start();
  // Questions end, what has come and is not done is dropped; returns when the worker has ended.
  void stop();

  // For the notices that the element deals with itself: which, if it is for this side at all.
  std::optional<Notice> kind_of(const mmaplink::Note& note) const;
  // By the endpoint's thread, for all others.
  void take(const Link& link, Notice kind, std::span<const std::byte> bytes);
  void on_disconnected(const Link& link);

  // A question gets an id, goes out with it in whatever way, and is waited for: nothing where no
  // answer came in time, or `given_up` has become true, which wake() makes us look at.
  uint32_t open(const Link& link);
  std::optional<Answer> wait(uint32_t id, std::chrono::nanoseconds timeout,
                             const std::function<bool()>& given_up);
  void wake();
  // Both, as a notice.
  std::optional<Answer> ask(const Link& link, Notice kind, std::span<const std::byte> bytes,
                            std::chrono::nanoseconds timeout,
                            const std::function<bool()>& given_up);

  // By the worker, in between what that peer asks: `then` is called by it when the answer is there,
  // or it is clear that none comes. What that peer asks meanwhile waits, and nobody else does.
  using Then = std::function<void(const std::optional<Answer>&)>;
  void ask_then(const Link& link, Notice kind, std::span<const std::byte> bytes,
                std::chrono::nanoseconds timeout, Then then);
  // The same after some time, in which nothing waits.
  void later(const Link& link, std::chrono::nanoseconds time, std::function<void()> then);

  void answer(const Link& link, uint32_t id, bool good, std::span<const std::byte> bytes) const;
  // Sends a notice; hangs up where that fails because the peer does not read.
  bool tell(const Link& link, Notice kind, Bytes bytes) const;

 private:
  struct Question {
    Link link;
    bool over = false;
    std::optional<Answer> answer;
  };
  struct Task {
    Notice kind{};
    Bytes bytes;
  };
  struct Step {
    std::optional<uint32_t> question;
    mmaplink::Deadline until;
    Then then;
  };
  struct Tasks {  // of one peer: at least one, or a step
    Link link;
    std::deque<Task> list;
    size_t bytes = 0;
    std::optional<Step> step = {};  // to go on with before them
  };
  void work();
  Tasks& tasks_of(const Link& link);
  bool is_due(const Step& step, const Link& link, mmaplink::Deadline now) const;
  std::function<void()> take_turn(mmaplink::Deadline now);
  void wait_for_turn(std::unique_lock<std::mutex>& lock);
  void set_step(const Link& link, Step step);
  std::optional<Answer> close(uint32_t id);
  void take_answer(const Link& link, std::span<const std::byte> bytes);

  const mmaplink::Side own_;
  const Handle handle_;
  std::mutex mutex_;
  std::condition_variable changed_;  // of the questions
  std::map<uint32_t, Question> questions_;
  uint32_t last_id_ = 0;
  bool running_ = false;
  std::condition_variable came_;  // a task, or the end
  std::deque<Tasks> tasks_;       // the first one's turn
  std::thread worker_;
};

}  // namespace gstmmap
