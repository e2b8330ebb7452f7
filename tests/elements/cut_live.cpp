// Live sources over two links, each a cut of its own.
#include "tests/elements/cut.h"

namespace test::cut {

namespace {

constexpr auto kLiveVideo = "videotestsrc num-buffers=20 is-live=true name=video";
constexpr auto kLiveFrames = "video/x-raw,format=I420,width=64,height=48,framerate=50/1";
constexpr auto kLiveAudio =
    "audiotestsrc num-buffers=20 is-live=true samplesperbuffer=960 name=audio";

// The first timestamp of a live source is when it happened to start. Here each starts with a
// second, which is still to come: a muxer that finds its inputs late goes on with what it has, and
// then writes other headers.
void start_at_a_second(const Pipeline& pipeline) {
  for (const char* source : {"video", "audio"}) {
    if (!has(pipeline, source)) continue;
    GstPad* pad = gst_element_get_static_pad(pipeline.element(source), "src");
    gst_pad_add_probe(
        pad, GST_PAD_PROBE_TYPE_BUFFER,
        [](GstPad*, GstPadProbeInfo* info, gpointer first) {
          GstBuffer* buffer = GST_PAD_PROBE_INFO_BUFFER(info);
          info->data = buffer = gst_buffer_make_writable(buffer);
          auto& start = *static_cast<GstClockTime*>(first);
          if (!GST_CLOCK_TIME_IS_VALID(start)) start = GST_BUFFER_PTS(buffer);
          GST_BUFFER_PTS(buffer) += GST_SECOND - start;
          return GST_PAD_PROBE_OK;
        },
        new GstClockTime(GST_CLOCK_TIME_NONE),
        [](gpointer first) { delete static_cast<GstClockTime*>(first); });
    gst_object_unref(pad);
  }
}

}  // namespace

std::vector<Case> live_cases() {
  return {
      {.name = "live_audio_and_video",
       .chains = {{kLiveVideo, kLiveFrames, kQuickEncoder, "h264parse", kDecoder},
                  {kLiveAudio, kSamples, "opusenc", "opusparse", "opusdec"}},
       .is_live = true,
       .prepare = start_at_a_second},
      // The file begins with 0 whatever running time it is.
      {.name = "live_audio_and_video_in_a_file",
       .chains = {{kLiveVideo, kLiveFrames, "jpegenc", "jpegparse"},
                  {kLiveAudio, kSamples, "opusenc", "opusparse"}},
       .tail = "matroskamux name=join offset-to-zero=true ! matroskademux name=demux "
               "demux.video_0 ! queue ! fakesink name=end0 "
               "demux.audio_0 ! queue ! fakesink name=end1",
       .pads = {"video_0", "audio_0"},
       .is_live = true,
       .is_written_anew = true,
       .prepare = start_at_a_second},
  };
}

}  // namespace test::cut
