// A process that dies without a word harms nobody but those who need it.
#include <csignal>

#include "tests/processes/support.h"

using test::Process;
using test::Stage;
using test::watch;

namespace {

constexpr auto kLive =
    "videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=240,framerate=100/1";

}  // namespace

TEST(sender_goes_on_when_a_reader_is_killed) {
  const Stage stage;
  Process sender(watch({}, kLive + (" ! " + stage.sink())));
  Process steady(watch({"--frames", "out"}, stage.src("! fakesink name=out")));
  for (int i = 0; i < 3; ++i) {
    Process reader(watch({"--frames", "out"}, stage.src("! fakesink name=out")));
    reader.wait_line("frame", 5);
    reader.send(SIGKILL);
    fail_unless_equals_int(reader.wait(), 128 + SIGKILL);
    steady.wait_line("frame", steady.lines("frame").size() + 10);
  }
  sender.send(SIGINT);
  sender.wait_good();
  steady.wait_good();
  // It got every frame from its first on.
  guint64 wanted = 0;
  for (const auto& line : steady.lines("frame")) {
    const guint64 pts = g_ascii_strtoull(line.c_str() + 6, nullptr, 10);
    fail_unless(wanted == 0 || pts == wanted);
    wanted = pts + GST_SECOND / 100;
  }
}

TEST(encoder_serves_the_next_client_when_one_is_killed) {
  const Stage stage;
  const std::string client_line =
      kLive + (" ! " + stage.sink("role=client ")) + stage.src("! fakesink name=out");
  Process server(watch({}, stage.src("role=server mmap=yes") +
                               " ! x264enc speed-preset=ultrafast ! " + stage.sink()));
  for (int i = 0; i < 3; ++i) {
    Process client(watch({"--frames", "out"}, client_line));
    client.wait_line("frame", 5);
    client.send(SIGKILL);
    fail_unless_equals_int(client.wait(), 128 + SIGKILL);
  }
  Process last(watch({"--frames", "out"}, client_line));
  last.wait_line("frame", 5);
  last.send(SIGINT);
  last.wait_good();
  server.wait_good();
}

TEST(reader_hears_that_its_server_was_killed) {
  const Stage stage;
  Process reader(watch({"--frames", "out"}, stage.src("! fakesink name=out")));
  {
    Process sender(watch({}, kLive + (" ! " + stage.sink())));
    reader.wait_line("frame", 5);
    sender.send(SIGKILL);
    fail_unless(test::contains(reader.wait_line("error"), stage.path()));
    fail_unless_equals_int(reader.wait(), 1);
  }
  // Its socket is left; who comes next takes it over.
  Process next(watch({}, kLive + (" ! " + stage.sink())));
  Process other(watch({"--frames", "out"}, stage.src("! fakesink name=out")));
  other.wait_line("frame", 5);
  next.send(SIGINT);
  next.wait_good();
  other.wait_good();
}

TEST(client_hears_that_its_encoder_was_killed) {
  const Stage stage;
  Process client(watch({"--frames", "out"}, kLive + (" ! " + stage.sink("role=client ")) +
                                                stage.src("! fakesink name=out")));
  {
    Process server(watch({}, stage.src("role=server mmap=yes") +
                                 " ! x264enc speed-preset=ultrafast tune=zerolatency ! " +
                                 stage.sink()));
    client.wait_line("frame", 5);
    server.send(SIGKILL);
    fail_unless(test::contains(client.wait_line("error"), stage.path()));
    fail_unless_equals_int(client.wait(), 1);
  }
  unlink(stage.path().c_str());
}

TEST(sender_hears_that_the_server_it_sends_to_was_killed) {
  const Stage stage;
  Process sender(watch({}, kLive + (" ! " + stage.sink("role=client"))));
  {
    Process server(watch({"--frames", "out"}, stage.src("role=server ! fakesink name=out")));
    server.wait_line("frame", 5);
    server.send(SIGKILL);
    fail_unless(test::contains(sender.wait_line("error"), stage.path()));
    fail_unless_equals_int(sender.wait(), 1);
  }
  unlink(stage.path().c_str());
}

// The camera has memory for a few frames: what a crash kept would soon stop it.
TEST(whoever_dies_in_a_chain_lets_go_of_the_cameras_frames) {
  const Stage stage;
  const auto at = [&](const char* element, const char* name, const char* more = "") {
    return element + (" socket-path=" + stage.path(name) + " ") + more + " ";
  };
  constexpr auto kOut = "! fakesink name=out";
  Process camera(watch({}, kLive + (" ! " + at("mmapsink", "one", "max-memory=1400000"))));
  Process steady(watch({"--frames", "out"}, at("mmapsrc", "one", kOut)));
  for (int i = 0; i < 6; ++i) {
    Process relay(
        watch({}, at("mmapsrc", "one", "! queue max-size-buffers=2 !") + at("mmapsink", "two")));
    // Holds the frames that it has.
    Process reader(watch({"--frames", "out"}, at("mmapsrc", "two",
                                                 "connection-timeout=9000000000 ! queue "
                                                 "min-threshold-buffers=2 ! fakesink name=out")));
    reader.wait_line("frame", 5);
    Process& dies = i % 2 == 0 ? relay : reader;
    dies.send(SIGKILL);
    fail_unless_equals_int(dies.wait(), 128 + SIGKILL);
    steady.wait_line("frame", steady.lines("frame").size() + 50);
    if (i % 2 == 0) {
      fail_unless(test::contains(reader.wait_line("error"), stage.path("two")));
      fail_unless_equals_int(reader.wait(), 1);
    } else {
      relay.send(SIGINT);
      relay.wait_good();
    }
  }
  camera.send(SIGINT);
  camera.wait_good();
  steady.wait_good();
  fail_unless_equals_uint64(test::stat_of(camera.lines("stats")[0], "bytes-copied"), 0);
}
