// What crosses besides buffers: events in order with the data, and the end of the stream, which is
// the end on both sides.
#include <atomic>
#include <thread>

#include "tests/elements/support.h"

using test::Harness;
using test::Pipeline;
using test::Scene;

namespace {

struct Pair {
  explicit Pair(const Scene& scene, const char* properties = "", const char* caps = test::kVideo)
      : sink(scene.sink(), caps), reader(scene.src(properties)) {
    reader.play();
    sink.wait_for_clients(1);
  }
  Harness sink, reader;
};

// Holds an EOS where it is put, until it is let go.
struct Gate {
  std::atomic<bool> reached{false}, open{false};
  static GstPadProbeReturn hold(GstPad*, GstPadProbeInfo* info, gpointer data) {
    auto& gate = *static_cast<Gate*>(data);
    if (GST_EVENT_TYPE(GST_PAD_PROBE_INFO_EVENT(info)) != GST_EVENT_EOS) return GST_PAD_PROBE_OK;
    gate.reached = true;
    fail_unless(test::becomes([&] { return gate.open.load(); }));
    return GST_PAD_PROBE_OK;
  }
  void put(GstElement* element, const char* pad) {
    GstPad* at = gst_element_get_static_pad(element, pad);
    gst_pad_add_probe(at, GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM, hold, this, nullptr);
    gst_object_unref(at);
  }
};

std::string structure_of(GstEvent* event) {
  gchar* text = gst_structure_to_string(gst_event_get_structure(event));
  std::string copy = text;
  g_free(text);
  return copy;
}

}  // namespace

TEST(caps_cross_with_all_their_fields) {
  const Scene scene;
  const Pair pair(scene);
  const char* all[] = {
      test::kVideo,
      "video/x-raw,format=NV12,width=1920,height=1080,framerate=30000/1001,interlace-mode=mixed,"
      "pixel-aspect-ratio=4/3,colorimetry=bt709,chroma-site=mpeg2",
      "audio/x-raw,format=S16LE,rate=44100,channels=2,layout=interleaved,"
      "channel-mask=(bitmask)0x3",
      "video/x-h264,stream-format=avc,alignment=au,codec_data=(buffer)014d401effe1000467,"
      "title=(string)\"a \\\"quoted\\\" one; with, marks\"",
      "application/x-empty",
  };
  for (const char* text : all) {
    pair.sink.set_caps(text);
    pair.sink.push_number(1);
    pair.reader.pull();
    const test::Ref<GstCaps> wanted(gst_caps_from_string(text));
    const test::Ref<GstCaps> came(gst_pad_get_current_caps(pair.reader.get()->sinkpad));
    fail_unless(gst_caps_is_strictly_equal(wanted.get(), came.get()), "%s", text);
  }
}

TEST(stream_start_crosses) {
  const Scene scene;
  const Pair pair(scene);
  const auto send = [&](const char* id, guint group) {
    GstEvent* start = gst_event_new_stream_start(id);
    gst_event_set_stream_flags(start, GST_STREAM_FLAG_SPARSE);
    gst_event_set_group_id(start, group);
    const guint32 seqnum = gst_event_get_seqnum(start);
    pair.sink.push_event(start);
    pair.sink.push_number(1);
    test::Ref<GstEvent> came = pair.reader.pull_event(GST_EVENT_STREAM_START);
    const gchar* id_there = nullptr;
    gst_event_parse_stream_start(came.get(), &id_there);
    if (g_strcmp0(id_there, id) != 0) came = pair.reader.pull_event(GST_EVENT_STREAM_START);
    gst_event_parse_stream_start(came.get(), &id_there);
    fail_unless_equals_string(id_there, id);
    GstStreamFlags flags{};
    gst_event_parse_stream_flags(came.get(), &flags);
    fail_unless_equals_int(flags, GST_STREAM_FLAG_SPARSE);
    fail_unless_equals_int(gst_event_get_seqnum(came.get()), seqnum);
    guint group_there = 0;
    fail_unless(gst_event_parse_group_id(came.get(), &group_there));
    return group_there;
  };
  // Group ids are each process's own; what belongs together stays together.
  const guint one = send("first/ stream", 4711);
  fail_unless_equals_int(send("second stream", 4711), static_cast<int>(one));
  fail_unless(send("third stream", 4712) != one);
}

TEST(segments_cross_field_by_field) {
  const Scene scene;
  // Of a source that is not live: one that is moves segments by what running times differ.
  const Pair pair(scene, "is-live=false");
  pair.sink.push_number(1);
  pair.reader.pull_event(GST_EVENT_SEGMENT);
  GstSegment segments[3];
  for (auto& segment : segments) gst_segment_init(&segment, GST_FORMAT_TIME);
  segments[0].start = 1234567;
  segments[0].stop = 99999999999;
  segments[0].time = 17;
  segments[0].base = 5 * GST_SECOND;
  segments[1].rate = 1.0 / 3.0;
  segments[1].applied_rate = -0.7;
  segments[1].flags = static_cast<GstSegmentFlags>(GST_SEGMENT_FLAG_RESET | GST_SEGMENT_FLAG_SKIP);
  segments[1].offset = 3;
  segments[1].position = 4;
  segments[1].duration = 5;
  gst_segment_init(&segments[2], GST_FORMAT_BYTES);
  segments[2].stop = 4096;
  for (const auto& segment : segments) {
    pair.sink.push_event(gst_event_new_segment(&segment));
    const auto event = pair.reader.pull_event(GST_EVENT_SEGMENT);
    const GstSegment* came = nullptr;
    gst_event_parse_segment(event.get(), &came);
    fail_unless(gst_segment_is_equal(&segment, came));
    fail_unless_equals_uint64(came->position, segment.position);
    fail_unless_equals_uint64(came->duration, segment.duration);
  }
}

TEST(tags_cross_with_their_scope) {
  const Scene scene;
  const Pair pair(scene);
  pair.sink.push_number(1);
  for (const GstTagScope scope : {GST_TAG_SCOPE_STREAM, GST_TAG_SCOPE_GLOBAL}) {
    GstTagList* tags = gst_tag_list_new(GST_TAG_TITLE, "a \"title\", with; marks ü",
                                        GST_TAG_BITRATE, 128000u, GST_TAG_ARTIST, "one", nullptr);
    gst_tag_list_add(tags, GST_TAG_MERGE_APPEND, GST_TAG_ARTIST, "two", nullptr);
    gst_tag_list_set_scope(tags, scope);
    GstTagList* wanted = gst_tag_list_copy(tags);
    pair.sink.push_event(gst_event_new_tag(tags));
    const auto event = pair.reader.pull_event(GST_EVENT_TAG);
    GstTagList* came = nullptr;
    gst_event_parse_tag(event.get(), &came);
    fail_unless(gst_tag_list_is_equal(wanted, came));
    fail_unless_equals_int(gst_tag_list_get_scope(came), scope);
    gst_tag_list_unref(wanted);
  }
}

TEST(gaps_and_custom_events_cross_in_order) {
  const Scene scene;
  const Pair pair(scene);
  pair.sink.push_number(1);
  fail_unless_equals_uint64(pair.reader.pull_number(), 1);
  pair.sink.push_event(gst_event_new_gap(3 * GST_SECOND, GST_SECOND));
  const auto gap = pair.reader.pull_event(GST_EVENT_GAP);
  GstClockTime at = 0;
  GstClockTime duration = 0;
  gst_event_parse_gap(gap.get(), &at, &duration);
  fail_unless_equals_uint64(at, 3 * GST_SECOND);
  fail_unless_equals_uint64(duration, GST_SECOND);

  for (const GstEventType type :
       {GST_EVENT_CUSTOM_DOWNSTREAM, GST_EVENT_CUSTOM_BOTH, GST_EVENT_CUSTOM_DOWNSTREAM_STICKY}) {
    GstEvent* custom = gst_event_new_custom(
        type, gst_structure_new("my-event", "number", G_TYPE_INT64, G_MAXINT64, "text",
                                G_TYPE_STRING, "a \"b\"; c", "yes", G_TYPE_BOOLEAN, TRUE, nullptr));
    const std::string wanted = structure_of(custom);
    pair.sink.push_event(custom);
    const auto came = pair.reader.pull_event(type);
    fail_unless(structure_of(came.get()) == wanted, "%s", wanted.c_str());
  }
  // The sticky one is for those who come later too.
  const Harness late{scene.src()};
  late.play();
  pair.sink.wait_for_clients(2);
  pair.sink.push_number(2);
  late.pull_event(GST_EVENT_CUSTOM_DOWNSTREAM_STICKY);
}

// As sparse streams do: the far side learns what comes, and that nothing does yet.
TEST(a_stream_begins_without_a_buffer) {
  const Scene scene;
  const Pair pair(scene, "", nullptr);
  pair.sink.set_caps(test::kVideo);
  for (const GstEventType type : {GST_EVENT_STREAM_START, GST_EVENT_CAPS, GST_EVENT_SEGMENT})
    pair.reader.pull_event(type);
  pair.sink.push_event(gst_event_new_gap(0, GST_SECOND));
  pair.sink.push_event(gst_event_new_segment_done(GST_FORMAT_TIME, 1));
  pair.reader.pull_event(GST_EVENT_GAP);
  pair.reader.pull_event(GST_EVENT_SEGMENT_DONE);
}

// Without caps nothing is known before there is something.
TEST(what_is_no_buffer_brings_what_comes_before_it) {
  const Scene scene;
  const Pair pair(scene, "", nullptr);
  GstSegment segment;
  gst_segment_init(&segment, GST_FORMAT_TIME);
  pair.sink.push_event(gst_event_new_stream_start("text"));
  pair.sink.push_event(gst_event_new_segment(&segment));
  pair.sink.push_event(
      gst_event_new_custom(GST_EVENT_CUSTOM_DOWNSTREAM, gst_structure_new_empty("my-event")));
  pair.reader.pull_event(GST_EVENT_STREAM_START);
  pair.reader.pull_event(GST_EVENT_SEGMENT);
  pair.reader.pull_event(GST_EVENT_CUSTOM_DOWNSTREAM);
}

TEST(gaps_wait_for_a_reader_as_buffers_do) {
  const Scene scene;
  const Harness sink(scene.sink("wait-for-connection=true"));
  std::thread pusher([&] { sink.push_event(gst_event_new_gap(0, GST_SECOND)); });
  const Harness reader(scene.src());
  reader.play();
  reader.pull_event(GST_EVENT_GAP);
  pusher.join();
}

TEST(long_events_cross) {
  const Scene scene;
  const Pair pair(scene);
  pair.sink.push_number(1);
  const std::string text(100000, 'x');
  pair.sink.push_event(gst_event_new_custom(
      GST_EVENT_CUSTOM_DOWNSTREAM,
      gst_structure_new("long-event", "text", G_TYPE_STRING, text.c_str(), nullptr)));
  const auto came = pair.reader.pull_event(GST_EVENT_CUSTOM_DOWNSTREAM);
  fail_unless_equals_string(gst_structure_get_string(gst_event_get_structure(came.get()), "text"),
                            text.c_str());
}

TEST(eos_is_posted_when_it_went_through_over_there) {
  const Scene scene;
  const Pipeline sender("videotestsrc num-buffers=5 ! " + scene.sink("wait-for-connection=true"));
  const Pipeline reader(scene.src("name=src ! fakesink async=false name=end"));
  Gate gate;
  gate.put(reader.element("end"), "sink");
  sender.play();
  reader.play();
  fail_unless(test::becomes([&] { return gate.reached.load(); }));
  fail_unless_equals_uint64(test::stat(reader.element("src"), "buffers"), 5);
  const test::Ref<GstMessage> early(gst_bus_timed_pop_filtered(GST_ELEMENT_BUS(sender.get()),
                                                               200 * GST_MSECOND, GST_MESSAGE_EOS));
  fail_unless(early == nullptr, "EOS was posted before it was through");
  gate.open = true;
  sender.wait_eos();
  reader.wait_eos();
}

TEST(eos_keeps_its_seqnum) {
  const Scene scene;
  const Pair pair(scene);
  pair.sink.push_number(1);
  GstEvent* eos = gst_event_new_eos();
  const guint32 seqnum = gst_event_get_seqnum(eos);
  pair.sink.push_event(eos);
  const auto came = pair.reader.pull_event(GST_EVENT_EOS);
  fail_unless_equals_int(gst_event_get_seqnum(came.get()), seqnum);
}

TEST(eos_waits_for_every_reader) {
  const Scene scene;
  const Harness sink(scene.sink());
  const Pipeline one(scene.src("! fakesink async=false"));
  const Pipeline other(scene.src("! fakesink async=false name=end"));
  Gate gate;
  gate.put(other.element("end"), "sink");
  one.play();
  other.play();
  sink.wait_for_clients(2);
  sink.push_number(1);
  std::atomic<bool> through{false};
  std::thread pusher([&] {
    sink.push_event(gst_event_new_eos());
    through = true;
  });
  one.wait_eos();
  fail_unless(test::becomes([&] { return gate.reached.load(); }));
  fail_if(through);
  gate.open = true;
  other.wait_eos();
  pusher.join();
}

TEST(eos_does_not_wait_for_a_reader_that_goes) {
  const Scene scene;
  const Pipeline sender("videotestsrc num-buffers=5 ! " + scene.sink("wait-for-connection=true"));
  Gate gate;
  {
    const Pipeline reader(scene.src("! fakesink async=false name=end"));
    gate.put(reader.element("end"), "sink");
    sender.play();
    reader.play();
    fail_unless(test::becomes([&] { return gate.reached.load(); }));
    std::thread opener([&] { gate.open = true; });
    reader.stop();
    opener.join();
  }
  sender.wait_eos();
}

TEST(eos_without_readers_ends_at_once) {
  const Scene scene;
  const Pipeline sender("videotestsrc num-buffers=5 ! " + scene.sink());
  sender.play();
  sender.wait_eos();
}

TEST(no_error_where_the_sender_goes_after_eos) {
  const Scene scene;
  const Pipeline reader(scene.src("! fakesink async=false"));
  {
    const Pipeline sender("videotestsrc num-buffers=5 ! " + scene.sink("wait-for-connection=true"));
    sender.play();
    reader.play();
    sender.wait_eos();
  }
  reader.wait_eos();
  fail_unless(reader.errors().empty());
}

TEST(flush_drops_nothing_that_comes_after_it) {
  const Scene scene;
  const Pair pair(scene);
  pair.sink.push_number(1);
  fail_unless_equals_uint64(pair.reader.pull_number(), 1);
  pair.sink.push_event(gst_event_new_flush_start());
  pair.sink.push_event(gst_event_new_flush_stop(TRUE));
  GstSegment segment;
  gst_segment_init(&segment, GST_FORMAT_TIME);
  pair.sink.push_event(gst_event_new_segment(&segment));
  pair.sink.push_number(2);
  fail_unless_equals_uint64(pair.reader.pull_number(), 2);
}
