// gst-mmap-server as a process of a test, and clients that are none.
#pragma once

#include "lib/message.h"
#include "lib/socket.h"
#include "tests/processes/support.h"

namespace test {

std::string server_program();
// The words of "gst-mmap-server --socket-path=PATH OPTIONS", with the variables before.
Process::Words server_words(const Stage& stage, const Process::Words& options,
                            const Process::Words& variables = {});

// A client by hand: it greets and asks for something.
class Asking {
 public:
  explicit Asking(const std::string& path, const std::string& request = "");
  // What it is told in place of a link; fails where it gets one.
  std::string refusal();
  const mmaplink::Fd& socket() const { return socket_; }

 private:
  mmaplink::Fd socket_;
};
mmaplink::Fd connect(const std::string& path);

// Of a process that runs.
std::vector<std::string> children_of(const std::string& pid);
size_t open_files(const std::string& pid);
size_t threads(const std::string& pid);
size_t resident_kib(const std::string& pid);

// A client's line: frames to the server, packets to "out".
std::string client_of(const Stage& stage, const std::string& frames,
                      const std::string& properties = "");

// Packets "frame …" of a process, as they came, against those of another.
void check_same(const Process::Words& wanted, const Process::Words& came);

}  // namespace test
