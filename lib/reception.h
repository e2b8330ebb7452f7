// Who comes to a server that gives each client a link of its own: listens on any number of paths,
// looks at each greeting without taking it, and hands the socket on to whoever will greet back (an
// endpoint, by the property `fd`), with what the client asks for. Who asks for the status instead
// is handed on to be answered (status.h).
//
// What is in the socket stays there, its descriptor too: it is looked at with MSG_PEEK. A thread of
// its own watches all that have not greeted: kMostGreeting, for kGreeting each (message.h). It
// never waits for one of them.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "lib/futex.h"
#include "lib/message.h"
#include "lib/socket.h"

namespace mmaplink {

class Reception {
 public:
  struct Caller {
    Fd socket;
    Peer peer;
    std::string path;  // where it came to
    std::string request;
  };
  // All by the reception's thread, never after stop() has returned; none may wait, or stop().
  struct Calls {
    std::function<void(Caller)> on_caller;
    std::function<void(Caller)> on_asked;  // for the status; without a request
    // Somebody was not let in, or there is nothing left to let him in with; we go on. For the log.
    std::function<void(const Error&)> on_refused;
  };

  Reception() = default;
  Reception(const Reception&) = delete;
  Reception& operator=(const Reception&) = delete;
  ~Reception() { stop(); }

  // Once. Listens when it has returned.
  Status start(const std::vector<std::string>& paths, const Access& access, Calls calls);
  // Nobody listens any more. Who has not greeted is told that.
  void stop();

  // Instead of a link: says why to a client whose greeting has not been taken. Never waits. Any
  // thread.
  static void refuse(Fd socket, const std::string& why);

 private:
  struct Guest {
    Fd socket;
    Peer peer;
    std::string path;
    Access access;                // of that path
    std::vector<std::byte> seen;  // of its greeting
    bool goes_on = false;         // looking does, where it had stopped; else from the beginning
    Deadline greets_by = Deadline::max();
  };
  struct Door {
    Listener listener;
    std::string path;
    Deadline opens_again = Deadline::max();  // the system has no descriptors for clients
  };
  using Guests = std::map<int, Guest>;  // by descriptor

  void run();
  int next_timeout() const;
  void check_deadlines();
  void accept_clients(Door& door);
  Status admit(Fd socket, const Door& door);
  void make_room();
  void serve(int fd);
  void turn_away(Guest guest, const Error& why);
  Guest take(Guests::iterator guest);
  static Result<std::optional<Message>> look(Guest& guest);
  static Status check(const Guest& guest, const Message& said);
  Status watch(int fd, uint32_t events) const;

  Access access_;
  Calls calls_;
  std::map<int, Door> doors_;  // these by the thread, once it runs
  Guests guests_;
  bool said_full_ = false;
  Fd epoll_;
  Fd wake_;
  std::thread thread_;
};

}  // namespace mmaplink
