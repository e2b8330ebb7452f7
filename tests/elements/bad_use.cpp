// What cannot work: each is one error that names the property or the path, and nothing hangs.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/elements/support.h"

using test::Pipeline;
using test::Scene;

namespace {

// Goes to PLAYING in vain: one error with all of these parts in it, wherever it shows.
void check_error(const std::string& line, const std::vector<std::string>& parts) {
  const Pipeline pipeline(line);
  const auto result = pipeline.set(GST_STATE_PLAYING);
  const std::string first = pipeline.wait_error();
  for (const auto& part : parts)
    fail_unless(test::contains(first, part), "'%s' has no '%s'", first.c_str(), part.c_str());
  const bool failed_at_once = result == GST_STATE_CHANGE_FAILURE;
  pipeline.stop();
  const auto others = pipeline.errors();
  fail_unless(others.empty(), "a second error%s: %s", failed_at_once ? "" : " later",
              others.empty() ? "" : others[0].c_str());
}

// For both elements, in both roles where nothing else is said.
void check_both(const std::string& properties, const std::vector<std::string>& parts) {
  for (const char* role : {" role=server", " role=client"}) {
    check_error("videotestsrc ! mmapsink " + properties + role, parts);
    check_error("mmapsrc " + properties + role + " ! fakesink async=false", parts);
  }
}

void check_servers(const std::string& properties, const std::vector<std::string>& parts) {
  check_error("videotestsrc ! mmapsink role=server " + properties, parts);
  check_error("mmapsrc role=server " + properties + " ! fakesink async=false", parts);
}

void check_clients(const std::string& properties, const std::vector<std::string>& parts) {
  check_error("videotestsrc ! mmapsink role=client " + properties, parts);
  check_error("mmapsrc role=client " + properties + " ! fakesink async=false", parts);
}

int bound_socket(const std::string& path) {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  fail_unless_equals_int(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  return fd;
}

}  // namespace

TEST(no_socket_path) {
  const Scene scene;
  check_both("", {"socket-path"});
  check_both("socket-path=\"\"", {"socket-path"});
}

// GLib wants UTF-8 in messages, and a launch line can't say such words.
TEST(errors_are_utf8) {
  const Scene scene;
  for (const auto& [name, word] : {std::pair("socket-path", "/no\xffwhere/\xc0"),
                                   {"mmap", "no\xffword"},
                                   {"mmap", "/no\xffwhere/\xc0"}}) {
    const Pipeline pipeline("mmapsrc name=src " + ("socket-path=" + scene.path()) + " ! fakesink");
    g_object_set(pipeline.element("src"), name, word, nullptr);
    pipeline.set(GST_STATE_PLAYING);
    const std::string text = pipeline.wait_error();
    fail_unless(g_utf8_validate(text.c_str(), -1, nullptr), "%s", name);
    fail_unless(test::contains(text, name), "%s", text.c_str());
  }
}

TEST(socket_path_too_long) {
  const Scene scene;
  const std::string path = scene.path() + std::string(108 - scene.path().size(), 'x');
  check_both("socket-path=" + path, {"socket-path", "108", "107"});
}

TEST(socket_path_as_long_as_may_be) {
  const Scene scene;
  const std::string path = scene.path() + std::string(107 - scene.path().size(), 'x');
  const Pipeline pipeline("videotestsrc num-buffers=3 ! mmapsink socket-path=" + path);
  pipeline.play();
  pipeline.wait_eos();
}

TEST(directory_is_missing) {
  const Scene scene;
  const std::string path = scene.directory() + "/nowhere/link";
  check_both("socket-path=" + path, {path, "No such file"});
}

TEST(directory_is_a_file) {
  const Scene scene;
  const std::string file = scene.directory() + "/file";
  close(open(file.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  check_both("socket-path=" + file + "/link", {file + "/link"});
}

TEST(directory_is_not_writable) {
  const Scene scene;
  fail_unless_equals_int(chmod(scene.directory().c_str(), 0555), 0);
  // Root may write anywhere.
  const bool root = geteuid() == 0;
  // Where only root may read the build folder, plugins have to be loaded before.
  { const test::Pipeline loaded("videotestsrc ! mmapsink mmapsrc ! fakesink"); }
  if (root) fail_unless_equals_int(seteuid(65534), 0);
  check_servers("socket-path=" + scene.path(), {scene.path(), "Permission denied"});
  if (root) fail_unless_equals_int(seteuid(0), 0);
  fail_unless_equals_int(chmod(scene.directory().c_str(), 0700), 0);
}

TEST(path_is_a_regular_file) {
  const Scene scene;
  close(open(scene.path().c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  check_both("socket-path=" + scene.path(), {scene.path(), "not a socket"});
  // It is not taken away either.
  fail_unless_equals_int(access(scene.path().c_str(), F_OK), 0);
}

TEST(another_server_is_there) {
  const Scene scene;
  const int fd = bound_socket(scene.path());
  fail_unless_equals_int(listen(fd, 5), 0);
  check_servers("socket-path=" + scene.path(), {scene.path(), "already", std::to_string(getpid())});
  // It is still the other's.
  fail_unless_equals_int(access(scene.path().c_str(), F_OK), 0);
  close(fd);
  unlink(scene.path().c_str());
}

TEST(leftover_of_a_dead_server_is_taken_over) {
  const Scene scene;
  for (const bool sink : {true, false}) {
    close(bound_socket(scene.path()));
    const Pipeline server(sink ? "videotestsrc num-buffers=3 ! " +
                                     scene.sink("wait-for-connection=true")
                               : scene.src("role=server ! fakesink async=false"));
    const Pipeline client(sink ? scene.src("! fakesink async=false")
                               : "videotestsrc num-buffers=3 ! " + scene.sink("role=client"));
    server.play();
    client.play();
    client.wait_eos();
    server.wait_eos();
    server.stop();
    fail_unless(access(scene.path().c_str(), F_OK) != 0);
  }
}

TEST(word_for_mmap_is_none) {
  const Scene scene;
  check_both("mmap=nonsense socket-path=" + scene.path(), {"mmap=nonsense", "auto", "yes", "both"});
}

TEST(no_client_within_connection_timeout) {
  const Scene scene;
  check_error(
      "videotestsrc ! " + scene.sink("wait-for-connection=true") + " connection-timeout=50000000",
      {scene.path(), "connection-timeout"});
  check_servers("connection-timeout=50000000 socket-path=" + scene.path(),
                {scene.path(), "connection-timeout"});
}

TEST(no_server_within_connection_timeout) {
  const Scene scene;
  check_clients("connection-timeout=50000000 socket-path=" + scene.path(),
                {scene.path(), "connection-timeout"});
}

TEST(peer_within_connection_timeout_is_no_error) {
  const Scene scene;
  const std::string timeout = "connection-timeout=10000000000";
  const Pipeline server("videotestsrc num-buffers=3 ! " +
                        scene.sink("wait-for-connection=true " + timeout));
  const Pipeline client(scene.src(timeout + " ! fakesink async=false"));
  client.play();
  server.play();
  client.wait_eos();
  server.wait_eos();
}

TEST(two_sinks_of_one_server) {
  const Scene scene;
  const Pipeline first("videotestsrc ! " + scene.sink());
  first.play();
  check_error("videotestsrc ! " + scene.sink(), {scene.path(), "mmapsink"});
  fail_unless(first.errors().empty());
}

TEST(two_sources_of_one_server) {
  const Scene scene;
  const Pipeline first(scene.src("role=server ! fakesink async=false"));
  first.play();
  check_error(scene.src("role=server ! fakesink async=false"), {scene.path(), "mmapsrc"});
  fail_unless(first.errors().empty());
}

TEST(second_client_of_a_server_that_receives) {
  const Scene scene;
  const std::string client = "videotestsrc is-live=true ! " + scene.sink("role=client ") +
                             scene.src("name=src ! fakesink async=false");
  const Pipeline server(scene.src("role=server mmap=yes ! ") + scene.sink("name=sink"));
  const Pipeline first(client);
  server.play();
  first.play();
  fail_unless(test::becomes([&] { return test::stat(first.element("src"), "buffers") > 2; }));
  check_error("videotestsrc ! " + scene.sink("role=client"),
              {"serving another client", scene.path()});
  check_error(scene.src("! fakesink async=false"), {"serving another client", scene.path()});
  const guint64 before = test::stat(first.element("src"), "buffers");
  fail_unless(test::becomes([&] { return test::stat(first.element("src"), "buffers") > before; }));
  fail_unless(first.errors().empty() && server.errors().empty());
}

// Greets nobody: whatever speaks another protocol there.
TEST(server_that_says_nothing_useful) {
  const Scene scene;
  const int fd = bound_socket(scene.path());
  fail_unless_equals_int(listen(fd, 5), 0);
  std::thread other([fd] {
    for (int i = 0; i < 2; ++i) {
      const int client = accept4(fd, nullptr, nullptr, SOCK_CLOEXEC);
      const char text[] = "HTTP/1.1 400 Bad Request\r\n\r\n and much more that is no message";
      fail_unless(write(client, text, sizeof text) > 0);
      close(client);
    }
  });
  check_clients("socket-path=" + scene.path(), {});
  other.join();
  close(fd);
  unlink(scene.path().c_str());
}
