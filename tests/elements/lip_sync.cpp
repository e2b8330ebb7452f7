// Audio and video of one live pipeline, over two links into one far pipeline: what belonged
// together still does, whatever the two base times are.
#include <map>
#include <mutex>

#include "tests/elements/cut.h"

using test::Pipeline;

namespace {

// Both may lie before the running time 0 of a pipeline that started later.
struct At {
  GstClockTimeDiff running, instant;
};

// The running time of each buffer that comes to a pad, by its timestamp, and the instant on
// CLOCK_MONOTONIC that it is.
class Times {
 public:
  // Takes the pad.
  Times(const Pipeline& pipeline, GstPad* pad) : pipeline_(pipeline) {
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
    guint64 distance = 0;
    const int sign = gst_segment_to_running_time_full(segment, GST_FORMAT_TIME, pts, &distance);
    const auto running = sign * static_cast<GstClockTimeDiff>(distance);
    const auto base = static_cast<GstClockTimeDiff>(gst_element_get_base_time(pipeline_.get()));
    const std::lock_guard lock(mutex_);
    seen_[pts] = {running, base + running};
  }
  const Pipeline& pipeline_;
  mutable std::mutex mutex_;
  std::map<GstClockTime, At> seen_;
};

GstPad* into(const Pipeline& near, const char* sink) {
  return gst_element_get_static_pad(near.element(sink), "sink");
}

GstPad* out_of(const Pipeline& far, const char* source) {
  const test::Ref<GstPad> pad(gst_element_get_static_pad(far.element(source), "src"));
  return gst_pad_get_peer(pad.get());
}

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
  Times near_video(near, into(near, "near0"));
  Times near_audio(near, into(near, "near1"));
  Times far_video(far, out_of(far, "far0"));
  Times far_audio(far, out_of(far, "far1"));
  const Pipeline& earlier = far_first ? far : near;
  earlier.play();
  let_run(earlier);
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
      fail_unless(found != ours.end() && at.instant == found->second.instant);
    }
    return ours;
  };
  const auto video_here = check_instants(near_video, far_video);
  const auto audio_here = check_instants(near_audio, far_audio);
  // And of both: what lies between a frame and a sound here lies between them there. That is 0
  // for those that belong together.
  const auto video = far_video.get();
  const auto audio = far_audio.get();
  bool has_pairs = false;
  for (const auto& [video_pts, frame] : video)
    for (const auto& [audio_pts, sound] : audio) {
      const At& frame_here = video_here.at(video_pts);
      const At& sound_here = audio_here.at(audio_pts);
      fail_unless_equals_int64(frame.running - sound.running,
                               frame_here.running - sound_here.running);
      fail_unless(frame.running != frame_here.running && sound.running != sound_here.running);
      has_pairs = has_pairs || frame.running == sound.running;
    }
  fail_unless(has_pairs);
}

}  // namespace

TEST(raw_with_the_far_pipeline_first) { check_in_sync(1, true); }

TEST(raw_with_the_near_pipeline_first) { check_in_sync(1, false); }

TEST(encoded_with_the_far_pipeline_first) { check_in_sync(2, true); }

TEST(encoded_with_the_near_pipeline_first) { check_in_sync(2, false); }
