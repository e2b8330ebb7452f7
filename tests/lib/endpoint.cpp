// Endpoints of one process that meet on a path: who shares one, who comes first, who comes again,
// and that nothing is left of them.
#include "lib/endpoint.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "tests/lib/endpoint_user.h"

namespace mmaplink::test {
namespace {

using std::chrono::milliseconds;

std::string self() { return "process " + std::to_string(getpid()); }

void either_may_start_first() {
  for (const bool server_first : {true, false}) {
    const TempDir directory;
    Element server(directory.path("socket"), Role::server, Side::sink);
    Element client(directory.path("socket"), Role::client, Side::src);
    must((server_first ? server : client).start());
    must((server_first ? client : server).start());
    const auto at_server = server.link();
    const auto at_client = client.link();
    g_assert_true(at_server->alive() && at_client->alive() && at_server != at_client);
    g_assert_cmpint(at_server->peer().pid, ==, getpid());
    g_assert_true(at_server->peer_lanes() == (Lanes{false, true}));
    g_assert_true(at_client->peer_lanes() == (Lanes{true, false}));
  }
}

void elements_of_equal_keys_share_an_endpoint() {
  const TempDir directory;
  const std::string path = directory.path("socket");
  const int bin = 0;
  const int other_bin = 0;
  Element sink(path, Role::client, Side::sink, &bin);
  Element src(path, Role::client, Side::src, &bin);
  g_assert_true(sink.endpoint() == src.endpoint());
  Element elsewhere(path, Role::client, Side::src, &other_bin);
  g_assert_true(sink.endpoint() != elsewhere.endpoint());
  // A third one of the same key has nobody to share with.
  Element third(path, Role::client, Side::sink, &bin);
  g_assert_true(sink.endpoint() != third.endpoint());
  Element server(path, Role::server, Side::sink);
  g_assert_true(sink.endpoint() != server.endpoint());
  g_assert_true(sink.endpoint()->is_attached(Side::src));
  g_assert_false(server.endpoint()->is_attached(Side::src));
  g_assert_cmpstr(server.endpoint()->path().c_str(), ==, path.c_str());
  g_assert_true(server.endpoint()->role() == Role::server);
}

void a_path_has_one_server_for_each_side() {
  const TempDir directory;
  const std::string path = directory.path("socket");
  Recorder user;
  for (const Side side : {Side::sink, Side::src}) {
    const Element first(path, Role::server, side);
    g_assert_true(fails(Endpoint::attach({path, Role::server, nullptr}, side, user), Failure::busy,
                        std::string("another ") + (side == Side::sink ? "mmapsink" : "mmapsrc") +
                            " of this process is already the server on socket-path " + path));
  }
  // Free again when that one is gone.
  const Element again(path, Role::server, Side::sink);
}

void an_endpoint_goes_with_its_last_element() {
  const TempDir directory;
  auto sink = std::make_unique<Element>(directory.path("s"), Role::client, Side::sink);
  auto src = std::make_unique<Element>(directory.path("s"), Role::client, Side::src);
  const std::weak_ptr<Endpoint> weak = sink->endpoint();
  sink.reset();
  g_assert_false(weak.expired());
  sink = std::make_unique<Element>(directory.path("s"), Role::client, Side::sink);
  g_assert_true(sink->endpoint() == weak.lock());
  src.reset();
  sink.reset();
  g_assert_true(weak.expired());
}

// Both elements of each process on one link, started one after the other.
void a_link_is_shared_by_a_pair() {
  const TempDir directory;
  const std::string path = directory.path("socket");
  Element server_sink(path, Role::server, Side::sink);
  Element server_src(path, Role::server, Side::src);
  Element client_sink(path, Role::client, Side::sink);
  Element client_src(path, Role::client, Side::src);
  must(server_sink.start());
  must(client_src.start());
  const auto at_server = server_sink.link();
  const auto at_client = client_src.link();
  // A link that is there is told of inside start().
  must(server_src.start());
  must(client_sink.start());
  g_assert_true(server_src.user().told().connected.at(0) == at_server);
  g_assert_true(client_sink.user().told().connected.at(0) == at_client);
  const auto all = [](const Element&) { return Lanes{true, true}; };
  g_assert_true(
      server_sink.told([&](const auto&) { return at_server->peer_lanes() == all(server_sink); }));
  g_assert_true(
      client_src.told([&](const auto&) { return at_client->peer_lanes() == all(client_src); }));
  // One of them stops: the link stays, and the peer is told.
  client_sink.stop();
  g_assert_true(server_src.told([&](const auto&) {
    return at_server->peer_lanes() == (Lanes{false, true});
  }));
  g_assert_true(at_server->alive() && at_client->alive());
}

void items_and_arenas_cross() {
  const TempDir directory;
  Element server(directory.path("socket"), Role::server, Side::sink);
  Element client(directory.path("socket"), Role::client, Side::src);
  must(server.start());
  must(client.start());
  const auto from = server.link();
  const auto to = client.link();
  const auto store = std::make_shared<ArenaStore>(64 << 20);
  const Block block = must(store->allocate(1000, 64));
  Outgoing item = frame(5);
  item.descriptor.arena = block.arena()->number();
  item.descriptor.offset = block.offset();
  item.descriptor.size = block.size();
  const std::vector<Place> places{{block.arena(), block.offset()}};
  g_assert_true(must(from->publish(item, places, 8)) == SendLane::Room::yes);
  // Whoever waits for the arena is told that it is there.
  g_assert_true(client.told([&](const auto&) { return to->receive_lane()->usage().arenas == 1; }));
  Incoming got;
  g_assert_true(must(to->receive_lane()->take(got)) == ReceiveLane::Take::item);
  g_assert_cmpuint(got.memory.size, ==, 1000);
  from->retire(block.arena()->number());
  g_assert_true(eventually([&] { return to->receive_lane()->usage().arenas == 0; }));
}

void notes_cross_both_ways_and_may_be_answered_at_once() {
  const TempDir directory;
  Element server(directory.path("socket"), Role::server, Side::sink);
  Element client(directory.path("socket"), Role::client, Side::src);
  client.user().answers = true;
  must(server.start());
  must(client.start());
  const auto link = server.link();
  for (uint32_t i = 0; i < 100; ++i) must(link->note(10 * i, std::vector<std::byte>(i)));
  g_assert_true(server.told([](const auto& told) { return told.notes.size() == 100; }));
  for (uint32_t i = 0; i < 100; ++i) {
    g_assert_cmpuint(server.user().told().notes[i].kind, ==, 10 * i + 1);
    g_assert_cmpuint(server.user().told().notes[i].bytes.size(), ==, i);
  }
}

void a_one_way_server_has_many_clients() {
  const TempDir directory;
  const std::string path = directory.path("socket");
  Element server(path, Role::server, Side::sink);
  must(server.start());
  std::vector<std::unique_ptr<Element>> clients;
  const int groups[10] = {};
  for (const int& group : groups) {
    clients.push_back(std::make_unique<Element>(path, Role::client, Side::src, &group));
    must(clients.back()->start());
    g_assert_true(clients.back()->link()->alive());
  }
  g_assert_true(server.told([](const auto& told) { return told.connected.size() == 10; }));
  clients.resize(4);
  g_assert_true(server.told([](const auto& told) { return told.disconnected.size() == 6; }));
  g_assert_true(clients[3]->link()->alive());
}

void a_two_way_server_has_one_client() {
  for (const bool sink_too : {true, false}) {
    const TempDir directory;
    const std::string path = directory.path("socket");
    std::optional<Element> sink;
    if (sink_too) sink.emplace(path, Role::server, Side::sink);
    Element src(path, Role::server, Side::src);
    must(src.start());
    if (sink_too) must(sink->start());
    const int groups[2] = {};
    Element first(path, Role::client, Side::sink, &groups[0]);
    must(first.start());
    g_assert_true(first.link()->alive());
    src.link();
    Element second(path, Role::client, Side::sink, &groups[1]);
    must(second.start());
    g_assert_true(says(second.failed(), Failure::refused,
                       self() + " on " + path + ": serving another client, " + self()));
    g_assert_true(first.link()->alive());
    g_assert_true(second.user().told().connected.empty());
    // When the first has gone it is another's turn.
    first.stop();
    g_assert_true(src.told([](const auto& told) { return told.disconnected.size() == 1; }));
    second.stop();
    must(second.start());
    g_assert_true(second.link()->alive());
  }
}

void a_client_comes_back_to_a_new_server() {
  const TempDir directory;
  const std::string path = directory.path("socket");
  Element client(path, Role::client, Side::src);
  Endpoint::Options again;
  again.reconnect = true;
  must(client.start(again));
  for (size_t i = 0; i < 3; ++i) {
    Element server(path, Role::server, Side::sink);
    must(server.start());
    const auto link = client.link(i);
    server.stop();
    g_assert_true(client.told([&](const auto& told) { return told.disconnected.size() == i + 1; }));
    g_assert_false(link->alive());
    g_assert_true(client.user().told().disconnected[i] == link);
    g_assert_true(
        says(client.user().told().why[i], Failure::gone, self() + " on " + path + " hung up"));
  }
  g_assert_true(client.user().told().failed.empty());
}

void without_reconnect_a_hang_up_is_the_end() {
  const TempDir directory;
  const std::string path = directory.path("socket");
  Element client(path, Role::client, Side::src);
  must(client.start());
  Element server(path, Role::server, Side::sink);
  must(server.start());
  client.link();
  server.stop();
  g_assert_true(says(client.hung_up(), Failure::gone, self() + " on " + path + " hung up"));
  must(server.start());
  // A client that does come again has long been here when this one has.
  const int group = 0;
  Element other(path, Role::client, Side::src, &group);
  must(other.start());
  other.link();
  g_assert_cmpuint(client.user().told().connected.size(), ==, 1);
  // Started anew it is another matter.
  client.stop();
  must(client.start());
  client.link(1);
}

void hanging_up_says_why_at_both_ends() {
  const TempDir directory;
  const std::string path = directory.path("socket");
  for (const bool by_server : {true, false}) {
    Element server(path, Role::server, Side::sink);
    Element client(path, Role::client, Side::src);
    must(server.start());
    must(client.start());
    Element& one = by_server ? server : client;
    Element& other = by_server ? client : server;
    other.link();
    one.link()->hang_up("enough");
    g_assert_true(says(one.hung_up(), Failure::protocol,
                       "hung up on " + self() + " on " + path + ": enough"));
    g_assert_true(says(other.hung_up(), Failure::refused, self() + " on " + path + ": enough"));
    g_assert_false(one.link()->alive() || other.link()->alive());
  }
}

void nobody_in_time_is_said() {
  const TempDir directory;
  const std::string path = directory.path("socket");
  Endpoint::Options options;
  options.connection_timeout = milliseconds(30);
  {
    Element client(path, Role::client, Side::src);
    must(client.start(options));
    g_assert_true(says(client.failed(), Failure::timeout,
                       "no server was on " + path + " within connection-timeout"));
  }
  Element server(path, Role::server, Side::sink);
  must(server.start(options));
  g_assert_true(says(server.failed(), Failure::timeout,
                     "no client came to " + path + " within connection-timeout"));
  // Once, and not of who has somebody.
  Element client(path, Role::client, Side::src);
  must(client.start());
  server.link();
  g_assert_cmpuint(server.user().told().failed.size(), ==, 1);
}

void waiting_is_said_once() {
  const TempDir directory;
  Element client(directory.path("socket"), Role::client, Side::src);
  Element sink(directory.path("socket"), Role::client, Side::sink);
  must(client.start());
  must(sink.start());
  const auto waiting = [&] { return client.user().told().waiting + sink.user().told().waiting; };
  g_assert_true(eventually([&] { return waiting() > 0; }));
  Element server(directory.path("socket"), Role::server, Side::src);
  must(server.start());
  client.link();
  g_assert_cmpint(waiting(), ==, 1);
}

void a_path_that_can_not_be_is_said_by_start() {
  const TempDir directory;
  for (const Role role : {Role::server, Role::client}) {
    Element missing(directory.path("none/socket"), role, Side::sink);
    g_assert_true(fails(missing.start(), Failure::not_found, directory.path("none")));
    Element none("", role, Side::sink);
    g_assert_true(fails(none.start(), Failure::settings, "no socket-path is set"));
  }
  const std::string path = directory.path("socket");
  Element server(path, Role::server, Side::sink);
  {
    const auto other = must(Listener::open(path, {}));
    g_assert_true(fails(server.start(), Failure::busy, "a server is already listening on " + path));
    g_assert_false(server.endpoint()->is_started(Side::sink));
  }
  must(server.start());
  g_assert_true(server.endpoint()->is_started(Side::sink));
}

// A start that failed half-way leaves nothing behind that would make the next one fail.
void a_start_that_failed_can_be_repeated() {
  g_assert_true(in_child([] {
    const TempDir directory;
    Element server(directory.path("socket"), Role::server, Side::sink);
    rlimit before{};
    getrlimit(RLIMIT_NOFILE, &before);
    bool failed = false;
    for (rlim_t more = 1; more < 20; ++more) {
      const rlimit little{open_fds().size() + more, before.rlim_max};
      setrlimit(RLIMIT_NOFILE, &little);
      const auto started = server.start();
      setrlimit(RLIMIT_NOFILE, &before);
      if (started) return failed;
      failed = true;
      if (!says(started.error(), Failure::no_space, "Too many open files")) return false;
    }
    return false;
  }));
}

// Whether all threads but ours sleep.
bool others_sleep() {
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) {
    const pid_t thread = std::stoi(entry.path().filename());
    if (thread != getpid() && !sleeps(thread)) return false;
  }
  return true;
}

// Permissions are nothing to root.
bool is_nobody() {
  constexpr uid_t kNobody = 65534;
  return geteuid() != 0 || setuid(kNobody) == 0;
}

// As one has it for a moment whose server gives it to a group.
void a_socket_that_is_opened_later_is_good_enough() {
  const TempDir directory;
  g_assert_cmpint(chmod(directory.path().c_str(), 01777), ==, 0);
  const std::string path = directory.path("socket");
  g_assert_true(in_child([&] {
    if (!is_nobody()) return false;
    auto closed = must(Listener::open(path, {.mode = 0, .group = {}, .uids = {}}));
    Element client(path, Role::client, Side::src);
    must(client.start());
    if (!eventually(others_sleep)) return false;  // as it does having tried
    must(closed.set_access({}));
    return eventually([&] { return static_cast<bool>(must(closed.accept())); });
  }));
  // A time limit before that is no reason to say something else.
  for (const auto limit : {milliseconds(20000), milliseconds(300)})
    g_assert_true(in_child([&] {
      if (!is_nobody()) return false;
      const auto closed = must(Listener::open(path, {.mode = 0, .group = {}, .uids = {}}));
      Element client(path, Role::client, Side::src);
      Endpoint::Options options;
      options.connection_timeout = limit;
      must(client.start(options));
      return says(client.failed(), Failure::permission, "connecting to " + path);
    }));
}

}  // namespace
}  // namespace mmaplink::test

int main(int argc, char** argv) {
  using namespace mmaplink::test;
  return run_all(
      argc, argv,
      {{"/endpoint/either-may-start-first", either_may_start_first},
       {"/endpoint/elements-of-equal-keys-share-an-endpoint",
        elements_of_equal_keys_share_an_endpoint},
       {"/endpoint/a-path-has-one-server-for-each-side", a_path_has_one_server_for_each_side},
       {"/endpoint/an-endpoint-goes-with-its-last-element", an_endpoint_goes_with_its_last_element},
       {"/endpoint/a-link-is-shared-by-a-pair", a_link_is_shared_by_a_pair},
       {"/endpoint/items-and-arenas-cross", items_and_arenas_cross},
       {"/endpoint/notes-cross-both-ways-and-may-be-answered-at-once",
        notes_cross_both_ways_and_may_be_answered_at_once},
       {"/endpoint/a-one-way-server-has-many-clients", a_one_way_server_has_many_clients},
       {"/endpoint/a-two-way-server-has-one-client", a_two_way_server_has_one_client},
       {"/endpoint/a-client-comes-back-to-a-new-server", a_client_comes_back_to_a_new_server},
       {"/endpoint/without-reconnect-a-hang-up-is-the-end", without_reconnect_a_hang_up_is_the_end},
       {"/endpoint/hanging-up-says-why-at-both-ends", hanging_up_says_why_at_both_ends},
       {"/endpoint/a-socket-that-is-opened-later-is-good-enough",
        a_socket_that_is_opened_later_is_good_enough},
       {"/endpoint/nobody-in-time-is-said", nobody_in_time_is_said},
       {"/endpoint/waiting-is-said-once", waiting_is_said_once},
       {"/endpoint/a-path-that-can-not-be-is-said-by-start",
        a_path_that_can_not_be_is_said_by_start},
       {"/endpoint/a-start-that-failed-can-be-repeated", a_start_that_failed_can_be_repeated}});
}
