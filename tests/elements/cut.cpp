// A pipeline that is cut in two is the same pipeline: each case runs whole, and then cut at each
// place there is, and all that its last sink gets to see is the same.
#include <filesystem>

#include "tests/elements/record.h"

using test::Pipeline;
using test::Record;
using test::Scene;

namespace {

using Chain = std::vector<std::string>;
using Scenario = std::function<void(const Pipeline&)>;  // on the far pipeline, prerolled
using Lines = std::vector<std::string>;

std::string joined(const Chain& chain, size_t from, size_t to) {
  std::string line;
  for (size_t i = from; i < to; ++i) line += (line.empty() ? "" : " ! ") + chain[i];
  return line;
}

// To the end of the stream, or of the segment.
Lines play(const Pipeline& pipeline, const Scenario& scenario) {
  Record record(pipeline, "end");
  fail_unless(pipeline.set(GST_STATE_PAUSED) != GST_STATE_CHANGE_FAILURE);
  const auto done = static_cast<GstMessageType>(GST_MESSAGE_ASYNC_DONE | GST_MESSAGE_ERROR);
  fail_unless(GST_MESSAGE_TYPE(pipeline.wait(done).get()) == GST_MESSAGE_ASYNC_DONE);
  record.ask(pipeline);
  if (scenario) scenario(pipeline);
  pipeline.play();
  const auto end = pipeline.wait(
      static_cast<GstMessageType>(GST_MESSAGE_EOS | GST_MESSAGE_SEGMENT_DONE | GST_MESSAGE_ERROR));
  fail_unless(GST_MESSAGE_TYPE(end.get()) != GST_MESSAGE_ERROR);
  // Who seeks says so when it has sent the last of it.
  if (GST_MESSAGE_TYPE(end.get()) == GST_MESSAGE_SEGMENT_DONE)
    fail_unless(test::becomes([&] { return record.has("segment-done"); }));
  record.ask(pipeline);
  // What still comes is seen by nobody.
  pipeline.stop();
  return record.lines();
}

// `first`: the first place to cut at, behind that many elements.
void check(const Chain& chain, size_t first = 1, const Scenario& scenario = nullptr) {
  const std::string sink = " ! fakesink name=end";
  Lines whole;
  {
    const Pipeline pipeline(joined(chain, 0, chain.size()) + sink);
    whole = play(pipeline, scenario);
  }
  fail_unless(whole.size() > 10);
  for (size_t place = first; place <= chain.size(); ++place) {
    const Scene scene;
    const Pipeline near(joined(chain, 0, place) + " ! " + scene.sink("wait-for-connection=true"));
    const std::string rest = joined(chain, place, chain.size());
    const Pipeline far(scene.src("is-live=false") + (rest.empty() ? "" : " ! " + rest) + sink);
    near.play();
    test::check_same(whole, play(far, scenario),
                     "cut behind " + chain[place - 1] + " of " + joined(chain, 0, chain.size()));
  }
}

const std::string kVideo =
    "videotestsrc num-buffers=20 pattern=ball ! video/x-raw,format=I420,width=320,height=240,"
    "framerate=25/1";
const std::string kAudio = "audiotestsrc num-buffers=20 ! audio/x-raw,rate=48000,channels=2";
constexpr auto kEncoder = "x264enc threads=1 key-int-max=10 bframes=0";
constexpr auto kDecoder = "avdec_h264 max-threads=1";

// A file with 100 frames, ten seconds, a key frame each second, and tags.
class File {
 public:
  File() {
    std::string name = std::filesystem::temp_directory_path() / "mmap-film-XXXXXX";
    fail_unless(mkdtemp(name.data()) != nullptr);
    directory_ = name;
    const Pipeline make(
        "videotestsrc num-buffers=100 ! video/x-raw,format=I420,width=64,height=48,framerate=10/1 "
        "! taginject tags=title=film,artist=nobody,comment=\"\\\"a\\;b\\\"\" ! x264enc threads=1 "
        "key-int-max=10 bframes=0 ! h264parse ! matroskamux ! filesink location=" +
        path());
    make.play();
    make.wait_eos();
  }
  ~File() { std::filesystem::remove_all(directory_); }
  std::string path() const { return directory_ + "/film.mkv"; }
  // A demuxer wants its file for itself: it reads where it likes. The places are behind it.
  Chain chain() const {
    return {"filesrc location=" + path(), "matroskademux", "h264parse", kDecoder, "videoconvert"};
  }

 private:
  std::string directory_;
};
constexpr size_t kBehindDemuxer = 2;

Scenario seek(gdouble rate, int flags, gint64 start, gint64 stop) {
  return [=](const Pipeline& pipeline) {
    fail_unless(gst_element_seek(pipeline.get(), rate, GST_FORMAT_TIME,
                                 static_cast<GstSeekFlags>(flags | GST_SEEK_FLAG_FLUSH),
                                 GST_SEEK_TYPE_SET, start, GST_SEEK_TYPE_SET, stop));
    pipeline.wait(GST_MESSAGE_ASYNC_DONE);
  };
}

}  // namespace

TEST(h264) { check({kVideo, kEncoder, "h264parse", kDecoder, "videoconvert"}); }

TEST(h264_with_b_frames_and_lookahead) {
  check({kVideo, "x264enc threads=1 bframes=3", "h264parse", kDecoder});
}

TEST(jpeg) { check({kVideo, "jpegenc", "jpegparse", "jpegdec"}); }

TEST(opus) { check({kAudio, "audioconvert", "opusenc", "opusparse", "opusdec"}); }

TEST(vorbis) { check({kAudio, "audioconvert", "vorbisenc", "vorbisdec"}); }

TEST(aac) { check({kAudio, "audioconvert", "avenc_aac", "aacparse", "avdec_aac"}); }

TEST(conversions) {
  check({kVideo, "videoscale", "video/x-raw,width=80,height=60", "videoconvert",
         "video/x-raw,format=NV12", "videocrop left=4 top=2", "videorate",
         "video/x-raw,framerate=50/1"});
}

TEST(text_over_video) { check({kVideo, "textoverlay text=over", "timeoverlay"}); }

TEST(muxed) { check({kVideo, kEncoder, "h264parse", "mpegtsmux"}); }

TEST(subtitles) {
  const Scene scene;
  const std::string path = scene.path("text.srt");
  fail_unless(g_file_set_contents(path.c_str(),
                                  "1\n00:00:01,000 --> 00:00:02,000\nFirst\n\n"
                                  "2\n00:00:03,000 --> 00:00:04,500\nSecond\nline\n\n",
                                  -1, nullptr));
  check({"filesrc location=" + path, "subparse"}, 2);
  std::filesystem::remove(path);
}

TEST(tags) {
  check({kVideo, "taginject tags=title=one,track-number=(uint)3,language-code=de",
         "taginject tags=artist=somebody,album=\"\\\"an,\\ album\\\"\"", "identity"});
}

TEST(file) {
  const File file;
  check(file.chain(), kBehindDemuxer);
}

TEST(file_with_a_seek) {
  const File file;
  check(file.chain(), kBehindDemuxer,
        seek(1.0, GST_SEEK_FLAG_ACCURATE, 4 * GST_SECOND, GST_CLOCK_TIME_NONE));
}

TEST(file_with_a_seek_to_a_key_frame) {
  const File file;
  check(file.chain(), kBehindDemuxer,
        seek(1.0, GST_SEEK_FLAG_KEY_UNIT, 4500 * GST_MSECOND, 7 * GST_SECOND));
}

TEST(file_with_a_segment_seek) {
  const File file;
  check(file.chain(), kBehindDemuxer,
        seek(1.0, GST_SEEK_FLAG_SEGMENT | GST_SEEK_FLAG_ACCURATE, GST_SECOND, 3 * GST_SECOND));
}

TEST(file_backwards) {
  const File file;
  check(file.chain(), kBehindDemuxer,
        seek(-1.0, GST_SEEK_FLAG_ACCURATE, GST_SECOND, 5 * GST_SECOND));
}

TEST(file_fast) {
  const File file;
  check(file.chain(), kBehindDemuxer, seek(4.0, GST_SEEK_FLAG_NONE, 0, GST_CLOCK_TIME_NONE));
}

TEST(file_as_key_frames) {
  const File file;
  check(file.chain(), kBehindDemuxer,
        seek(8.0, GST_SEEK_FLAG_TRICKMODE | GST_SEEK_FLAG_TRICKMODE_KEY_UNITS, 0,
             GST_CLOCK_TIME_NONE));
}

TEST(file_with_steps) {
  const File file;
  check(file.chain(), kBehindDemuxer, [](const Pipeline& pipeline) {
    for (int i = 0; i < 3; ++i) {
      fail_unless(gst_element_send_event(
          pipeline.get(), gst_event_new_step(GST_FORMAT_BUFFERS, 5, 1.0, TRUE, FALSE)));
      pipeline.wait(GST_MESSAGE_STEP_DONE);
      pipeline.wait(GST_MESSAGE_ASYNC_DONE);
    }
  });
}
