#include "elements/exchange.h"

#include <algorithm>

#include "gst/bytes.h"
#include "lib/system.h"

namespace gstmmap {

using mmaplink::Deadline;
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
  // cppcheck-suppress variableScope ; what they hold goes without the lock
  std::deque<Tasks> tasks;
  {
    const std::lock_guard lock(mutex_);
    running_ = false;
    for (const Tasks& of : tasks_)
      if (of.step && of.step->question) close(*of.step->question);
    tasks.swap(tasks_);
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
    Tasks& of = tasks_of(link);
    if (of.list.size() < kMostTasks && of.bytes + bytes.size() <= kMostTaskBytes) {
      Task task{kind, {bytes.begin(), bytes.end()}};
      of.bytes += bytes.size();
      // A flush overtakes what may be waiting for it.
      if (kind == Notice::flush_start)
        of.list.push_front(std::move(task));
      else
        of.list.push_back(std::move(task));
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
  came_.notify_one();
}

void Exchange::on_disconnected(const Link& link) {
  const std::lock_guard lock(mutex_);
  for (auto& [id, question] : questions_)
    if (question.link == link) question.over = true;
  changed_.notify_all();
  came_.notify_one();
}

// --- the worker ---------------------------------------------------------------------------------

Exchange::Tasks& Exchange::tasks_of(const Link& link) {
  const auto found = std::find_if(tasks_.begin(), tasks_.end(),
                                  [&](const Tasks& tasks) { return tasks.link == link; });
  return found != tasks_.end() ? *found : tasks_.emplace_back(Tasks{link, {}, 0});
}

bool Exchange::is_due(const Step& step, const Link& link, Deadline now) const {
  if (now >= step.until || !link->alive()) return true;
  if (!step.question) return false;
  const Question& question = questions_.at(*step.question);
  return question.answer || question.over;
}

// What is to be done for the peer whose turn it is; nothing where all have to be waited for.
std::function<void()> Exchange::take_turn(Deadline now) {
  const auto has_turn = [&](const Tasks& of) {
    if (!of.step) return !of.list.empty();
    return is_due(*of.step, of.link, now) || (!of.step->question && !of.list.empty());
  };
  const auto found = std::find_if(tasks_.begin(), tasks_.end(), has_turn);
  if (found == tasks_.end()) return {};
  Tasks of = std::move(*found);
  tasks_.erase(found);
  const Link link = of.link;
  std::function<void()> call;
  if (of.step && is_due(*of.step, link, now)) {
    const auto step = std::exchange(of.step, std::nullopt);
    auto answer = step->question ? close(*step->question) : std::nullopt;
    call = [then = step->then, answer = std::move(answer)] { then(answer); };
  } else {
    auto task = std::make_shared<const Task>(std::move(of.list.front()));
    of.list.pop_front();
    of.bytes -= task->bytes.size();
    call = [this, link, task] {
      if (!handle_(link, task->kind, task->bytes)) link->hang_up("a notice that makes no sense");
    };
  }
  // What a peer has asked that we hung up on is not worth the others' time.
  if (link->hung_up_because()) {
    if (of.step && of.step->question) close(*of.step->question);
    return [dropped = std::make_shared<const Tasks>(std::move(of))] {};
  }
  if (!of.list.empty() || of.step) tasks_.push_back(std::move(of));
  return call;
}

void Exchange::wait_for_turn(std::unique_lock<std::mutex>& lock) {
  Deadline until = Deadline::max();
  for (const Tasks& of : tasks_)
    if (of.step) until = std::min(until, of.step->until);
  if (until == Deadline::max())
    came_.wait(lock);  // while the element runs
  else
    came_.wait_until(lock, until);
}

void Exchange::work() {
  std::unique_lock lock(mutex_);
  while (running_) {
    auto call = take_turn(mmaplink::Clock::now());
    if (!call) {
      wait_for_turn(lock);
      continue;
    }
    lock.unlock();
    call();
    call = {};
    lock.lock();
  }
}

void Exchange::set_step(const Link& link, Step step) {
  const std::lock_guard lock(mutex_);
  if (running_)
    tasks_of(link).step = std::move(step);
  else if (step.question)
    close(*step.question);
}

void Exchange::ask_then(const Link& link, Notice kind, std::span<const std::byte> bytes,
                        std::chrono::nanoseconds timeout, Then then) {
  const uint32_t id = open(link);
  if (!tell(link, kind, with_id(id, bytes))) timeout = {};
  set_step(link, {id, mmaplink::Clock::now() + timeout, std::move(then)});
}

void Exchange::later(const Link& link, std::chrono::nanoseconds time, std::function<void()> then) {
  set_step(link, {std::nullopt, mmaplink::Clock::now() + time,
                  [then = std::move(then)](const auto&) { then(); }});
}

// --- questions ----------------------------------------------------------------------------------

// With the lock.
std::optional<Exchange::Answer> Exchange::close(uint32_t id) {
  auto answer = std::move(questions_[id].answer);
  questions_.erase(id);
  return answer;
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
  return close(id);
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
