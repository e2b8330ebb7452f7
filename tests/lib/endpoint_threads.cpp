// Endpoints that start and stop all the time, from several threads at once: nothing is left over,
// nothing hangs, and nobody is called who has stopped. (Leaks of descriptors, mappings and threads
// are found by the runner, after each case.)
#include <thread>

#include "tests/lib/endpoint_user.h"

namespace mmaplink::test {
namespace {

void alone_200_times() {
  const TempDir directory;
  Element server(directory.path("s"), Role::server, Side::sink);
  Element client(directory.path("c"), Role::client, Side::src);
  for (int i = 0; i < 200; ++i) {
    must(server.start());
    must(client.start());
    client.stop();
    server.stop();
  }
}

void connected_200_times() {
  const TempDir directory;
  Element server(directory.path("socket"), Role::server, Side::sink);
  Element client(directory.path("socket"), Role::client, Side::src);
  for (int i = 0; i < 200; ++i) {
    must(server.start());
    must(client.start());
    g_assert_true(server.link()->alive() && client.link()->alive());
    (i % 2 == 0 ? server : client).stop();
    (i % 2 == 0 ? client : server).stop();
    server.user().clear();
    client.user().clear();
  }
}

// Stopped anywhere in the handshake.
void in_the_middle_200_times() {
  const TempDir directory;
  Element server(directory.path("socket"), Role::server, Side::sink);
  Random random;
  for (int i = 0; i < 200; ++i) {
    Element client(directory.path("socket"), Role::client, Side::src);
    must(server.start());
    must(client.start());
    for (uint32_t wait = random.below(2000); wait > 0; --wait) {
      if (!client.user().told().connected.empty()) break;
    }
    if (i % 2 == 0) server.stop();
  }
}

// Both elements of an endpoint, each by a thread of its own, as two pipelines would.
void both_sides_at_once(Role role) {
  const TempDir directory;
  const std::string path = directory.path("socket");
  Element sink(path, role, Side::sink);
  Element src(path, role, Side::src);
  const auto work = [](Element& element) {
    for (int i = 0; i < 300; ++i) {
      must(element.start());
      g_assert_true(element.endpoint()->is_started(Side::sink) ||
                    element.endpoint()->is_started(Side::src));
      element.stop();
    }
  };
  g_assert_true(sink.endpoint() == src.endpoint());
  std::thread one(work, std::ref(sink));
  std::thread other(work, std::ref(src));
  one.join();
  other.join();
}
void both_sides_of_a_server_at_once() { both_sides_at_once(Role::server); }
void both_sides_of_a_client_at_once() { both_sides_at_once(Role::client); }

// A side that comes and goes while the other one has a link.
void one_side_comes_and_goes_on_a_link() {
  const TempDir directory;
  const std::string path = directory.path("socket");
  Element server(path, Role::server, Side::sink);
  Element sink(path, Role::client, Side::sink);
  Element src(path, Role::client, Side::src);
  must(server.start());
  must(src.start());
  const auto link = server.link();
  const auto own = src.link();
  for (int i = 0; i < 200; ++i) {
    must(sink.start());
    g_assert_true(sink.user().told().connected.at(0) == own);
    sink.stop();
    sink.user().clear();
  }
  must(sink.start());
  g_assert_true(server.told([&](const auto&) {
    return link->peer_lanes() == (Lanes{true, true});
  }));
  g_assert_true(own->alive());
}

// Elements that attach and detach in many threads, on a few paths.
void elements_come_and_go_in_many_threads() {
  const TempDir directory;
  const std::string paths[] = {directory.path("a"), directory.path("b")};
  std::vector<std::thread> threads;
  std::atomic<int> links{0};
  for (uint64_t t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      Random random(t + 1);
      for (int i = 0; i < 60; ++i) {
        const std::string& path = paths[random.below(2)];
        if (t < 2) {
          Recorder user;
          // Only one of the two gets the path.
          auto endpoint = Endpoint::attach({path, Role::server, nullptr}, Side::sink, user);
          if (!endpoint) {
            g_assert_true(endpoint.error().failure == Failure::busy);
            continue;
          }
          must((*endpoint)->start(Side::sink, {}));
          if (random.one_in(2))
            eventually([&] { return !user.told().connected.empty() || links > 20; });
          links += static_cast<int>(user.told().connected.size());
          (*endpoint)->detach(Side::sink);
        } else {
          Element client(path, Role::client, Side::src, &path);
          Endpoint::Options options;
          options.reconnect = random.one_in(2);
          must(client.start(options));
          if (random.one_in(2))
            eventually([&] { return !client.user().told().connected.empty() || links > 20; });
        }
      }
      links = 1000;
    });
  for (auto& thread : threads) thread.join();
}

}  // namespace
}  // namespace mmaplink::test

int main(int argc, char** argv) {
  using namespace mmaplink::test;
  return run_all(
      argc, argv,
      {{"/endpoint-threads/alone-200-times", alone_200_times},
       {"/endpoint-threads/connected-200-times", connected_200_times},
       {"/endpoint-threads/in-the-middle-200-times", in_the_middle_200_times},
       {"/endpoint-threads/both-sides-of-a-server-at-once", both_sides_of_a_server_at_once},
       {"/endpoint-threads/both-sides-of-a-client-at-once", both_sides_of_a_client_at_once},
       {"/endpoint-threads/one-side-comes-and-goes-on-a-link", one_side_comes_and_goes_on_a_link},
       {"/endpoint-threads/elements-come-and-go-in-many-threads",
        elements_come_and_go_in_many_threads}});
}
