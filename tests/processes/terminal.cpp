#include "tests/processes/terminal.h"

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utmp.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstring>

#include "tests/elements/support.h"

namespace test {

namespace {

constexpr auto kPatience = std::chrono::seconds(40);
const std::string kFrame = "\x1b[H";

}  // namespace

OnTerminal::OnTerminal(const std::vector<std::string>& command,
                       const std::vector<std::string>& environment) {
  int master = -1;
  int slave = -1;
  const winsize size{24, 200, 0, 0};
  fail_unless(openpty(&master, &slave, nullptr, nullptr, &size) == 0, "openpty");
  master_ = mmaplink::Fd(master);
  slave_ = mmaplink::Fd(slave);
  fcntl(master, F_SETFD, FD_CLOEXEC);
  fail_unless(tcgetattr(slave, &before_) == 0);
  // All that takes memory is done before.
  std::vector<char*> words;
  for (const auto& word : command) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  std::vector<char*> variables;
  for (const auto& one : environment) variables.push_back(const_cast<char*>(one.c_str()));
  variables.push_back(nullptr);
  process_ = fork();
  fail_unless(process_ >= 0, "fork");
  if (process_ == 0) {
    if (login_tty(slave) == 0) execve(words[0], words.data(), variables.data());
    _exit(127);
  }
  reader_ = std::thread([this] { read(); });
}

OnTerminal::~OnTerminal() {
  if (process_ > 0) {
    kill(process_, SIGKILL);
    waitpid(process_, nullptr, 0);
  }
  {
    const std::lock_guard lock(mutex_);
    quit_ = true;
  }
  reader_.join();
}

// Our own slave keeps the terminal there: its end is no end of file.
void OnTerminal::read() {
  std::array<char, 4096> bytes{};
  for (;;) {
    pollfd waits{master_.get(), POLLIN, 0};
    const int got = poll(&waits, 1, 50);
    const ssize_t size = got > 0 ? ::read(master_.get(), bytes.data(), bytes.size()) : 0;
    const std::lock_guard lock(mutex_);
    if (size > 0) output_.append(bytes.data(), static_cast<size_t>(size));
    if (size <= 0 && quit_) return;
    changed_.notify_all();
  }
}

void OnTerminal::press(const std::string& keys) const {
  fail_unless(write(master_.get(), keys.data(), keys.size()) == static_cast<ssize_t>(keys.size()));
}

void OnTerminal::resize(unsigned short columns, unsigned short rows) const {
  const winsize size{rows, columns, 0, 0};
  fail_unless(ioctl(master_.get(), TIOCSWINSZ, &size) == 0);
}

void OnTerminal::wait_for(const std::string& text, size_t from) {
  std::unique_lock lock(mutex_);
  const bool came = changed_.wait_for(
      lock, kPatience, [&] { return output_.find(text, from) != std::string::npos; });
  fail_unless(came, "no '%s' in: %s", text.c_str(), output_.c_str());
}

size_t OnTerminal::written() const {
  const std::lock_guard lock(mutex_);
  return output_.size();
}

std::string OnTerminal::all() const {
  const std::lock_guard lock(mutex_);
  return output_;
}

std::vector<std::string> OnTerminal::screen() const {
  const std::string output = all();
  const size_t next = output.rfind(kFrame);
  if (next == std::string::npos || next == 0) return {};
  const size_t begin = output.rfind(kFrame, next - 1);
  if (begin == std::string::npos) return {};
  std::vector<std::string> rows(1);
  for (size_t i = begin; i < next; ++i) {
    const char c = output[i];
    if (c == '\x1b') {
      // "[", numbers, a letter.
      for (i += 2; i < next && std::strchr("0123456789;?", output[i]) != nullptr;) ++i;
    } else if (c == '\n') {
      rows.emplace_back();
    } else if (c != '\r') {
      rows.back() += c;
    }
  }
  return rows;
}

int OnTerminal::wait() {
  int status = 0;
  pid_t ended = 0;
  // It has no descriptor to wait for with an end.
  becomes([&] { return (ended = waitpid(process_, &status, WNOHANG)) != 0; });
  fail_unless(ended == process_, "it runs on; it wrote: %s", all().c_str());
  process_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool OnTerminal::is_restored() const {
  termios now{};
  return tcgetattr(slave_.get(), &now) == 0 && now.c_lflag == before_.c_lflag &&
         now.c_iflag == before_.c_iflag && now.c_oflag == before_.c_oflag &&
         std::memcmp(now.c_cc, before_.c_cc, sizeof now.c_cc) == 0;
}

}  // namespace test
