// Seeks through the link: what is in flight goes, what follows is the new stream.
#include <atomic>

#include "tests/elements/support.h"

using test::Harness;
using test::Pipeline;
using test::Scene;

namespace {

// The first timestamp after each FLUSH_STOP that goes through a pad, and how many there were.
struct Watch {
  std::atomic<guint64> first{GST_CLOCK_TIME_NONE};
  std::atomic<int> flushes{0}, buffers{0};
  std::atomic<bool> begins{true};
  // It has to outlive the element.
  void look_at(GstElement* element) {
    GstPad* pad = gst_element_get_static_pad(element, "sink");
    gst_pad_add_probe(
        pad,
        static_cast<GstPadProbeType>(GST_PAD_PROBE_TYPE_BUFFER | GST_PAD_PROBE_TYPE_EVENT_FLUSH),
        [](GstPad*, GstPadProbeInfo* info, gpointer data) {
          auto& self = *static_cast<Watch*>(data);
          if ((info->type & GST_PAD_PROBE_TYPE_BUFFER) != 0) {
            if (self.begins.exchange(false))
              self.first = GST_BUFFER_PTS(GST_PAD_PROBE_INFO_BUFFER(info));
            ++self.buffers;
          } else if (GST_EVENT_TYPE(GST_PAD_PROBE_INFO_EVENT(info)) == GST_EVENT_FLUSH_STOP) {
            self.begins = true;
            ++self.flushes;
          }
          return GST_PAD_PROBE_OK;
        },
        this, nullptr);
    gst_object_unref(pad);
  }
};

void seek(const Pipeline& pipeline, GstClockTime to, GstClockTime stop = GST_CLOCK_TIME_NONE) {
  fail_unless(gst_element_seek(
      pipeline.get(), 1.0, GST_FORMAT_TIME,
      static_cast<GstSeekFlags>(GST_SEEK_FLAG_FLUSH | GST_SEEK_FLAG_ACCURATE), GST_SEEK_TYPE_SET,
      static_cast<gint64>(to), GST_SEEK_TYPE_SET, static_cast<gint64>(stop)));
}

constexpr auto kFrom = "videotestsrc ! video/x-raw,width=64,height=48,framerate=25/1 ! ";

}  // namespace

TEST(seek_from_the_far_side) {
  const Scene scene;
  Watch watch;
  const Pipeline sender(kFrom + scene.sink("wait-for-connection=true"));
  const Pipeline reader(scene.src("is-live=false ! fakesink name=end sync=true"));
  watch.look_at(reader.element("end"));
  sender.play();
  reader.play();
  reader.wait(GST_MESSAGE_ASYNC_DONE);
  for (const GstClockTime to : {10 * GST_SECOND, 2 * GST_SECOND, 100 * GST_SECOND}) {
    seek(reader, to);
    reader.wait(GST_MESSAGE_ASYNC_DONE);
    fail_unless(test::becomes([&] { return watch.first == to; }));
  }
  fail_unless_equals_int(watch.flushes, 3);
  // Nothing got stuck.
  const int now = watch.buffers;
  fail_unless(test::becomes([&] { return watch.buffers > now + 2; }));
}

// A live pipeline asks itself for its latency at the end of a flush, and its seek holds the lock.
TEST(seek_from_the_far_side_of_a_live_stream) {
  const Scene scene;
  Watch watch;
  const Pipeline sender("videotestsrc is-live=true ! " + std::string(test::kVideo) + " ! " +
                        scene.sink());
  const Pipeline reader(scene.src("! fakesink name=end async=false"));
  watch.look_at(reader.element("end"));
  sender.play();
  reader.play();
  for (int i = 0; i < 5; ++i) {
    fail_unless(test::becomes([&] { return !watch.begins; }));
    seek(reader, 0);
    fail_unless_equals_int(watch.flushes, i + 1);
  }
  fail_unless(test::becomes([&] { return !watch.begins; }));
  fail_unless(reader.errors().empty());
}

// Whoever stops a pipeline has the same lock, and waits for who pushes the end of a flush.
TEST(live_reader_stops_while_its_sender_flushes) {
  const Scene scene;
  const Harness sink(scene.sink());
  for (int i = 0; i < 30; ++i) {
    Watch watch;
    const Pipeline reader(scene.src("! fakesink name=end async=false"));
    watch.look_at(reader.element("end"));
    reader.play();
    sink.wait_for_clients(1);
    fail_unless_equals_int(sink.push_number(0), GST_FLOW_OK);
    fail_unless(test::becomes([&] { return watch.buffers > 0; }));
    sink.push_event(gst_event_new_flush_start());
    sink.push_event(gst_event_new_flush_stop(TRUE));
    if (i % 2 == 0) fail_unless(test::becomes([&] { return watch.flushes > 0; }));
    reader.stop();
    sink.wait_for_clients(0);
    // Which a flush has taken with it.
    GstSegment segment;
    gst_segment_init(&segment, GST_FORMAT_TIME);
    sink.push_event(gst_event_new_segment(&segment));
  }
}

TEST(seek_from_the_near_side) {
  const Scene scene;
  Watch watch;
  const Pipeline sender(kFrom + scene.sink("wait-for-connection=true"));
  const Pipeline reader(scene.src("is-live=false ! fakesink name=end sync=true"));
  watch.look_at(reader.element("end"));
  sender.play();
  reader.play();
  reader.wait(GST_MESSAGE_ASYNC_DONE);
  seek(sender, 50 * GST_SECOND);
  fail_unless(test::becomes([&] { return watch.first == 50 * GST_SECOND; }));
}

// Who seeks has the lock of a stream, which the start of the flush waits for: it is not waited for
// beyond query-timeout.
TEST(seek_from_a_streaming_thread) {
  const Scene scene;
  Watch watch;
  std::atomic<bool> seeks{true};
  const Pipeline sender(kFrom + scene.sink("wait-for-connection=true"));
  const Pipeline reader(
      scene.src("is-live=false query-timeout=200000000 ! queue ! fakesink name=end sync=true"));
  watch.look_at(reader.element("end"));
  GstPad* pad = gst_element_get_static_pad(reader.element("end"), "sink");
  const auto probe = [](GstPad* to, GstPadProbeInfo*, gpointer data) {
    if (!static_cast<std::atomic<bool>*>(data)->exchange(false)) return GST_PAD_PROBE_OK;
    gst_pad_push_event(
        to, gst_event_new_seek(1.0, GST_FORMAT_TIME, GST_SEEK_FLAG_FLUSH, GST_SEEK_TYPE_SET,
                               7 * GST_SECOND, GST_SEEK_TYPE_NONE, -1));
    return GST_PAD_PROBE_OK;
  };
  gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_BUFFER, probe, &seeks, nullptr);
  gst_object_unref(pad);
  sender.play();
  reader.play();
  fail_unless(test::becomes([&] { return watch.flushes == 1; }));
  fail_unless(test::becomes([&] { return watch.first == 7 * GST_SECOND; }));
}

TEST(many_seeks_one_after_the_other) {
  const Scene scene;
  Watch watch;
  const Pipeline sender(kFrom + scene.sink("wait-for-connection=true"));
  const Pipeline reader(scene.src("is-live=false ! fakesink name=end sync=true"));
  watch.look_at(reader.element("end"));
  sender.play();
  reader.play();
  reader.wait(GST_MESSAGE_ASYNC_DONE);
  for (guint64 i = 1; i <= 100; ++i) seek(reader, i * GST_SECOND);
  fail_unless(test::becomes([&] { return watch.first == 100 * GST_SECOND; }), "%" GST_TIME_FORMAT,
              GST_TIME_ARGS(watch.first.load()));
}

TEST(seek_after_the_end) {
  const Scene scene;
  Watch watch;
  const Pipeline sender(kFrom + scene.sink("wait-for-connection=true"));
  const Pipeline reader(scene.src("is-live=false ! fakesink name=end"));
  watch.look_at(reader.element("end"));
  fail_unless_equals_int(sender.set(GST_STATE_PAUSED), GST_STATE_CHANGE_SUCCESS);
  fail_unless_equals_int(reader.set(GST_STATE_PAUSED), GST_STATE_CHANGE_ASYNC);
  reader.wait(GST_MESSAGE_ASYNC_DONE);
  for (int round = 1; round <= 3; ++round) {
    watch.buffers = 0;
    seek(reader, GST_SECOND, GST_SECOND + 5 * GST_SECOND / 25);
    reader.play();
    sender.play();
    reader.wait_eos();
    sender.wait_eos();
    fail_unless_equals_int(watch.buffers, 5);
    fail_unless_equals_uint64(watch.first, GST_SECOND);
  }
}

TEST(flush_while_the_reader_is_blocked) {
  const Scene scene;
  Watch watch;
  const Pipeline sender(kFrom + scene.sink("wait-for-connection=true"));
  // It waits for the clock with its first frame, an hour away.
  const Pipeline reader(
      scene.src("is-live=false ! fakesink name=end sync=true ts-offset=3600000000000"));
  watch.look_at(reader.element("end"));
  sender.play();
  reader.play();
  reader.wait(GST_MESSAGE_ASYNC_DONE);
  seek(reader, 7 * GST_SECOND);
  reader.wait(GST_MESSAGE_ASYNC_DONE);
  fail_unless_equals_uint64(watch.first, 7 * GST_SECOND);
}

TEST(flush_in_paused_of_a_live_source) {
  const Scene scene;
  Watch watch;
  const Pipeline sender(kFrom + scene.sink("wait-for-connection=true"));
  const Pipeline reader(scene.src("name=src ! fakesink name=end async=false"));
  watch.look_at(reader.element("end"));
  sender.play();
  reader.play();
  fail_unless(test::becomes([&] { return watch.buffers > 3; }));
  fail_unless_equals_int(reader.set(GST_STATE_PAUSED), GST_STATE_CHANGE_NO_PREROLL);
  seek(reader, 9 * GST_SECOND);
  fail_unless(test::becomes([&] { return watch.flushes == 1; }));
  reader.play();
  fail_unless(test::becomes([&] { return watch.first == 9 * GST_SECOND; }));
}

TEST(sticky_events_outlive_a_flush) {
  const Scene scene;
  const Harness sink(scene.sink());
  const Harness reader(scene.src());
  reader.play();
  sink.wait_for_clients(1);
  sink.push_number(0);
  fail_unless_equals_uint64(reader.pull_number(), 0);
  sink.push_event(gst_event_new_flush_start());
  sink.push_event(gst_event_new_flush_stop(FALSE));
  GstSegment segment;
  gst_segment_init(&segment, GST_FORMAT_TIME);
  segment.start = segment.time = GST_SECOND;
  sink.push_event(gst_event_new_segment(&segment));
  sink.push_event(gst_event_new_tag(gst_tag_list_new(GST_TAG_TITLE, "after", nullptr)));
  sink.push_number(40);
  reader.pull_event(GST_EVENT_FLUSH_START);
  gboolean reset_time = TRUE;
  gst_event_parse_flush_stop(reader.pull_event(GST_EVENT_FLUSH_STOP).get(), &reset_time);
  fail_if(reset_time);
  const GstSegment* came = nullptr;
  const auto event = reader.pull_event(GST_EVENT_SEGMENT);
  gst_event_parse_segment(event.get(), &came);
  fail_unless_equals_uint64(came->start, GST_SECOND);
  fail_unless_equals_uint64(reader.pull_number(), 40);
}

TEST(sender_that_dies_in_a_flush_leaves_its_reader_usable) {
  const Scene scene;
  const Harness reader(scene.src("on-disconnect=none"));
  reader.play();
  {
    const Harness sink(scene.sink());
    sink.wait_for_clients(1);
    sink.push_number(0);
    fail_unless_equals_uint64(reader.pull_number(), 0);
    sink.push_event(gst_event_new_flush_start());
    reader.pull_event(GST_EVENT_FLUSH_START);
  }
  // It has no say in the time of what else plays here.
  gboolean reset_time = TRUE;
  gst_event_parse_flush_stop(reader.pull_event(GST_EVENT_FLUSH_STOP).get(), &reset_time);
  fail_if(reset_time);
  const Harness next(scene.sink());
  next.wait_for_clients(1);
  next.push_number(1);
  fail_unless_equals_uint64(reader.pull_number(), 1);
}
