// The control socket's path: whose it is, who may open it, what is left behind, and texts that say
// what is wrong with it.
#include "lib/socket.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <fstream>
#include <thread>

#include "tests/lib/helpers.h"

namespace mmaplink::test {
namespace {

constexpr uid_t kNobody = 65534;

Status can_open(const std::string& path) {
  auto made = Listener::open(path, {});
  if (!made) return made.error();
  return ok();
}

bool exists(const std::string& path) {
  struct stat st {};
  return lstat(path.c_str(), &st) == 0;
}

// A socket that nobody listens on, as a server leaves it that was killed.
void leave_socket(const std::string& path) {
  const Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  g_assert_cmpint(bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), ==,
                  0);
}

bool as_nobody(const std::function<bool()>& body) {
  return in_child([&] { return setgid(kNobody) == 0 && setuid(kNobody) == 0 && body(); });
}

void a_path_must_fit() {
  g_assert_true(fails(check_socket_path(""), Failure::settings, "no socket-path is set"));
  const TempDir directory;
  const size_t room = sizeof(sockaddr_un::sun_path) - 1 - directory.path("").size();
  const std::string longest = directory.path(std::string(room, 'x'));
  must(check_socket_path(longest));
  must(can_open(longest));
  const std::string text = "socket-path is 108 bytes long; a socket's path has at most 107";
  g_assert_true(fails(check_socket_path(longest + "x"), Failure::settings, text));
  g_assert_true(fails(can_open(longest + "x"), Failure::settings, text));
  g_assert_true(fails(connect_to(longest + "x"), Failure::settings, text));
}

void the_directory_must_be_there() {
  const TempDir directory;
  const std::string path = directory.path("none/socket");
  const std::string text =
      "directory " + directory.path("none") + " of socket-path " + path + ": No such file";
  g_assert_true(fails(check_socket_path(path), Failure::not_found, text));
  g_assert_true(fails(can_open(path), Failure::not_found, text));
  g_assert_true(fails(connect_to(path), Failure::not_found, text));
  std::ofstream(directory.path("file")) << "x";
  g_assert_true(fails(check_socket_path(directory.path("file/socket")), Failure::not_found, ""));
}

void another_kind_of_file_is_left_alone() {
  const TempDir directory;
  const std::string file = directory.path("file");
  std::ofstream(file) << "precious";
  mkdir(directory.path("directory").c_str(), 0700);
  g_assert_cmpint(symlink(directory.path("elsewhere").c_str(), directory.path("link").c_str()), ==,
                  0);
  for (const char* name : {"file", "directory", "link"}) {
    const std::string path = directory.path(name);
    const std::string text =
        "socket-path " + path +
        (path.ends_with("link") ? " is a symbolic link" : " is there and is not a socket");
    g_assert_true(fails(check_socket_path(path), Failure::settings, text));
    g_assert_true(fails(can_open(path), Failure::settings, text));
    g_assert_true(fails(connect_to(path), Failure::settings, text));
    g_assert_true(exists(path));
  }
  std::string content;
  std::ifstream(file) >> content;
  g_assert_cmpstr(content.c_str(), ==, "precious");
}

void a_path_without_a_slash_is_in_the_working_directory() {
  const TempDir directory;
  g_assert_true(in_child([&] {
    if (chdir(directory.path().c_str()) != 0) return false;
    must(can_open("socket"));
    return fails(connect_to("socket"), Failure::not_found, "no server on socket");
  }));
}

// Permissions are nothing to root: a child that is nobody sees them.
void what_is_not_permitted_is_said() {
  if (geteuid() != 0) {
    g_test_skip("needs root, to become nobody");
    return;
  }
  const TempDir directory;
  g_assert_cmpint(chmod(directory.path().c_str(), 0755), ==, 0);
  const std::string path = directory.path("socket");
  g_assert_true(as_nobody([&] {
    return fails(can_open(path), Failure::permission,
                 "socket-path " + path + ": Permission denied");
  }));
  // A server's socket that is not open to them.
  const auto listener = must(Listener::open(path, {}));
  g_assert_true(as_nobody([&] {
    return fails(connect_to(path), Failure::permission,
                 "connecting to " + path + ": Permission denied: its server lets uid 65534 in by");
  }));
  // A directory that is closed to them.
  g_assert_cmpint(chmod(directory.path().c_str(), 0700), ==, 0);
  g_assert_true(as_nobody(
      [&] { return fails(connect_to(path), Failure::permission, ": Permission denied"); }));
}

void the_mode_is_as_set_whatever_the_umask() {
  for (const mode_t mask : {0u, 022u, 077u, 0777u})
    for (const mode_t mode : {0600u, 0660u, 0666u, 0622u}) {
      const TempDir directory;
      const std::string path = directory.path("socket");
      const mode_t before = umask(mask);
      const auto listener = must(Listener::open(path, {.mode = mode, .group = {}, .uids = {}}));
      umask(before);
      struct stat st {};
      g_assert_cmpint(lstat(path.c_str(), &st), ==, 0);
      g_assert_true(S_ISSOCK(st.st_mode));
      g_assert_cmpuint(st.st_mode & 07777, ==, mode);
    }
}

void a_directory_open_to_all_is_refused() {
  const TempDir directory;
  const std::string path = directory.path("socket");
  g_assert_cmpint(chmod(directory.path().c_str(), 0777), ==, 0);
  const std::string text = "everybody can replace files in the directory " + directory.path();
  g_assert_true(fails(can_open(path), Failure::permission, text));
  g_assert_true(fails(connect_to(path), Failure::permission, text));
  g_assert_cmpint(chmod(directory.path().c_str(), 01777), ==, 0);
  must(can_open(path));
}

void a_server_that_fails_to_start_leaves_nothing() {
  if (geteuid() != 0) {
    g_test_skip("needs root, to become somebody who may not give files away");
    return;
  }
  const TempDir directory;
  g_assert_cmpint(chmod(directory.path().c_str(), 01777), ==, 0);
  const std::string path = directory.path("socket");
  g_assert_true(as_nobody([&] {
    const Access access{.mode = 0600, .group = gid_t{0}, .uids = {}};
    return fails(Listener::open(path, access), Failure::permission,
                 "giving " + path + " to group 0: Operation not permitted: that takes a member");
  }));
  g_assert_false(exists(path));
}

void a_leftover_socket_is_replaced() {
  const TempDir directory;
  const std::string path = directory.path("socket");
  leave_socket(path);
  g_assert_true(fails(connect_to(path), Failure::not_found, "no server on " + path));
  const auto listener = must(Listener::open(path, {}));
  g_assert_true(static_cast<bool>(must(connect_to(path))));
}

void a_live_server_is_left_alone_and_named() {
  const TempDir directory;
  const std::string path = directory.path("socket");
  const auto listener = must(Listener::open(path, {}));
  g_assert_true(fails(
      can_open(path), Failure::busy,
      "a server is already listening on " + path + " (pid " + std::to_string(getpid()) + ")"));
  // Also where it does not accept for a while: its backlog is full.
  std::vector<Fd> waiting;
  for (;;) {
    auto client = connect_to(path);
    if (!client) {
      g_assert_true(says(client.error(), Failure::not_found, "no server on " + path));
      break;
    }
    waiting.push_back(std::move(*client));
    g_assert_cmpuint(waiting.size(), <, 10000);
  }
  g_assert_true(fails(can_open(path), Failure::busy, "a server is already listening on " + path));
  g_assert_true(exists(path));
}

// The pid of another process, as a person needs it.
void another_process_is_named() {
  const TempDir directory;
  const std::string path = directory.path("socket");
  int ready[2];
  int stop[2];
  g_assert_true(pipe2(ready, O_CLOEXEC) == 0 && pipe2(stop, O_CLOEXEC) == 0);
  Fd fds[] = {Fd(ready[0]), Fd(ready[1]), Fd(stop[0]), Fd(stop[1])};
  const pid_t child = fork();
  if (child == 0) {
    fds[3].reset();
    const auto listener = must(Listener::open(path, {}));
    char byte = 0;
    if (write(ready[1], &byte, 1) != 1) _exit(1);
    _exit(read(stop[0], &byte, 1) == 0 ? 0 : 1);  // leaves its socket behind, as a crash does
  }
  char byte = 0;
  g_assert_cmpint(read(ready[0], &byte, 1), ==, 1);
  g_assert_true(fails(can_open(path), Failure::busy, " (pid " + std::to_string(child) + ")"));
  const Fd client = must(connect_to(path));
  const Peer peer = must(peer_of(client));
  g_assert_cmpint(peer.pid, ==, child);
  g_assert_cmpuint(peer.uid, ==, geteuid());
  fds[3].reset();
  int status = 0;
  waitpid(child, &status, 0);
  g_assert_cmpint(status, ==, 0);
  g_assert_true(exists(path));
  must(can_open(path));
}

void the_path_goes_with_the_listener() {
  const TempDir directory;
  const std::string path = directory.path("socket");
  {
    Listener first = must(Listener::open(path, {}));
    const Listener second(std::move(first));  // one of the two owns it
    g_assert_true(exists(path));
    must(connect_to(path));
  }
  g_assert_false(exists(path));
}

void a_path_that_is_somebody_elses_now_stays() {
  const TempDir directory;
  const std::string path = directory.path("socket");
  {
    const auto listener = must(Listener::open(path, {}));
    // Moved away, so that its inode number is not used again for the other one.
    g_assert_cmpint(rename(path.c_str(), directory.path("moved").c_str()), ==, 0);
    leave_socket(path);
  }
  g_assert_true(exists(path));
  {
    const auto listener = must(Listener::open(path, {}));
    unlink(path.c_str());
  }
  g_assert_false(exists(path));  // gone already, and no harm
}

void clients_are_accepted_one_by_one() {
  const TempDir directory;
  auto listener = must(Listener::open(directory.path("socket"), {}));
  g_assert_false(static_cast<bool>(must(listener.accept())));
  const Fd first = must(connect_to(directory.path("socket")));
  const Fd second = must(connect_to(directory.path("socket")));
  for (int i = 0; i < 2; ++i) {
    const Fd client = must(listener.accept());
    g_assert_true(static_cast<bool>(client));
    g_assert_cmpint(fcntl(client.get(), F_GETFD), ==, FD_CLOEXEC);
    g_assert_cmpint(fcntl(client.get(), F_GETFL) & O_NONBLOCK, ==, O_NONBLOCK);
    g_assert_cmpint(must(peer_of(client)).pid, ==, getpid());
  }
  g_assert_false(static_cast<bool>(must(listener.accept())));
  g_assert_true(fails(peer_of(Fd()), Failure::system, "credentials of the peer"));
}

// Many servers for one path at once: one of them gets it, also in the place of a leftover.
void one_of_many_servers_gets_the_path() {
  for (int round = 0; round < 30; ++round) {
    const TempDir directory;
    const std::string path = directory.path("socket");
    leave_socket(path);
    std::atomic<int> got{0};
    std::atomic<int> done{0};
    constexpr int kMany = 6;
    std::vector<std::thread> threads;
    for (int i = 0; i < kMany; ++i)
      threads.emplace_back([&] {
        const auto listener = Listener::open(path, {});
        if (listener)
          ++got;
        else
          g_assert_true(says(listener.error(), Failure::busy, path));
        ++done;
        g_assert_true(eventually([&] { return done == kMany; }));
      });
    for (auto& thread : threads) thread.join();
    g_assert_cmpint(got, ==, 1);
    g_assert_false(exists(path));
  }
}

void a_directory_that_stays_locked_is_said() {
  const TempDir directory;
  const Fd lock(open(directory.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  g_assert_cmpint(flock(lock.get(), LOCK_EX), ==, 0);
  g_assert_true(fails(can_open(directory.path("socket")), Failure::busy,
                      "directory " + directory.path() + " stays locked by another process"));
  // The lock is not kept by who has the path.
  flock(lock.get(), LOCK_UN);
  const auto listener = must(Listener::open(directory.path("socket"), {}));
  g_assert_cmpint(flock(lock.get(), LOCK_EX | LOCK_NB), ==, 0);
}

}  // namespace
}  // namespace mmaplink::test

int main(int argc, char** argv) {
  using namespace mmaplink::test;
  return run_all(
      argc, argv,
      {{"/socket/a-path-must-fit", a_path_must_fit},
       {"/socket/the-directory-must-be-there", the_directory_must_be_there},
       {"/socket/another-kind-of-file-is-left-alone", another_kind_of_file_is_left_alone},
       {"/socket/a-path-without-a-slash-is-in-the-working-directory",
        a_path_without_a_slash_is_in_the_working_directory},
       {"/socket/what-is-not-permitted-is-said", what_is_not_permitted_is_said},
       {"/socket/the-mode-is-as-set-whatever-the-umask", the_mode_is_as_set_whatever_the_umask},
       {"/socket/a-directory-open-to-all-is-refused", a_directory_open_to_all_is_refused},
       {"/socket/a-server-that-fails-to-start-leaves-nothing",
        a_server_that_fails_to_start_leaves_nothing},
       {"/socket/a-leftover-socket-is-replaced", a_leftover_socket_is_replaced},
       {"/socket/a-live-server-is-left-alone-and-named", a_live_server_is_left_alone_and_named},
       {"/socket/another-process-is-named", another_process_is_named},
       {"/socket/the-path-goes-with-the-listener", the_path_goes_with_the_listener},
       {"/socket/a-path-that-is-somebody-elses-now-stays", a_path_that_is_somebody_elses_now_stays},
       {"/socket/clients-are-accepted-one-by-one", clients_are_accepted_one_by_one},
       {"/socket/one-of-many-servers-gets-the-path", one_of_many_servers_gets_the_path},
       {"/socket/a-directory-that-stays-locked-is-said", a_directory_that_stays_locked_is_said}});
}
