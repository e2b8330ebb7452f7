// Video and audio, raw and encoded, that run whole and cut.
#include <gst/audio/audio.h>

#include "tests/elements/cut.h"

namespace test::cut {

namespace {

// Every buffer gets a meta of each kind that no element here makes.
void add_metas(const Pipeline& pipeline) {
  if (!has(pipeline, "video")) return;
  GstPad* pad = gst_element_get_static_pad(pipeline.element("video"), "src");
  gst_pad_add_probe(
      pad, GST_PAD_PROBE_TYPE_BUFFER,
      [](GstPad*, GstPadProbeInfo* info, gpointer) {
        GstBuffer* buffer = gst_buffer_make_writable(GST_PAD_PROBE_INFO_BUFFER(info));
        info->data = buffer;
        const auto number = static_cast<guint>(GST_BUFFER_OFFSET(buffer));
        GstVideoCropMeta* crop = gst_buffer_add_video_crop_meta(buffer);
        crop->x = number;
        crop->y = 1;
        crop->width = 30;
        crop->height = 20;
        gst_video_region_of_interest_meta_add_param(
            gst_buffer_add_video_region_of_interest_meta(buffer, "face", number, 2, 3, 4),
            gst_structure_new("seen", "sure", G_TYPE_DOUBLE, 0.5, nullptr));
        const Ref<GstCaps> reference(gst_caps_new_empty_simple("timestamp/x-unix"));
        gst_buffer_add_reference_timestamp_meta(buffer, reference.get(), number * GST_SECOND, 7);
        gst_buffer_add_audio_level_meta(buffer, static_cast<guint8>(number), TRUE);
        gst_buffer_add_protection_meta(
            buffer, gst_structure_new("secret", "key", G_TYPE_UINT, number, nullptr));
        return GST_PAD_PROBE_OK;
      },
      nullptr, nullptr);
  gst_object_unref(pad);
}

// And not from when the test runs.
void set_time_code(const Pipeline& pipeline) {
  if (!has(pipeline, "stamp")) return;
  GDateTime* jam = g_date_time_new_utc(2001, 2, 3, 4, 5, 6);
  GstVideoTimeCode* code =
      gst_video_time_code_new(25, 1, jam, GST_VIDEO_TIME_CODE_FLAGS_NONE, 10, 20, 30, 5, 0);
  g_object_set(pipeline.element("stamp"), "set-internal-timecode", code, nullptr);
  gst_video_time_code_free(code);
  g_date_time_unref(jam);
}

}  // namespace

std::vector<Case> media_cases() {
  return {
      {.name = "h264",
       .chains = {{kVideo, kFrames, kEncoder, "h264parse", kDecoder, "videoconvert"}}},
      {.name = "h264_with_b_frames_and_lookahead",
       .chains = {{kVideo, kFrames, "x264enc threads=1 option-string=asm=0 bframes=3", "h264parse",
                   kDecoder}}},
      {.name = "jpeg", .chains = {{kVideo, kFrames, "jpegenc", "jpegparse", "jpegdec"}}},
      {.name = "opus",
       .chains = {{kAudio, kSamples, "audioconvert", "opusenc", "opusparse", "opusdec"}}},
      {.name = "vorbis", .chains = {{kAudio, kSamples, "audioconvert", "vorbisenc", "vorbisdec"}}},
      {.name = "aac",
       .chains = {{kAudio, kSamples, "audioconvert", "avenc_aac", "aacparse", "avdec_aac"}}},
      {.name = "flac",
       .chains = {{kAudio, kSamples, "audioconvert", "flacenc", "flacparse", "flacdec"}}},
      {.name = "mp3",
       .chains = {{kAudio, kSamples, "lamemp3enc", "mpegaudioparse", "mpg123audiodec"}}},
      {.name = "transport_stream",
       .chains = {{kVideo, kFrames, kEncoder, "h264parse", "mpegtsmux", "tsdemux", "h264parse",
                   kDecoder}}},
      // What it writes has random numbers in it. What is read from it again has none.
      {.name = "matroska",
       .chains = {{kVideo, kFrames, kEncoder, "h264parse", "matroskamux streamable=true",
                   "matroskademux", "h264parse", kDecoder}},
       .is_written_anew = true},
      // It sends lists.
      {.name = "rtp",
       .chains = {{kVideo, kFrames, kEncoder,
                   "rtph264pay ssrc=1 seqnum-offset=1 timestamp-offset=1",
                   "rtph264depay source-info=true", "h264parse", kDecoder}}},
      {.name = "conversions",
       .chains = {{kVideo, kFrames, "videoscale", "video/x-raw,width=80,height=60", "videoconvert",
                   "video/x-raw,format=NV12", "videocrop left=4 top=2", "videorate",
                   "video/x-raw,framerate=50/1"}}},
      {.name = "interlaced", .chains = {{kVideo, kFrames, "interlace", "deinterlace"}}},
      {.name = "planes_of_audio",
       .chains = {{kAudio, kSamples, "audioconvert", "audio/x-raw,layout=non-interleaved",
                   "identity", "audioconvert", "audio/x-raw,layout=interleaved", "audioresample",
                   "audio/x-raw,rate=44100"}}},
      {.name = "audio_levels",
       .chains = {{kAudio, kSamples, "level audio-level-meta=true", "identity"}}},
      {.name = "time_codes",
       .chains = {{kVideo, kFrames, "timecodestamper name=stamp", "identity",
                   "timeoverlay time-mode=time-code"}},
       .prepare = set_time_code},
      {.name = "metas", .chains = {{kVideo, kFrames, "identity", "queue"}}, .prepare = add_metas},
      // What they go back to is in the file, and where they do in the segments. A muxer has pads
      // for sound, too, and gst_parse_launch() takes the first that goes with what it knows of the
      // caps.
      {.name = "avi_in_a_file",
       .chains = {{kVideo, kFrames, "capsfilter caps=video/x-raw ! avimux"}},
       .sink = "filesink location=@/film.avi"},
      {.name = "wave_in_a_file",
       .chains = {{kAudio, kSamples, "audioconvert", "wavenc"}},
       .sink = "filesink location=@/song.wav"},
      {.name = "tags",
       .chains = {{kVideo, kFrames,
                   "taginject tags=title=one,track-number=(uint)3,language-code=de",
                   "taginject tags=artist=somebody,album=\"\\\"an,\\ album\\\"\"", "identity"}}},
  };
}

}  // namespace test::cut
