// A client's pipeline in a process of its own, gst-mmap-worker, which has the client's socket as
// descriptor 3 and as descriptor 4 one end of a socket to us. Over that go lines:
//
//     worker ── rate N ──▶ server       raw pixels a second that the client wants
//            ◀── yes / no TEXT ──
//            ── error TEXT ──▶
//            ── ended ──▶               its stream, to its end
//            ◀── drain ──
//            ◀── status ──          of its link
//            ── status LINE ──▶
//            ── status-end ──▶
//
// Nothing that a worker says is trusted more than what its client does. It ends with either of its
// sockets; where it does not in kPatience, it is killed.
#include <fcntl.h>
#include <glib-unix.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <charconv>
#include <condition_variable>
#include <csignal>
#include <deque>
#include <mutex>
#include <utility>
#include <vector>

#include "gst/kept.h"
#include "gst/session.h"
#include "lib/system.h"

using mmaplink::Error;
using mmaplink::Failure;
using mmaplink::Fd;
using mmaplink::Status;

namespace gstmmap {

namespace {

constexpr auto kPatience = std::chrono::seconds(5);
constexpr size_t kMostLine = 4096;
constexpr uint32_t kLinesPerSecond = 200;
constexpr size_t kMostAsking = 8;      // for the status, of one worker
constexpr size_t kMostDirections = 2;  // of a link

std::string worker_path() {
  const gchar* path = g_getenv("GST_MMAP_WORKER");
  return path != nullptr ? path : GST_MMAP_WORKER_PATH;
}

std::vector<std::string> words_of(const Media::Plan& plan) {
  std::vector<std::string> words{worker_path(), "--launch=" + plan.launch, "--mmap=" + plan.mmap,
                                 "--memory=" + std::to_string(plan.memory)};
  if (!plan.rules.empty()) words.push_back("--allow=" + name_of(plan.rules));
  for (const auto& param : plan.params) words.push_back("--param=" + build_params({param}));
  return words;
}

class IsolatedSession final : public Session, public std::enable_shared_from_this<IsolatedSession> {
 public:
  IsolatedSession(GMainContext* context, Events events)
      : context_(context), events_(std::move(events)) {}
  ~IsolatedSession() override {
    if (end_timer_ != nullptr) g_source_unref(end_timer_);
  }

  Status begin(const Media::Plan& plan, Fd& socket) override {
    std::array<int, 2> ends{-1, -1};
    if (mmaplink::sys::socketpair(SOCK_STREAM | SOCK_CLOEXEC, ends.data()) != 0)
      return mmaplink::system_error(errno, "a socket for a worker");
    control_ = Fd(ends[0]);
    const Fd theirs(ends[1]);
    if (auto spawned = spawn(plan, socket, theirs); !spawned) return spawned;
    process_ = Fd(mmaplink::sys::pidfd_open(pid_));
    if (!process_) {
      const int code = errno;
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
      return mmaplink::system_error(code, "watching a worker (pidfd_open, Linux 5.3)");
    }
    socket.reset();
    watch(control_, [](gint, GIOCondition, gpointer kept) -> gboolean {
      return (*static_cast<Kept*>(kept))->read();
    });
    watch(process_, [](gint, GIOCondition, gpointer kept) -> gboolean {
      (*static_cast<Kept*>(kept))->reap();
      return G_SOURCE_REMOVE;
    });
    return mmaplink::ok();
  }

  void drain() override {
    draining_ = true;
    say("drain");
  }

  void ask_status(OnStatus told) override {
    {
      const std::lock_guard lock(mutex_);
      if (asking_.size() >= kMostAsking) return;  // it does not answer
      asking_.push_back(std::move(told));
    }
    say("status");
  }

  void end() override {
    if (!process_) return;
    shutdown(control_.get(), SHUT_RDWR);
    std::unique_lock lock(mutex_);
    const auto reaped = [this] { return reaped_; };
    if (ended_.wait_for(lock, kPatience, reaped)) return;
    GST_CAT_WARNING(server_category(), "worker %d does not end: it is killed", pid_);
    syscall(SYS_pidfd_send_signal, process_.get(), SIGKILL, nullptr, 0);
    ended_.wait_for(lock, kPatience, reaped);
  }

 private:
  using Kept = std::shared_ptr<IsolatedSession>;

  Status spawn(const Media::Plan& plan, const Fd& socket, const Fd& control) {
    const auto words = words_of(plan);
    std::vector<const gchar*> argv;
    argv.reserve(words.size() + 1);
    for (const auto& word : words) argv.push_back(word.c_str());
    argv.push_back(nullptr);
    // Ours are for us alone.
    gchar** environment = g_get_environ();
    for (const char* name : {"NOTIFY_SOCKET", "LISTEN_PID", "LISTEN_FDS"})
      environment = g_environ_unsetenv(environment, name);
    const std::array<gint, 2> from{socket.get(), control.get()};
    const std::array<gint, 2> to{3, 4};
    GError* error = nullptr;
    g_spawn_async_with_pipes_and_fds(nullptr, argv.data(), environment, G_SPAWN_DO_NOT_REAP_CHILD,
                                     nullptr, nullptr, -1, -1, -1, from.data(), to.data(),
                                     from.size(), &pid_, nullptr, nullptr, nullptr, &error);
    g_strfreev(environment);
    if (error == nullptr) return mmaplink::ok();
    Error why{Failure::system, "starting the worker " + words.front() + ": " + error->message};
    g_error_free(error);
    return why;
  }

  // Until it says that it is done, with a reference to us.
  void watch(const Fd& fd, GUnixFDSourceFunc call) {
    GSource* source =
        g_unix_fd_source_new(fd.get(), static_cast<GIOCondition>(G_IO_IN | G_IO_HUP | G_IO_ERR));
    g_source_set_callback(source, G_SOURCE_FUNC(call), new Kept(shared_from_this()), let_go<Kept>);
    g_source_attach(source, context_);
    g_source_unref(source);
  }

  void say(const std::string& line) {
    const std::string text = line + "\n";
    // A worker that does not read has no answer, or has gone.
    if (send(control_.get(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
      GST_CAT_INFO(server_category(), "worker %d reads nothing", pid_);
  }

  gboolean read() {
    std::array<char, kMostLine> bytes{};
    const ssize_t got = recv(control_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return G_SOURCE_CONTINUE;
    if (got <= 0) {
      wait_for_end();
      return G_SOURCE_REMOVE;
    }
    input_.append(bytes.data(), static_cast<size_t>(got));
    for (size_t end; (end = input_.find('\n')) != std::string::npos; input_.erase(0, end + 1)) {
      if (!lines_.take(mmaplink::Clock::now()))
        return give_up("its worker says more than " + std::to_string(kLinesPerSecond) +
                       " lines a second");
      if (!hear(input_.substr(0, end))) return give_up("its worker says what makes no sense");
    }
    return input_.size() <= kMostLine ? G_SOURCE_CONTINUE
                                      : give_up("its worker says a line without end");
  }

  gboolean give_up(const std::string& why) {
    events_.on_gone(why);
    return G_SOURCE_REMOVE;
  }

  // It has hung up, which it does as it ends; how it did is known then. One that does not is none
  // that serves its client.
  void wait_for_end() {
    end_timer_ = g_timeout_source_new(
        static_cast<guint>(std::chrono::milliseconds(kPatience) / std::chrono::milliseconds(1)));
    g_source_set_callback(
        end_timer_,
        [](gpointer kept) -> gboolean {
          (*static_cast<Kept*>(kept))->events_.on_gone("its worker has hung up, and does not end");
          return G_SOURCE_REMOVE;
        },
        new Kept(shared_from_this()), let_go<Kept>);
    g_source_attach(end_timer_, context_);
  }

  bool hear(const std::string& line) {
    constexpr std::string_view kRate = "rate ";
    constexpr std::string_view kError = "error ";
    constexpr std::string_view kStatus = "status ";
    if (line == "ended") {
      // Else the client may seek, and go on.
      if (draining_) events_.on_gone("its stream was ended");
      return true;
    }
    if (line.starts_with(kError)) {
      events_.on_error(shortened(line.substr(kError.size()), 500));
      return true;
    }
    if (line == "status-end") return tell_status();
    if (line.starts_with(kStatus)) {
      status_.push_back(line.substr(kStatus.size()));
      return status_.size() <= kMostDirections;
    }
    guint64 rate = 0;
    const char* end = line.data() + line.size();
    if (!line.starts_with(kRate)) return false;
    const auto [at, error] = std::from_chars(line.data() + kRate.size(), end, rate);
    if (error != std::errc{} || at != end) return false;
    const std::string refusal = events_.may_have(rate);
    say(refusal.empty() ? "yes" : "no " + refusal);
    return true;
  }

  // False where nobody has asked.
  bool tell_status() {
    OnStatus told;
    {
      const std::lock_guard lock(mutex_);
      if (asking_.empty()) return false;
      told = std::move(asking_.front());
      asking_.pop_front();
    }
    told(std::exchange(status_, {}));
    return true;
  }

  void reap() {
    if (end_timer_ != nullptr) {
      g_source_destroy(end_timer_);
      g_source_unref(std::exchange(end_timer_, nullptr));
    }
    int status = 0;
    waitpid(pid_, &status, 0);
    {
      const std::lock_guard lock(mutex_);
      reaped_ = true;
      ended_.notify_all();
    }
    const std::string who = "its worker, process " + std::to_string(pid_) + ",";
    if (WIFSIGNALED(status))
      events_.on_gone(who + " was killed by signal " + std::to_string(WTERMSIG(status)));
    else if (WEXITSTATUS(status) != 0)
      events_.on_gone(who + " ended with status " + std::to_string(WEXITSTATUS(status)));
    else
      events_.on_gone("it left");
  }

  GMainContext* const context_;
  const Events events_;
  Fd control_;
  Fd process_;
  GPid pid_ = 0;
  GSource* end_timer_ = nullptr;  // these by the context
  std::string input_;
  mmaplink::StatusLines status_;
  mmaplink::Allowance lines_{kLinesPerSecond, 2 * kLinesPerSecond};
  std::mutex mutex_;
  std::condition_variable ended_;
  bool reaped_ = false;
  std::deque<OnStatus> asking_;
  std::atomic<bool> draining_{false};
};

}  // namespace

std::shared_ptr<Session> make_isolated_session(GMainContext* context, Session::Events events) {
  return std::make_shared<IsolatedSession>(context, std::move(events));
}

}  // namespace gstmmap
