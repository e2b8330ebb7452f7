// What the tests of several processes share: a process with its output, and a place for sockets.
//
// Whatever goes wrong in here fails the running test, and no process outlives it. Every wait has
// an end.
#pragma once

#include <gio/gio.h>

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/elements/support.h"

namespace test {

class Process {
 public:
  using Words = std::vector<std::string>;

  explicit Process(const Words& command);
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process();  // kills it where it still runs

  // Waits for a line that begins so, from the first on; fails where none comes.
  std::string wait_line(const std::string& beginning, size_t count = 1);
  // The exit status; 128 + N after signal N. Fails where it takes too long.
  int wait();
  void wait_good();  // and the status is 0
  void send(int signal);
  // SIGSTOP, until it holds.
  void stand_still();
  std::string id() const { return g_subprocess_get_identifier(process_); }

  // Of what it said until now, those that begin so.
  Words lines(const std::string& beginning = "") const;

 private:
  void read();
  bool wait_until(const std::function<bool()>& condition);

  std::string name_;
  GSubprocess* process_;
  std::thread reader_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  Words lines_;  // these under mutex_
  bool ended_ = false;
};

// A Scene for tests with processes.
struct Stage {
  Stage();
  std::string path(const char* name = "link") const { return scene.path(name); }
  // An element of that path.
  std::string sink(const std::string& properties = "") const { return scene.sink(properties); }
  std::string src(const std::string& properties = "") const { return scene.src(properties); }

 private:
  const bool warm;  // before the scene is looked at
  const Scene scene;
};

// The words of "gst-launch-1.0 -e LINE", and of "watch OPTIONS LINE".
Process::Words launch(const std::string& line);
Process::Words watch(const Process::Words& options, const std::string& line);

// A launch line from a pattern in which SINK and SRC stand for the two elements with that path, and
// FRAMES for where frames come from. Whether it has an element of that name.
std::string line_of(const char* pattern, const std::string& path, const std::string& frames);
bool has(const std::string& line, const char* element);

// A field of a "stats" line.
guint64 stat_of(const std::string& line, const char* field);

}  // namespace test
