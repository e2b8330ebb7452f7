// The table of pipelines that run whole and cut.
#include "tests/elements/cut.h"

namespace test::cut {

namespace {

using Scenario = std::function<void(const Pipeline&)>;

constexpr auto kVideo =
    "videotestsrc num-buffers=20 pattern=ball ! video/x-raw,format=I420,width=320,height=240,"
    "framerate=25/1";
constexpr auto kAudio = "audiotestsrc num-buffers=20 ! audio/x-raw,rate=48000,channels=2";
constexpr auto kLiveVideo =
    "videotestsrc num-buffers=20 is-live=true name=video ! "
    "video/x-raw,format=I420,width=64,height=48,framerate=50/1";
constexpr auto kLiveAudio =
    "audiotestsrc num-buffers=20 is-live=true samplesperbuffer=960 name=audio ! "
    "audio/x-raw,rate=48000,channels=2";
constexpr auto kEncoder = "x264enc threads=1 key-int-max=10 bframes=0";
constexpr auto kDecoder = "avdec_h264 max-threads=1";
constexpr auto kQuickEncoder = "x264enc threads=1 tune=zerolatency";

// Ten seconds, a key frame each second, and tags.
constexpr auto kFilm =
    "videotestsrc num-buffers=100 ! video/x-raw,format=I420,width=64,height=48,framerate=10/1 "
    "! taginject tags=title=film,artist=nobody,comment=\"\\\"a\\;b\\\"\" "
    "! x264enc threads=1 key-int-max=10 bframes=0 ! h264parse ! matroskamux "
    "! filesink location=@/film.mkv";
// A demuxer wants its file for itself: it reads where it likes. The places are behind it.
constexpr size_t kBehindDemuxer = 2;

Scenario seek(gdouble rate, int flags, gint64 start, gint64 stop = -1) {
  return [=](const Pipeline& pipeline) {
    fail_unless(gst_element_seek(pipeline.get(), rate, GST_FORMAT_TIME,
                                 static_cast<GstSeekFlags>(flags | GST_SEEK_FLAG_FLUSH),
                                 GST_SEEK_TYPE_SET, start, GST_SEEK_TYPE_SET, stop));
    pipeline.wait(GST_MESSAGE_ASYNC_DONE);
  };
}

Case of_film(const char* name, Scenario scenario) {
  return {.name = name,
          .chains = {{"filesrc location=@/film.mkv", "matroskademux", "h264parse", kDecoder,
                      "videoconvert"}},
          .first = kBehindDemuxer,
          .scenario = std::move(scenario),
          .films = {kFilm}};
}

void steps(const Pipeline& pipeline) {
  for (int i = 0; i < 3; ++i) {
    fail_unless(gst_element_send_event(
        pipeline.get(), gst_event_new_step(GST_FORMAT_BUFFERS, 5, 1.0, TRUE, FALSE)));
    pipeline.wait(GST_MESSAGE_STEP_DONE);
    pipeline.wait(GST_MESSAGE_ASYNC_DONE);
  }
}

// The first timestamp of a live source is when it happened to start. Here each starts with 0.
void start_at_zero(const Pipeline& pipeline) {
  for (const char* source : {"video", "audio"}) {
    GstPad* pad = gst_element_get_static_pad(pipeline.element(source), "src");
    gst_pad_add_probe(
        pad, GST_PAD_PROBE_TYPE_BUFFER,
        [](GstPad*, GstPadProbeInfo* info, gpointer first) {
          GstBuffer* buffer = GST_PAD_PROBE_INFO_BUFFER(info);
          info->data = buffer = gst_buffer_make_writable(buffer);
          auto& start = *static_cast<GstClockTime*>(first);
          if (!GST_CLOCK_TIME_IS_VALID(start)) start = GST_BUFFER_PTS(buffer);
          GST_BUFFER_PTS(buffer) -= start;
          return GST_PAD_PROBE_OK;
        },
        new GstClockTime(GST_CLOCK_TIME_NONE),
        [](gpointer first) { delete static_cast<GstClockTime*>(first); });
    gst_object_unref(pad);
  }
}

std::vector<Case> encoded() {
  return {
      {.name = "h264", .chains = {{kVideo, kEncoder, "h264parse", kDecoder, "videoconvert"}}},
      {.name = "h264_with_b_frames_and_lookahead",
       .chains = {{kVideo, "x264enc threads=1 bframes=3", "h264parse", kDecoder}}},
      {.name = "jpeg", .chains = {{kVideo, "jpegenc", "jpegparse", "jpegdec"}}},
      {.name = "opus", .chains = {{kAudio, "audioconvert", "opusenc", "opusparse", "opusdec"}}},
      {.name = "vorbis", .chains = {{kAudio, "audioconvert", "vorbisenc", "vorbisdec"}}},
      {.name = "aac", .chains = {{kAudio, "audioconvert", "avenc_aac", "aacparse", "avdec_aac"}}},
      {.name = "muxed", .chains = {{kVideo, kEncoder, "h264parse", "mpegtsmux"}}},
  };
}

std::vector<Case> raw() {
  return {
      {.name = "conversions",
       .chains = {{kVideo, "videoscale", "video/x-raw,width=80,height=60", "videoconvert",
                   "video/x-raw,format=NV12", "videocrop left=4 top=2", "videorate",
                   "video/x-raw,framerate=50/1"}}},
      {.name = "text_over_video", .chains = {{kVideo, "textoverlay text=over", "timeoverlay"}}},
      {.name = "tags",
       .chains = {{kVideo, "taginject tags=title=one,track-number=(uint)3,language-code=de",
                   "taginject tags=artist=somebody,album=\"\\\"an,\\ album\\\"\"", "identity"}}},
  };
}

std::vector<Case> files() {
  return {
      of_film("file", {}),
      of_film("file_with_a_seek", seek(1.0, GST_SEEK_FLAG_ACCURATE, 4 * GST_SECOND)),
      of_film("file_with_a_seek_to_a_key_frame",
              seek(1.0, GST_SEEK_FLAG_KEY_UNIT, 4500 * GST_MSECOND, 7 * GST_SECOND)),
      of_film("file_with_a_segment_seek", seek(1.0, GST_SEEK_FLAG_SEGMENT | GST_SEEK_FLAG_ACCURATE,
                                               GST_SECOND, 3 * GST_SECOND)),
      of_film("file_backwards", seek(-1.0, GST_SEEK_FLAG_ACCURATE, GST_SECOND, 5 * GST_SECOND)),
      of_film("file_fast", seek(4.0, GST_SEEK_FLAG_NONE, 0)),
      of_film("file_as_key_frames",
              seek(8.0, GST_SEEK_FLAG_TRICKMODE | GST_SEEK_FLAG_TRICKMODE_KEY_UNITS, 0)),
      of_film("file_with_steps", steps),
  };
}

std::vector<Case> live() {
  return {
      {.name = "live_audio_and_video",
       .chains = {{kLiveVideo, kQuickEncoder, "h264parse", kDecoder},
                  {kLiveAudio, "opusenc", "opusparse", "opusdec"}},
       .is_live = true,
       .prepare = start_at_zero},
  };
}

}  // namespace

const std::vector<Case>& cases() {
  static const std::vector<Case> all = [] {
    std::vector<Case> table;
    for (auto part : {encoded, raw, files, live})
      for (auto& one : part()) table.push_back(std::move(one));
    return table;
  }();
  return all;
}

}  // namespace test::cut
