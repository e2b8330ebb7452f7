// mmapremote: an encoder in another process is as good as one in this one; and while that process
// is gone a fallback does its work, without a frame that is lost or comes twice.
#include <csignal>
#include <optional>

#include "tests/processes/support.h"

using test::Process;
using test::Stage;
using test::watch;

namespace {

// Equal frames give equal packets, in whichever process; see tests/elements/cut.h.
const std::string kEncoder =
    "x264enc threads=1 option-string=asm=0 bframes=0 speed-preset=ultrafast ";
constexpr auto kQuick = "tune=zerolatency";
constexpr auto kHoldsFrames = "rc-lookahead=30 sliced-threads=false";
constexpr guint64 kSecond = 100;  // frames

std::string frames(guint64 count) {
  return "videotestsrc is-live=true pattern=ball num-buffers=" + std::to_string(count) +
         " ! video/x-raw,format=I420,width=160,height=120,framerate=100/1 ! ";
}

// An encoder's process: says which frames come to it.
class Server {
 public:
  Server(const Stage& stage, const std::string& encoder)
      : process_(watch({"--frames", "enc"}, stage.src("role=server mmap=yes ! ") + encoder +
                                                " name=enc ! " + stage.sink())) {}
  void wait_frames(size_t count) { process_.wait_line("frame", count); }
  void kill() {
    process_.send(SIGKILL);
    fail_unless_equals_int(process_.wait(), 128 + SIGKILL);
  }
  void stop() {
    process_.send(SIGINT);
    process_.wait_good();
  }

 private:
  Process process_;
};

// Times of what is decoded of what comes.
Process client(const Stage& stage, guint64 count, const std::string& encoder,
               const char* properties = "") {
  return Process(watch({"--times", "out"},
                       frames(count) + "mmapremote name=remote socket-path=" + stage.path() +
                           " fallback=\"" + kEncoder + encoder + "\" " + properties +
                           " ! h264parse ! avdec_h264 max-threads=1 ! fakesink name=out"));
}

void check_all_came(Process& process, guint64 count) {
  process.wait_good();
  const auto times = process.lines("time");
  fail_unless_equals_uint64(times.size(), count);
  // Of a live source the first is not 0.
  const guint64 begin = g_ascii_strtoull(times[0].c_str() + 5, nullptr, 10);
  for (guint64 i = 0; i < count; ++i)
    fail_unless_equals_uint64(g_ascii_strtoull(times[i].c_str() + 5, nullptr, 10),
                              begin + i * GST_SECOND / kSecond);
}

void kill_and_return(const char* encoder) {
  const Stage stage;
  constexpr guint64 kFrames = 12 * kSecond;
  std::optional<Server> server(std::in_place, stage, kEncoder + encoder);
  Process process = client(stage, kFrames, encoder);
  for (int i = 0; i < 3; ++i) {
    server->wait_frames(120);
    server->kill();
    process.wait_line("warning", static_cast<size_t>(i) + 1);
    process.wait_line("time", process.lines("time").size() + 50);
    server.emplace(stage, kEncoder + encoder);
  }
  server->wait_frames(1);
  check_all_came(process, kFrames);
  server->stop();
}

}  // namespace

TEST(a_killed_server_loses_no_frame) { kill_and_return(kQuick); }

TEST(nor_one_that_held_frames) { kill_and_return(kHoldsFrames); }

// It has ended the stream, in order, when it goes.
TEST(nor_one_that_is_told_to_stop) {
  const Stage stage;
  constexpr guint64 kFrames = 5 * kSecond;
  std::optional<Server> server(std::in_place, stage, kEncoder + kHoldsFrames);
  Process process = client(stage, kFrames, kHoldsFrames);
  server->wait_frames(120);
  server->stop();
  process.wait_line("warning");
  server.emplace(stage, kEncoder + kHoldsFrames);
  server->wait_frames(1);
  check_all_came(process, kFrames);
  server->stop();
}

// All has been fed, and the server has some of it.
TEST(nor_one_that_dies_at_the_end) {
  const Stage stage;
  constexpr guint64 kFrames = kSecond;
  Server server(stage, kEncoder + "rc-lookahead=60");
  Process process = client(stage, kFrames, kQuick);
  server.wait_frames(kFrames);
  server.kill();
  check_all_came(process, kFrames);
  unlink(stage.path().c_str());
}

TEST(without_a_server_it_begins_here) {
  const Stage stage;
  constexpr guint64 kFrames = 4 * kSecond;
  Process process = client(stage, kFrames, kQuick);
  fail_unless(test::contains(process.wait_line("warning"), stage.path()));
  process.wait_line("time", 20);
  Server server(stage, kEncoder + kQuick);
  server.wait_frames(20);
  check_all_came(process, kFrames);
  server.stop();
}

TEST(as_the_same_encoder_here) {
  for (const char* encoder : {kQuick, kHoldsFrames}) {
    const Stage stage;
    const std::string line =
        "videotestsrc pattern=ball num-buffers=200 ! "
        "video/x-raw,format=I420,width=320,height=240,framerate=30/1 ! ";
    Process local(watch({"--frames", "out"}, line + kEncoder + encoder + " ! fakesink name=out"));
    local.wait_good();
    Process server(watch({}, stage.src("role=server mmap=yes is-live=false ! ") + kEncoder +
                                 encoder + " ! " + stage.sink()));
    Process remote(watch({"--frames", "out"},
                         line + "mmapremote socket-path=" + stage.path() + " ! fakesink name=out"));
    remote.wait_good();
    server.wait_good();
    const auto wanted = local.lines("frame");
    const auto came = remote.lines("frame");
    fail_unless_equals_int(wanted.size(), 200);
    fail_unless_equals_int(came.size(), wanted.size());
    for (size_t i = 0; i < wanted.size(); ++i)
      fail_unless(wanted[i] == came[i], "packet %zu is\n%s, not\n%s", i, came[i].c_str(),
                  wanted[i].c_str());
  }
}

TEST(an_error_over_there_is_an_error_here) {
  const Stage stage;
  Process server(watch({}, stage.src("role=server mmap=yes ! ") +
                               "identity name=far error-after=20 ! " + stage.sink()));
  Process process(
      watch({}, frames(kSecond) + "mmapremote socket-path=" + stage.path() + " ! fakesink"));
  fail_unless(test::contains(process.wait_line("error"), "Failed after iterations"));
  fail_unless_equals_int(process.wait(), 1);
  fail_unless_equals_int(server.wait(), 1);
}
