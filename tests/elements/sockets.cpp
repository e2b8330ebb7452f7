// Control sockets that are no paths: one that the application gives, one that no descriptor goes
// over, and an address of another machine.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <utility>

#include "tests/elements/support.h"

using test::Harness;
using test::Pipeline;
using test::Scene;

namespace {

// Two ends of a connection, which the test keeps, as an application would.
class Ends {
 public:
  enum class Kind { local, tcp };
  explicit Ends(Kind kind = Kind::local) {
    if (kind == Kind::local) {
      fail_unless_equals_int(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds_.data()), 0);
      return;
    }
    const int listens = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* any = reinterpret_cast<sockaddr*>(&address);
    fail_unless(bind(listens, any, size) == 0 && listen(listens, 1) == 0 &&
                getsockname(listens, any, &size) == 0);
    fds_[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    fail_unless_equals_int(connect(fds_[0], any, size), 0);
    fds_[1] = accept4(listens, nullptr, nullptr, SOCK_CLOEXEC);
    fail_unless(fds_[1] >= 0);
    close(listens);
  }
  Ends(const Ends&) = delete;
  Ends& operator=(const Ends&) = delete;
  ~Ends() {
    for (const int fd : fds_)
      if (fd >= 0) close(fd);
  }
  std::string near(const std::string& more = "") const { return at(0, more); }
  std::string far(const std::string& more = "") const { return at(1, more); }
  void close_own() {
    for (int& fd : fds_) close(std::exchange(fd, -1));
  }

 private:
  std::string at(size_t end, const std::string& more) const {
    return "fd=" + std::to_string(fds_[end]) + " " + more;
  }
  std::array<int, 2> fds_{-1, -1};
};

std::string fails_to_start(const std::string& line) {
  const Pipeline pipeline(line);
  fail_unless_equals_int(pipeline.set(GST_STATE_PAUSED), GST_STATE_CHANGE_FAILURE);
  return pipeline.wait_error();
}

}  // namespace

TEST(frames_cross_a_socket_that_was_given) {
  const Scene scene;
  Ends ends;
  const Harness sink("mmapsink " + ends.near());
  const Harness source("mmapsrc " + ends.far());
  source.play();
  ends.close_own();  // the elements have theirs
  sink.wait_for_clients(1);
  for (guint64 i = 0; i < 20; ++i) {
    fail_unless_equals_int(sink.push(sink.acquire(i)), GST_FLOW_OK);
    fail_unless_equals_uint64(source.pull_number(), i);
  }
  fail_unless(test::text_stat(source.element(), "mode-receive") == "mmap");
  fail_unless_equals_uint64(sink.stat("bytes-copied"), 0);
}

TEST(both_directions_have_one_socket) {
  const Scene scene;
  const Ends ends;
  const Pipeline server("mmapsrc role=server mmap=yes " + ends.near("! identity ! mmapsink ") +
                        ends.near());
  const Pipeline client("videotestsrc num-buffers=50 ! " + std::string(test::kVideo) +
                        " ! mmapsink name=sink role=client " + ends.far("mmapsrc name=back ") +
                        ends.far("! fakesink sync=false"));
  server.play();
  client.play();
  client.wait_eos();
  fail_unless_equals_uint64(test::stat(client.element("back"), "buffers"), 50);
  fail_unless_equals_uint64(test::stat(client.element("sink"), "bytes-copied"), 0);
}

// There will be no other.
TEST(the_end_of_its_peer_is_an_error) {
  const Scene scene;
  for (const bool sink_ends : {true, false}) {
    Ends ends;
    auto sink = std::make_unique<Harness>("mmapsink " + ends.near());
    auto source = std::make_unique<Harness>("mmapsrc " + ends.far());
    source->play();
    sink->wait_for_clients(1);
    const int left = atoi((sink_ends ? ends.far() : ends.near()).c_str() + 3);
    ends.close_own();
    (sink_ends ? sink : source).reset();
    const auto& stays = sink_ends ? source : sink;
    const std::string error = stays->wait_error();
    fail_unless(test::contains(error, "descriptor " + std::to_string(left)), "%s", error.c_str());
  }
}

// In NULL again it has nothing of it: who is at the other end sees that the application closes it.
TEST(a_socket_goes_with_the_state) {
  const Scene scene;
  for (const std::string element : {"mmapsink", "mmapsrc"}) {
    Ends ends;
    const int far = dup(atoi(ends.far().c_str() + 3));
    const Pipeline pipeline(element + " " + ends.near());
    fail_unless_equals_int(pipeline.set(GST_STATE_READY), GST_STATE_CHANGE_SUCCESS);
    pipeline.stop();
    ends.close_own();
    char byte = 0;
    fail_unless_equals_int(static_cast<int>(recv(far, &byte, 1, MSG_DONTWAIT)), 0);
    close(far);
  }
}

TEST(what_is_no_connected_socket_is_refused) {
  const Scene scene;
  std::array<int, 2> pipe_fds{};
  fail_unless_equals_int(pipe2(pipe_fds.data(), O_CLOEXEC), 0);
  const int alone = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  std::array<int, 2> packets{};
  fail_unless_equals_int(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, packets.data()), 0);
  for (const int fd : {pipe_fds[0], alone, packets[0], 987654})
    for (const char* element : {"mmapsink", "mmapsrc"}) {
      const std::string error = fails_to_start(element + (" fd=" + std::to_string(fd)));
      fail_unless(test::contains(error, "descriptor " + std::to_string(fd)) &&
                      test::contains(error, fd == 987654 ? "Bad file descriptor" : "no connected"),
                  "%s", error.c_str());
    }
  for (const int fd : {pipe_fds[0], pipe_fds[1], alone, packets[0], packets[1]}) close(fd);
  const Ends ends;
  const std::string error = fails_to_start(scene.sink(ends.near()));
  fail_unless(test::contains(error, "one place to meet"), "%s", error.c_str());
}

TEST(a_socket_is_for_one_element_of_a_kind) {
  const Scene scene;
  const Ends ends;
  const Harness sink("mmapsink " + ends.near());
  const std::string error = fails_to_start("mmapsink " + ends.near());
  fail_unless(test::contains(error, "has descriptor"), "%s", error.c_str());
}

// As a vsock is, which not every kernel has.
TEST(nothing_is_mapped_where_no_descriptor_passes) {
  const Scene scene;
  for (const char* words : {"mmap=auto", "mmap=no"}) {
    const Ends ends(Ends::Kind::tcp);
    const Harness sink("mmapsink mmap=yes " + ends.near());
    const Harness source("mmapsrc " + ends.far(words));
    source.play();
    sink.wait_for_clients(1);
    for (guint64 i = 0; i < 5; ++i) {
      fail_unless_equals_int(sink.push_number(i), GST_FLOW_OK);
      fail_unless_equals_uint64(source.pull_number(), i);
    }
    fail_unless(test::text_stat(source.element(), "mode-receive") == "inline");
    const std::string why = test::text_stat(source.element(), "mode-receive-because");
    fail_unless(test::contains(why, "no descriptor goes over"), "%s", why.c_str());
  }
  const Ends ends(Ends::Kind::tcp);
  const Harness source("mmapsrc mmap=yes " + ends.far());
  source.play();
  const std::string error = source.wait_error();
  fail_unless(test::contains(error, "no descriptor goes over"), "%s", error.c_str());
}

TEST(a_file_serves_where_no_descriptor_passes) {
  const Scene scene;
  const std::string here = scene.path("here");
  std::filesystem::create_directory(here);
  const Ends ends(Ends::Kind::tcp);
  // Valgrind takes its time for what is mapped, however little of it is used.
  const Harness sink("mmapsink max-memory=8388608 mmap=" + here + " " + ends.near());
  const Harness source("mmapsrc mmap=" + here + " " + ends.far());
  source.play();
  sink.wait_for_clients(1);
  for (guint64 i = 0; i < 20; ++i) {
    fail_unless_equals_int(sink.push(sink.acquire(i)), GST_FLOW_OK);
    fail_unless_equals_uint64(source.pull_number(), i);
  }
  fail_unless(test::text_stat(source.element(), "mode-receive") == "path");
  fail_unless_equals_uint64(sink.stat("bytes-copied"), 0);
}

// Nobody is there, whether this kernel has vsocks or not; loopback is tested in tests/camera.
TEST(an_address_is_named_where_nobody_is) {
  const Scene scene;
  const Harness source("mmapsrc socket-path=vsock:1:4711 connection-timeout=200000000");
  const bool starts =
      gst_element_set_state(source.element(), GST_STATE_PLAYING) != GST_STATE_CHANGE_FAILURE;
  const std::string error = source.wait_error();
  fail_unless(test::contains(error, "vsock:1:4711"), "%d: %s", starts, error.c_str());
}

TEST(what_is_no_address_is_refused) {
  const Scene scene;
  for (const char* path : {"vsock:", "vsock:2", "vsock:2:", "vsock:x:5", "vsock:2:5x", "vsock:-1:5",
                           "vsock:2:99999999999", "vsock:2:4294967295"}) {
    const std::string error = fails_to_start("mmapsrc socket-path=\"" + std::string(path) + "\"");
    fail_unless(test::contains(error, path) && test::contains(error, "vsock:2:5000"), "%s",
                error.c_str());
  }
  const Harness source("mmapsrc socket-path=vsock:any:5");
  source.play();
  std::string error = source.wait_error();
  fail_unless(test::contains(error, "names no CID"), "%s", error.c_str());
  error = fails_to_start("mmapsink socket-path=vsock:any:5 allowed-uids=0");
  fail_unless(test::contains(error, "knows no users"), "%s", error.c_str());
}
