// Audio and video of one live pipeline, over two links into one far pipeline: what belonged
// together still does, whatever the two base times are.
#include <map>
#include <mutex>

#include "tests/elements/cut.h"

using test::Pipeline;

namespace {

struct At {
  GstClockTime running, instant;
};

// The running time of each buffer at the sink pad of an element, by its timestamp, and the instant
// on CLOCK_MONOTONIC that it is.
class Times {
 public:
  Times(const Pipeline& pipeline, const std::string& element) : pipeline_(pipeline) {
    GstPad* pad = gst_element_get_static_pad(pipeline.element(element.c_str()), "sink");
    gst_pad_add_probe(
        pad, GST_PAD_PROBE_TYPE_BUFFER,
        [](GstPad* at, GstPadProbeInfo* info, gpointer data) {
          static_cast<Times*>(data)->add(at, GST_BUFFER_PTS(GST_PAD_PROBE_INFO_BUFFER(info)));
          return GST_PAD_PROBE_OK;
        },
        this, nullptr);
    gst_object_unref(pad);
  }
  std::map<GstClockTime, At> get() const {
    const std::lock_guard lock(mutex_);
    return seen_;
  }

 private:
  void add(GstPad* pad, GstClockTime pts) {
    const test::Ref<GstEvent> event(gst_pad_get_sticky_event(pad, GST_EVENT_SEGMENT, 0));
    const GstSegment* segment = nullptr;
    gst_event_parse_segment(event.get(), &segment);
    const GstClockTime running = gst_segment_to_running_time(segment, GST_FORMAT_TIME, pts);
    const std::lock_guard lock(mutex_);
    seen_[pts] = {running, gst_element_get_base_time(pipeline_.get()) + running};
  }
  const Pipeline& pipeline_;
  mutable std::mutex mutex_;
  std::map<GstClockTime, At> seen_;
};

const test::cut::Case& live_case() {
  for (const auto& what : test::cut::cases())
    if (std::string(what.name) == "live_audio_and_video") return what;
  ck_abort_msg("there is no such case");
}

// Long enough for one base time to be clearly another.
void let_run(const Pipeline& pipeline) {
  fail_unless(test::becomes([&] {
    const test::Ref<GstClock> clock(gst_element_get_clock(pipeline.get()));
    return clock != nullptr && gst_clock_get_time(clock.get()) >
                                   gst_element_get_base_time(pipeline.get()) + 50 * GST_MSECOND;
  }));
}

void check_in_sync(size_t place, bool far_first) {
  const test::Scene scene;
  const auto& what = live_case();
  const Pipeline near(test::cut::near_line(what, place, scene.directory()));
  const Pipeline far(test::cut::far_line(what, place, scene.directory()));
  what.prepare(near);
  Times near_video(near, "near0");
  Times near_audio(near, "near1");
  Times far_video(far, "end0");
  Times far_audio(far, "end1");
  const Pipeline& first = far_first ? far : near;
  first.play();
  let_run(first);
  (far_first ? near : far).play();
  far.wait_eos();
  fail_unless(gst_element_get_base_time(near.get()) != gst_element_get_base_time(far.get()));
  // Of each stream, at the instant that the near pipeline means.
  const auto check_instants = [](const Times& here, const Times& there) {
    const auto ours = here.get();
    const auto theirs = there.get();
    fail_unless(theirs.size() >= 20, "%zu buffers came", theirs.size());
    for (const auto& [pts, at] : theirs) {
      const auto found = ours.find(pts);
      if (found != ours.end()) fail_unless_equals_uint64(at.instant, found->second.instant);
    }
    return ours;
  };
  const auto video_here = check_instants(near_video, far_video);
  const auto audio_here = check_instants(near_audio, far_audio);
  // And of both: the same running time here is the same one there.
  const auto video = far_video.get();
  const auto audio = far_audio.get();
  int pairs = 0;
  for (const auto& [pts, at] : video_here) {
    const auto beside = audio_here.find(pts);
    if (beside == audio_here.end() || !video.contains(pts) || !audio.contains(pts)) continue;
    ++pairs;
    fail_unless_equals_uint64(at.running, beside->second.running);
    fail_unless_equals_uint64(video.at(pts).running, audio.at(pts).running);
    fail_unless(video.at(pts).running != at.running);
  }
  fail_unless(pairs >= 10, "%d pairs", pairs);
}

}  // namespace

TEST(raw_with_the_far_pipeline_first) { check_in_sync(1, true); }

TEST(raw_with_the_near_pipeline_first) { check_in_sync(1, false); }

TEST(encoded_with_the_far_pipeline_first) { check_in_sync(2, true); }

TEST(encoded_with_the_near_pipeline_first) { check_in_sync(2, false); }
