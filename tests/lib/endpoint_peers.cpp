// An endpoint and peers that are no endpoints: other versions, bad manners, sudden ends.
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <deque>
#include <thread>

#include "lib/layout.h"
#include "tests/lib/endpoint_user.h"

namespace mmaplink::test {
namespace {

// So that all is mapped.
constexpr Wishes kMapsAll{Wish::must, Wish::must};

std::string self() { return "process " + std::to_string(getpid()); }

// One end of a control connection, by hand.
struct Raw {
  explicit Raw(Fd socket) : channel(std::move(socket)) {}
  explicit Raw(const std::string& path) : channel(must(connect_to(path))) {}

  void hello(const Fd& fd, uint32_t version = kVersion, Lanes lanes = {false, true}) {
    must(channel.send(Hello{version, lanes}, fd.get()));
  }
  void hello() { hello(half->fd); }
  // Reads until `so`, or the other end hangs up.
  bool until(const std::function<bool()>& so) {
    return eventually([&] {
             must(channel.flush());
             open = must(channel.receive([&](Channel::Received received) {
               got.push_back(std::move(received.message));
               fds.push_back(std::move(received.fd));
               return true;
             }));
             return so() || !open;
           }) &&
           so();
  }
  bool greeted() {
    return until([&] { return !got.empty() && std::holds_alternative<Welcome>(got[0]); });
  }
  bool refused(const std::string& text) {
    if (!until([&] { return !open; }) || got.empty()) return false;
    const auto* refuse = std::get_if<Refuse>(&got.back());
    if (refuse == nullptr) return false;
    if (refuse->text != text) g_test_message("refused: %s", refuse->text.c_str());
    return refuse->text == text;
  }

  std::shared_ptr<SealedMemory> half = must(Link::make_half());
  Channel channel;
  std::vector<Message> got;
  std::vector<Fd> fds;
  bool open = true;
};

// A server with a sink, that is served by hand.
struct Served {
  Served() { must(server.start()); }
  TempDir directory;
  std::string path = directory.path("socket");
  Element server{path, Role::server, Side::sink};
};

// A client of a server by hand.
struct Serving {
  explicit Serving(const Endpoint::Options& options = {}) { must(client.start(options)); }
  Fd accept() {
    Fd socket;
    g_assert_true(eventually([&] {
      socket = must(listener.accept());
      return static_cast<bool>(socket);
    }));
    return socket;
  }
  TempDir directory;
  std::string path = directory.path("socket");
  Listener listener = must(Listener::open(path, {}));
  Element client{path, Role::client, Side::src};
};

void a_handshake_by_hand() {
  Served served;
  Raw peer(served.path);
  peer.hello();
  g_assert_true(peer.greeted());
  const auto welcome = std::get<Welcome>(peer.got[0]);
  g_assert_cmpuint(welcome.version, ==, kVersion);
  g_assert_true(welcome.lanes == (Lanes{true, false}));
  const auto link =
      must(Link::make(std::make_shared<Channel>(Fd()), peer.half, peer.fds[0], Peer{}));
  // What is published at one end is there at the other.
  Outgoing item = frame(77);
  g_assert_true(must(served.server.link()->publish(item, {}, 8)) == SendLane::Room::yes);
  Incoming got;
  g_assert_true(must(link->receive_lane()->take(got)) == ReceiveLane::Take::item);
  g_assert_cmpuint(got.descriptor.pts, ==, 77);
}

void what_is_no_greeting_is_refused() {
  Served served;
  {
    Raw peer(served.path);
    must(peer.channel.send(Note{1, {}}));
    g_assert_true(peer.refused("a control message before the handshake"));
  }
  {
    Raw peer(served.path);
    must(peer.channel.send(Welcome{kVersion, {}, kMapsAll}, peer.half->fd.get()));
    g_assert_true(peer.refused("a greeting out of turn"));
  }
  {
    Raw peer(served.path);
    must(peer.channel.send(ArenaMade{1, 4096}, peer.half->fd.get()));
    g_assert_true(peer.refused("a control message before the handshake"));
  }
  {
    const Fd socket = must(connect_to(served.path));
    const std::string garbage = "GET / HTTP/1.1\r\n\r\n";
    g_assert_cmpint(send(socket.get(), garbage.data(), garbage.size(), MSG_NOSIGNAL), ==,
                    static_cast<ssize_t>(garbage.size()));
    Raw peer(Fd(dup(socket.get())));
    g_assert_true(peer.until([&] { return !peer.open; }));
  }
  // Nothing of it came to the user, and the next one is served.
  Raw peer(served.path);
  peer.hello();
  g_assert_true(peer.greeted());
  g_assert_true(served.server.user().told().disconnected.empty());
}

void another_version_is_refused() {
  Served served;
  Raw peer(served.path);
  peer.hello(peer.half->fd, kVersion + 1);
  g_assert_true(peer.refused("this server speaks version " + std::to_string(kVersion) +
                             " of the link, the client version " + std::to_string(kVersion + 1)));
  Serving serving;
  Raw server(serving.accept());
  must(server.channel.send(Welcome{kVersion + 1, {}}, server.half->fd.get()));
  g_assert_true(says(serving.client.failed(), Failure::refused,
                     "this client speaks version " + std::to_string(kVersion) +
                         " of the link, the server version " + std::to_string(kVersion + 1)));
}

// It is told so before anything of it is believed.
void another_byte_order_is_refused() {
  const auto swapped = [](const Message& message) {
    auto bytes = build(message);
    for (size_t i = 0; i + 4 <= bytes.size(); i += 4)
      std::reverse(bytes.begin() + static_cast<ptrdiff_t>(i),
                   bytes.begin() + static_cast<ptrdiff_t>(i) + 4);
    return bytes;
  };
  const auto send_to = [](const Fd& socket, const std::vector<std::byte>& bytes) {
    g_assert_cmpint(send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL), ==,
                    static_cast<ssize_t>(bytes.size()));
  };
  const std::string text = " bytes, or of another byte order";
  Served served;
  const Fd socket = must(connect_to(served.path));
  const auto hello = swapped(Hello{kVersion, {false, true}});
  send_to(socket, hello);
  Raw peer(Fd(dup(socket.get())));
  const uint32_t size = __builtin_bswap32(static_cast<uint32_t>(hello.size()));
  g_assert_true(peer.refused("a control message of " + std::to_string(size) + text));

  Serving serving;
  const Fd client = serving.accept();
  send_to(client, swapped(Welcome{kVersion, {true, false}}));
  g_assert_true(says(serving.client.failed(), Failure::protocol, text));
}

// Also where it is not the peer's fault: it has to know that it is gone.
void lost_descriptors_end_the_link() {
  Served served;
  Raw peer(served.path);
  peer.hello();
  g_assert_true(peer.greeted());
  const auto bytes = build(ArenaMade{1, 4096});
  const std::vector<int> many(100, peer.half->fd.get());
  iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
  std::vector<char> control(CMSG_SPACE(sizeof(int) * many.size()));
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  cmsghdr* rights = CMSG_FIRSTHDR(&header);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof(int) * many.size());
  std::memcpy(CMSG_DATA(rights), many.data(), sizeof(int) * many.size());
  g_assert_cmpint(sendmsg(peer.channel.fd(), &header, MSG_NOSIGNAL), >, 0);
  g_assert_true(peer.until([&] { return !peer.open; }));
  g_assert_true(test::says(served.server.hung_up(), Failure::protocol,
                           ": descriptors from the peer were lost"));
  g_assert_true(std::holds_alternative<Refuse>(peer.got.back()));
}

void a_half_that_is_none_is_refused() {
  const auto small = must(make_sealed("mmap-test", page_size()));
  const SocketPair no_memory;
  Served served;
  {
    Raw peer(served.path);
    peer.hello(small.fd);
    g_assert_true(peer.refused("the peer's memory is not of the size it announced"));
  }
  {
    Raw peer(served.path);
    peer.hello(no_memory.a);
    g_assert_true(peer.refused("the peer's memory is not sealed"));
  }
  Serving serving;
  Raw server(serving.accept());
  must(server.channel.send(Welcome{kVersion, {}, kMapsAll}, no_memory.a.get()));
  g_assert_true(
      says(serving.client.failed(), Failure::protocol, "the peer's memory is not sealed"));
}

// Memory is made for an item only where there is, or was, a source for it.
void an_inline_item_for_nobody_is_refused() {
  Served served;
  Raw peer(served.path);
  must(peer.channel.send(Hello{kVersion, {true, false}, {Wish::no, Wish::no}}));
  must(peer.channel.send(ItemBegins{Descriptor{.size = 1 << 30}, true}));
  g_assert_true(peer.until([&] { return !peer.open; }));
  g_assert_true(
      test::says(served.server.hung_up(), Failure::protocol, "an inline item for nobody"));
}

void bad_manners_end_the_link() {
  const struct {
    std::function<void(Raw&)> does;
    std::string text;
  } sins[] = {
      {[](Raw& peer) { peer.hello(); }, "a greeting out of turn"},
      {[](Raw& peer) { must(peer.channel.send(ArenaRetired{3})); }, "an unknown arena was retired"},
      {[](Raw& peer) {
         must(peer.channel.send(ArenaMade{1, peer.half->map.size()}, peer.half->fd.get()));
         must(peer.channel.send(ArenaMade{1, peer.half->map.size()}, peer.half->fd.get()));
       },
       "an arena was announced twice"},
      {[](Raw& peer) {
         must(peer.channel.send(ArenaMade{1, 1}, peer.half->fd.get()));
       },
       "the peer's memory is not of the size it announced"},
  };
  for (const auto& sin : sins) {
    Served served;
    Raw peer(served.path);
    peer.hello();
    g_assert_true(peer.greeted());
    const auto link = served.server.link();
    sin.does(peer);
    g_assert_true(peer.refused(sin.text));
    g_assert_true(says(served.server.hung_up(), Failure::protocol,
                       "hung up on " + self() + " on " + served.path + ": " + sin.text));
    g_assert_false(link->alive());
  }
}

void a_sudden_end_is_seen_and_what_came_before_can_be_read() {
  Served served;
  std::optional<Raw> peer(served.path);
  peer->hello();
  g_assert_true(peer->greeted());
  const auto link = served.server.link();
  const auto raw =
      must(Link::make(std::make_shared<Channel>(Fd()), peer->half, peer->fds[0], Peer{}));
  Outgoing item = frame(5);
  g_assert_true(must(raw->publish(item, {}, 8)) == SendLane::Room::yes);
  peer.reset();
  g_assert_true(
      says(served.server.hung_up(), Failure::gone, self() + " on " + served.path + " hung up"));
  g_assert_false(link->alive());
  Incoming got;
  g_assert_true(must(link->receive_lane()->take(got)) == ReceiveLane::Take::item);
}

void clients_that_come_and_go_do_no_harm() {
  Served served;
  for (int i = 0; i < 200; ++i) {
    Raw peer(served.path);
    if (i % 3 == 0) peer.hello();
    if (i % 6 == 0) g_assert_true(peer.greeted());
  }
  Raw last(served.path);
  last.hello();
  g_assert_true(last.greeted());
}

// Far more than there may be: each that connects and says nothing pushes out an older one, and who
// greets gets in.
void thousands_that_say_nothing_keep_nobody_out() {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  const rlimit before = files;
  files.rlim_cur = std::min<rlim_t>(files.rlim_max, 4096);
  setrlimit(RLIMIT_NOFILE, &files);
  // More than a server has connections, where we may have as many ourselves.
  const size_t most = std::min<size_t>(1200, files.rlim_cur / 2 - 100);
  Served served;
  const auto connect = [&] {
    Fd socket;
    g_assert_true(eventually([&] {  // while the backlog is full
      auto connected = connect_to(served.path);
      if (connected) socket = std::move(*connected);
      return static_cast<bool>(socket);
    }));
    return socket;
  };
  std::deque<Fd> silent;
  const auto crowd = [&](int count) {
    for (int i = 0; i < count; ++i) {
      silent.push_back(connect());
      if (silent.size() > most) silent.pop_front();
    }
  };
  crowd(3000);
  for (int i = 0; i < 20; ++i) {
    Raw peer(connect());
    peer.hello();
    crowd(100);
    g_assert_true(peer.greeted());
  }
  // The oldest of those who are there has been dropped, the newest has not.
  char byte = 0;
  g_assert_true(eventually([&] { return recv(silent.front().get(), &byte, 1, 0) == 0; }));
  g_assert_cmpint(recv(silent.back().get(), &byte, 1, 0), <, 0);
  g_assert_cmpint(errno, ==, EAGAIN);
  setrlimit(RLIMIT_NOFILE, &before);
}

void a_refusal_reaches_the_user() {
  Serving serving;
  {
    Raw server(serving.accept());
    must(server.channel.send(Refuse{"not today"}));
  }
  g_assert_true(says(serving.client.failed(), Failure::refused,
                     self() + " on " + serving.path + ": not today"));
}

// One that tries again says so once, and what it asks for each time.
void a_refused_client_that_waits_gets_in_later() {
  Endpoint::Options options;
  options.reconnect = true;
  options.request = [] { return std::string("the best"); };
  Serving serving(options);
  for (int i = 0; i < 3; ++i) {
    Raw server(serving.accept());
    g_assert_true(server.until([&] { return !server.got.empty(); }));
    g_assert_cmpstr(std::get<Hello>(server.got[0]).request.c_str(), ==, "the best");
    must(server.channel.send(Refuse{"not yet"}));
  }
  Raw server(serving.accept());
  must(server.channel.send(Welcome{kVersion, {true, false}, kMapsAll}, server.half->fd.get()));
  serving.client.link();
  const auto told = serving.client.user().told();
  g_assert_true(told.failed.empty());
  g_assert_cmpuint(told.refused.size(), ==, 1);
  g_assert_true(says(told.refused[0], Failure::refused, "not yet"));
}

// A server that goes before it has greeted may just have been stopped: another one may come.
void a_server_that_goes_unheard_is_tried_again() {
  Serving serving;
  for (int i = 0; i < 3; ++i) Raw(serving.accept()).channel.shut_down();
  Raw server(serving.accept());
  g_assert_true(server.until([&] { return !server.got.empty(); }));
  g_assert_cmpuint(std::get<Hello>(server.got[0]).version, ==, kVersion);
  g_assert_true(std::get<Hello>(server.got[0]).lanes == (Lanes{false, true}));
  must(server.channel.send(Welcome{kVersion, {true, false}, kMapsAll}, server.half->fd.get()));
  g_assert_true(serving.client.link()->peer_lanes() == (Lanes{true, false}));
  g_assert_true(serving.client.user().told().failed.empty());
}

// What the socket does not take at once, because the peer is busy, goes out when it reads again,
// though nobody at this end does anything more.
void a_backlog_goes_out_when_the_peer_reads() {
  Served served;
  Raw peer(served.path);
  peer.hello();
  g_assert_true(peer.greeted());
  const auto link = served.server.link();
  // Nothing else is going on any more.
  g_assert_true(peer.until([&] { return peer.got.size() == 2; }));
  uint32_t sent = 0;
  for (int more = 50; more > 0; more -= link->channel().wants_to_write() ? 1 : 0)
    must(link->note(sent++, std::vector<std::byte>(100)));
  g_assert_true(link->channel().wants_to_write());
  g_assert_true(peer.until([&] { return peer.got.size() == 2 + sent; }));
  for (uint32_t i = 0; i < sent; ++i) g_assert_cmpuint(std::get<Note>(peer.got[2 + i]).kind, ==, i);
}

// A peer that floods the control socket does not keep an element from stopping.
void a_flood_does_not_keep_us_from_stopping() {
  Served served;
  Raw peer(served.path);
  peer.hello();
  g_assert_true(peer.greeted());
  std::thread flood([&] {
    // Until the hang-up; what can't be sent at once is dropped here.
    std::vector<std::byte> bytes;
    const auto one = build(Note{1, {}});
    while (bytes.size() + one.size() < 60000) bytes.insert(bytes.end(), one.begin(), one.end());
    for (;;) {
      const ssize_t sent = send(peer.channel.fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent < 0 && errno != EAGAIN) return;
      if (sent > 0 && sent % static_cast<ssize_t>(one.size()) != 0) {
        // In the middle of a message: the rest of it.
        const auto part = static_cast<size_t>(sent) % one.size();
        size_t done = part;
        while (done < one.size()) {
          const ssize_t more =
              send(peer.channel.fd(), one.data() + done, one.size() - done, MSG_NOSIGNAL);
          if (more < 0 && errno != EAGAIN) return;
          if (more > 0) done += static_cast<size_t>(more);
        }
      }
    }
  });
  g_assert_true(served.server.told([](const auto& told) { return told.notes.size() > 1000; }));
  served.server.stop();
  flood.join();
}

// The mode says who may connect, also where somebody changed the path's.
void another_user_is_refused_where_the_mode_says_so() {
  if (geteuid() != 0) {
    g_test_skip("needs root, to become nobody");
    return;
  }
  for (const mode_t mode : {0600u, 0666u}) {
    const TempDir directory;
    chmod(directory.path().c_str(), 0755);
    const std::string path = directory.path("socket");
    Element server(path, Role::server, Side::sink);
    Endpoint::Options options;
    options.access.mode = mode;
    must(server.start(options));
    chmod(path.c_str(), 0666);
    g_assert_true(in_child([&] {
      if (setgid(65534) != 0 || setuid(65534) != 0) return false;
      Raw peer(path);
      peer.hello();
      return mode == 0600 ? peer.refused(
                                "uid 65534 may not connect: allowed-uids of the server has its own "
                                "uid and root only")
                          : peer.greeted();
    }));
  }
}

}  // namespace
}  // namespace mmaplink::test

int main(int argc, char** argv) {
  using namespace mmaplink::test;
  return run_all(
      argc, argv,
      {{"/endpoint-peers/a-handshake-by-hand", a_handshake_by_hand},
       {"/endpoint-peers/what-is-no-greeting-is-refused", what_is_no_greeting_is_refused},
       {"/endpoint-peers/another-version-is-refused", another_version_is_refused},
       {"/endpoint-peers/another-byte-order-is-refused", another_byte_order_is_refused},
       {"/endpoint-peers/lost-descriptors-end-the-link", lost_descriptors_end_the_link},
       {"/endpoint-peers/a-half-that-is-none-is-refused", a_half_that_is_none_is_refused},
       {"/endpoint-peers/an-inline-item-for-nobody-is-refused",
        an_inline_item_for_nobody_is_refused},
       {"/endpoint-peers/bad-manners-end-the-link", bad_manners_end_the_link},
       {"/endpoint-peers/a-sudden-end-is-seen-and-what-came-before-can-be-read",
        a_sudden_end_is_seen_and_what_came_before_can_be_read},
       {"/endpoint-peers/clients-that-come-and-go-do-no-harm", clients_that_come_and_go_do_no_harm},
       {"/endpoint-peers/thousands-that-say-nothing-keep-nobody-out",
        thousands_that_say_nothing_keep_nobody_out},
       {"/endpoint-peers/a-refusal-reaches-the-user", a_refusal_reaches_the_user},
       {"/endpoint-peers/a-refused-client-that-waits-gets-in-later",
        a_refused_client_that_waits_gets_in_later},
       {"/endpoint-peers/a-server-that-goes-unheard-is-tried-again",
        a_server_that_goes_unheard_is_tried_again},
       {"/endpoint-peers/a-backlog-goes-out-when-the-peer-reads",
        a_backlog_goes_out_when_the_peer_reads},
       {"/endpoint-peers/a-flood-does-not-keep-us-from-stopping",
        a_flood_does_not_keep_us_from_stopping},
       {"/endpoint-peers/another-user-is-refused-where-the-mode-says-so",
        another_user_is_refused_where_the_mode_says_so}});
}
