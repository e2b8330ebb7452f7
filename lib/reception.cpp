#include "lib/reception.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "lib/channel.h"
#include "lib/status.h"
#include "lib/system.h"

namespace mmaplink {

namespace {

constexpr auto kOpenAgain = std::chrono::milliseconds(100);
constexpr int kMostAccepts = 64;  // at once: who connects without end must not have the thread
constexpr size_t kPeek = 8192;    // a whole greeting, and more than is usual

// From where a look ahead goes on; -1: there is no such thing. False where the socket can't, as
// those of other machines.
bool set_peek_offset(const Fd& socket, int offset) {
  return setsockopt(socket.get(), SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof offset) == 0;
}

}  // namespace

Status Reception::start(const std::vector<std::string>& paths, const Access& access, Calls calls) {
  access_ = access;
  calls_ = std::move(calls);
  epoll_ = Fd(sys::epoll_create());
  wake_ = Fd(sys::eventfd());
  if (!epoll_ || !wake_) return system_error(errno, "watching for clients");
  if (auto watched = watch(wake_.get(), EPOLLIN); !watched) return watched;
  const auto undo = [this](Error why) -> Status {
    doors_.clear();
    return why;
  };
  for (const auto& path : paths) {
    auto listener = Listener::open(path, access);
    if (!listener) return undo(listener.error());
    const int fd = listener->fd();
    doors_.emplace(fd, Door{std::move(*listener), path});
    if (auto watched = watch(fd, EPOLLIN); !watched) return undo(watched.error());
  }
  auto thread = sys::thread([this] { run(); });
  if (!thread) return undo(thread.error());
  thread_ = std::move(*thread);
  return ok();
}

void Reception::stop() {
  if (!thread_.joinable()) return;
  eventfd_write(wake_.get(), 1);
  thread_.join();
  doors_.clear();
  for (auto& [fd, guest] : guests_) refuse(std::move(guest.socket), "this server is stopping");
  guests_.clear();
}

void Reception::refuse(Fd socket, const std::string& why) {
  Channel channel(std::move(socket));
  // Unread, the greeting would turn our word into a connection that was reset.
  if (auto read = channel.receive([](const Channel::Received&) { return true; }); !read) {
    // It makes no sense; it is told so all the same.
  }
  if (auto said = channel.send(Refuse{why}); !said) {
    // It has gone already.
  }
  channel.shut_down();
}

// --- the reception's thread ---------------------------------------------------------------------

Status Reception::watch(int fd, uint32_t events) const {
  if (sys::epoll_add(epoll_.get(), fd, events) != 0)
    return system_error(errno, "watching for clients");
  return ok();
}

void Reception::run() {
  std::array<epoll_event, 32> events{};
  for (;;) {
    const int count = epoll_wait(epoll_.get(), events.data(), events.size(), next_timeout());
    for (int i = 0; i < count; ++i) {
      const int fd = events[static_cast<size_t>(i)].data.fd;
      if (fd == wake_.get()) return;
      if (const auto door = doors_.find(fd); door != doors_.end())
        accept_clients(door->second);
      else
        serve(fd);
    }
    check_deadlines();
  }
}

int Reception::next_timeout() const {
  Deadline next = Deadline::max();
  for (const auto& [fd, door] : doors_) next = std::min(next, door.opens_again);
  for (const auto& [fd, guest] : guests_) next = std::min(next, guest.greets_by);
  if (next == Deadline::max()) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(next - Clock::now()).count();
  return static_cast<int>(std::max<int64_t>(0, left));
}

void Reception::check_deadlines() {
  const Deadline now = Clock::now();
  for (auto& [fd, door] : doors_) {
    if (door.opens_again > now) continue;
    door.opens_again = Deadline::max();
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event);  // of one that is watched: can't fail
  }
  for (auto it = guests_.begin(); it != guests_.end();) {
    const auto guest = it++;
    if (guest->second.greets_by <= now)
      turn_away(take(guest), Error{Failure::timeout, "the peer did not greet in time"});
  }
}

void Reception::accept_clients(Door& door) {
  for (int i = 0; i < kMostAccepts; ++i) {
    auto socket = door.listener.accept();
    if (!socket) {
      // The client stays in the backlog, and the socket readable: not looked at for a while.
      epoll_event event{};
      event.data.fd = door.listener.fd();
      epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, event.data.fd, &event);
      door.opens_again = Clock::now() + kOpenAgain;
      if (!std::exchange(said_full_, true)) calls_.on_refused(socket.error());
      return;
    }
    if (!*socket) return;
    said_full_ = false;
    if (auto admitted = admit(std::move(*socket), door); !admitted)
      calls_.on_refused(admitted.error());
    make_room();
  }
}

Status Reception::admit(Fd socket, const Door& door) {
  auto peer = peer_of(socket);
  if (!peer) return peer.error();
  const int fd = socket.get();
  // Each piece that comes is an event of its own: what is there already must not be one again,
  // since it stays.
  if (auto watched = watch(fd, EPOLLIN | EPOLLRDHUP | uint32_t{EPOLLET}); !watched) return watched;
  Guest guest;
  guest.goes_on = set_peek_offset(socket, 0);
  guest.socket = std::move(socket);
  guest.peer = *peer;
  guest.path = door.path;
  guest.access = door.listener.access_of(access_);
  guest.greets_by = Clock::now() + kGreeting;
  guests_.emplace(fd, std::move(guest));
  return ok();
}

// Connections that say nothing must not keep out those who do: the oldest goes. A good client
// greets as it connects; its greeting is read before it could be dropped for having said nothing.
void Reception::make_room() {
  const auto oldest = [this] {
    return std::min_element(guests_.begin(), guests_.end(), [](const auto& a, const auto& b) {
      return a.second.greets_by < b.second.greets_by;
    });
  };
  if (guests_.size() <= kMostGreeting) return;
  serve(oldest()->first);
  if (guests_.size() > kMostGreeting)
    turn_away(take(oldest()), Error{Failure::timeout, "the peer did not greet, and others wait"});
}

Reception::Guest Reception::take(Guests::iterator found) {
  Guest guest = std::move(found->second);
  guests_.erase(found);
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, guest.socket.get(), nullptr);
  return guest;
}

void Reception::serve(int fd) {
  const auto found = guests_.find(fd);
  if (found == guests_.end()) return;
  auto said = look(found->second);
  if (said && !*said) return;
  Guest guest = take(found);
  if (!said) return turn_away(std::move(guest), said.error());
  auto* hello = std::get_if<Hello>(&**said);
  const auto good = check(guest, **said);
  // Who only looks does so again and again, which is worth no line of the log.
  if (!good && std::holds_alternative<StatusAsk>(**said))
    return refuse(std::move(guest.socket), good.error().text);
  if (!good) return turn_away(std::move(guest), good.error());
  set_peek_offset(guest.socket, -1);
  Caller caller{std::move(guest.socket), guest.peer, guest.path, {}};
  if (hello == nullptr) return calls_.on_asked(std::move(caller));
  caller.request = std::move(hello->request);
  calls_.on_caller(std::move(caller));
}

Status Reception::check(const Guest& guest, const Message& said) {
  const auto* hello = std::get_if<Hello>(&said);
  const auto* ask = std::get_if<StatusAsk>(&said);
  if (std::holds_alternative<Welcome>(said))
    return Error{Failure::protocol, "a greeting out of turn"};
  if (hello == nullptr && ask == nullptr)
    return Error{Failure::protocol, "a control message before the handshake"};
  auto same = hello != nullptr ? check_version(*hello) : check_status_version(ask->version);
  return same ? may_connect(guest.access, guest.peer) : same;
}

// Nothing while not all of it is there.
Result<std::optional<Message>> Reception::look(Guest& guest) {
  for (;;) {
    if (!guest.goes_on) guest.seen.clear();
    const size_t had = guest.seen.size();
    guest.seen.resize(had + kPeek);
    ssize_t got;
    // Without a place for it the descriptor stays where it is.
    do got = recv(guest.socket.get(), guest.seen.data() + had, kPeek, MSG_PEEK | MSG_DONTWAIT);
    while (got < 0 && errno == EINTR);
    const int code = errno;
    guest.seen.resize(had + static_cast<size_t>(std::max<ssize_t>(got, 0)));
    if (got < 0 && (code == EAGAIN || code == EWOULDBLOCK)) return std::optional<Message>();
    if (got < 0 && code != ECONNRESET) return system_error(code, "reading a greeting");
    if (got <= 0) return Error{Failure::gone, "hung up"};
    auto size = message_size(guest.seen);
    if (!size) return size.error();
    if (is_part(guest.seen)) return Error{Failure::protocol, "a part before the handshake"};
    if (*size && **size <= guest.seen.size()) {
      auto message = parse(std::span(guest.seen).first(**size));
      if (!message) return message.error();
      return std::optional(std::move(*message));
    }
    if (!guest.goes_on) return std::optional<Message>();
  }
}

void Reception::turn_away(Guest guest, const Error& why) {
  // One that only tried whether somebody is there has said nothing.
  if (why.failure == Failure::gone) return;
  calls_.on_refused(
      Error{why.failure, name_and_uid(guest.peer) + " on " + guest.path + ": " + why.text});
  refuse(std::move(guest.socket), why.text);
}

}  // namespace mmaplink
