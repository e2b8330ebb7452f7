// Muxers that go back in the file they write, with the file behind a cut: it is the same file,
// byte for byte, but for the dates and random numbers of each run, and it plays.
#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>

#include "tests/elements/like_support.h"

using test::Pipeline;
using test::Scene;

namespace {

constexpr size_t kFrames = 30;
const std::string kPictures = "videotestsrc num-buffers=" + std::to_string(kFrames) +
                              " pattern=ball ! " + test::kVideo + " ! ";
// Where the processor has AVX-512, x264 0.164 does not always make the same packets of the same
// frames: without instructions like these it does.
const std::string kPackets =
    kPictures + "x264enc threads=1 option-string=asm=0 key-int-max=10 bframes=0 ! h264parse ! ";
const std::string kSound = "audiotestsrc num-buffers=" + std::to_string(kFrames) +
                           " ! audio/x-raw,format=S16LE,rate=48000,channels=2 ! ";

// A field that each run fills in as it likes: its name in the file, how far behind that, how long.
struct Field {
  std::string name;
  size_t skips, size;
};
// Dates of creation and of change, behind the version and the flags of a box.
const std::vector<Field> kDates{{"mvhd", 4, 8}, {"tkhd", 4, 8}, {"mdhd", 4, 8}};
// A text, behind its type and its size.
const std::vector<Field> kDateAsText{{"creationdate", 3, 24}};
// Numbers of the segment, of a track, and of a track that tags are for, behind their own size:
// which is less when a random number begins with a zero byte.
const std::vector<Field> kNumbers{
    {"\x73\xa4\x90", 0, 16}, {"\x73\xc5\x88", 0, 8}, {"\x63\xc5\x88", 0, 8}};

struct Muxer {
  std::string name, source, muxer;
  std::string demuxer;  // and a decoder, and how many buffers it makes of it
  size_t buffers = kFrames;
  std::vector<Field> fields = {};
};

const std::vector<Muxer> kMuxers{
    {"mp4", kPackets, "mp4mux", "qtdemux ! avdec_h264", kFrames, kDates},
    {"mp4_with_its_index_first", kPackets, "mp4mux faststart=true", "qtdemux ! avdec_h264", kFrames,
     kDates},
    {"mov", kPackets, "qtmux", "qtdemux ! avdec_h264", kFrames, kDates},
    // In which a crash leaves what was written until then.
    {"mov_that_can_be_recovered", kPackets,
     "qtmux reserved-max-duration=10000000000 reserved-moov-update-period=200000000",
     "qtdemux ! avdec_h264", kFrames, kDates},
    {"matroska", kPackets, "matroskamux creation-time=2001-02-03T04:05:06Z",
     "matroskademux ! avdec_h264", kFrames, kNumbers},
    {"avi", kPictures + "jpegenc ! ", "avimux", "avidemux ! jpegdec"},
    {"flv", kPackets, "flvmux metadatacreator=me", "flvdemux ! h264parse ! avdec_h264", kFrames,
     kDateAsText},
    {"wav", kSound, "wavenc", "wavparse", 2},
    {"flac", kSound, "flacenc", "flacparse ! flacdec", 2},
};

std::string content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

bool has_all(const std::string& file, const std::vector<Field>& fields) {
  return std::all_of(fields.begin(), fields.end(), [&](const Field& field) {
    return file.find(field.name) != std::string::npos;
  });
}

void leave_out(std::string& file, const std::vector<Field>& fields) {
  for (const Field& field : fields)
    for (size_t at = 0; (at = file.find(field.name, at)) != std::string::npos;) {
      at += field.name.size() + field.skips;
      std::fill_n(file.begin() + static_cast<ptrdiff_t>(at), std::min(field.size, file.size() - at),
                  '\0');
    }
}

void check_same(const Muxer& muxer, const std::string& whole, const std::string& cut) {
  std::string one = content(whole);
  std::string other = content(cut);
  fail_unless(one.size() > 1000);
  fail_unless_equals_int(static_cast<int>(one.size()), static_cast<int>(other.size()));
  for (std::string* file : {&one, &other}) leave_out(*file, muxer.fields);
  const auto [differs, there] = std::mismatch(one.begin(), one.end(), other.begin());
  fail_unless(differs == one.end(), "the files differ at byte %d",
              static_cast<int>(differs - one.begin()));
}

// What comes of it when it is played: the time of each buffer.
std::vector<GstClockTime> played(const Muxer& muxer, const std::string& path) {
  const Pipeline player("filesrc location=" + path + " ! " + muxer.demuxer +
                        " ! fakesink name=end");
  const test::Seen seen(player.element("end"), "sink");
  player.play();
  player.wait_eos();
  std::vector<GstClockTime> times;
  for (const auto& item : seen.items())
    if (item.is_buffer()) times.push_back(item.pts);
  return times;
}

std::string into(const std::string& path) { return "filesink location=" + path; }

// Writes the file again until each field in it has its usual size.
void write(const Muxer& muxer, const std::string& path, const std::function<void()>& once) {
  for (int tries = 0; tries < 10; ++tries) {
    once();
    if (has_all(content(path), muxer.fields)) return;
  }
  fail_unless(false, "a field is never there");
}

// The muxer waits for its reader with the first thing that depends on it: a question, mostly
// whether it may go back, or a buffer.
GstPadProbeReturn see_wait(GstPad*, GstPadProbeInfo* info, gpointer waits) {
  const bool is_query = (info->type & GST_PAD_PROBE_TYPE_QUERY_DOWNSTREAM) != 0;
  const auto type = is_query ? GST_QUERY_TYPE(GST_PAD_PROBE_INFO_QUERY(info)) : GST_QUERY_UNKNOWN;
  if (!is_query || type == GST_QUERY_SEEKING || type == GST_QUERY_CAPS)
    *static_cast<std::atomic<bool>*>(waits) = true;
  return GST_PAD_PROBE_OK;
}

void play_first(const Pipeline& near) {
  std::atomic<bool> waits{false};
  const test::Ref<GstPad> pad(gst_element_get_static_pad(near.element("sink"), "sink"));
  const auto types = static_cast<GstPadProbeType>(
      GST_PAD_PROBE_TYPE_QUERY_DOWNSTREAM | GST_PAD_PROBE_TYPE_BUFFER | GST_PAD_PROBE_TYPE_PUSH);
  const gulong probe = gst_pad_add_probe(pad.get(), types, see_wait, &waits, nullptr);
  near.play();
  fail_unless(test::becomes([&] { return waits.load(); }));
  gst_pad_remove_probe(pad.get(), probe);
}

void cut(const Scene& scene, const Muxer& muxer, bool muxer_is_first, const std::string& path) {
  const Pipeline near(
      muxer.source + muxer.muxer + " ! " +
      scene.sink(muxer_is_first ? "name=sink wait-for-connection=true" : "name=sink role=client"));
  const Pipeline far(scene.src(muxer_is_first ? "is-live=false" : "is-live=false role=server") +
                     " ! " + into(path));
  if (muxer_is_first) play_first(near);
  far.play();
  if (!muxer_is_first) near.play();
  near.wait_eos();
  far.wait_eos();
  fail_unless(near.errors().empty() && far.errors().empty());
}

void run(int number) {
  const Muxer& muxer = kMuxers[static_cast<size_t>(number)];
  tcase_fn_start(muxer.name.c_str(), __FILE__, __LINE__);
  const Scene scene;
  const std::string whole = scene.path("whole");
  write(muxer, whole, [&] {
    const Pipeline pipeline(muxer.source + muxer.muxer + " ! " + into(whole));
    pipeline.play();
    pipeline.wait_eos();
  });
  const auto times = played(muxer, whole);
  fail_unless(times.size() >= muxer.buffers);
  for (const bool muxer_is_first : {true, false}) {
    const std::string path = scene.path("cut");
    write(muxer, path, [&] { cut(scene, muxer, muxer_is_first, path); });
    check_same(muxer, whole, path);
    fail_unless(played(muxer, path) == times);
    std::filesystem::remove(path);
  }
  std::filesystem::remove(whole);
}

// A muxer that waits for its answer lets its pipeline go.
void stop_in_between(int) {
  tcase_fn_start("stopped_before_there_is_an_answer", __FILE__, __LINE__);
  const Scene scene;
  for (const char* properties : {"name=sink wait-for-connection=true", "name=sink role=client"}) {
    const Pipeline near(kPackets + "mp4mux ! " + scene.sink(properties));
    play_first(near);
    near.stop();
    fail_unless(near.errors().empty());
  }
}

struct Tests {
  Tests() {
    for (size_t i = 0; i < kMuxers.size(); ++i)
      test::Registered(kMuxers[i].name.c_str(), run, static_cast<int>(i));
    test::Registered("stopped_before_there_is_an_answer", stop_in_between);
  }
} const tests;

}  // namespace
