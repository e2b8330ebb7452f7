#include "lib/endpoint.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>

#include "lib/system.h"

namespace mmaplink {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr auto kSayWaiting = seconds(2);
constexpr auto kAcceptAgain = milliseconds(100);
constexpr size_t kMostConnections = Endpoint::kMostClients + kMostGreeting;
constexpr int kMostAccepts = 64;  // at once: who connects without end must not have the thread

std::mutex registry_mutex;
std::map<Endpoint::Key, std::weak_ptr<Endpoint>>& registry() {
  static auto& map = *new std::map<Endpoint::Key, std::weak_ptr<Endpoint>>;
  return map;
}

}  // namespace

// --- who is there ---------------------------------------------------------------------------

Endpoint::Endpoint(Key key) : key_(std::move(key)) {
  for (const Side which : {Side::sink, Side::src}) side(which) = nobody(which);
}

Result<std::shared_ptr<Endpoint>> Endpoint::attach(const Key& key, Side side, EndpointUser& user,
                                                   Wish wish, uint64_t max_memory,
                                                   const std::string& file, HugePages huge) {
  const std::lock_guard lock(registry_mutex);
  auto& known = registry()[key];
  auto endpoint = known.lock();
  if (endpoint && endpoint->is_attached(side)) {
    const std::string other = std::string("another ") +
                              (side == Side::sink ? "mmapsink" : "mmapsrc") + " of this process ";
    if (key.given) return Error{Failure::busy, other + "has " + key.path + " already"};
    if (key.role == Role::server)
      return Error{Failure::busy, other + "is already the server on socket-path " + key.path};
    endpoint = std::make_shared<Endpoint>(key);
  } else if (endpoint && key.role == Role::client && endpoint->has_settled_otherwise(side, wish)) {
    endpoint = std::make_shared<Endpoint>(key);
  } else if (!endpoint) {
    endpoint = std::make_shared<Endpoint>(key);
    known = endpoint;
  }
  const std::lock_guard inner(endpoint->mutex_);
  if (auto good = endpoint->suits(side, wish, file); !good) return good.error();
  endpoint->side(side).file = file;
  endpoint->side(side).user = &user;
  endpoint->side(side).wish = wish;
  endpoint->side(side).max_memory = max_memory;
  endpoint->side(side).huge = huge;
  if (key.role == Role::server && wish == Wish::no) endpoint->end_links_that_map(side);
  if (key.role == Role::server && !file.empty()) endpoint->end_links_without_file();
  return endpoint;
}

void Endpoint::detach(Side which) {
  stop(which);
  const std::lock_guard lock(registry_mutex);
  const std::lock_guard inner(mutex_);
  side(which) = nobody(which);
  const bool empty = users_[0].user == nullptr && users_[1].user == nullptr;
  const auto found = registry().find(key_);
  if (empty && found != registry().end() && found->second.lock().get() == this)
    registry().erase(found);
}

StatusLines Endpoint::status_of(ino_t given) {
  std::shared_ptr<Endpoint> found;
  {
    const std::lock_guard lock(registry_mutex);
    for (const auto& [key, endpoint] : registry())
      if (key.given && key.given->inode == given && key.role == Role::server)
        found = endpoint.lock();
  }
  StatusLines lines;
  if (!found) return lines;
  const std::lock_guard lock(found->mutex_);
  found->each_user([&](EndpointUser& user) { user.on_status(lines); });
  return lines;
}

bool Endpoint::is_attached(Side which) const {
  const std::lock_guard lock(mutex_);
  return side(which).user != nullptr;
}

bool Endpoint::is_started(Side which) const {
  const std::lock_guard lock(mutex_);
  return side(which).started;
}

Endpoint::~Endpoint() = default;

// What it takes to listen or to connect.
Status Endpoint::open(const Options& options) {
  if (!key_.given)
    if (auto good = check_socket_path(key_.path); !good) return good;
  if (key_.role == Role::server && !key_.given) {
    auto listener = Listener::open(key_.path, options.access);
    if (!listener) return listener.error();
    listener_.emplace(std::move(*listener));
  }
  epoll_ = Fd(sys::epoll_create());
  wake_ = std::make_shared<const Fd>(sys::eventfd());
  if (!epoll_ || !*wake_) return system_error(errno, "watching " + key_.path);
  if (auto watched = watch(wake_->get()); !watched) return watched;
  if (listener_)
    if (auto watched = watch(listener_->fd()); !watched) return watched;
  quit_ = false;
  said_full_ = false;
  accepts_again_ = Deadline::max();
  want_connection();
  if (!key_.given || key_.role == Role::client) return ok();
  auto socket = key_.given->fd.duplicate();
  return socket ? admit(std::move(*socket)) : Status(socket.error());
}

void Endpoint::want_connection() {
  wants_connection_ = key_.role == Role::client;
  said_waiting_ = false;
  said_refused_.clear();
  try_again_ = kTryAgain;
  denied_until_.reset();
  next_try_ = Clock::now();
  says_waiting_ = Clock::now() + kSayWaiting;
}

// What both sides together allow.
Access Endpoint::access() const {
  if (!users_[0].started) return users_[1].options.access;
  if (!users_[1].started) return users_[0].options.access;
  return merged(users_[0].options.access, users_[1].options.access);
}

Access Endpoint::access_of_clients() const {
  return listener_ ? listener_->access_of(access()) : access();
}

void Endpoint::close() {
  connections_.clear();
  listener_.reset();
  epoll_.reset();
  wake_.reset();
}

Status Endpoint::start(Side which, const Options& options) {
  const std::lock_guard change(change_mutex_);
  std::unique_lock lock(mutex_);
  if (!any_started()) {
    if (auto opened = open(options); !opened) {
      close();
      return opened;
    }
  }
  User& user = side(which);
  user.started = true;
  user.options = options;
  const auto undo = [&](const Error& why) {
    user.started = false;
    if (!any_started()) close();
    return why;
  };
  // It was here when the other side started, and nobody else will come.
  if (key_.given && key_.role == Role::server && connections_.empty())
    return undo(Error{Failure::gone, "the peer on " + key_.path + " has hung up"});
  if (listener_)
    if (auto set = listener_->set_access(access()); !set) return undo(set.error());
  if (!thread_.joinable()) {
    auto thread = sys::thread([this] { run(); });  // which waits for mutex_
    if (!thread) return undo(thread.error());
    thread_ = std::move(*thread);
  } else {
    eventfd_write(wake_->get(), 1);  // for the new deadline
  }
  // After a failure of the other side's.
  if (!wants_connection_ && connections_.empty()) want_connection();
  if (options.connection_timeout) user.gives_up = Clock::now() + *options.connection_timeout;
  for (auto& [fd, connection] : connections_)
    if (connection.link) user.user->on_connected(connection.link);
  tell_lanes();
  return ok();
}

void Endpoint::stop(Side which) {
  const std::lock_guard change(change_mutex_);
  std::thread thread;
  {
    const std::lock_guard lock(mutex_);
    User& user = side(which);
    if (!user.started) return;
    user.started = false;
    user.gives_up = Deadline::max();
    if (any_started()) {
      tell_lanes();
      return;
    }
    quit_ = true;
    eventfd_write(wake_->get(), 1);
    thread = std::move(thread_);
  }
  thread.join();
  const std::lock_guard lock(mutex_);
  for (auto& [fd, connection] : connections_) {
    if (connection.link) {
      connection.link->end();
      // A goodbye.
      if (auto said = connection.channel->send(Lanes{}); !said) {
        // It sees the hang-up all the same.
      }
    }
    // Whoever still has the link must not keep the peer waiting.
    connection.channel->shut_down();
  }
  close();
}

// Of links about which something is not as it was.
void Endpoint::tell_news() {
  for (const auto& entry : connections_) {
    const auto& link = entry.second.link;
    if (link && link->region() && link->region()->broken())
      link->hang_up("the path mmap=" + link->region()->path() + " was cut short");
    if (link && link->take_news()) each_user([&](EndpointUser& user) { user.on_lanes(link); });
  }
}

std::string Endpoint::request() const {
  for (const User& user : users_)
    if (user.started && user.options.request) return user.options.request();
  return {};
}

Lanes Endpoint::own_lanes() const { return {side(Side::sink).started, side(Side::src).started}; }

// The same, for a peer to know. One that was told of a receiver may send inline items from then on.
Lanes Endpoint::lanes_told(Connection& connection) const {
  const Lanes lanes = own_lanes();
  connection.told_receives = connection.told_receives || lanes.receives;
  return lanes;
}

void Endpoint::tell_lanes() {
  for (auto& [fd, connection] : connections_) {
    if (!connection.link) continue;
    if (auto said = connection.channel->send(lanes_told(connection)); !said)
      connection.link->hang_up(said.error().text);
  }
}

// --- the endpoint's thread --------------------------------------------------------------------

Status Endpoint::watch(int fd) {
  if (sys::epoll_add(epoll_.get(), fd, EPOLLIN | EPOLLRDHUP) != 0)
    return system_error(errno, "watching " + key_.path);
  return ok();
}

void Endpoint::watch_again(int fd, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event);  // of one that is watched: can't fail
}

std::shared_ptr<Channel> Endpoint::make_channel(Fd socket) {
  auto channel = std::make_shared<Channel>(std::move(socket));
  // Another thread sent more than the socket takes: our thread looks for EPOLLOUT from now on.
  channel->on_backlog([wake = wake_] { eventfd_write(wake->get(), 1); });
  return channel;
}

void Endpoint::run() {
  std::array<epoll_event, 32> events{};
  for (;;) {
    int timeout = -1;
    {
      const std::lock_guard lock(mutex_);
      if (quit_) return;
      for (auto& [fd, connection] : connections_) {
        // What one thread left behind another's message may have sent off.
        if (connection.link) connection.link->pump();
        const bool writes = connection.is_on_its_way || connection.channel->wants_to_write();
        if (writes == connection.watches_writing) continue;
        connection.watches_writing = writes;
        watch_again(fd, EPOLLIN | EPOLLRDHUP | (writes ? uint32_t{EPOLLOUT} : 0u));
      }
      const Deadline next = next_deadline();
      if (next != Deadline::max())
        timeout = static_cast<int>(
            std::max<int64_t>(0, std::chrono::ceil<milliseconds>(next - Clock::now()).count()));
    }
    const int count = epoll_wait(epoll_.get(), events.data(), events.size(), timeout);
    const std::lock_guard lock(mutex_);
    if (quit_) return;
    for (int i = 0; i < count; ++i) {
      const int fd = events[static_cast<size_t>(i)].data.fd;
      if (fd == wake_->get()) {
        eventfd_t ignored;
        eventfd_read(fd, &ignored);
        tell_news();
      } else if (listener_ && fd == listener_->fd()) {
        accept_clients();
      } else {
        serve(fd, events[static_cast<size_t>(i)].events == EPOLLOUT);
      }
    }
    check_deadlines();
  }
}

Deadline Endpoint::next_deadline() {
  Deadline next = accepts_again_;
  bool linked = false;
  for (const auto& [fd, connection] : connections_) {
    next = std::min(next, connection.greets_by);
    linked |= connection.link != nullptr;
  }
  if (linked) return next;
  for (const User& user : users_) next = std::min(next, user.gives_up);
  if (wants_connection_ && connections_.empty()) next = std::min(next, next_try_);
  return next;
}

void Endpoint::check_deadlines() {
  const Deadline now = Clock::now();
  if (accepts_again_ <= now) {
    accepts_again_ = Deadline::max();
    watch_again(listener_->fd(), EPOLLIN);
  }
  std::vector<int> silent;
  bool linked = false;
  for (const auto& [fd, connection] : connections_) {
    if (connection.greets_by <= now) silent.push_back(fd);
    linked |= connection.link != nullptr;
  }
  for (const int fd : silent) drop(fd, Error{Failure::timeout, "the peer did not greet in time"});
  if (linked) return;
  for (User& user : users_) {
    if (!user.started || user.gives_up > now) continue;
    user.gives_up = Deadline::max();
    user.user->on_failed(Error{
        Failure::timeout, std::string("no ") +
                              (key_.role == Role::server ? "client came to " : "server was on ") +
                              key_.path + " within connection-timeout"});
  }
  if (!wants_connection_ || !connections_.empty()) return;
  if (next_try_ <= now) try_connect();
  if (connections_.empty() && !said_waiting_ && says_waiting_ <= now) {
    said_waiting_ = true;
    for (User& user : users_) {
      if (!user.started) continue;
      user.user->on_waiting();
      break;  // one line is enough
    }
  }
}

void Endpoint::accept_clients() {
  for (int i = 0; i < kMostAccepts; ++i) {
    auto socket = listener_->accept();
    if (!socket) {
      // The client stays in the backlog, and the socket readable: not looked at for a while.
      watch_again(listener_->fd(), 0);
      accepts_again_ = Clock::now() + kAcceptAgain;
      if (!std::exchange(said_full_, true)) tell_refused(socket.error());
      return;
    }
    if (!*socket) return;
    said_full_ = false;
    if (connections_.size() >= kMostConnections) continue;
    if (auto admitted = admit(std::move(*socket)); !admitted) tell_refused(admitted.error());
    make_room_for_greetings();
  }
}

// Who is about to greet us.
Status Endpoint::admit(Fd socket) {
  auto peer = peer_of(socket);
  const int fd = socket.get();
  if (!peer) return peer.error();
  if (auto watched = watch(fd); !watched) return watched;
  Connection connection;
  connection.channel = make_channel(std::move(socket));
  connection.peer = *peer;
  connection.greets_by = Clock::now() + kGreeting;
  connections_.emplace(fd, std::move(connection));
  return ok();
}

// Connections that say nothing must not keep out those who do: the oldest goes. A good client
// greets as it connects; its greeting is read before it could be dropped for having said nothing.
void Endpoint::make_room_for_greetings() {
  const auto oldest = [this] {
    size_t count = 0;
    auto found = connections_.end();
    for (auto it = connections_.begin(); it != connections_.end(); ++it) {
      if (it->second.link) continue;
      ++count;
      if (found == connections_.end() || it->second.greets_by < found->second.greets_by) found = it;
    }
    return count > kMostGreeting ? found->first : -1;
  };
  const int fd = oldest();
  if (fd < 0) return;
  serve(fd, false);
  if (oldest() == fd) drop(fd, Error{Failure::timeout, "the peer did not greet, and others wait"});
}

void Endpoint::serve(int fd, bool writable_only) {
  const auto found = connections_.find(fd);
  if (found == connections_.end()) return;
  Connection& connection = found->second;
  if (connection.is_on_its_way) {
    auto good = greet_server(fd);
    if (good) return;
    // Nobody is there: to be tried again.
    if (good.error().failure == Failure::not_found)
      connections_.erase(fd);
    else
      drop(fd, good.error());
    return;
  }
  if (auto sent = connection.channel->flush(); !sent) return drop(fd, sent.error());
  const auto is_answered = [&] { return connection.asks_status && connection.channel->idle(); };
  const Error answered{Failure::gone, "it was told the status"};
  if (is_answered()) return drop(fd, answered);
  if (connection.link) connection.link->pump();
  if (writable_only) return;
  bool good = true;
  auto open = connection.channel->receive([&](Channel::Received received) {
    good = handle(connection, std::move(received));
    return good;
  });
  if (!good) return;  // handle() has dropped it
  if (!open) {
    refuse(connection, open.error());
    return drop(fd, open.error());
  }
  if (!*open)
    drop(fd, Error{Failure::gone, name_of(connection.peer) + " on " + key_.path + " hung up"});
  else if (is_answered())
    drop(fd, answered);
}

// False when the connection is no more.
bool Endpoint::handle(Connection& connection, Channel::Received received) {
  const int fd = connection.channel->fd();
  Status good = ok();
  // Of what is inline, these bound themselves: by what may go ahead, and by what was sent.
  const bool is_counted = !std::holds_alternative<ItemBegins>(received.message) &&
                          !std::holds_alternative<Asks>(received.message) &&
                          !std::holds_alternative<Progress>(received.message);
  if (is_counted && !connection.messages.take(Clock::now())) {
    good = Error{Failure::protocol,
                 "more than " + std::to_string(kMessagesPerSecond) + " control messages a second"};
  } else if (connection.asks_status) {
    good = Error{Failure::protocol, "a control message behind the question for the status"};
  } else if (const auto* ask = std::get_if<StatusAsk>(&received.message)) {
    good = tell_status(connection, *ask);
  } else if (const auto* hello = std::get_if<Hello>(&received.message)) {
    good = greet_client(connection, *hello, received.fd);
  } else if (const auto* welcome = std::get_if<Welcome>(&received.message)) {
    good = greeted_by_server(connection, *welcome, received.fd);
  } else if (const auto* refuse = std::get_if<Refuse>(&received.message)) {
    drop(fd, Error{Failure::refused,
                   name_of(connection.peer) + " on " + key_.path + ": " + refuse->text});
    return false;
  } else if (const auto* found = std::get_if<RegionFound>(&received.message)) {
    good = found_region(connection, *found);
  } else if (!connection.link) {
    good = Error{Failure::protocol, "a control message before the handshake"};
  } else if (const auto* lanes = std::get_if<Lanes>(&received.message);
             lanes != nullptr && *lanes == Lanes{}) {
    connection.link->set_goodbye();
  } else if (lanes != nullptr) {
    connection.link->set_peer_lanes(*lanes);
    each_user([&](EndpointUser& user) { user.on_lanes(connection.link); });
  } else if (const auto* made = std::get_if<ArenaMade>(&received.message)) {
    good = connection.link->add_arena(*made, std::move(received.fd));
    // Whoever waits for this arena looks again.
    each_user([&](EndpointUser& user) { user.on_lanes(connection.link); });
  } else if (const auto* retired = std::get_if<ArenaRetired>(&received.message)) {
    good = connection.link->retire_arena(*retired);
  } else if (const auto* item = std::get_if<ItemBegins>(&received.message)) {
    const bool is_inline = !connection.link->modes().receive.mapped;
    if (is_inline && !connection.told_receives)
      good = Error{Failure::protocol, "an inline item for nobody"};
    else
      good = connection.link->begin_item(*item, side(Side::src).max_memory, side(Side::src).huge);
  } else if (std::holds_alternative<Withdrawn>(received.message)) {
    good = connection.link->withdraw_items();
  } else if (std::holds_alternative<Asks>(received.message)) {
    good = connection.link->tell_receipts();
  } else if (const auto* progress = std::get_if<Progress>(&received.message)) {
    good = connection.link->take_progress(*progress);
  } else if (std::holds_alternative<StatusPart>(received.message)) {
    good = Error{Failure::protocol, "a status that nobody asked for"};
  } else if (const auto* note = std::get_if<Note>(&received.message)) {
    each_user([&](EndpointUser& user) { user.on_note(connection.link, *note); });
  }
  if (good) return true;
  refuse(connection, good.error());
  drop(fd, good.error());
  return false;
}

// Says why to a peer that is about to be dropped.
void Endpoint::refuse(const Connection& connection, const Error& why) {
  if (connection.link) return connection.link->hang_up(why.text);
  if (auto said = connection.channel->send(Refuse{why.text}); !said) {
    // It is dropped all the same.
  }
}

void Endpoint::drop(int fd, const Error& why) {
  const auto found = connections_.find(fd);
  if (found == connections_.end()) return;
  Connection connection = std::move(found->second);
  connections_.erase(found);
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
  const bool again = reconnects();
  next_try_ = Clock::now() + kTryAgain;
  if (!connection.asks_status)  // who is no client is none that was there
    for (User& user : users_)
      if (user.started && user.options.connection_timeout)
        user.gives_up = Clock::now() + *user.options.connection_timeout;
  connection.channel->shut_down();
  if (connection.link) {
    connection.link->end();
    const auto own_reason = connection.link->hung_up_because();
    const Error reason = own_reason
                             ? Error{Failure::protocol, "hung up on " + name_of(connection.peer) +
                                                            " on " + key_.path + ": " + *own_reason}
                             : why;
    if (!again || key_.given) wants_connection_ = false;
    each_user([&](EndpointUser& user) { user.on_disconnected(connection.link, reason); });
  } else if (key_.role == Role::server && !key_.given) {
    // One that only tried whether somebody is there has said nothing. Who asks for a status that is
    // not shown does so again and again.
    if (why.failure == Failure::gone || (connection.asks_status && why.failure == Failure::refused))
      return;
    tell_refused(
        Error{why.failure, name_and_uid(connection.peer) + " on " + key_.path + ": " + why.text});
  } else if (key_.given ||
             ((!again || why.failure == Failure::settings) && why.failure != Failure::gone)) {
    fail(why);
  } else if (why.failure == Failure::refused) {
    wait_refused(why);
  }
}

// There may be room later, or the server's owner changes its mind: said once, and tried again.
void Endpoint::wait_refused(const Error& why) {
  next_try_ = Clock::now() + try_again_;
  try_again_ = std::min(2 * try_again_, kTryAgainAtMost);
  if (std::exchange(said_refused_, why.text) == why.text) return;
  const auto first =
      std::find_if(users_.begin(), users_.end(), [](const User& user) { return user.started; });
  if (first != users_.end()) first->user->on_refused(why);  // one line is enough
}

bool Endpoint::reconnects() const {
  return std::any_of(users_.begin(), users_.end(),
                     [](const User& user) { return user.started && user.options.reconnect; });
}

// What the system has none of now it may have later.
void Endpoint::fail_to_connect(const Error& why) {
  if (why.failure != Failure::no_space || !reconnects()) return fail(why);
  if (!std::exchange(said_full_, true)) tell_refused(why);
}

void Endpoint::tell_refused(const Error& why) {
  each_user([&](EndpointUser& user) { user.on_refused(why); });
}

void Endpoint::fail(const Error& why) {
  wants_connection_ = false;
  each_user([&](EndpointUser& user) { user.on_failed(why); });
}

}  // namespace mmaplink
