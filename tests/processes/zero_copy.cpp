// What upstream writes is what the far side reads: the same memory, which both processes name by
// the inode of its memfd and the offset in it.
#include "tests/processes/support.h"

using test::Process;
using test::Stage;
using test::watch;

namespace {

constexpr auto kFile = "filesrc location=/usr/share/doc/opencv-doc/examples/data/vtest.avi";

void check_nothing_copied(const Process& process, const std::string& elements = "stats") {
  const auto stats = process.lines(elements);
  fail_if(stats.empty());
  for (const auto& line : stats) {
    fail_unless(test::stat_of(line, "buffers") > 0, "%s", line.c_str());
    fail_unless_equals_uint64(test::stat_of(line, "buffers-copied"), 0);
    fail_unless_equals_uint64(test::stat_of(line, "bytes-copied"), 0);
  }
}

// `source` sends, and where each frame lies is the same where it is read.
void check_one_way(const std::string& source, const std::string& reader = "fakesink name=end") {
  const Stage stage;
  // `reader` has an element "end".
  Process receiver(watch({"--places", "end"}, stage.src("! ") + reader));
  Process sender(watch({"--places", "sink"},
                       source + " ! " + stage.sink("name=sink wait-for-connection=true")));
  sender.wait_good();
  receiver.wait_good();
  const auto sent = sender.lines("place");
  const auto received = receiver.lines("place");
  fail_if(sent.empty());
  fail_unless_equals_int(sent.size(), received.size());
  for (size_t i = 0; i < sent.size(); ++i) {
    fail_if(test::contains(sent[i], "-"), "frame %zu lies in no arena", i);
    fail_unless(sent[i] == received[i], "frame %zu: %s there, %s here", i, sent[i].c_str(),
                received[i].c_str());
  }
  check_nothing_copied(sender);
  check_nothing_copied(receiver);
}

}  // namespace

TEST(test_frames) {
  check_one_way("videotestsrc num-buffers=60 ! video/x-raw,format=I420,width=1280,height=720");
}

TEST(converted_frames) {
  check_one_way(
      "videotestsrc num-buffers=30 ! video/x-raw,format=I420 ! videoconvert ! "
      "video/x-raw,format=NV12");
}

// gst-libav copies a frame that it still refers to before it pushes it: into the arena.
TEST(film_decoded_by_libav) {
  // The far end knows GstVideoMeta, as encoders do: decoders pad their rows.
  check_one_way(kFile + std::string(" ! decodebin"),
                "x264enc speed-preset=ultrafast name=end ! fakesink");
}

// A decoder that takes a proposed pool.
TEST(decoded_file) {
  const Stage stage;
  const std::string file = stage.path("film.avi");
  Process maker(watch({},
                      "videotestsrc num-buffers=60 ! video/x-raw,format=I420,width=640,height=480 "
                      "! jpegenc ! avimux ! filesink location=" +
                          file));
  maker.wait_good();
  check_one_way("filesrc location=" + file + " ! avidemux ! jpegdec");
}

// Whatever is not raw may be parsed: its reader takes one private copy, and counts it.
TEST(bytes_of_a_file) {
  const Stage stage;
  Process receiver(watch({"--places", "end"}, stage.src("! fakesink name=end")));
  Process sender(
      watch({"--places", "sink"},
            kFile + (" blocksize=65536 ! " + stage.sink("name=sink wait-for-connection=true"))));
  sender.wait_good();
  receiver.wait_good();
  for (const auto& line : sender.lines("place")) fail_if(test::contains(line, "-"));
  for (const auto& line : receiver.lines("place"))
    fail_unless(line == "place -", "%s", line.c_str());
  fail_unless_equals_int(sender.lines("place").size(), receiver.lines("place").size());
  check_nothing_copied(sender);
  const std::string stats = receiver.lines("stats").front();
  fail_unless_equals_uint64(test::stat_of(stats, "buffers-copied"),
                            test::stat_of(stats, "buffers"));
}

TEST(frames_for_an_encoder) {
  const Stage stage;
  Process server(watch({"--places", "enc"}, stage.src("role=server mmap=yes") +
                                                " ! x264enc speed-preset=ultrafast name=enc ! " +
                                                stage.sink()));
  Process client(watch({"--places", "sink"},
                       "videotestsrc num-buffers=120 ! "
                       "video/x-raw,format=I420,width=640,height=480 ! " +
                           stage.sink("role=client name=sink ") + stage.src("! fakesink")));
  client.wait_good();
  server.wait_good();
  fail_unless_equals_int(client.lines("place").size(), 120);
  fail_unless(client.lines("place") == server.lines("place"));
  check_nothing_copied(client, "stats mmapsink");
  check_nothing_copied(server, "stats mmapsrc");
}
