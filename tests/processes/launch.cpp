// The main job with gst-launch-1.0 lines: an encoder in another process, in either order of start,
// ended by the stream or by Ctrl-C on either side.
#include <csignal>
#include <filesystem>

#include "tests/processes/serving.h"
#include "tests/processes/support.h"

using test::launch;
using test::Process;
using test::Stage;

namespace {

std::string server_line(const Stage& stage, const std::string& encoder) {
  return stage.src("role=server mmap=yes") + " ! " + encoder + " ! " + stage.sink();
}

std::string client_line(const Stage& stage, const std::string& source) {
  return source + " ! " + stage.sink("role=client") + " " + stage.src() +
         " ! h264parse ! matroskamux ! filesink location=" + stage.path("out.mkv");
}

size_t frames_in_file(const Stage& stage) {
  Process player(test::watch({"--frames", "out"},
                             "filesrc location=" + stage.path("out.mkv") +
                                 " ! matroskademux ! h264parse ! avdec_h264 ! fakesink name=out"));
  player.wait_good();
  return player.lines("frame").size();
}

constexpr auto kShort = "videotestsrc num-buffers=90 ! video/x-raw,width=320,height=240";
constexpr auto kLive = "videotestsrc is-live=true ! video/x-raw,width=320,height=240";
constexpr auto kQuick = "x264enc tune=zerolatency speed-preset=ultrafast";

void wait_until_recording(const Stage& stage, const char* name = "out.mkv") {
  const std::filesystem::path file = stage.path(name);
  fail_unless(test::becomes([&] {
                std::error_code none;
                return std::filesystem::file_size(file, none) > 20000 && !none;
              }),
              "nothing is recorded");
}

}  // namespace

// A server that ends its clients' streams before it goes: no error, and a file that is whole.
TEST(a_server_is_stopped) {
  for (const bool isolate : {false, true}) {
    const Stage stage;
    Process server(test::server_words(stage, isolate ? Process::Words{"--isolate", kQuick}
                                                     : Process::Words{kQuick}));
    fail_unless(test::becomes([&] { return std::filesystem::exists(stage.path()); }));
    Process client(launch(std::string(kLive) + " ! mmapremote socket-path=" + stage.path() +
                          " ! h264parse ! matroskamux ! filesink location=" +
                          stage.path("out.mkv")));
    wait_until_recording(stage);
    server.send(SIGTERM);
    client.wait_good();
    fail_unless(client.lines("ERROR").empty() && client.lines("WARNING").empty());
    server.wait_good();
    fail_unless(frames_in_file(stage) > 0);
  }
}

TEST(server_first) {
  const Stage stage;
  Process server(launch(server_line(stage, "x264enc")));
  fail_unless(test::becomes([&] { return std::filesystem::exists(stage.path()); }));
  Process client(launch(client_line(stage, kShort)));
  client.wait_good();
  server.wait_good();
  fail_unless_equals_int(frames_in_file(stage), 90);
}

TEST(client_first) {
  const Stage stage;
  Process client(launch(client_line(stage, kShort)));
  // It says so where it waits.
  client.wait_line("INFO:");
  Process server(launch(server_line(stage, "x264enc")));
  client.wait_good();
  server.wait_good();
  fail_unless_equals_int(frames_in_file(stage), 90);
}

// As by systemd: the socket is there before the server, and after it.
TEST(server_that_its_socket_starts) {
  const Stage stage;
  const std::string starter =
      "import os, socket, sys\n"
      "s = socket.socket(socket.AF_UNIX)\n"
      "s.bind(sys.argv[1])\n"
      "s.listen()\n"
      "print('listens', flush=True)\n"
      "os.dup2(s.fileno(), 3)\n"
      "os.set_inheritable(3, True)\n"
      "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))\n"
      "os.execvp(sys.argv[2], sys.argv[2:])\n";
  Process::Words words{"python3", "-c", starter, stage.path()};
  for (const auto& word : launch(server_line(stage, kQuick))) words.push_back(word);
  Process server(words);
  server.wait_line("listens");
  Process client(launch(client_line(stage, kShort)));
  client.wait_good();
  server.wait_good();
  fail_unless_equals_int(frames_in_file(stage), 90);
  fail_unless(std::filesystem::remove(stage.path()), "the socket is gone, which others had made");
}

TEST(interrupt_at_the_client_ends_both) {
  const Stage stage;
  Process server(launch(server_line(stage, kQuick)));
  Process client(launch(client_line(stage, kLive)));
  wait_until_recording(stage);
  client.send(SIGINT);
  client.wait_good();
  server.wait_good();
  fail_unless(frames_in_file(stage) > 2);
}

// With frames still in the encoder when it ends.
TEST(interrupt_at_the_client_of_a_slow_encoder_ends_both) {
  const Stage stage;
  Process server(launch(server_line(stage, "x264enc speed-preset=ultrafast rc-lookahead=40")));
  Process client(launch(client_line(stage, std::string(kLive) + ",framerate=100/1")));
  wait_until_recording(stage);
  client.send(SIGINT);
  client.wait_good();
  server.wait_good();
  fail_unless(frames_in_file(stage) > 2);
}

TEST(interrupt_at_the_server_ends_both) {
  const Stage stage;
  Process server(launch(server_line(stage, kQuick)));
  Process client(launch(client_line(stage, kLive)));
  wait_until_recording(stage);
  server.send(SIGINT);
  server.wait_good();
  client.wait_good();
  fail_unless(frames_in_file(stage) > 2);
}

TEST(interrupt_of_a_reader_leaves_the_sender_alone) {
  const Stage stage;
  Process sender(launch("videotestsrc is-live=true ! " + stage.sink()));
  for (int i = 0; i < 2; ++i) {
    Process reader(test::watch({"--frames", "out"}, stage.src() + " ! fakesink name=out"));
    reader.wait_line("frame", 3);
    reader.send(SIGINT);
    reader.wait_good();
  }
  sender.send(SIGINT);
  sender.wait_good();
}

TEST(interrupt_of_a_sender_ends_its_readers) {
  const Stage stage;
  Process sender(launch("videotestsrc is-live=true ! " + stage.sink()));
  Process reader(test::watch({"--frames", "out"}, stage.src() + " ! fakesink name=out"));
  Process other(
      launch(stage.src() + " ! filesink buffer-mode=unbuffered location=" + stage.path("raw")));
  reader.wait_line("frame", 3);
  // Who comes later waits for the next sender.
  wait_until_recording(stage, "raw");
  sender.send(SIGINT);
  sender.wait_good();
  reader.wait_good();
  other.wait_good();
}
