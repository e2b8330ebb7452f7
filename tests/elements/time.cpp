// Running time is the same instant on both sides: with base times before and after each other,
// after a pause, and where a pipeline has a clock of its own.
#include <gst/video/video.h>

#include <atomic>
#include <map>
#include <mutex>

#include "tests/elements/support.h"

using test::Pipeline;
using test::Scene;

namespace {

// What each buffer's running time is at a pad, by its timestamp, or each gap's; and the clock it is
// meant by.
class Times {
 public:
  Times(const Pipeline& pipeline, const char* element) : pipeline_(pipeline) {
    GstPad* pad = gst_element_get_static_pad(pipeline.element(element), "sink");
    constexpr auto kBoth = static_cast<GstPadProbeType>(GST_PAD_PROBE_TYPE_BUFFER |
                                                        GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM);
    gst_pad_add_probe(
        pad, kBoth,
        [](GstPad* at, GstPadProbeInfo* info, gpointer data) {
          auto* times = static_cast<Times*>(data);
          if ((GST_PAD_PROBE_INFO_TYPE(info) & GST_PAD_PROBE_TYPE_BUFFER) != 0) {
            times->add(at, GST_BUFFER_PTS(GST_PAD_PROBE_INFO_BUFFER(info)));
          } else if (GstEvent* event = GST_PAD_PROBE_INFO_EVENT(info);
                     GST_EVENT_TYPE(event) == GST_EVENT_GAP) {
            GstClockTime time = 0;
            gst_event_parse_gap(event, &time, nullptr);
            times->add(at, time);
          }
          return GST_PAD_PROBE_OK;
        },
        this, nullptr);
    gst_object_unref(pad);
  }
  Times(const Times&) = delete;
  Times& operator=(const Times&) = delete;
  ~Times() { pipeline_.stop(); }  // nothing comes by any more
  std::map<GstClockTime, GstClockTime> get() const {
    const std::lock_guard lock(mutex_);
    return seen_;
  }
  void clear() {
    const std::lock_guard lock(mutex_);
    seen_.clear();
  }

 private:
  // Instants as the system clock would have them.
  void add(GstPad* pad, GstClockTime pts) {
    const test::Ref<GstEvent> event(gst_pad_get_sticky_event(pad, GST_EVENT_SEGMENT, 0));
    const GstSegment* segment = nullptr;
    gst_event_parse_segment(event.get(), &segment);
    const GstClockTime running = gst_segment_to_running_time(segment, GST_FORMAT_TIME, pts);
    GstClock* clock = gst_element_get_clock(pipeline_.get());
    GstClock* system = gst_system_clock_obtain();
    const GstClockTime base = gst_element_get_base_time(pipeline_.get());
    const GstClockTime differs =
        clock == system ? 0 : gst_clock_get_time(system) - gst_clock_get_time(clock);
    gst_object_unref(system);
    gst_object_unref(clock);
    const std::lock_guard lock(mutex_);
    seen_[pts] = base + running + differs;
  }
  const Pipeline& pipeline_;
  mutable std::mutex mutex_;
  std::map<GstClockTime, GstClockTime> seen_;
};

// The next three buffers that both have seen.
void check_same_instants(Times& here, Times& there, GstClockTimeDiff most) {
  here.clear();
  there.clear();
  int same = 0;
  GstClockTimeDiff worst = 0;
  const auto compare = [&] {
    const auto ours = here.get();
    same = 0;
    for (const auto& [pts, instant] : there.get()) {
      const auto found = ours.find(pts);
      if (found == ours.end()) continue;
      ++same;
      worst = std::max(worst, ABS(GST_CLOCK_DIFF(found->second, instant)));
    }
    return same >= 3;
  };
  fail_unless(test::becomes(compare), "%d buffers were seen on both sides", same);
  fail_unless(worst <= most, "%" GST_STIME_FORMAT " apart", GST_STIME_ARGS(worst));
}

struct FreeClock {
  void operator()(GstClock* clock) const { gst_object_unref(clock); }
};
using Clock = std::unique_ptr<GstClock, FreeClock>;

Clock wall_clock() {
  return Clock(GST_CLOCK(g_object_new(GST_TYPE_SYSTEM_CLOCK, "clock-type", GST_CLOCK_TYPE_REALTIME,
                                      "name", "wall", nullptr)));
}

constexpr auto kLive =
    "videotestsrc is-live=true ! video/x-raw,width=64,height=48,framerate=50/1 ! ";
constexpr GstClockTimeDiff kMeasured = 2 * GST_MSECOND;

// A live sender, with something before its end, and a reader.
struct Ends {
  explicit Ends(const std::string& middle)
      : sender(kLive + middle + scene.sink("name=end")),
        reader(scene.src("! fakesink name=end async=false")),
        here(std::make_unique<Times>(sender, "end")),
        there(std::make_unique<Times>(reader, "end")) {}
  void play_sender_first() const {
    sender.play();
    fail_unless(test::becomes([&] { return here->get().size() > 5; }));
    reader.play();
  }
  void play_reader_first() const {
    reader.play();
    fail_unless(test::becomes([&] {
      GstClock* clock = gst_element_get_clock(reader.get());
      const bool runs =
          clock != nullptr &&
          gst_clock_get_time(clock) > gst_element_get_base_time(reader.get()) + 50 * GST_MSECOND;
      gst_clear_object(&clock);
      return runs;
    }));
    sender.play();
  }
  const Scene scene;
  const Pipeline sender, reader;
  const std::unique_ptr<Times> here, there;
};

// The running times that events name which come by a pad.
class Named {
 public:
  Named(const Pipeline& pipeline, const char* element, const char* name, GstPadProbeType which)
      : pipeline_(pipeline) {
    GstPad* pad = gst_element_get_static_pad(pipeline.element(element), name);
    gst_pad_add_probe(
        pad, which,
        [](GstPad*, GstPadProbeInfo* info, gpointer data) {
          static_cast<Named*>(data)->look(GST_PAD_PROBE_INFO_EVENT(info));
          return GST_PAD_PROBE_OK;
        },
        this, nullptr);
    gst_object_unref(pad);
  }
  Named(const Named&) = delete;
  Named& operator=(const Named&) = delete;
  ~Named() { pipeline_.stop(); }  // nothing comes by any more
  // The next one.
  GstClockTime wait() const {
    fail_unless(test::becomes([this] { return time_ != GST_CLOCK_TIME_NONE; }));
    return time_.exchange(GST_CLOCK_TIME_NONE);
  }

 private:
  void look(GstEvent* event) {
    GstClockTime time = GST_CLOCK_TIME_NONE;
    if (GST_EVENT_TYPE(event) == GST_EVENT_QOS)
      gst_event_parse_qos(event, nullptr, nullptr, nullptr, &time);
    else if (!gst_video_event_parse_upstream_force_key_unit(event, &time, nullptr, nullptr))
      gst_video_event_parse_downstream_force_key_unit(event, nullptr, nullptr, &time, nullptr,
                                                      nullptr);
    if (time != GST_CLOCK_TIME_NONE) time_ = time;
  }
  const Pipeline& pipeline_;
  mutable std::atomic<GstClockTime> time_{GST_CLOCK_TIME_NONE};
};

}  // namespace

TEST(reader_that_starts_later) {
  const Ends ends("");
  ends.play_sender_first();
  check_same_instants(*ends.here, *ends.there, 0);
}

TEST(reader_that_starts_earlier) {
  const Ends ends("");
  ends.play_reader_first();
  check_same_instants(*ends.here, *ends.there, 0);
}

TEST(joiner_of_an_encoded_stream) {
  const Ends ends("x264enc tune=zerolatency threads=1 key-int-max=100000 ! ");
  ends.play_sender_first();
  check_same_instants(*ends.here, *ends.there, 0);
}

// Before any buffer.
TEST(gaps_of_either_order) {
  for (const bool is_reader_first : {false, true}) {
    const Ends ends("valve drop=true drop-mode=transform-to-gap ! ");
    is_reader_first ? ends.play_reader_first() : ends.play_sender_first();
    check_same_instants(*ends.here, *ends.there, 0);
  }
}

// Read as an encoder does, with GStreamer's own functions.
TEST(events_that_name_a_time_mean_the_same_instant) {
  for (const bool is_reader_first : {false, true}) {
    const Ends ends("identity name=middle ! ");
    const Named up(ends.sender, "middle", "src", GST_PAD_PROBE_TYPE_EVENT_UPSTREAM);
    const Named down(ends.reader, "end", "sink", GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM);
    is_reader_first ? ends.play_reader_first() : ends.play_sender_first();
    check_same_instants(*ends.here, *ends.there, 0);
    const GstClockTime there = gst_element_get_base_time(ends.reader.get());
    const GstClockTime here = gst_element_get_base_time(ends.sender.get());
    fail_unless(is_reader_first == (there < here));
    constexpr GstClockTime kTime = 3600 * GST_SECOND;
    const auto push = [](const Pipeline& from, const char* element, const char* name,
                         GstEvent* event) {
      GstPad* pad = gst_element_get_static_pad(from.element(element), name);
      fail_unless(gst_pad_push_event(pad, event));
      gst_object_unref(pad);
    };
    push(ends.reader, "end", "sink", gst_video_event_new_upstream_force_key_unit(kTime, TRUE, 7));
    fail_unless_equals_uint64(up.wait(), there + kTime - here);
    push(ends.reader, "end", "sink", gst_event_new_qos(GST_QOS_TYPE_UNDERFLOW, 0.5, -1, kTime));
    fail_unless_equals_uint64(up.wait(), there + kTime - here);
    push(ends.sender, "middle", "src",
         gst_video_event_new_downstream_force_key_unit(0, 0, kTime, TRUE, 7));
    fail_unless_equals_uint64(down.wait(), here + kTime - there);
  }
}

TEST(pauses_on_either_side) {
  const Scene scene;
  const Pipeline sender(kLive + scene.sink("name=end"));
  const Pipeline reader(scene.src("! fakesink name=end async=false"));
  Times here(sender, "end");
  Times there(reader, "end");
  sender.play();
  reader.play();
  check_same_instants(here, there, 0);
  reader.set(GST_STATE_PAUSED);
  here.clear();
  fail_unless(test::becomes([&] { return here.get().size() > 3; }));
  reader.play();
  check_same_instants(here, there, 0);
  sender.set(GST_STATE_PAUSED);
  sender.play();
  check_same_instants(here, there, 0);
}

TEST(sender_with_another_clock) {
  const Scene scene;
  const Pipeline sender(kLive + scene.sink("name=end"));
  const Pipeline reader(scene.src("! fakesink name=end async=false"));
  const Clock wall = wall_clock();
  gst_pipeline_use_clock(GST_PIPELINE(sender.get()), wall.get());
  Times here(sender, "end");
  Times there(reader, "end");
  sender.play();
  reader.play();
  check_same_instants(here, there, kMeasured);
}

TEST(reader_with_another_clock_that_drifts) {
  const Scene scene;
  const Pipeline sender(kLive + scene.sink("name=end"));
  const Pipeline reader(scene.src("! fakesink name=end async=false"));
  const Clock wall = wall_clock();
  gst_pipeline_use_clock(GST_PIPELINE(reader.get()), wall.get());
  Times here(sender, "end");
  Times there(reader, "end");
  sender.play();
  reader.play();
  check_same_instants(here, there, kMeasured);
  // It jumps by 20 ms: what is measured anew follows.
  GstClockTime internal = 0;
  GstClockTime external = 0;
  GstClockTime up = 1;
  GstClockTime down = 1;
  gst_clock_get_calibration(wall.get(), &internal, &external, &up, &down);
  gst_clock_set_calibration(wall.get(), internal, external + 20 * GST_MSECOND, up, down);
  fail_unless(test::becomes([&] {
    here.clear();
    there.clear();
    GstClockTimeDiff last = GST_SECOND;
    test::becomes([&] {
      const auto ours = here.get();
      for (const auto& [pts, instant] : there.get())
        if (const auto found = ours.find(pts); found != ours.end()) {
          last = ABS(GST_CLOCK_DIFF(found->second, instant));
          return true;
        }
      return false;
    });
    return last <= kMeasured;
  }));
  check_same_instants(here, there, kMeasured);
}

// Which have no running time: a muxer that goes back in its file says where by its segments.
TEST(segments_in_bytes_stay_as_they_are) {
  const Scene scene;
  const test::Harness sink(scene.sink());
  const test::Harness reader(scene.src());
  reader.play();
  sink.wait_for_clients(1);
  for (guint64 i = 0; i < 2; ++i) {
    // Not live, so its first buffer is due when it comes, and its running time 0 is not ours.
    sink.push_number(i);
    reader.pull_number();
    fail_unless(test::becomes([&] {
      const test::Ref<GstPad> pad(gst_element_get_static_pad(reader.element(), "src"));
      return gst_pad_get_offset(pad.get()) != 0;
    }));
    for (const guint64 start : {guint64{0}, guint64{4711}, guint64{12}}) {
      GstSegment segment;
      gst_segment_init(&segment, GST_FORMAT_BYTES);
      segment.start = segment.time = start;
      sink.push_event(gst_event_new_segment(&segment));
      sink.push_number(10 + start);
      reader.pull_number();
      const test::Ref<GstEvent> event(
          gst_pad_get_sticky_event(reader.get()->sinkpad, GST_EVENT_SEGMENT, 0));
      const GstSegment* came = nullptr;
      gst_event_parse_segment(event.get(), &came);
      fail_unless(gst_segment_is_equal(came, &segment), "from %d, base %d, offset %d",
                  static_cast<int>(came->start), static_cast<int>(came->base),
                  static_cast<int>(came->offset));
    }
    GstSegment segment;
    gst_segment_init(&segment, GST_FORMAT_TIME);
    sink.push_event(gst_event_new_segment(&segment));
  }
}

// One runs a twentieth fast and one slow: by each of them alone they would be 200 ms apart in the
// end. Measured once a second, an instant is off by no more than the clocks lose in that time.
TEST(clocks_of_other_rates_are_followed) {
  const Scene scene;
  const Pipeline sender(kLive + scene.sink("name=end"));
  const Pipeline reader(scene.src("! fakesink name=end async=false"));
  const Clock fast = wall_clock();
  const Clock slow = wall_clock();
  const auto set_rate = [](GstClock* clock, GstClockTime rate) {
    const GstClockTime now = gst_clock_get_internal_time(clock);
    gst_clock_set_calibration(clock, now, now, rate, 100);
  };
  set_rate(fast.get(), 105);
  set_rate(slow.get(), 95);
  gst_pipeline_use_clock(GST_PIPELINE(sender.get()), fast.get());
  gst_pipeline_use_clock(GST_PIPELINE(reader.get()), slow.get());
  Times here(sender, "end");
  Times there(reader, "end");
  sender.play();
  reader.play();
  fail_unless(test::becomes([&] {
    const auto seen = there.get();
    return !seen.empty() && seen.rbegin()->first - seen.begin()->first > 4 * GST_SECOND;
  }));
  check_same_instants(here, there, 150 * GST_MSECOND);
}
