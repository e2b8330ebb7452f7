// A player of the shelf, gst-play-1.0, that gets nothing but a URI.
#include "tests/processes/support.h"

using test::Pipeline;
using test::Process;
using test::Stage;

namespace {

Process::Words play(const std::string& uri, const Process::Words& options = {}) {
  Process::Words words{"gst-play-1.0", "--no-interactive", "--no-position", "--videosink=fakesink",
                       "--audiosink=fakesink"};
  words.insert(words.end(), options.begin(), options.end());
  words.push_back(uri);
  return words;
}

std::string sender_line(const Stage& stage, const char* encoder) {
  return "videotestsrc num-buffers=30 ! video/x-raw,width=320,height=240 ! " +
         std::string(encoder) + stage.sink("wait-for-connection=true name=sink");
}

// To the end, which is the sender's.
void check_played(const char* encoder, const Process::Words& options = {}, const char* keys = "",
                  const char* sink = "") {
  const Stage stage;
  const Pipeline sender(sender_line(stage, encoder) + sink);
  Process player(play("mmap://" + stage.path() + keys, options));
  sender.play();
  sender.wait_eos();
  player.wait_line("Reached end of play list");
  player.wait_good();
  const auto errors = player.lines("ERROR");
  fail_unless(errors.empty(), "%s", errors.empty() ? "" : errors[0].c_str());
  fail_unless_equals_uint64(test::stat(sender.element("sink"), "buffers"), 30);
}

constexpr auto kRaw = "";
constexpr auto kH264 = "x264enc tune=zerolatency speed-preset=ultrafast ! ";

}  // namespace

TEST(plays_raw_video) { check_played(kRaw); }
TEST(plays_h264) { check_played(kH264); }
TEST(plays_with_playbin3) { check_played(kH264, {"--use-playbin3"}); }
TEST(plays_as_the_server) { check_played(kH264, {}, "?role=server&mmap=yes", " role=client"); }
TEST(plays_what_comes_inline) { check_played(kH264, {"--use-playbin3"}, "?mmap=no"); }

TEST(says_what_is_mistyped) {
  const Stage stage;
  Process player(play("mmap://" + stage.path() + "?rol=client"));
  const std::string error = player.wait_line("ERROR");
  fail_unless(test::contains(error, "'rol'"), "%s", error.c_str());
  player.wait();
}
