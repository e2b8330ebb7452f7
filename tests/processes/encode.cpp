// An encoder in another process gives what one in the same process gives, bit for bit; and a whole
// file goes through.
#include "tests/processes/support.h"

using test::Process;
using test::Stage;
using test::watch;

namespace {

constexpr auto kFrames =
    "videotestsrc num-buffers=300 pattern=ball ! "
    "video/x-raw,format=I420,width=320,height=240,framerate=30/1";
constexpr auto kFile = "filesrc location=/usr/share/doc/opencv-doc/examples/data/vtest.avi";
constexpr size_t kFileFrames = 795;

Process::Words frames_of(Process& process) {
  process.wait_good();
  return process.lines("frame");
}

void check_same(const Process::Words& wanted, const Process::Words& came) {
  for (size_t i = 0; i < std::min(wanted.size(), came.size()); ++i)
    fail_unless(wanted[i] == came[i], "packet %zu is\n%s, not\n%s", i, came[i].c_str(),
                wanted[i].c_str());
  fail_unless_equals_int(came.size(), wanted.size());
}

void check_encoder(const std::string& encoder) {
  const Stage stage;
  Process local(watch({"--frames", "out"}, kFrames + (" ! " + encoder) + " ! fakesink name=out"));
  const auto wanted = frames_of(local);
  fail_unless_equals_int(wanted.size(), 300);

  Process server(watch({}, stage.src("role=server mmap=yes ! ") + encoder + " ! " + stage.sink()));
  Process client(watch({"--frames", "out"}, kFrames + (" ! " + stage.sink("role=client ")) +
                                                stage.src("! fakesink name=out")));
  check_same(wanted, frames_of(client));
  server.wait_good();
}

}  // namespace

TEST(with_lookahead) { check_encoder("x264enc threads=1 option-string=asm=0"); }

TEST(without_latency) { check_encoder("x264enc threads=1 tune=zerolatency"); }

TEST(with_b_frames) {
  check_encoder("x264enc threads=1 option-string=asm=0 bframes=3 b-adapt=false");
}

TEST(decoded_file_one_way) {
  const Stage stage;
  Process local(
      watch({"--frames", "out"}, kFile + std::string(" ! decodebin ! fakesink name=out")));
  const auto wanted = frames_of(local);
  fail_unless_equals_int(wanted.size(), kFileFrames);

  Process reader(watch({"--frames", "out"}, stage.src("! fakesink name=out")));
  Process sender(watch({}, kFile + (" ! decodebin ! " + stage.sink("wait-for-connection=true"))));
  sender.wait_good();
  check_same(wanted, frames_of(reader));
}

TEST(decoded_file_through_an_encoder_and_back) {
  const Stage stage;
  Process server(watch({}, stage.src("role=server mmap=yes") +
                               " ! x264enc speed-preset=ultrafast ! " + stage.sink()));
  Process client(watch({"--frames", "out"}, kFile +
                                                (" ! decodebin ! " + stage.sink("role=client ")) +
                                                stage.src("! avdec_h264 ! fakesink name=out")));
  const auto came = frames_of(client);
  server.wait_good();
  fail_unless_equals_int(came.size(), kFileFrames);
  guint64 last = 0;
  for (const auto& line : came) {
    const guint64 pts = g_ascii_strtoull(line.c_str() + 6, nullptr, 10);
    fail_unless(pts > last, "frame at %" G_GUINT64_FORMAT " after %" G_GUINT64_FORMAT, pts, last);
    last = pts;
  }
}
