// A reception and who comes to it: good clients, and those with bad manners.
#include "lib/reception.h"

#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <deque>
#include <mutex>

#include "lib/layout.h"
#include "lib/status.h"
#include "lib/system.h"
#include "tests/lib/endpoint_user.h"

namespace mmaplink::test {
namespace {

constexpr Wishes kMapsAll{Wish::must, Wish::must};
Deadline in_time() { return Clock::now() + std::chrono::seconds(20); }

struct Desk {
  explicit Desk(const Access& access = {}) {
    must(reception.start(
        {path, other}, access,
        {[this](Reception::Caller caller) {
           const std::lock_guard lock(mutex);
           callers.push_back(std::move(caller));
         },
         [](Reception::Caller caller) {
           must(answer_status(std::move(caller.socket), {caller.path, caller.request}, in_time()));
         },
         [this](const Error& why) {
           const std::lock_guard lock(mutex);
           refused.push_back(why.text);
         }}));
  }
  Reception::Caller next() {
    Reception::Caller caller;
    g_assert_true(eventually([&] {
      const std::lock_guard lock(mutex);
      if (callers.empty()) return false;
      caller = std::move(callers.front());
      callers.pop_front();
      return true;
    }));
    return caller;
  }
  bool nobody_came() {
    const std::lock_guard lock(mutex);
    return callers.empty();
  }
  std::vector<std::string> told() {
    const std::lock_guard lock(mutex);
    return refused;
  }
  TempDir directory;
  std::string path = directory.path("socket");
  std::string other = directory.path("other");
  std::mutex mutex;
  std::deque<Reception::Caller> callers;
  std::vector<std::string> refused;
  Reception reception;
};

Fd connect(const std::string& path) {
  Fd socket;
  g_assert_true(eventually([&] {  // while the backlog is full
    auto connected = connect_to(path);
    if (connected) socket = std::move(*connected);
    return static_cast<bool>(socket);
  }));
  return socket;
}

void send_bytes(const Fd& socket, std::span<const std::byte> bytes, int fd = -1) {
  iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (fd >= 0) {
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(rights), &fd, sizeof fd);
  }
  g_assert_cmpint(sendmsg(socket.get(), &header, MSG_NOSIGNAL), ==,
                  static_cast<ssize_t>(bytes.size()));
}

std::vector<std::byte> bytes_of(const std::string& text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

// What is said to a client until it is hung up on; a refusal, or nothing.
std::string refusal(const Fd& socket) {
  Channel channel(must(socket.duplicate()));
  std::string text = "nothing";
  const bool ended = eventually([&] {
    auto open = channel.receive([&](const Channel::Received& received) {
      if (const auto* refuse = std::get_if<Refuse>(&received.message)) text = refuse->text;
      return true;
    });
    return !open || !*open;
  });
  return ended ? text : "still open";
}

bool is_told(const Fd& socket, const std::string& wanted) {
  const std::string told = refusal(socket);
  if (told != wanted) g_test_message("told: %s", told.c_str());
  return told == wanted;
}

const Hello kHello{kVersion, {true, true}, kMapsAll, 7, "h264\nbitrate=500"};

std::vector<std::byte> beginning(size_t size) {
  auto bytes = build(kHello);
  bytes.resize(size);
  return bytes;
}

// The greeting is all there, for somebody else to read.
void is_untouched(const Reception::Caller& caller, const Hello& sent) {
  Channel channel(must(caller.socket.duplicate()));
  int greetings = 0;
  must(channel.receive([&](const Channel::Received& received) {
    const auto& hello = std::get<Hello>(received.message);
    g_assert_true(hello.request == sent.request && hello.now == sent.now);
    g_assert_true(static_cast<bool>(received.fd) == carries_fd(sent));
    ++greetings;
    return true;
  }));
  g_assert_cmpint(greetings, ==, 1);
}

void who_greets_is_handed_over() {
  Desk desk;
  const auto half = must(Link::make_half());
  const Fd one = connect(desk.path);
  send_bytes(one, build(kHello), half->fd.get());
  const auto caller = desk.next();
  g_assert_cmpstr(caller.request.c_str(), ==, "h264\nbitrate=500");
  g_assert_cmpstr(caller.path.c_str(), ==, desk.path.c_str());
  g_assert_cmpint(caller.peer.pid, ==, getpid());
  is_untouched(caller, kHello);

  Hello plain = kHello;
  plain.wishes = {Wish::no, Wish::no};
  plain.request = std::string(kMostRequest, 'r');
  const Fd two = connect(desk.other);
  send_bytes(two, build(plain));
  const auto second = desk.next();
  g_assert_cmpstr(second.path.c_str(), ==, desk.other.c_str());
  g_assert_true(second.request == plain.request);
  is_untouched(second, plain);
}

// Also where a descriptor comes with the first piece, at which a look ahead stops.
void greetings_may_come_byte_by_byte() {
  Desk desk;
  const auto half = must(Link::make_half());
  const auto bytes = build(kHello);
  const Fd socket = connect(desk.path);
  for (size_t i = 0; i < bytes.size(); ++i) {
    g_assert_true(desk.nobody_came());
    send_bytes(socket, std::span(bytes).subspan(i, 1), i == 0 ? half->fd.get() : -1);
  }
  is_untouched(desk.next(), kHello);
}

void an_endpoint_goes_on_from_there() {
  Desk desk;
  Element client{desk.path, Role::client, Side::src};
  must(client.start());
  auto caller = desk.next();
  const auto given = must(given_socket(caller.socket.get()));
  caller.socket.reset();
  Element server{Endpoint::Key{given->name, Role::server, nullptr, given}, Side::sink};
  must(server.start());
  Outgoing item = frame(77);
  g_assert_true(must(server.link()->publish(item, {}, 8)) == SendLane::Room::yes);
  Incoming got;
  g_assert_true(eventually(
      [&] { return must(client.link()->receive_lane()->take(got)) == ReceiveLane::Take::item; }));
  g_assert_cmpuint(got.descriptor.pts, ==, 77);
}

void what_is_no_greeting_is_refused() {
  Desk desk;
  const struct {
    std::vector<std::byte> sent;
    std::string told;
  } sins[] = {
      {build(Note{1, {}}), "a control message before the handshake"},
      {build(Welcome{kVersion, {}, kMapsAll}), "a greeting out of turn"},
      {bytes_of("GET / HTTP/1.1\r\n\r\n"), "a control message of 542393671 bytes"},
      {build(Hello{kVersion + 1, {}, kMapsAll}),
       "this server speaks version " + std::to_string(kVersion) +
           " of the link, the client version " + std::to_string(kVersion + 1)},
      {build(Hello{kVersion, {}, kMapsAll, 0, std::string(kMostRequest + 1, 'r')}),
       "too long a request"},
  };
  for (const auto& sin : sins) {
    const Fd socket = connect(desk.path);
    send_bytes(socket, sin.sent);
    g_assert_true(is_told(socket, sin.told));
  }
  g_assert_true(desk.nobody_came());
  g_assert_cmpuint(desk.told().size(), ==, std::size(sins));
  g_assert_true(desk.told()[0].find(desk.path + ": a control message before") != std::string::npos);
  const Fd good = connect(desk.path);
  send_bytes(good, build(kHello));
  desk.next();
}

void who_may_not_connect_is_told_so() {
  Access access;
  access.uids = {{geteuid() + 1}};
  Desk desk(access);
  const Fd socket = connect(desk.path);
  send_bytes(socket, build(kHello));
  g_assert_true(refusal(socket).find("may not connect") != std::string::npos);
  g_assert_true(desk.nobody_came());
}

// With all that had been sent, and its descriptor.
void a_refusal_reaches_its_client() {
  Desk desk;
  const auto half = must(Link::make_half());
  const Fd socket = connect(desk.path);
  send_bytes(socket, build(kHello), half->fd.get());
  send_bytes(socket, build(Note{1, std::vector<std::byte>(60'000)}));
  Reception::refuse(std::move(desk.next().socket), "there is no profile of that name");
  g_assert_true(is_told(socket, "there is no profile of that name"));
}

void who_hangs_up_is_nobody() {
  Desk desk;
  for (int i = 0; i < 200; ++i) {
    const Fd socket = connect(desk.path);
    if (i % 2 == 0) send_bytes(socket, beginning(9));
  }
  const Fd good = connect(desk.path);
  send_bytes(good, build(kHello));
  desk.next();
  g_assert_true(desk.nobody_came());
}

// Each that says nothing pushes out an older one, and who greets gets in.
void a_crowd_that_says_nothing_keeps_nobody_out() {
  Desk desk;
  std::deque<Fd> silent;
  for (int i = 0; i < 20; ++i) {
    const Fd good = connect(desk.path);
    send_bytes(good, build(kHello));
    for (int k = 0; k < 100; ++k) {
      silent.push_back(connect(desk.path));
      if (k % 2 == 0) send_bytes(silent.back(), beginning(20));
      if (silent.size() > 200) silent.pop_front();
    }
    desk.next();
  }
  g_assert_true(is_told(silent.front(), "the peer did not greet, and others wait"));
}

void silence_ends() {
  Desk desk;
  const Fd socket = connect(desk.path);
  send_bytes(socket, beginning(20));
  g_assert_true(is_told(socket, "the peer did not greet in time"));
}

void without_descriptors_clients_wait() {
  Desk desk;
  sys::arm(sys::Call::accept, EMFILE);
  const Fd socket = connect(desk.path);
  send_bytes(socket, build(kHello));
  g_assert_true(eventually([] { return sys::failed() >= 2; }));
  g_assert_true(desk.nobody_came());
  g_assert_cmpuint(desk.told().size(), ==, 1);  // once
  sys::disarm();
  desk.next();
}

void who_asks_for_the_status_is_handed_on() {
  Desk desk;
  const auto lines = must(ask_status(desk.other, in_time()));
  g_assert_true(lines == StatusLines{desk.other});
  // In pieces, and of a release that is not ours.
  const Fd slow = connect(desk.path);
  const auto asks = build(StatusAsk{kVersion + 1});
  for (const std::byte& one : asks) send_bytes(slow, std::span(&one, 1));
  g_assert_true(is_told(slow, check_status_version(kVersion + 1).error().text));
  // It is none that is not let in, and no client.
  g_assert_true(desk.told().empty());
  g_assert_true(desk.nobody_came());
}

void a_start_that_fails_leaves_nothing() {
  const TempDir directory;
  const std::string path = directory.path("socket");
  const Reception::Calls nobody{[](Reception::Caller) {}, [](Reception::Caller) {},
                                [](const Error&) {}};
  {
    Reception reception;
    g_assert_true(fails(reception.start({path, "/none/there"}, {}, nobody), Failure::not_found,
                        "/none/there"));
  }
  for (const auto call : {sys::Call::epoll_create, sys::Call::eventfd, sys::Call::epoll_add,
                          sys::Call::socket, sys::Call::thread}) {
    Reception reception;
    sys::arm(call, EMFILE);
    const auto started = reception.start({path}, {}, nobody);
    sys::disarm();
    g_assert_false(static_cast<bool>(started));
    g_assert_true(access(path.c_str(), F_OK) != 0);
  }
  Reception reception;
  must(reception.start({path}, {}, nobody));
}

void who_waits_is_told_that_it_stops() {
  Desk desk;
  const Fd socket = connect(desk.path);
  send_bytes(socket, beginning(20));
  // Its turn is before this one's.
  const Fd next = connect(desk.path);
  send_bytes(next, build(kHello));
  desk.next();
  desk.reception.stop();
  g_assert_true(is_told(socket, "this server is stopping"));
  g_assert_true(access(desk.path.c_str(), F_OK) != 0);
}

// What a peer may send is taken piece by piece, none of which may stop us.
void garbage_is_harmless() {
  Desk desk;
  Random random;
  for (int i = 0; i < 500; ++i) {
    auto bytes = build(kHello);
    for (uint32_t k = random.below(4); k > 0; --k)
      bytes[random.below(static_cast<uint32_t>(bytes.size()))] =
          static_cast<std::byte>(random.below(256));
    const Fd socket = connect(desk.path);
    send_bytes(socket, std::span(bytes).first(random.below(static_cast<uint32_t>(bytes.size()))));
    if (random.one_in(2)) shutdown(socket.get(), SHUT_WR);
  }
  const Fd good = connect(desk.path);
  Hello hello = kHello;
  hello.request = "the good one";
  send_bytes(good, build(hello));
  while (desk.next().request != "the good one") {
  }
}

}  // namespace
}  // namespace mmaplink::test

int main(int argc, char** argv) {
  using namespace mmaplink::test;
  return run_all(
      argc, argv,
      {{"/reception/who-greets-is-handed-over", who_greets_is_handed_over},
       {"/reception/greetings-may-come-byte-by-byte", greetings_may_come_byte_by_byte},
       {"/reception/an-endpoint-goes-on-from-there", an_endpoint_goes_on_from_there},
       {"/reception/what-is-no-greeting-is-refused", what_is_no_greeting_is_refused},
       {"/reception/who-may-not-connect-is-told-so", who_may_not_connect_is_told_so},
       {"/reception/a-refusal-reaches-its-client", a_refusal_reaches_its_client},
       {"/reception/who-hangs-up-is-nobody", who_hangs_up_is_nobody},
       {"/reception/a-crowd-that-says-nothing-keeps-nobody-out",
        a_crowd_that_says_nothing_keeps_nobody_out},
       {"/reception/silence-ends", silence_ends},
       {"/reception/without-descriptors-clients-wait", without_descriptors_clients_wait},
       {"/reception/who-asks-for-the-status-is-handed-on", who_asks_for_the_status_is_handed_on},
       {"/reception/a-start-that-fails-leaves-nothing", a_start_that_fails_leaves_nothing},
       {"/reception/who-waits-is-told-that-it-stops", who_waits_is_told_that_it_stops},
       {"/reception/garbage-is-harmless", garbage_is_harmless}});
}
