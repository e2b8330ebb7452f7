// An endpoint's user that writes down what it is told, and an element's worth of calls around it.
#pragma once

#include <condition_variable>
#include <mutex>

#include "lib/endpoint.h"
#include "tests/lib/helpers.h"

namespace mmaplink::test {

class Recorder : public EndpointUser {
 public:
  struct Told {
    std::vector<std::shared_ptr<Link>> connected;
    std::vector<std::shared_ptr<Link>> disconnected;
    std::vector<Error> why;  // of disconnected
    std::vector<Note> notes;
    std::vector<Error> refused;
    std::vector<Error> failed;
    int lanes = 0;
    int waiting = 0;
  };

  void on_connected(const std::shared_ptr<Link>& link) override {
    tell([&](Told& told) { told.connected.push_back(link); });
  }
  void on_lanes(const std::shared_ptr<Link>&) override {
    tell([](Told& told) { ++told.lanes; });
  }
  void on_note(const std::shared_ptr<Link>& link, const Note& note) override {
    tell([&](Told& told) { told.notes.push_back(note); });
    if (answers) must(link->note(note.kind + 1, note.bytes));
  }
  void on_disconnected(const std::shared_ptr<Link>& link, const Error& reason) override {
    tell([&](Told& told) {
      told.disconnected.push_back(link);
      told.why.push_back(reason);
    });
  }
  void on_waiting() override {
    tell([](Told& told) { ++told.waiting; });
  }
  void on_refused(const Error& reason) override {
    tell([&](Told& told) { told.refused.push_back(reason); });
  }
  void on_failed(const Error& reason) override {
    tell([&](Told& told) { told.failed.push_back(reason); });
  }

  void on_status(StatusLines& lines) override {
    lines.insert(lines.end(), status.begin(), status.end());
  }

  // False where that does not become so.
  bool wait(const std::function<bool(const Told&)>& so) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(20), [&] { return so(told_); });
  }
  Told told() {
    const std::lock_guard lock(mutex_);
    return told_;
  }
  // Nothing may be told any more.
  void silence(bool on) { silent_ = on; }
  // Forgets, and lets go of the links.
  void clear() {
    const std::lock_guard lock(mutex_);
    told_ = Told{};
  }

  StatusLines status;                // set before anything starts
  std::atomic<bool> answers{false};  // each note with one of the next kind, at once

 private:
  void tell(const std::function<void(Told&)>& write) {
    g_assert_false(silent_);
    const std::lock_guard lock(mutex_);
    write(told_);
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  Told told_;
  std::atomic<bool> silent_{false};
};

// What an element does: attach, start, stop, detach.
class Element {
 public:
  Element(Endpoint::Key key, Side side)
      : side_(side), endpoint_(must(Endpoint::attach(key, side, user_))) {}
  Element(const std::string& path, Role role, Side side, const void* group = nullptr)
      : Element(Endpoint::Key{path, role, group}, side) {}
  ~Element() {
    stop();
    endpoint_->detach(side_);
  }
  Status start(const Endpoint::Options& options = {}) {
    user_.silence(false);
    return endpoint_->start(side_, options);
  }
  void stop() {
    endpoint_->stop(side_);
    user_.silence(true);
  }

  // The link it has, as soon as it has one.
  std::shared_ptr<Link> link(size_t which = 0) {
    if (!user_.wait([&](const auto& told) { return told.connected.size() > which; }))
      g_error("no link came");
    return user_.told().connected[which];
  }
  bool told(const std::function<bool(const Recorder::Told&)>& so) { return user_.wait(so); }
  // The reason of the first hang-up, or of the failure.
  Error hung_up() {
    g_assert_true(told([](const auto& all) { return !all.why.empty(); }));
    return user_.told().why[0];
  }
  Error failed() {
    g_assert_true(told([](const auto& all) { return !all.failed.empty(); }));
    return user_.told().failed[0];
  }
  Recorder& user() { return user_; }
  const std::shared_ptr<Endpoint>& endpoint() { return endpoint_; }

 private:
  const Side side_;
  Recorder user_;
  const std::shared_ptr<Endpoint> endpoint_;
};

}  // namespace mmaplink::test
