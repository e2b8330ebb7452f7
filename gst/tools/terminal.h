// The terminal while a view is on it: single keys, an empty screen that is not scrolled, and how it
// was before in the end. And the signals, in order with the keys.
//
// Owned by the thread that shows, which is the only one that gets the signals. Made before any
// other thread is.
#pragma once

#include <termios.h>

#include <string>
#include <vector>

#include "gst/tools/table.h"
#include "lib/fd.h"
#include "lib/futex.h"
#include "lib/result.h"

namespace mmaptop {

// SIGINT, SIGTERM, SIGHUP, SIGWINCH, SIGTSTP: told by wait() from here on.
class Signals {
 public:
  static mmaplink::Result<Signals> make();
  int fd() const { return fd_.get(); }
  int next() const;  // 0: none
 private:
  explicit Signals(mmaplink::Fd fd) : fd_(std::move(fd)) {}
  mmaplink::Fd fd_;
};

class Terminal {
 public:
  // Whether standard output is one that can be drawn on.
  static bool is_there();

  explicit Terminal(const Signals& signals);
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;
  ~Terminal();

  // As much as there is room for. False where the terminal is gone.
  bool draw(const std::string& head, const std::vector<Table::Line>& lines) const;
  enum class Wish { nothing, draw, quit };
  // Until somebody wishes something, or then.
  Wish wait(mmaplink::Deadline until);

 private:
  void enter();
  void leave();
  void stop();
  Wish take_keys();

  const Signals& signals_;
  termios before_{};
  const bool has_keys_;
  const bool has_colours_;
};

// Until there is a signal to end, or then.
bool is_ended(const Signals& signals, mmaplink::Deadline until);

}  // namespace mmaptop
