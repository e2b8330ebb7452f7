// Programs that fork while a link runs: nothing of it is in what they start, and a child that goes
// on with the same program has none of the shared memory.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <set>
#include <sstream>

#include "tests/elements/support.h"

using test::Pipeline;
using test::Scene;

namespace {

// What a child writes to descriptor 1, up to its end. Only calls that may follow a fork.
std::string of_child(void (*does)()) {
  std::array<int, 2> ends{};
  fail_unless_equals_int(pipe2(ends.data(), O_CLOEXEC), 0);
  const pid_t child = fork();
  fail_unless(child >= 0);
  if (child == 0) {
    dup2(ends[1], 1);
    does();
    _exit(1);
  }
  close(ends[1]);
  std::string all;
  std::array<char, 4096> some{};
  for (ssize_t got = 0; (got = read(ends[0], some.data(), some.size())) != 0;) {
    fail_unless(got > 0 || errno == EINTR);
    if (got > 0) all.append(some.data(), static_cast<size_t>(got));
  }
  close(ends[0]);
  int status = 0;
  fail_unless_equals_int(waitpid(child, &status, 0), child);
  fail_unless(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%x", static_cast<unsigned>(status));
  return all;
}

void start_program() {
  execl("/bin/sh", "sh", "-c",
        "for fd in /proc/self/fd/*; do echo \"fd $(readlink $fd)\"; done; cat /proc/self/maps",
        nullptr);
}

void read_own_maps() {
  const int maps = open("/proc/self/maps", O_RDONLY);
  std::array<char, 4096> some{};
  ssize_t got = 0;
  while ((got = read(maps, some.data(), some.size())) > 0)
    if (write(1, some.data(), static_cast<size_t>(got)) != got) _exit(2);
  _exit(got == 0 ? 0 : 3);
}

std::set<std::string> descriptors_of(const std::string& listing) {
  std::set<std::string> all;
  std::istringstream lines(listing);
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with("fd ") && !test::contains(line, "/proc/") &&
        !test::contains(line, "pipe:"))
      all.insert(line);
  return all;
}

// Those that are connected over the path, or listen there. GStreamer's buses have sockets, too.
std::set<std::string> own_sockets(const std::string& path) {
  std::set<std::string> all;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    const int fd = std::stoi(entry.path().filename());
    for (const auto name_of : {getsockname, getpeername}) {
      sockaddr_un name{};
      socklen_t size = sizeof name;
      if (name_of(fd, reinterpret_cast<sockaddr*>(&name), &size) == 0 && path == name.sun_path)
        all.insert("fd " + std::filesystem::read_symlink(entry.path()).string());
    }
  }
  return all;
}

struct Running {
  explicit Running(const Scene& scene)
      : sender("videotestsrc is-live=true ! " + std::string(test::kVideo) + " ! " + scene.sink()),
        reader(scene.src("name=src ! fakesink async=false")) {
    sender.play();
    reader.play();
    fail_unless(test::becomes([&] { return test::stat(reader.element("src"), "buffers") > 5; }));
    const auto open = Scene::open_now();
    fail_unless(open.mappings > 0);
  }
  Pipeline sender, reader;
};

}  // namespace

TEST(programs_that_are_started_inherit_nothing) {
  const Scene scene;
  const auto before = descriptors_of(of_child(start_program));
  const Running running(scene);
  const std::string listing = of_child(start_program);
  fail_unless(test::contains(listing, "fd "));
  const auto own = own_sockets(scene.path());
  fail_unless_equals_int(static_cast<int>(own.size()), 3);
  for (const auto& descriptor : descriptors_of(listing)) {
    const bool is_others = test::contains(descriptor, "socket:") && !own.contains(descriptor);
    fail_unless(is_others || before.contains(descriptor), "it has %s", descriptor.c_str());
  }
  fail_if(test::contains(listing, "memfd:"));
}

TEST(forked_children_have_none_of_the_memory) {
  const Scene scene;
  const Running running(scene);
  const std::string maps = of_child(read_own_maps);
  fail_unless(test::contains(maps, "[stack]"));
  fail_if(test::contains(maps, "/memfd:mmap-"));
  // All of that is as it was over here.
  const guint64 so_far = test::stat(running.reader.element("src"), "buffers");
  fail_unless(
      test::becomes([&] { return test::stat(running.reader.element("src"), "buffers") > so_far; }));
}
