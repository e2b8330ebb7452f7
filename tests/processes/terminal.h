// A program on a terminal of its own, for tests that look at what it draws there.
#pragma once

#include <sys/types.h>
#include <termios.h>

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "lib/fd.h"

namespace test {

class OnTerminal {
 public:
  // Each of `environment` is NAME=VALUE.
  OnTerminal(const std::vector<std::string>& command, const std::vector<std::string>& environment);
  OnTerminal(const OnTerminal&) = delete;
  OnTerminal& operator=(const OnTerminal&) = delete;
  ~OnTerminal();  // kills it where it still runs

  void press(const std::string& keys) const;
  void resize(unsigned short columns, unsigned short rows) const;
  // Of all that it wrote since `from`: fails where that does not come.
  void wait_for(const std::string& text, size_t from = 0);
  size_t written() const;
  // The rows of the last screen that was drawn whole, without orders to the terminal.
  std::vector<std::string> screen() const;
  std::string all() const;
  // The exit status; 128 + N after signal N.
  int wait();
  // The modes of the terminal are what they were before.
  bool is_restored() const;

 private:
  void read();

  mmaplink::Fd master_, slave_;
  termios before_{};
  pid_t process_ = -1;
  std::thread reader_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::string output_;  // under mutex_
  bool quit_ = false;
};

}  // namespace test
