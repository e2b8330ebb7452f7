// The status of a server: who gets it, whole, and what who asks or answers badly can do.
#include "lib/status.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <thread>
#include <tuple>

#include "lib/layout.h"
#include "tests/lib/endpoint_user.h"

namespace mmaplink::test {
namespace {

constexpr auto kLong = std::chrono::seconds(20);
Deadline in(std::chrono::milliseconds time) { return Clock::now() + time; }

Endpoint::Options shown() {
  Endpoint::Options options;
  options.monitor = true;
  return options;
}

// A server with a sink that says these lines of itself.
struct Served {
  explicit Served(StatusLines lines = {"one", "two"}, const Endpoint::Options& options = shown()) {
    server.user().status = std::move(lines);
    must(server.start(options));
  }
  Result<StatusLines> ask() const { return ask_status(path, in(kLong)); }
  TempDir directory;
  std::string path = directory.path("socket");
  Element server{path, Role::server, Side::sink};
};

// A connection by hand.
struct Raw {
  explicit Raw(const std::string& path) : channel(must(connect_to(path))) {}
  // Reads to the end.
  std::vector<Message> rest() {
    std::vector<Message> got;
    g_assert_true(eventually([&] {
      auto open = channel.receive([&](Channel::Received received) {
        got.push_back(std::move(received.message));
        return true;
      });
      return !open || !*open;
    }));
    return got;
  }
  bool refused(const std::string& text) {
    const auto got = rest();
    const auto* refuse = got.empty() ? nullptr : std::get_if<Refuse>(&got.back());
    if (refuse == nullptr) return false;
    if (refuse->text != text) g_test_message("refused: %s", refuse->text.c_str());
    return refuse->text == text;
  }
  Channel channel;
};

void lines_arrive() {
  Served served;
  g_assert_true(must(served.ask()) == (StatusLines{"one", "two"}));
  Served silent(StatusLines{});
  g_assert_true(must(silent.ask()).empty());
  // Whoever asks is no client.
  g_assert_true(served.server.user().told().connected.empty());
  g_assert_true(served.server.user().told().refused.empty());
}

void both_sides_tell() {
  const TempDir directory;
  const std::string path = directory.path("socket");
  Element sink(path, Role::server, Side::sink);
  Element src(path, Role::server, Side::src);
  sink.user().status = {"sent"};
  src.user().status = {"received"};
  must(sink.start());
  must(src.start(shown()));
  g_assert_true(must(ask_status(path, in(kLong))) == (StatusLines{"sent", "received"}));
  src.stop();
  g_assert_true(fails(ask_status(path, in(kLong)), Failure::refused, "set monitor=true"));
}

void one_in_the_middle_of_a_link_is_hung_up_on() {
  Served served;
  Raw peer(served.path);
  const auto half = must(Link::make_half());
  must(peer.channel.send(Hello{kVersion, {false, true}}, half->fd.get()));
  served.server.link();
  // The others see how that one is.
  g_assert_cmpuint(must(served.ask()).size(), ==, 2);
  must(peer.channel.send(StatusAsk{kVersion}));
  g_assert_true(peer.refused("a greeting out of turn"));
  g_assert_true(says(served.server.hung_up(), Failure::protocol, "a greeting out of turn"));
}

void what_is_not_shown_is_refused() {
  const Served served({"one"}, Endpoint::Options{});
  g_assert_true(fails(served.ask(), Failure::refused,
                      served.path + ": this server does not show its status: set monitor=true"));
}

void another_version_is_refused() {
  Served served;
  Raw peer(served.path);
  must(peer.channel.send(StatusAsk{kVersion + 1}));
  g_assert_true(peer.refused("this server speaks version " + std::to_string(kVersion) +
                             " of the link, who asks for its status version " +
                             std::to_string(kVersion + 1) + ": take both of one release"));
}

// Neither by a client, nor twice, nor by what is no server.
void out_of_turn_it_is_refused() {
  Served served(StatusLines(1000, std::string(900, 'x')));
  Raw peer(served.path);
  must(peer.channel.send(StatusAsk{kVersion}));
  must(peer.channel.send(StatusAsk{kVersion}));
  // Whoever says more is cut off, whether or not all of the answer had gone out by then.
  peer.rest();
  Raw parts(served.path);
  must(parts.channel.send(StatusPart{true, "mine"}));
  g_assert_true(parts.refused("a control message before the handshake"));
  g_assert_cmpuint(must(served.ask()).size(), ==, 1000);
}

void long_answers_come_whole() {
  StatusLines lines;
  for (size_t i = 0; i < 1000; ++i) lines.push_back(std::to_string(i) + std::string(i, 'x'));
  const Served served(lines);
  g_assert_true(must(served.ask()) == lines);
  // What is within a line is no end of it.
  const Served odd({"a\nb", "", std::string(100'000, 'y')});
  const auto got = must(odd.ask());
  g_assert_cmpuint(got.size(), ==, 2);
  g_assert_cmpstr(got[0].c_str(), ==, "a b");
  g_assert_cmpuint(got[1].size(), ==, 100'000);
}

void what_is_too_much_is_left_out() {
  const Served served(StatusLines(20, std::string(100'000, 'x')));
  const auto got = must(served.ask());
  g_assert_cmpuint(got.size(), ==, 11);
  g_assert_cmpstr(got.back().c_str(), ==, "{\"left-out\":10}");
}

void without_end_it_is_refused() {
  Served served;
  size_t told = 0;
  const uint64_t start = monotonic_ns();
  for (;;) {
    auto got = served.ask();
    if (!got) {
      g_assert_true(says(got.error(), Failure::refused, "the status was asked for more than 20"));
      break;
    }
    ++told;
  }
  // At once, and what was earned meanwhile.
  const uint64_t seconds = (monotonic_ns() - start) / 1'000'000'000 + 1;
  g_assert_cmpuint(told, >=, 2 * Endpoint::kStatusPerSecond);
  g_assert_cmpuint(told, <=, (2 + seconds) * Endpoint::kStatusPerSecond);
  // And it is told again, and clients are served, and none of it is worth a word.
  g_assert_true(eventually([&] { return static_cast<bool>(served.ask()); }));
  g_assert_true(served.server.user().told().refused.empty());
}

// One that asks and does not read keeps nothing, and nobody out.
void who_never_reads_is_dropped() {
  Served served(StatusLines(500, std::string(1000, 'x')));
  std::vector<std::unique_ptr<Raw>> silent;
  for (size_t i = 0; i < Endpoint::kStatusPerSecond; ++i) {
    silent.push_back(std::make_unique<Raw>(served.path));
    must(silent.back()->channel.send(StatusAsk{kVersion}));
  }
  // Under load what greetings take may be over before all of that is read.
  g_assert_true(eventually([&] {
    auto got = served.ask();
    return got && got->size() == 500;
  }));
  Raw peer(served.path);
  must(peer.channel.send(Hello{kVersion, {false, true}}, must(Link::make_half())->fd.get()));
  served.server.link();
  // After what greetings take: the end comes, with less than all.
  g_assert_true(served.server.told([&](const auto& told) { return told.refused.size() >= 20; }));
  size_t bytes = 0;
  for (const Message& message : silent[0]->rest())
    if (const auto* part = std::get_if<StatusPart>(&message)) {
      bytes += part->text.size();
      g_assert_false(part->last);
    }
  g_assert_cmpuint(bytes, <, 500'000);
}

void a_server_of_another_kind_answers_by_itself() {
  const TempDir directory;
  const std::string path = directory.path("socket");
  Listener listener = must(Listener::open(path, {}));
  const StatusLines lines(1000, std::string(1000, 'x'));
  std::thread serves([&] {
    Fd socket;
    g_assert_true(eventually([&] {
      socket = must(listener.accept());
      return static_cast<bool>(socket);
    }));
    must(answer_status(std::move(socket), lines, in(kLong)));
  });
  g_assert_true(must(ask_status(path, in(kLong))) == lines);
  serves.join();
}

void bad_servers_are_told_from_good_ones() {
  const TempDir directory;
  const std::string path = directory.path("socket");
  g_assert_true(fails(ask_status(path, in(kLong)), Failure::not_found, "no server on " + path));
  Listener listener = must(Listener::open(path, {}));
  g_assert_true(
      fails(ask_status(path, in(std::chrono::milliseconds(10))), Failure::timeout, "no answer"));
  must(listener.accept());
  const auto flood = build(StatusPart{false, std::string(60'000, 'x')});
  const struct {
    std::vector<std::byte> says;
    Failure failure;
    std::string text;
    int times = 1;
  } servers[] = {
      {{}, Failure::gone, "it hung up without an answer"},
      {build(StatusPart{false, "half"}), Failure::gone, "it hung up without an answer"},
      {build(Refuse{"no"}), Failure::refused, path + ": no"},
      {build(Lanes{}), Failure::protocol, "it answers something else"},
      {std::vector<std::byte>(64, std::byte{'H'}), Failure::protocol, "a control message of"},
      {flood, Failure::protocol, "it says too much", 20},
  };
  for (const auto& server : servers) {
    std::thread serves([&] {
      Fd socket;
      g_assert_true(eventually([&] {
        socket = must(listener.accept());
        return static_cast<bool>(socket);
      }));
      std::vector<std::byte> all;
      for (int i = 0; i < server.times; ++i)
        all.insert(all.end(), server.says.begin(), server.says.end());
      size_t done = 0;
      // Until the other end has had enough.
      while (done < all.size()) {
        const ssize_t sent = send(socket.get(), all.data() + done, all.size() - done, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) break;
        if (sent > 0) done += static_cast<size_t>(sent);
      }
      // Its question is read, or the end would be a reset.
      char bytes[64];
      recv(socket.get(), bytes, sizeof bytes, MSG_DONTWAIT);
    });
    if (!fails(ask_status(path, in(kLong)), server.failure, server.text))
      g_error("not: %s", server.text.c_str());
    serves.join();
  }
}

// The mode of the socket says who may see it, as who may connect.
void another_user_is_refused() {
  if (geteuid() != 0) {
    g_test_skip("needs root, to become nobody");
    return;
  }
  for (const mode_t mode : {0600u, 0666u}) {
    auto options = shown();
    options.access.mode = mode;
    const Served served({"one"}, options);
    chmod(served.directory.path().c_str(), 0755);
    chmod(served.path.c_str(), 0666);
    g_assert_true(in_child([&] {
      if (setgid(65534) != 0 || setuid(65534) != 0) return false;
      const auto got = served.ask();
      return mode == 0666 ? static_cast<bool>(got)
                          : fails(got, Failure::refused, "uid 65534 may not connect");
    }));
  }
}

// Who looks does not keep a server waiting that wants a client in time.
void who_looks_is_no_client_in_time() {
  auto options = shown();
  options.connection_timeout = std::chrono::milliseconds(200);
  Served served({"one"}, options);
  g_assert_true(eventually([&] {
    // Again and again, as a viewer does.
    std::ignore = served.ask();
    return !served.server.user().told().failed.empty();
  }));
}

}  // namespace
}  // namespace mmaplink::test

int main(int argc, char** argv) {
  using namespace mmaplink::test;
  return run_all(
      argc, argv,
      {{"/status/lines-arrive", lines_arrive},
       {"/status/both-sides-tell", both_sides_tell},
       {"/status/one-in-the-middle-of-a-link-is-hung-up-on",
        one_in_the_middle_of_a_link_is_hung_up_on},
       {"/status/what-is-not-shown-is-refused", what_is_not_shown_is_refused},
       {"/status/another-version-is-refused", another_version_is_refused},
       {"/status/out-of-turn-it-is-refused", out_of_turn_it_is_refused},
       {"/status/long-answers-come-whole", long_answers_come_whole},
       {"/status/what-is-too-much-is-left-out", what_is_too_much_is_left_out},
       {"/status/without-end-it-is-refused", without_end_it_is_refused},
       {"/status/who-never-reads-is-dropped", who_never_reads_is_dropped},
       {"/status/a-server-of-another-kind-answers-by-itself",
        a_server_of_another_kind_answers_by_itself},
       {"/status/bad-servers-are-told-from-good-ones", bad_servers_are_told_from_good_ones},
       {"/status/another-user-is-refused", another_user_is_refused},
       {"/status/who-looks-is-no-client-in-time", who_looks_is_no_client_in_time}});
}
