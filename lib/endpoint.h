// A socket-path in a role inside one process: where a sink and a source meet and share a link.
//
// Elements attach (so that it is known which sides there are), start (the first one listens or
// connects), stop and detach. One thread per started endpoint watches all of its sockets: accepts,
// reads control messages, sees hang-ups, and tells the users. That thread is the only one that
// reads a control socket.
//
// Threads: attach … detach by the application's threads. A user is called by the endpoint's thread,
// or inside start(), never after stop() has returned. It must not block, nor stop the endpoint.
#pragma once

#include <array>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "lib/allowance.h"
#include "lib/link.h"
#include "lib/socket.h"
#include "lib/status.h"

namespace mmaplink {

enum class Side { sink, src };

class EndpointUser {
 public:
  virtual ~EndpointUser() = default;
  // The handshake is done. For links that were there before start(), inside start().
  virtual void on_connected(const std::shared_ptr<Link>& link) = 0;
  // What the peer has at its ends changed.
  virtual void on_lanes(const std::shared_ptr<Link>& link) = 0;
  virtual void on_note(const std::shared_ptr<Link>& link, const Note& note) = 0;
  // link->alive() is false from here; what it published before can still be taken.
  virtual void on_disconnected(const std::shared_ptr<Link>& link, const Error& why) = 0;
  // Still no server there; said once.
  virtual void on_waiting() = 0;
  // Somebody was not let in, or what he said made no sense, or there is nothing left to let him in
  // with; we go on. For the log.
  virtual void on_refused(const Error& why) = 0;
  // There is no link, and there will be none: refused, or nobody came in time.
  virtual void on_failed(const Error& why) = 0;
  // Somebody asks what goes on: adds a line for each direction of its links that is its own.
  virtual void on_status(StatusLines&) {}
};

class Endpoint : public std::enable_shared_from_this<Endpoint> {
 public:
  // Elements that share a link have equal keys. `group` is the bin or pipeline that a pair of
  // client elements has in common, nullptr for the process; a server has one endpoint per path.
  // With a socket that was given there is one link, and `path` is for a person.
  struct Key {
    std::string path;
    Role role = Role::client;
    const void* group = nullptr;
    std::shared_ptr<const GivenSocket> given = nullptr;
    auto tie() const {
      return std::tuple(given ? given->inode : 0, role, given ? nullptr : group,
                        given ? std::string() : path);
    }
    friend bool operator<(const Key& a, const Key& b) { return a.tie() < b.tie(); }
  };
  static constexpr size_t kMostClients = 1024;
  // Of the status, by whomever.
  static constexpr uint32_t kStatusPerSecond = 20;
  // That a peer may send: questions and events, arenas. A thousand times what is usual.
  static constexpr uint32_t kMessagesPerSecond = 10'000;
  struct Options {
    Access access;
    size_t max_clients = kMostClients;                           // as a server
    bool reconnect = false;                                      // after a hang-up, as a client
    std::optional<std::chrono::nanoseconds> connection_timeout;  // while there is no link
    // As a client, what its greeting asks for. Called by the endpoint's thread; of two elements one
    // has it.
    std::function<std::string()> request;
    bool monitor = false;  // as a server: who may connect may see the status of both sides
  };

  // Failure::busy where a server has this side already; a client gets an endpoint of its own then.
  // `wish` is about what that side sends or receives; for what a source receives inline there is
  // no more memory than `max_memory`, in such pages as `huge` says; a file is made for as much.
  // `file` is where that one is, for Wish::path: of both sides, if one of them says so.
  static Result<std::shared_ptr<Endpoint>> attach(const Key& key, Side side, EndpointUser& user,
                                                  Wish wish = Wish::may,
                                                  uint64_t max_memory = kDefaultMemory,
                                                  const std::string& file = "",
                                                  HugePages huge = HugePages::no);
  void detach(Side side);

  // What the users of a server here that was given a socket say of themselves. Any thread.
  static StatusLines status_of(ino_t given);

  Status start(Side side, const Options& options);
  void stop(Side side);

  const std::string& path() const { return key_.path; }
  Role role() const { return key_.role; }
  bool is_attached(Side side) const;
  bool is_started(Side side) const;

  explicit Endpoint(Key key);
  ~Endpoint();

 private:
  static constexpr auto kTryAgain = std::chrono::milliseconds(50);  // a client without a server
  // A client that is refused tries again after twice as long each time, up to this.
  static constexpr std::chrono::milliseconds kTryAgainAtMost = std::chrono::seconds(1);

  struct User {
    EndpointUser* user = nullptr;  // attached
    Wish wish = Wish::may;
    uint64_t max_memory = kDefaultMemory;
    HugePages huge = HugePages::no;
    std::string file;
    bool started = false;
    Options options;
    Deadline gives_up = Deadline::max();
  };
  struct Connection {
    std::shared_ptr<Channel> channel;
    Wishes wishes;     // as a client has said them
    std::string file;  // that it has then
    std::shared_ptr<SealedMemory> half;
    // As a server, of a client that has not said yet that it has found that file.
    std::shared_ptr<PathRegion> region;
    Lanes lanes;
    uint64_t clock_offset = 0;
    Modes modes;
    std::shared_ptr<Link> link;  // after the handshake
    Peer peer;
    Deadline greets_by = Deadline::max();
    Allowance messages{kMessagesPerSecond, 2 * kMessagesPerSecond};
    bool is_on_its_way = false;  // as a client: not connected yet
    bool watches_writing = false;
    bool told_receives = false;  // that a source is here, ever
    bool asks_status = false;    // and is none of our clients
  };
  using Connections = std::map<int, Connection>;  // by descriptor

  Status open(const Options& options);
  void want_connection();
  void close();
  void run();
  Status watch(int fd);
  void watch_again(int fd, uint32_t events);
  Access access() const;
  Access access_of_clients() const;
  std::shared_ptr<Channel> make_channel(Fd socket);
  Deadline next_deadline();
  void check_deadlines();
  void accept_clients();
  Status admit(Fd socket);
  void make_room_for_greetings();
  void try_connect();
  Status greet_server(int fd);
  bool may_change(const Error& why);
  bool handle(Connection& connection, Channel::Received received);
  Status greet_client(Connection& connection, const Hello& hello, const Fd& fd);
  Status tell_status(Connection& connection, const StatusAsk& ask);
  Status found_region(Connection& connection, const RegionFound& found);
  Status greeted_by_server(Connection& connection, const Welcome& welcome, const Fd& fd);
  Status may_enter(const Connection& connection) const;
  void serve(int fd, bool writable_only);
  static void refuse(const Connection& connection, const Error& why);
  void drop(int fd, const Error& why);
  void adopt(Connection& connection, Lanes peer_lanes);
  void fail(const Error& why);
  void fail_to_connect(const Error& why);
  void tell_refused(const Error& why);
  void wait_refused(const Error& why);
  std::string request() const;
  bool reconnects() const;
  Lanes own_lanes() const;
  Lanes lanes_told(Connection& connection) const;
  Wishes wishes() const;
  Result<Wishes> wishes_over(const Connection& connection) const;
  const std::string& file() const;
  User nobody(Side which) const;
  bool has_settled_otherwise(Side which, Wish wish) const;
  void end_links_that_map(Side which);
  void end_links_without_file();
  Status suits(Side which, Wish wish, const std::string& file) const;
  void tell_lanes();
  void tell_news();
  template <class Call>
  void each_user(Call call) {
    for (User& user : users_)
      if (user.started) call(*user.user);
  }
  User& side(Side which) { return users_[static_cast<size_t>(which)]; }
  const User& side(Side which) const { return users_[static_cast<size_t>(which)]; }
  bool any_started() const { return users_[0].started || users_[1].started; }

  const Key key_;
  std::mutex change_mutex_;  // one start() or stop() at a time; taken before mutex_
  // Held while users are called and while the state below changes. Recursive, as a user may ask
  // is_attached() and send notes from inside a call.
  mutable std::recursive_mutex mutex_;
  std::array<User, 2> users_;
  Connections connections_;
  std::optional<Listener> listener_;
  Fd epoll_;
  std::shared_ptr<const Fd> wake_;  // also of the channels, which may outlive us
  std::thread thread_;
  bool quit_ = false;
  bool wants_connection_ = false;  // as a client
  bool said_waiting_ = false;
  std::string said_refused_;  // by the server, while a client tries again
  std::chrono::milliseconds try_again_ = kTryAgain;
  bool said_full_ = false;  // that the system has no more descriptors, or memory
  Deadline next_try_;
  Deadline says_waiting_;
  std::optional<Deadline> denied_until_;      // while a client is not let in by a socket
  Deadline accepts_again_ = Deadline::max();  // the system has no descriptors for clients
  Allowance status_{kStatusPerSecond, 2 * kStatusPerSecond};
};

}  // namespace mmaplink
