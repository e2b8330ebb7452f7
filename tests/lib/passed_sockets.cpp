// Sockets that were opened before the program began, and what is none.
#include "lib/passed_sockets.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/socket.h"
#include "tests/lib/helpers.h"

namespace mmaplink::test {
namespace {

constexpr int kPassed = 3;

Fd bound(const std::string& path, int type, bool listens) {
  Fd fd(socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  g_assert_cmpint(bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), ==,
                  0);
  if (listens) g_assert_cmpint(listen(fd.get(), 4), ==, 0);
  return fd;
}

// As a service manager does it: in a child, which has it as descriptor 3.
bool started_with(const Fd& socket, const char* count, bool is_for_it,
                  const std::function<bool()>& body) {
  return in_child([&] {
    if (dup2(socket.get(), kPassed) != kPassed) return false;
    setenv("LISTEN_FDS", count, 1);
    setenv("LISTEN_PID", std::to_string(getpid() + (is_for_it ? 0 : 1)).c_str(), 1);
    return body();
  });
}

bool exists(const std::string& path) {
  struct stat st {};
  return lstat(path.c_str(), &st) == 0;
}

bool serves(const std::string& path) {
  auto listener = Listener::open(path, {});
  if (!listener) return false;
  const Fd client = must(connect_to(path));
  return static_cast<bool>(must(listener->accept()));
}

void one_that_was_passed_is_used_and_left() {
  const TempDir directory;
  const std::string path = directory.path("enc");
  const Fd socket = bound(path, SOCK_STREAM, true);
  chmod(path.c_str(), 0640);
  g_assert_true(started_with(socket, "1", true, [&] {
    // Again, as by an element that is started again.
    return serves(path) && serves(path) && fcntl(kPassed, F_GETFD) == FD_CLOEXEC;
  }));
  struct stat st {};
  g_assert_cmpint(lstat(path.c_str(), &st), ==, 0);
  g_assert_cmpint(st.st_mode & 0777, ==, 0640);
}

// Whatever the server's own mode and group would say.
void whom_its_file_lets_in_may_come() {
  const TempDir directory;
  const std::string path = directory.path("enc");
  const Fd socket = bound(path, SOCK_STREAM, true);
  const auto lets_in = [&](mode_t mode, const Access& own) {
    chmod(path.c_str(), mode);
    return started_with(socket, "1", true, [&] {
      const auto listener = must(Listener::open(path, own));
      return static_cast<bool>(may_connect(listener.access_of(own), Peer{1, geteuid() + 1}));
    });
  };
  g_assert_true(lets_in(0660, {}));
  g_assert_false(lets_in(0600, {.mode = 0666, .group = getegid(), .uids = {}}));
  g_assert_false(lets_in(0666, {.mode = 0666, .group = {}, .uids = {{geteuid()}}}));
}

void it_is_known_by_another_name_of_its_path() {
  const TempDir directory;
  const Fd socket = bound(directory.path("enc"), SOCK_STREAM, true);
  g_assert_true(started_with(socket, "1", true, [&] {
    return static_cast<bool>(
        must(passed_listener(directory.path("../") + directory.path().substr(5) + "/enc")));
  }));
}

void what_was_passed_to_others_is_none_of_ours() {
  const TempDir directory;
  const std::string path = directory.path("enc");
  const Fd socket = bound(path, SOCK_STREAM, true);
  const auto finds = [&] { return static_cast<bool>(must(passed_listener(path))); };
  g_assert_true(started_with(socket, "1", true, finds));
  g_assert_false(started_with(socket, "1", false, finds));
  for (const char* count : {"0", "-1", "", "x", "1x", "99999999999"})
    g_assert_false(started_with(socket, count, true, finds));
  g_assert_false(started_with(socket, "1", true, [&] {
    return static_cast<bool>(must(passed_listener(directory.path("other"))));
  }));
  g_assert_true(fails(Listener::open(path, {}), Failure::busy, "already listening"));
}

void one_that_does_not_listen_is_an_error() {
  const TempDir directory;
  for (const auto& [type, listens] :
       {std::pair{SOCK_STREAM, false}, {SOCK_DGRAM, false}, {SOCK_SEQPACKET, true}}) {
    const std::string path = directory.path("enc");
    const Fd socket = bound(path, type, listens);
    g_assert_true(started_with(socket, "1", true, [&] {
      return fails(Listener::open(path, {}), Failure::settings, "ListenStream=");
    }));
    unlink(path.c_str());
  }
}

void without_any_a_server_makes_its_own() {
  const TempDir directory;
  const std::string path = directory.path("enc");
  g_assert_true(serves(path));
  g_assert_false(exists(path));
}

}  // namespace
}  // namespace mmaplink::test

int main(int argc, char** argv) {
  using namespace mmaplink::test;
  return run_all(argc, argv,
                 {{"/passed/used", one_that_was_passed_is_used_and_left},
                  {"/passed/whom-its-file-lets-in", whom_its_file_lets_in_may_come},
                  {"/passed/other-name", it_is_known_by_another_name_of_its_path},
                  {"/passed/of-others", what_was_passed_to_others_is_none_of_ours},
                  {"/passed/wrong", one_that_does_not_listen_is_an_error},
                  {"/passed/none", without_any_a_server_makes_its_own}});
}
