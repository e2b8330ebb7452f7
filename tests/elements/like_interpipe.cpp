// After the cases of gst-interpipe's own suite, whose nodes are told apart by name as our links are
// by socket-path: caps of several readers, readers that change their sender, events.
#include <atomic>

#include "tests/elements/like_support.h"

using test::Harness;
using test::Pipeline;
using test::Ref;
using test::Scene;
using test::Seen;

namespace {

std::string sized(int width, int height) {
  return "video/x-raw,format=I420,framerate=30/1,width=" + std::to_string(width) +
         ",height=" + std::to_string(height);
}

std::string caps_text(const Pipeline& pipeline, const char* element) {
  const auto caps = test::caps_at(pipeline.element(element), "sink");
  if (!caps) return "";
  gchar* text = gst_caps_to_string(caps.get());
  std::string copy = text;
  g_free(text);
  return copy;
}

// Several senders, each with a path of its own.
struct Senders {
  explicit Senders(const Scene& in) : scene(in) {}
  void add(const std::string& caps) {
    const std::string path = scene.path(std::to_string(all.size()).c_str());
    all.push_back(std::make_unique<Pipeline>("videotestsrc is-live=true ! " + caps +
                                             " ! mmapsink socket-path=" + path));
    all.back()->play();
    paths.push_back(path);
  }
  const Scene& scene;
  std::vector<std::unique_ptr<Pipeline>> all;
  std::vector<std::string> paths;
};

// The source alone, while its pipeline goes on.
void listen_to(const Pipeline& reader, const std::string& path) {
  GstElement* src = reader.element("src");
  fail_unless(gst_element_set_state(src, GST_STATE_READY) != GST_STATE_CHANGE_FAILURE);
  fail_unless(gst_element_set_state(src, GST_STATE_NULL) != GST_STATE_CHANGE_FAILURE);
  g_object_set(src, "socket-path", path.c_str(), nullptr);
  fail_unless(gst_element_sync_state_with_parent(src));
}

}  // namespace

TEST(two_readers_get_what_both_take) {
  const Scene scene;
  const Pipeline sender("videotestsrc is-live=true ! " + scene.sink("name=sink"));
  const std::string rest = " ! fakesink name=end async=false";
  const Pipeline one(
      scene.src("! video/x-raw,format=I420,width=[320,640],height=[240,480],framerate=30/1") +
      rest);
  const Pipeline two(
      scene.src("! video/x-raw,format=I420,width=[500,640],height=[300,480],framerate=30/1") +
      rest);
  one.play();
  two.play();
  // Both are there before there are any caps.
  GstPad* pad = gst_element_get_static_pad(sender.element("sink"), "sink");
  const gulong block = gst_pad_add_probe(
      pad,
      static_cast<GstPadProbeType>(GST_PAD_PROBE_TYPE_BLOCK | GST_PAD_PROBE_TYPE_DATA_DOWNSTREAM),
      [](GstPad*, GstPadProbeInfo*, gpointer) { return GST_PAD_PROBE_OK; }, nullptr, nullptr);
  sender.play();
  guint clients = 0;
  fail_unless(test::becomes([&] {
    g_object_get(sender.element("sink"), "num-clients", &clients, nullptr);
    return clients == 2;
  }));
  const Ref<GstCaps> both(gst_pad_query_caps(pad, nullptr));
  const Ref<GstCaps> wanted(gst_caps_from_string(
      "video/x-raw,format=I420,width=[500,640],height=[300,480],framerate=30/1"));
  fail_unless(gst_caps_is_equal(both.get(), wanted.get()));
  gst_pad_remove_probe(pad, block);
  gst_object_unref(pad);
  for (const Pipeline* reader : {&one, &two})
    fail_unless(
        test::becomes([&] { return test::contains(caps_text(*reader, "end"), "width=(int)500"); }),
        "%s", caps_text(*reader, "end").c_str());
  fail_unless(one.errors().empty() && two.errors().empty() && sender.errors().empty());
}

TEST(caps_that_the_reader_does_not_take_are_its_error) {
  const Scene scene;
  Senders senders(scene);
  senders.add(sized(640, 480));
  const std::string path = "mmapsrc socket-path=" + senders.paths[0];
  const Pipeline other(path + " ! fakesink name=end async=false");
  const Seen seen(other.element("end"), "sink");
  other.play();
  seen.wait_buffers(2);
  const Pipeline reader(path + " ! " + sized(320, 240) + " ! fakesink name=end async=false");
  reader.play();
  reader.wait_error();
  fail_unless(caps_text(reader, "end").empty());
  seen.wait_buffers(3);
  fail_unless(other.errors().empty() && senders.all[0]->errors().empty());
}

TEST(a_playing_reader_changes_its_sender) {
  const Scene scene;
  Senders senders(scene);
  senders.add(sized(640, 480));
  senders.add(sized(640, 480));
  senders.add(sized(320, 240));
  const Pipeline reader("mmapsrc name=src socket-path=" + senders.paths[0] +
                        " ! video/x-raw,width=[300,640],height=[200,480] ! "
                        "fakesink name=end async=false");
  const Seen seen(reader.element("end"), "sink");
  reader.play();
  seen.wait_buffers(2);
  for (const size_t next : {1, 2, 0, 1, 0, 2, 2}) {
    listen_to(reader, senders.paths[next]);
    const std::string width = next == 2 ? "width=(int)320" : "width=(int)640";
    fail_unless(test::becomes([&] { return test::contains(caps_text(reader, "end"), width); }));
    seen.wait_buffers(2);
  }
  fail_unless(reader.errors().empty());
  // One whose caps do not fit is no sender to change to.
  senders.add(sized(1280, 720));
  listen_to(reader, senders.paths[3]);
  reader.wait_error();
  for (const auto& sender : senders.all) fail_unless(sender->errors().empty());
}

// Whichever sender it is, what it sends is due when it arrives.
TEST(running_time_goes_on_from_one_sender_to_the_next) {
  const Scene scene;
  Senders senders(scene);
  senders.add(sized(64, 48));
  senders.add(sized(64, 48));
  const Pipeline reader("mmapsrc name=src socket-path=" + senders.paths[0] +
                        " ! appsink name=end async=false sync=true max-buffers=1 drop=true");
  reader.play();
  GstClockTime last = 0;
  for (const size_t next : {0, 1, 0, 1}) {
    listen_to(reader, senders.paths[next]);
    // What came before is gone.
    GstSample* sample = nullptr;
    for (int i = 0; i < 3; ++i) {
      g_signal_emit_by_name(reader.element("end"), "try-pull-sample", 10 * GST_SECOND, &sample);
      fail_unless(sample != nullptr, "no sample came");
      const GstClockTime now =
          gst_segment_to_running_time(gst_sample_get_segment(sample), GST_FORMAT_TIME,
                                      GST_BUFFER_PTS(gst_sample_get_buffer(sample)));
      fail_unless(now > last, "%" GST_TIME_FORMAT " after %" GST_TIME_FORMAT, GST_TIME_ARGS(now),
                  GST_TIME_ARGS(last));
      last = now;
      gst_sample_unref(sample);
    }
  }
  fail_unless(reader.errors().empty());
}

TEST(three_readers_get_the_same_meta) {
  const Scene scene;
  const Harness sink(scene.sink());
  std::vector<std::unique_ptr<Harness>> readers;
  for (guint i = 0; i < 3; ++i) {
    readers.push_back(std::make_unique<Harness>(scene.src()));
    readers.back()->play();
    sink.wait_for_clients(i + 1);
  }
  GstBuffer* buffer = test::numbered(1);
  gst_buffer_add_video_meta(buffer, GST_VIDEO_FRAME_FLAG_INTERLACED, GST_VIDEO_FORMAT_I420, 64, 48);
  fail_unless_equals_int(sink.push(buffer), GST_FLOW_OK);
  for (const auto& reader : readers) {
    const auto came = reader->pull();
    const GstVideoMeta* meta = gst_buffer_get_video_meta(came.get());
    fail_unless(meta != nullptr && meta->flags == GST_VIDEO_FRAME_FLAG_INTERLACED);
    fail_unless(meta->width == 64 && meta->height == 48);
  }
}

TEST(a_flush_that_only_begins_reaches_the_far_end) {
  const Scene scene;
  const Harness sink(scene.sink());
  const Pipeline reader(scene.src("! fakesink name=end async=false"));
  const Seen seen(reader.element("end"), "sink");
  reader.play();
  sink.wait_for_clients(1);
  fail_unless_equals_int(sink.push_number(0), GST_FLOW_OK);
  seen.wait_event(GST_EVENT_SEGMENT);
  sink.push_event(gst_event_new_flush_start());
  GstPad* pad = gst_element_get_static_pad(reader.element("end"), "sink");
  fail_unless(test::becomes([&] { return GST_PAD_IS_FLUSHING(pad); }));
  sink.push_event(gst_event_new_flush_stop(TRUE));
  fail_unless(test::becomes([&] { return !GST_PAD_IS_FLUSHING(pad); }));
  gst_object_unref(pad);
}

TEST(latency_of_one_of_two_readers_stays_with_it) {
  const Scene scene;
  const Harness sink(scene.sink());
  const Harness one(scene.src());
  one.play();
  sink.wait_for_clients(1);
  // Whether one comes before the custom event, which comes from any reader.
  const auto comes = [&](const Harness& from) {
    gst_harness_push_upstream_event(from.get(), gst_event_new_latency(GST_MSECOND));
    gst_harness_push_upstream_event(
        from.get(), gst_event_new_custom(GST_EVENT_CUSTOM_UPSTREAM, gst_structure_new_empty("x")));
    bool came = false;
    for (;;) {
      const Ref<GstEvent> event(gst_harness_pull_upstream_event(sink.get()));
      fail_unless(event != nullptr);
      came |= GST_EVENT_TYPE(event.get()) == GST_EVENT_LATENCY;
      if (GST_EVENT_TYPE(event.get()) == GST_EVENT_CUSTOM_UPSTREAM) return came;
    }
  };
  fail_unless(comes(one));
  const Harness two(scene.src());
  two.play();
  sink.wait_for_clients(2);
  fail_if(comes(two));
  fail_if(comes(one));
}
