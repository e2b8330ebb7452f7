#include "gst/tools/terminal.h"

#include <glib.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <string_view>

namespace mmaptop {

namespace {

using mmaplink::Clock;
using mmaplink::Deadline;

// As of ECMA-48, and xterm's second screen.
constexpr std::string_view kEnter = "\x1b[?1049h\x1b[?25l";
constexpr std::string_view kLeave = "\x1b[?25h\x1b[?1049l";
constexpr std::string_view kHome = "\x1b[H";
constexpr std::string_view kClearRest = "\x1b[J";
constexpr std::string_view kClearRestOfLine = "\x1b[K";
constexpr std::string_view kPlain = "\x1b[m";

std::string_view colour_of(Table::Line::Kind kind) {
  switch (kind) {
    case Table::Line::Kind::title:
      return "\x1b[7m";
    case Table::Line::Kind::losing:
      return "\x1b[31m";
    case Table::Line::Kind::remark:
      return "\x1b[33m";
    case Table::Line::Kind::link:
      break;
  }
  return "";
}

bool write_all(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(STDOUT_FILENO, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && errno == EAGAIN) {
      pollfd waits{STDOUT_FILENO, POLLOUT, 0};
      if (poll(&waits, 1, -1) < 0 && errno != EINTR) return false;
      continue;
    }
    if (written <= 0) return false;
    text.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

bool is_set(const char* name) {
  const char* value = g_getenv(name);
  return value != nullptr && *value != '\0';
}

winsize size_now() {
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) {
    size.ws_col = 80;
    size.ws_row = 24;
  }
  return size;
}

// False where the time has come first.
bool wait_for(std::vector<pollfd>& fds, Deadline until) {
  using std::chrono::milliseconds;
  const auto left = std::chrono::ceil<milliseconds>(until - Clock::now()).count();
  const auto timeout = static_cast<int>(std::clamp<int64_t>(left, 0, 3'600'000));
  return poll(fds.data(), fds.size(), timeout) > 0;
}

bool ends(int signal) { return signal == SIGINT || signal == SIGTERM || signal == SIGHUP; }

}  // namespace

mmaplink::Result<Signals> Signals::make() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGWINCH, SIGTSTP}) sigaddset(&set, signal);
  if (const int code = pthread_sigmask(SIG_BLOCK, &set, nullptr); code != 0)
    return mmaplink::system_error(code, "signals");
  mmaplink::Fd fd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd) return mmaplink::system_error(errno, "signals");
  return Signals(std::move(fd));
}

int Signals::next() const {
  signalfd_siginfo info{};
  if (read(fd_.get(), &info, sizeof info) != static_cast<ssize_t>(sizeof info)) return 0;
  return static_cast<int>(info.ssi_signo);
}

bool Terminal::is_there() {
  const char* kind = g_getenv("TERM");
  return isatty(STDOUT_FILENO) != 0 && kind != nullptr && *kind != '\0' &&
         std::string_view(kind) != "dumb";
}

Terminal::Terminal(const Signals& signals)
    : signals_(signals),
      has_keys_(isatty(STDIN_FILENO) != 0 && tcgetattr(STDIN_FILENO, &before_) == 0),
      has_colours_(!is_set("NO_COLOR")) {
  enter();
}

Terminal::~Terminal() { leave(); }

void Terminal::enter() {
  if (has_keys_) {
    termios keys = before_;
    keys.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
    keys.c_cc[VMIN] = 0;
    keys.c_cc[VTIME] = 0;
    tcsetattr(STDIN_FILENO, TCSADRAIN, &keys);
  }
  write_all(kEnter);
}

void Terminal::leave() {
  write_all(kLeave);
  if (has_keys_) tcsetattr(STDIN_FILENO, TCSADRAIN, &before_);
}

// By Ctrl-Z, until the shell goes on with us.
void Terminal::stop() {
  leave();
  kill(getpid(), SIGSTOP);
  enter();
}

bool Terminal::draw(const std::string& head, const std::vector<Table::Line>& lines) const {
  const winsize size = size_now();
  const auto cut = [&](const std::string& text) { return text.substr(0, size.ws_col); };
  std::string frame(kHome);
  // The end of the line is cleared first: behind the last column it would take that.
  frame += kClearRestOfLine;
  frame += cut(head);
  size_t rows = 1;
  for (const Table::Line& line : lines) {
    if (rows++ >= size.ws_row) break;
    frame += "\r\n";
    frame += kClearRestOfLine;
    if (has_colours_) frame += colour_of(line.kind);
    frame += cut(line.text);
    if (has_colours_) frame += kPlain;
  }
  if (rows < size.ws_row) frame += std::string("\r\n").append(kClearRest);
  return write_all(frame);
}

Terminal::Wish Terminal::take_keys() {
  std::array<char, 64> keys{};
  const ssize_t got = read(STDIN_FILENO, keys.data(), keys.size());
  if (got < 0) return errno == EINTR || errno == EAGAIN ? Wish::nothing : Wish::quit;
  if (got == 0) return Wish::quit;  // the terminal is gone
  const std::string_view pressed(keys.data(), static_cast<size_t>(got));
  return pressed.find_first_of("qQ") != std::string_view::npos ? Wish::quit : Wish::nothing;
}

Terminal::Wish Terminal::wait(Deadline until) {
  for (;;) {
    std::vector<pollfd> fds{{signals_.fd(), POLLIN, 0}};
    if (has_keys_) fds.push_back({STDIN_FILENO, POLLIN, 0});
    if (!wait_for(fds, until)) {
      if (until <= Clock::now()) return Wish::nothing;
      continue;
    }
    if (const int signal = signals_.next(); signal != 0) {
      if (ends(signal)) return Wish::quit;
      if (signal == SIGTSTP) stop();
      return Wish::draw;
    }
    if (has_keys_ && fds[1].revents != 0 && take_keys() == Wish::quit) return Wish::quit;
  }
}

bool is_ended(const Signals& signals, Deadline until) {
  for (;;) {
    std::vector<pollfd> fds{{signals.fd(), POLLIN, 0}};
    if (wait_for(fds, until)) {
      const int signal = signals.next();
      if (ends(signal)) return true;
      if (signal == SIGTSTP) kill(getpid(), SIGSTOP);
    } else if (until <= Clock::now()) {
      return false;
    }
  }
}

}  // namespace mmaptop
