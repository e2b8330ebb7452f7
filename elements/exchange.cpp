#include "elements/exchange.h"

#include <algorithm>

#include "gst/bytes.h"
#include "lib/system.h"

namespace gstmmap {

using mmaplink::Note;

namespace {

// In Note::kind: for the sink of a link's side, not for its source.
constexpr uint32_t kForSink = 0x100;
// Of a peer, that are not done yet; nobody who waits for answers has that many.
constexpr size_t kMostTasks = 4096;
constexpr size_t kMostTaskBytes = 4 << 20;

}  // namespace

mmaplink::Status Exchange::start() {
  const std::lock_guard lock(mutex_);
  running_ = true;
  auto thread = mmaplink::sys::thread([this] { work(); });
  if (!thread) return thread.error();
  worker_ = std::move(*thread);
  return mmaplink::ok();
}

void Exchange::stop() {
  std::thread worker;
  {
    const std::lock_guard lock(mutex_);
    running_ = false;
    tasks_.clear();
    worker = std::move(worker_);
  }
  came_.notify_all();
  changed_.notify_all();
  if (worker.joinable()) worker.join();
}

std::optional<Notice> Exchange::kind_of(const Note& note) const {
  if (((note.kind & kForSink) != 0) != (own_ == mmaplink::Side::sink)) return std::nullopt;
  const auto kind = static_cast<Notice>(note.kind & ~kForSink);
  return kind != Notice::joined ? std::optional(kind) : std::nullopt;
}

void Exchange::take(const Link& link, Notice kind, std::span<const std::byte> bytes) {
  if (kind == Notice::answer) return take_answer(link, bytes);
  {
    const std::lock_guard lock(mutex_);
    if (!running_) return;
    auto of = std::find_if(tasks_.begin(), tasks_.end(),
                           [&](const Tasks& tasks) { return tasks.link == link; });
    if (of == tasks_.end()) of = tasks_.insert(tasks_.end(), Tasks{link, {}, 0});
    if (of->list.size() < kMostTasks && of->bytes + bytes.size() <= kMostTaskBytes) {
      Task task{kind, {bytes.begin(), bytes.end()}};
      of->bytes += bytes.size();
      // A flush overtakes what may be waiting for it.
      if (kind == Notice::flush_start)
        of->list.push_front(std::move(task));
      else
        of->list.push_back(std::move(task));
      came_.notify_one();
      return;
    }
  }
  link->hang_up("the peer asks more than can be answered");
}

void Exchange::take_answer(const Link& link, std::span<const std::byte> all) {
  const auto parts = split_id(all);
  if (!parts || parts->bytes.empty()) return link->hang_up("an answer that makes no sense");
  const std::lock_guard lock(mutex_);
  const auto found = questions_.find(parts->id);
  // One that comes too late is for nobody.
  if (found == questions_.end() || found->second.link != link) return;
  const auto bytes = parts->bytes.subspan(1);
  found->second.answer = Answer{parts->bytes[0] != std::byte{0}, {bytes.begin(), bytes.end()}};
  changed_.notify_all();
}

void Exchange::on_disconnected(const Link& link) {
  const std::lock_guard lock(mutex_);
  for (auto& [id, question] : questions_)
    if (question.link == link) question.over = true;
  changed_.notify_all();
}

void Exchange::work() {
  for (;;) {
    std::unique_lock lock(mutex_);
    came_.wait(lock, [&] { return !running_ || !tasks_.empty(); });  // while the element runs
    if (!running_) return;
    Tasks of = std::move(tasks_.front());
    tasks_.pop_front();
    const Link link = of.link;
    Task task = std::move(of.list.front());
    of.list.pop_front();
    of.bytes -= task.bytes.size();
    // What a peer has asked that we hung up on is not worth the others' time.
    const bool goes_on = !link->hung_up_because();
    if (goes_on && !of.list.empty()) tasks_.push_back(std::exchange(of, {}));
    lock.unlock();
    if (goes_on && !handle_(link, task.kind, task.bytes))
      link->hang_up("a notice that makes no sense");
  }
}

uint32_t Exchange::open(const Link& link) {
  const std::lock_guard lock(mutex_);
  const uint32_t id = ++last_id_;
  questions_[id].link = link;
  return id;
}

std::optional<Exchange::Answer> Exchange::wait(uint32_t id, std::chrono::nanoseconds timeout,
                                               const std::function<bool()>& given_up) {
  const auto deadline = mmaplink::Clock::now() + timeout;
  std::unique_lock lock(mutex_);
  Question& question = questions_[id];
  while (running_ && !question.answer && !question.over && question.link->alive() && !given_up())
    if (changed_.wait_until(lock, deadline) == std::cv_status::timeout) break;
  auto answer = std::move(question.answer);
  questions_.erase(id);
  return answer;
}

void Exchange::wake() {
  // With the lock: whoever has just looked at `given_up` waits by then.
  const std::lock_guard lock(mutex_);
  changed_.notify_all();
}

std::optional<Exchange::Answer> Exchange::ask(const Link& link, Notice kind,
                                              std::span<const std::byte> bytes,
                                              std::chrono::nanoseconds timeout,
                                              const std::function<bool()>& given_up) {
  const uint32_t id = open(link);
  if (!tell(link, kind, with_id(id, bytes))) timeout = {};
  return wait(id, timeout, given_up);
}

void Exchange::answer(const Link& link, uint32_t id, bool good,
                      std::span<const std::byte> bytes) const {
  std::vector<std::byte> all;
  BytesOut to(all);
  to.put(id);
  to.put(static_cast<uint8_t>(good));
  to.bytes(bytes);
  if (all.size() > mmaplink::kMaxMessage - 64) return answer(link, id, false, {});
  tell(link, Notice::answer, std::move(all));
}

bool Exchange::tell(const Link& link, Notice kind, Bytes bytes) const {
  const uint32_t to = own_ == mmaplink::Side::src ? kForSink : 0;
  auto said = link->note(static_cast<uint32_t>(kind) | to, std::move(bytes));
  if (said) return true;
  // What is too large to send is our own affair.
  if (said.error().failure != mmaplink::Failure::settings) link->hang_up(said.error().text);
  return false;
}

}  // namespace gstmmap
