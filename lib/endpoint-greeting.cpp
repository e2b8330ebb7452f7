// Handshakes: a client's way to a server, and what each makes of the other's greeting. The
// endpoint's thread, with its mutex.
#include <algorithm>

#include "lib/endpoint.h"
#include "lib/vsock.h"

namespace mmaplink {

namespace {

constexpr auto kDenied = std::chrono::seconds(1);  // for a server to give its socket to others
// What a greeting can take, so that the peer's clock is ours all the same: on this machine, and on
// another, whose clock never is.
constexpr std::chrono::nanoseconds kSameClock = std::chrono::seconds(5);
constexpr std::chrono::nanoseconds kSameClockFar = std::chrono::milliseconds(50);

// By how much ours is ahead of a peer's that has just said what it has; in a virtual machine, or a
// time namespace, it is another.
uint64_t clock_offset(const Peer& peer, uint64_t theirs) {
  const uint64_t ahead = monotonic_ns() - theirs;
  const auto most = peer.place.empty() ? kSameClock : kSameClockFar;
  const auto signed_ahead = static_cast<int64_t>(ahead);
  const bool is_same = signed_ahead > -most.count() && signed_ahead < most.count();
  return theirs == 0 || is_same ? 0 : ahead;
}

}  // namespace

// Whether a client that could not connect tries again. A server has its socket for a moment before
// it gives it to a group, and for longer where only the second of its elements does.
bool Endpoint::may_change(const Error& why) {
  if (why.failure != Failure::permission) {
    denied_until_.reset();
    return why.failure == Failure::not_found;
  }
  if (!denied_until_) denied_until_ = Clock::now() + kDenied;
  return Clock::now() < *denied_until_ &&
         std::none_of(users_.begin(), users_.end(), [this](const User& user) {
           return user.started && user.gives_up <= next_try_;
         });
}

void Endpoint::try_connect() {
  next_try_ = Clock::now() + kTryAgain;
  auto socket = key_.given ? key_.given->fd.duplicate() : connect_to(key_.path);
  if (!socket) {
    if (may_change(socket.error())) return;
    fail_to_connect(socket.error());
    return;
  }
  const int fd = socket->get();
  // A server that has died meanwhile is seen by its hang-up.
  if (!key_.given && is_vsock(key_.path) && !is_connected(*socket)) {
    if (auto watched = watch(fd); !watched) return fail_to_connect(watched.error());
    Connection connection;
    connection.channel = make_channel(std::move(*socket));
    connection.is_on_its_way = true;
    connection.greets_by = Clock::now() + kGreeting;
    connections_.emplace(fd, std::move(connection));
    return;
  }
  auto good = admit(std::move(*socket));
  if (good) good = greet_server(fd);
  if (good) return;
  connections_.erase(fd);
  fail_to_connect(good.error());
}

// As a client, the first word. An error leaves the connection to the caller.
Status Endpoint::greet_server(int fd) {
  Connection& connection = connections_.at(fd);
  const Fd& socket = connection.channel->socket();
  if (std::exchange(connection.is_on_its_way, false)) {
    if (auto there = connection_of(socket, key_.path); !there) return there;
    if (!is_connected(socket)) return Error{Failure::not_found, "no server on " + key_.path};
    auto peer = peer_of(socket);
    if (!peer) return peer.error();
    connection.peer = *peer;
  }
  if (!key_.given)
    if (auto may = may_serve(access(), connection.peer, key_.path); !may) return may;
  auto wishes = wishes_over(connection);
  if (!wishes) return wishes.error();
  const Hello hello{kVersion, lanes_told(connection), *wishes, monotonic_ns(), request()};
  if (carries_fd(hello)) {
    auto half = Link::make_half();
    if (!half) return half.error();
    connection.half = std::move(*half);
  }
  connection.wishes = hello.wishes;
  connection.file = file();
  const auto& half = connection.half;
  return connection.channel->send(hello, half ? half->fd.get() : -1, half);
}

// What is wished, as far as that socket lets it be.
Result<Wishes> Endpoint::wishes_over(const Connection& connection) const {
  if (passes_descriptors(connection.channel->socket())) return wishes();
  return far_wishes(wishes(), key_.role);
}

Status Endpoint::may_enter(const Connection& connection) const {
  // Who has given us the socket answers for its other end, but for those that are listed.
  if (const Access rules = access_of_clients(); !key_.given || rules.uids)
    if (auto may = may_connect(rules, connection.peer); !may) return may;
  // A source reads one stream: an endpoint that has one serves one client.
  if (side(Side::src).user != nullptr)
    for (const auto& [fd, other] : connections_)
      if (other.link)
        return Error{Failure::refused, "serving another client, " + name_of(other.peer)};
  const auto links = static_cast<size_t>(
      std::count_if(connections_.begin(), connections_.end(),
                    [](const auto& one) { return one.second.link != nullptr; }));
  size_t most = kMostClients;
  for (const User& user : users_)
    if (user.started) most = std::min(most, user.options.max_clients);
  if (links >= most)
    return Error{Failure::refused,
                 "serving as many clients as it may, max-clients=" + std::to_string(most)};
  return ok();
}

Status Endpoint::greet_client(Connection& connection, const Hello& hello, const Fd& fd) {
  if (key_.role != Role::server || connection.link || connection.region)
    return Error{Failure::protocol, "a greeting out of turn"};
  if (auto good = check_version(hello); !good) return good;
  if (auto may = may_enter(connection); !may) return may;
  const Wishes own = *wishes_over(connection);  // as a server, never an error
  connection.clock_offset = clock_offset(connection.peer, hello.now);
  Welcome welcome{kVersion, lanes_told(connection), own, decide(hello.wishes, own),
                  {},       monotonic_ns()};
  if (welcome.mapped.in_file) {
    uint64_t half = 0;
    for (const User& user : users_)
      if (user.user != nullptr) half = std::max(half, user.max_memory);
    auto region = PathRegion::make(file(), half, access(), wake_);
    if (!region) return region.error();
    connection.region = *region;
    connection.lanes = hello.lanes;
    connection.modes = modes_of(key_.role, own, hello.wishes);
    welcome.region = (*region)->terms();
    return connection.channel->send(welcome);
  }
  if (welcome.mapped.any()) {
    auto half = Link::make_half();
    if (!half) return half.error();
    connection.half = std::move(*half);
  }
  auto link = Link::make(connection.channel, connection.half, fd, connection.peer,
                         modes_of(key_.role, own, hello.wishes));
  if (!link) return link.error();
  if (auto said = connection.channel->send(
          welcome, connection.half ? connection.half->fd.get() : -1, connection.half);
      !said)
    return said;
  connection.link = *link;
  adopt(connection, hello.lanes);
  return ok();
}

// As a server. It is bounded as one that has not greeted: in number, and by when it is done.
Status Endpoint::tell_status(Connection& connection, const StatusAsk& ask) {
  if (key_.role != Role::server || connection.link || connection.region)
    return Error{Failure::protocol, "a greeting out of turn"};
  connection.asks_status = true;
  if (auto may = may_connect(access_of_clients(), connection.peer); !may) return may;
  if (auto same = check_status_version(ask.version); !same) return same;
  if (std::none_of(users_.begin(), users_.end(),
                   [](const User& user) { return user.started && user.options.monitor; }))
    return Error{Failure::refused,
                 "this server does not show its status: set monitor=true there, on its mmapsink or "
                 "mmapsrc"};
  if (!status_.take(Clock::now()))
    return Error{Failure::refused, "the status was asked for more than " +
                                       std::to_string(kStatusPerSecond) + " times a second"};
  StatusLines lines;
  each_user([&](EndpointUser& user) { user.on_status(lines); });
  for (const Message& part : status_parts(lines))
    if (auto sent = connection.channel->send(part); !sent) return sent;
  return ok();
}

// As a server.
Status Endpoint::found_region(Connection& connection, const RegionFound& found) {
  if (!connection.region || connection.link)
    return Error{Failure::protocol, "a file that nobody asked for"};
  if (auto good = connection.region->settle(found.token); !good) return good;
  if (auto may = may_enter(connection); !may) return may;
  auto link = Link::make(connection.channel, nullptr, Fd(), connection.peer,
                         std::move(connection.modes), connection.region);
  if (!link) return link.error();
  connection.link = *link;
  adopt(connection, connection.lanes);
  return ok();
}

Status Endpoint::greeted_by_server(Connection& connection, const Welcome& welcome, const Fd& fd) {
  if (key_.role != Role::client || connection.link)
    return Error{Failure::protocol, "a greeting out of turn"};
  if (welcome.version != kVersion)
    return Error{Failure::refused, "this client speaks version " + std::to_string(kVersion) +
                                       " of the link, the server version " +
                                       std::to_string(welcome.version)};
  connection.clock_offset = clock_offset(connection.peer, welcome.now);
  const Wishes own = connection.wishes;
  if (welcome.mapped != decide(own, welcome.wishes))
    return Error{Failure::protocol, "the server maps what nobody wished"};
  if (auto had = check_musts(own, welcome.wishes); !had) return had;
  std::shared_ptr<PathRegion> region;
  if (welcome.mapped.in_file) {
    auto found = PathRegion::open(connection.file, welcome.region, connection.peer.uid, wake_);
    if (!found) return found.error();
    region = std::move(*found);
    if (auto said = connection.channel->send(RegionFound{region->token()}); !said) return said;
  }
  auto link = Link::make(connection.channel, connection.half, fd, connection.peer,
                         modes_of(key_.role, own, welcome.wishes), std::move(region));
  if (!link) return link.error();
  connection.link = *link;
  adopt(connection, welcome.lanes);
  return ok();
}

void Endpoint::adopt(Connection& connection, Lanes peer_lanes) {
  connection.greets_by = Deadline::max();
  said_refused_.clear();
  try_again_ = kTryAgain;
  connection.link->receive_lane()->set_clock_offset(connection.clock_offset);
  connection.link->set_peer_lanes(peer_lanes);
  // What was started between our greeting and now.
  if (auto said = connection.channel->send(lanes_told(connection)); !said)
    connection.link->hang_up(said.error().text);
  each_user([&](EndpointUser& user) { user.on_connected(connection.link); });
}

}  // namespace mmaplink
