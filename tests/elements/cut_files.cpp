// Files that are played through a cut: with their tags, and as players do it.
#include "tests/elements/cut.h"

namespace test::cut {

namespace {

using Scenario = std::function<void(const Pipeline&)>;

// Ten seconds, a key frame each second, and tags.
constexpr auto kFilm =
    "videotestsrc num-buffers=100 ! video/x-raw,format=I420,width=64,height=48,framerate=10/1 "
    "! taginject tags=title=film,artist=nobody,comment=\"\\\"a\\;b\\\"\" "
    "! x264enc threads=1 option-string=asm=0 key-int-max=10 bframes=0 ! h264parse ! matroskamux "
    "! filesink location=@/film.mkv";
// Without tags: those are at its end, and a demuxer that looks for its index there may see them or
// not.
constexpr auto kFilmWithoutTags =
    "videotestsrc num-buffers=100 ! video/x-raw,format=I420,width=64,height=48,framerate=10/1 "
    "! jpegenc ! matroskamux ! filesink location=@/jpeg.mkv";
// With sound.
constexpr auto kFilmWithSound =
    "videotestsrc num-buffers=100 ! video/x-raw,format=I420,width=64,height=48,framerate=10/1 "
    "! x264enc threads=1 option-string=asm=0 key-int-max=10 bframes=0 ! h264parse ! matroskamux "
    "name=mux "
    "! filesink location=@/both.mkv "
    "audiotestsrc num-buffers=100 samplesperbuffer=4800 ! audio/x-raw,rate=48000 ! flacenc ! mux.";
// With subtitles, the first of which comes late.
constexpr auto kFilmWithSubtitles =
    "videotestsrc num-buffers=100 ! video/x-raw,format=I420,width=160,height=120,framerate=10/1 "
    "! jpegenc ! matroskamux name=mux ! filesink location=@/text.mkv "
    "dataurisrc uri=\"data:application/x-subtitle,"
    "1%0A00:00:06,000%20-->%2000:00:07,500%0AFirst%0A%0A"
    "2%0A00:00:08,000%20-->%2000:00:09,000%0ASecond%0A%0A\" ! subparse ! mux.";
constexpr auto kFilmWithChapters =
    "videotestsrc num-buffers=20 ! video/x-raw,format=I420,width=64,height=48,framerate=10/1 "
    "! jpegenc ! matroskamux name=chapters ! filesink location=@/chapters.mkv";
// A demuxer wants its file for itself: it reads where it likes. The places are behind it.
constexpr size_t kBehindDemuxer = 2;

// Music with tags of many types, and a picture.
std::string music(const std::string& encoder, const std::string& file) {
  return "audiotestsrc num-buffers=40 ! audio/x-raw,rate=44100,channels=2 "
         "! taginject tags=\"title=song,artist=one,album=\\\"a\\,\\ b\\\",track-number=(uint)2,"
         "track-count=(uint)9,genre=Noise,date=(date)2001-02-03,language-code=de,"
         "beats-per-minute=(double)99.5,comment=\\\"ä\\ \\\\\\\"quoted\\\\\\\"\\\","
         "replaygain-track-gain=(double)-1.5,"
         "image=(sample)89504e470d0a1a0a30313233343536373839:aW1hZ2UvcG5nAA__:None:None\" ! " +
         encoder + " ! filesink location=@/" + file;
}

Scenario seek(gdouble rate, int flags, gint64 start, gint64 stop = -1) {
  return [=](const Pipeline& pipeline) {
    fail_unless(gst_element_seek(pipeline.get(), rate, GST_FORMAT_TIME,
                                 static_cast<GstSeekFlags>(flags | GST_SEEK_FLAG_FLUSH),
                                 GST_SEEK_TYPE_SET, start, GST_SEEK_TYPE_SET, stop));
    pipeline.wait(GST_MESSAGE_ASYNC_DONE);
  };
}

void write_chapters(const Pipeline& pipeline) {
  if (!has(pipeline, "chapters")) return;
  GstToc* toc = gst_toc_new(GST_TOC_SCOPE_GLOBAL);
  GstTocEntry* edition = gst_toc_entry_new(GST_TOC_ENTRY_TYPE_EDITION, "1");
  for (const char* title : {"Beginning", "End"}) {
    GstTocEntry* chapter = gst_toc_entry_new(GST_TOC_ENTRY_TYPE_CHAPTER, title);
    const gint64 start = title[0] == 'B' ? 0 : GST_SECOND;
    gst_toc_entry_set_start_stop_times(chapter, start, start + GST_SECOND);
    gst_toc_entry_set_tags(chapter, gst_tag_list_new(GST_TAG_TITLE, title, nullptr));
    gst_toc_entry_append_sub_entry(edition, chapter);
  }
  gst_toc_append_entry(toc, edition);
  gst_toc_setter_set_toc(GST_TOC_SETTER(pipeline.element("chapters")), toc);
  gst_toc_unref(toc);
}

// Three times over the same second, as players loop: each goes on where the one before has ended.
void loop(const Pipeline& pipeline) {
  constexpr auto kFirst = GST_SEEK_FLAG_SEGMENT | GST_SEEK_FLAG_ACCURATE;
  seek(1.0, kFirst, GST_SECOND, 2 * GST_SECOND)(pipeline);
  pipeline.play();
  for (int i = 0; i < 2; ++i) {
    pipeline.wait(GST_MESSAGE_SEGMENT_DONE);
    fail_unless(gst_element_seek(pipeline.get(), 1.0, GST_FORMAT_TIME, GST_SEEK_FLAG_SEGMENT,
                                 GST_SEEK_TYPE_SET, GST_SECOND, GST_SEEK_TYPE_SET, 2 * GST_SECOND));
  }
}

Scenario steps(GstFormat format, guint64 amount, gdouble rate = 1.0) {
  return [=](const Pipeline& pipeline) {
    for (int i = 0; i < 3; ++i) {
      fail_unless(gst_element_send_event(pipeline.get(),
                                         gst_event_new_step(format, amount, rate, TRUE, FALSE)));
      pipeline.wait(GST_MESSAGE_STEP_DONE);
      pipeline.wait(GST_MESSAGE_ASYNC_DONE);
    }
  };
}

// It takes effect at once, and the sink is told past the data.
void change_rate(const Pipeline& pipeline) {
  fail_unless(gst_element_seek(pipeline.get(), 2.0, GST_FORMAT_TIME,
                               GST_SEEK_FLAG_INSTANT_RATE_CHANGE, GST_SEEK_TYPE_NONE, 0,
                               GST_SEEK_TYPE_NONE, 0));
  GstPad* pad = gst_element_get_static_pad(pipeline.element("end0"), "sink");
  fail_unless(becomes([&] {
    return Ref<GstEvent>(gst_pad_get_sticky_event(pad, GST_EVENT_INSTANT_RATE_CHANGE, 0)) !=
           nullptr;
  }));
  gst_object_unref(pad);
}

// Seeks by one of the sinks, as playbin does; it is over when both have flushed.
Scenario seek_by_one(gdouble rate, gint64 start, gint64 stop = -1) {
  return [=](const Pipeline& pipeline) {
    fail_unless(
        gst_element_seek(pipeline.element("end0"), rate, GST_FORMAT_TIME,
                         static_cast<GstSeekFlags>(GST_SEEK_FLAG_FLUSH | GST_SEEK_FLAG_ACCURATE),
                         GST_SEEK_TYPE_SET, start, GST_SEEK_TYPE_SET, stop));
    for (const char* end : {"end0", "end1"}) {
      GstPad* pad = gst_element_get_static_pad(pipeline.element(end), "sink");
      fail_unless(becomes([&] {
        const Ref<GstEvent> event(gst_pad_get_sticky_event(pad, GST_EVENT_SEGMENT, 0));
        if (event == nullptr) return false;
        const GstSegment* segment = nullptr;
        gst_event_parse_segment(event.get(), &segment);
        return segment->start == static_cast<guint64>(start);
      }));
      gst_object_unref(pad);
    }
    fail_unless(gst_element_get_state(pipeline.get(), nullptr, nullptr, 10 * GST_SECOND) ==
                GST_STATE_CHANGE_SUCCESS);
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

Case of_both(const char* name, Scenario scenario) {
  return {.name = name,
          .chains = {{"filesrc location=@/both.mkv ! matroskademux name=demux demux.video_0",
                      "queue", "h264parse", kDecoder},
                     {"demux.audio_0", "queue", "flacparse", "flacdec"}},
          .scenario = std::move(scenario),
          .films = {kFilmWithSound}};
}

}  // namespace

std::vector<Case> file_cases() {
  auto loops = of_film("file_in_loops", loop);
  loops.segments = 3;
  constexpr auto kTrick = GST_SEEK_FLAG_TRICKMODE | GST_SEEK_FLAG_TRICKMODE_KEY_UNITS;
  const auto mp3 = music("lamemp3enc ! id3v2mux", "song.mp3");
  return {
      of_film("file", {}),
      of_film("file_with_a_seek", seek(1.0, GST_SEEK_FLAG_ACCURATE, 4 * GST_SECOND)),
      of_film("file_with_a_seek_to_a_key_frame",
              seek(1.0, GST_SEEK_FLAG_KEY_UNIT, 4500 * GST_MSECOND, 7 * GST_SECOND)),
      of_film("file_with_a_segment_seek", seek(1.0, GST_SEEK_FLAG_SEGMENT | GST_SEEK_FLAG_ACCURATE,
                                               GST_SECOND, 3 * GST_SECOND)),
      loops,
      of_film("file_backwards", seek(-1.0, GST_SEEK_FLAG_ACCURATE, GST_SECOND, 5 * GST_SECOND)),
      of_film("file_fast", seek(4.0, GST_SEEK_FLAG_NONE, 0)),
      of_film("file_slow", seek(0.25, GST_SEEK_FLAG_NONE, 8 * GST_SECOND)),
      of_film("file_as_key_frames", seek(8.0, kTrick, 0)),
      of_film("file_as_key_frames_backwards", seek(-8.0, kTrick, 0, 9 * GST_SECOND)),
      of_film("file_with_another_rate_at_once", change_rate),
      of_film("file_with_steps", steps(GST_FORMAT_BUFFERS, 5)),
      of_film("file_with_steps_of_time", steps(GST_FORMAT_TIME, GST_SECOND / 2)),
      of_film("file_with_fast_steps", steps(GST_FORMAT_TIME, GST_SECOND, 2.0)),
      of_both("file_over_two_links", {}),
      of_both("file_over_two_links_with_a_seek", seek_by_one(1.0, 4 * GST_SECOND)),
      of_both("file_over_two_links_backwards", seek_by_one(-1.0, GST_SECOND, 5 * GST_SECOND)),
      {.name = "file_with_chapters",
       .chains = {{"filesrc location=@/chapters.mkv", "matroskademux", "jpegdec", "identity"}},
       .first = kBehindDemuxer,
       .films = {kFilmWithChapters},
       .prepare = write_chapters},
      // Before the first of them there are gaps, which is what the far side prerolls with.
      {.name = "file_with_late_subtitles",
       .chains = {{"filesrc location=@/text.mkv ! matroskademux name=demux demux.video_0", "queue",
                   "jpegdec"},
                  {"demux.subtitle_0", "queue", "identity"}},
       .films = {kFilmWithSubtitles}},
      // The demuxer asks for bytes through the cut.
      {.name = "file_as_bytes",
       .chains = {{"filesrc location=@/film.mkv", "queue", "matroskademux", "h264parse"}},
       .films = {kFilm}},
      {.name = "file_as_bytes_with_a_seek",
       .chains = {{"filesrc location=@/jpeg.mkv", "queue", "matroskademux", "jpegdec"}},
       .scenario = seek(1.0, GST_SEEK_FLAG_KEY_UNIT, 4 * GST_SECOND),
       .films = {kFilmWithoutTags}},
      // Its pads come when it has found out what there is.
      {.name = "file_found_out",
       .chains = {{"filesrc location=@/film.mkv", "queue", "decodebin", "videoconvert"}},
       .films = {kFilm}},
      {.name = "file_found_out_by_a_parser",
       .chains = {{"filesrc location=@/film.mkv", "queue", "parsebin", "h264parse", kDecoder}},
       .films = {kFilm}},
      {.name = "tags_of_mp3",
       .chains = {{"filesrc location=@/song.mp3", "queue", "id3demux", "queue", "mpegaudioparse",
                   "mpg123audiodec"}},
       .films = {mp3}},
      // Its demuxer looks for the end from a thread of its own where it is pushed to, and has found
      // it or not when it is asked: so this one has its file for itself, too.
      {.name = "tags_of_ogg",
       .chains = {{"filesrc location=@/song.ogg", "oggdemux", "vorbisdec", "audioconvert"}},
       .first = kBehindDemuxer,
       .films = {music("vorbisenc ! oggmux", "song.ogg")}},
      {.name = "tags_of_flac",
       .chains = {{"filesrc location=@/song.flac", "queue", "flacparse", "flacdec"}},
       .films = {music("flacenc", "song.flac")}},
      // A valve, as a queue lets a demuxer have no more than what is pushed; but behind a queue
      // qtdemux, which ends with the last sample that it knows of, may end in one pipeline without
      // saying so (GStreamer 1.22).
      {.name = "tags_of_mp4",
       .chains = {{"filesrc location=@/song.mp4", "valve", "qtdemux", "aacparse", "avdec_aac"}},
       .films = {music("avenc_aac ! aacparse ! mp4mux", "song.mp4")}},
      // With the picture as an attachment.
      {.name = "tags_of_matroska",
       .chains = {{"filesrc location=@/song.mkv", "queue", "matroskademux", "mpegaudioparse",
                   "mpg123audiodec"}},
       .films = {mp3,
                 "filesrc location=@/song.mp3 ! id3demux ! mpegaudioparse ! matroskamux "
                 "! filesink location=@/song.mkv"}},
  };
}

}  // namespace test::cut
