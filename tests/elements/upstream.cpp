// What goes from a reader to the sender: upstream events with what became of them, key frames for
// those who come late, and the server's messages.
#include <atomic>

#include "tests/elements/support.h"

using test::Harness;
using test::Pipeline;
using test::Scene;

namespace {

struct Pair {
  explicit Pair(const Scene& scene, const char* properties = "")
      : sink(scene.sink()), reader(scene.src(properties)) {
    reader.play();
    sink.wait_for_clients(1);
    fail_unless(test::becomes([this] { return reader.stat("peers") == 1; }));
    while (const auto event =
               test::Ref<GstEvent>(gst_harness_try_pull_upstream_event(sink.get()))) {
    }
  }
  Harness sink, reader;
};

test::Ref<GstEvent> next_upstream(const Harness& harness, GstEventType type) {
  for (;;) {
    test::Ref<GstEvent> event(gst_harness_pull_upstream_event(harness.get()));
    fail_unless(event != nullptr, "no event %s came", gst_event_type_get_name(type));
    if (GST_EVENT_TYPE(event.get()) == type) return event;
  }
}

std::string text_of(GstEvent* event) {
  const GstStructure* structure = gst_event_get_structure(event);
  if (structure == nullptr) return "";
  gchar* text = gst_structure_to_string(structure);
  std::string copy = text;
  g_free(text);
  return copy;
}

// Counts events of a type that go out of a pad upstream, and answers seeks.
struct Upstream {
  std::atomic<int> seen{0};
  GstEventType type;
  void watch(GstElement* element, const char* pad, GstEventType wanted) {
    type = wanted;
    GstPad* at = gst_element_get_static_pad(element, pad);
    gst_pad_add_probe(
        at, GST_PAD_PROBE_TYPE_EVENT_UPSTREAM,
        [](GstPad*, GstPadProbeInfo* info, gpointer data) {
          auto& self = *static_cast<Upstream*>(data);
          if (GST_EVENT_TYPE(GST_PAD_PROBE_INFO_EVENT(info)) == self.type) ++self.seen;
          return GST_PAD_PROBE_OK;
        },
        this, nullptr);
    gst_object_unref(at);
  }
};

}  // namespace

TEST(upstream_events_cross_with_all_their_fields) {
  const Scene scene;
  const Pair pair(scene);
  GstEvent* seek =
      gst_event_new_seek(-1.5, GST_FORMAT_BYTES,
                         static_cast<GstSeekFlags>(GST_SEEK_FLAG_ACCURATE | GST_SEEK_FLAG_SEGMENT),
                         GST_SEEK_TYPE_SET, 1234567890123, GST_SEEK_TYPE_END, -7);
  gst_event_set_seek_trickmode_interval(seek, 40 * GST_MSECOND);
  GList ids[2] = {{const_cast<char*>("first"), &ids[1], nullptr},
                  {const_cast<char*>("second"), nullptr, &ids[0]}};
  const std::vector<GstEvent*> events = {
      seek,
      gst_event_new_qos(GST_QOS_TYPE_THROTTLE, 0.25, -12345, 99 * GST_SECOND),
      gst_event_new_latency(31 * GST_MSECOND),
      gst_event_new_reconfigure(),
      gst_event_new_step(GST_FORMAT_BUFFERS, 3, 2.0, TRUE, FALSE),
      gst_event_new_navigation(gst_structure_new("application/x-gst-navigation", "event",
                                                 G_TYPE_STRING, "mouse-move", "pointer_x",
                                                 G_TYPE_DOUBLE, 0.1, nullptr)),
      gst_video_event_new_upstream_force_key_unit(5 * GST_SECOND, TRUE, 42),
      gst_event_new_custom(
          GST_EVENT_CUSTOM_UPSTREAM,
          gst_structure_new("my-event", "text", G_TYPE_STRING, "\"a\", b;", nullptr)),
      gst_event_new_custom(GST_EVENT_CUSTOM_BOTH, gst_structure_new_empty("both-ways")),
      gst_event_new_toc_select("chapter 3"),
      gst_event_new_select_streams(ids),
      gst_event_new_instant_rate_sync_time(2.0, GST_SECOND, 3 * GST_SECOND),
  };
  for (GstEvent* event : events) {
    // What names a running time is moved instead: `time` has that.
    const bool names_time =
        GST_EVENT_TYPE(event) == GST_EVENT_QOS || gst_video_event_is_force_key_unit(event);
    const gint64 offset = names_time ? 0 : 4711;
    gst_event_set_running_time_offset(event, offset);
    const test::Ref<GstEvent> kept(gst_event_ref(event));
    const GstEventType type = GST_EVENT_TYPE(event);
    fail_unless(gst_harness_push_upstream_event(pair.reader.get(), event), "%s was not handled",
                gst_event_type_get_name(type));
    const auto came = next_upstream(pair.sink, type);
    fail_unless(text_of(came.get()) == text_of(kept.get()), "%s, not %s",
                text_of(came.get()).c_str(), text_of(kept.get()).c_str());
    fail_unless_equals_int(gst_event_get_seqnum(came.get()), gst_event_get_seqnum(kept.get()));
    fail_unless_equals_int64(gst_event_get_running_time_offset(came.get()), offset);
  }
}

// A pad's offset, which is there wherever two clocks are, does not make it another time.
TEST(a_key_unit_for_now_stays_one) {
  const Scene scene;
  const Pair pair(scene);
  for (const gint64 offset : {-4711, 4711}) {
    GstEvent* event = gst_video_event_new_upstream_force_key_unit(GST_CLOCK_TIME_NONE, TRUE, 1);
    gst_event_set_running_time_offset(event, offset);
    fail_unless(gst_harness_push_upstream_event(pair.reader.get(), event));
    const auto came = next_upstream(pair.sink, GST_EVENT_CUSTOM_UPSTREAM);
    GstClockTime time = 0;
    fail_unless(gst_video_event_parse_upstream_force_key_unit(came.get(), &time, nullptr, nullptr));
    fail_unless_equals_uint64(time, GST_CLOCK_TIME_NONE);
  }
}

TEST(what_became_of_a_seek_is_known) {
  const Scene scene;
  const Pipeline sender("videotestsrc name=from ! " + scene.sink("wait-for-connection=true"));
  const Pipeline reader(scene.src("is-live=false ! fakesink name=to sync=true"));
  sender.play();
  reader.play();
  reader.wait(GST_MESSAGE_ASYNC_DONE);
  fail_unless(
      gst_element_seek_simple(reader.get(), GST_FORMAT_TIME, GST_SEEK_FLAG_FLUSH, 2 * GST_SECOND));
  // It has no such unit.
  fail_unless(!gst_element_seek_simple(reader.get(), GST_FORMAT_PERCENT, GST_SEEK_FLAG_FLUSH, 1));
}

TEST(seek_that_nobody_answers_fails_in_time) {
  const Scene scene;
  std::atomic<bool> release{false};
  test::Warnings warnings;
  const Pair pair(scene, "query-timeout=50000000");
  // Who answers may still be at it when the pair ends.
  gst_pad_add_probe(
      pair.sink.get()->srcpad, GST_PAD_PROBE_TYPE_EVENT_UPSTREAM,
      [](GstPad*, GstPadProbeInfo*, gpointer data) {
        const auto& open = *static_cast<std::atomic<bool>*>(data);
        fail_unless(test::becomes([&] { return open.load(); }));
        return GST_PAD_PROBE_OK;
      },
      &release, nullptr);
  fail_unless(!gst_harness_push_upstream_event(
      pair.reader.get(), gst_event_new_seek(1.0, GST_FORMAT_TIME, GST_SEEK_FLAG_FLUSH,
                                            GST_SEEK_TYPE_SET, 0, GST_SEEK_TYPE_NONE, 0)));
  fail_unless(warnings.has("did not say within query-timeout what became of a seek event"));
  release = true;
}

TEST(seek_to_a_sender_that_is_not_there_fails) {
  const Scene scene;
  const Harness reader(scene.src());
  reader.play();
  fail_unless(!gst_harness_push_upstream_event(
      reader.get(), gst_event_new_seek(1.0, GST_FORMAT_TIME, GST_SEEK_FLAG_FLUSH, GST_SEEK_TYPE_SET,
                                       0, GST_SEEK_TYPE_NONE, 0)));
}

TEST(one_of_two_readers_does_not_steer_the_sender) {
  const Scene scene;
  const Pair pair(scene);
  const Harness other(scene.src());
  other.play();
  pair.sink.wait_for_clients(2);
  fail_unless(!gst_harness_push_upstream_event(
      other.get(), gst_event_new_seek(1.0, GST_FORMAT_TIME, GST_SEEK_FLAG_FLUSH, GST_SEEK_TYPE_SET,
                                      0, GST_SEEK_TYPE_NONE, 0)));
  gst_harness_push_upstream_event(other.get(),
                                  gst_event_new_qos(GST_QOS_TYPE_UNDERFLOW, 0.5, 1, GST_SECOND));
  gst_harness_push_upstream_event(other.get(), gst_event_new_reconfigure());
  // In order: what would have come before is not there.
  const test::Ref<GstEvent> next(gst_harness_pull_upstream_event(pair.sink.get()));
  fail_unless_equals_int(GST_EVENT_TYPE(next.get()), GST_EVENT_RECONFIGURE);
}

TEST(joiners_start_with_a_key_frame_that_they_ask_for_once) {
  const Scene scene;
  const Pair pair(scene);
  const auto push = [&](guint64 number, bool delta) {
    GstBuffer* buffer = test::numbered(number, 100);
    if (delta) GST_BUFFER_FLAG_SET(buffer, GST_BUFFER_FLAG_DELTA_UNIT);
    fail_unless_equals_int(pair.sink.push(buffer), GST_FLOW_OK);
    fail_unless_equals_uint64(pair.reader.pull_number(), number);
  };
  push(0, false);
  push(1, true);
  const Harness one(scene.src());
  const Harness two(scene.src());
  one.play();
  two.play();
  pair.sink.wait_for_clients(3);
  push(2, true);
  push(3, true);
  const auto event = next_upstream(pair.sink, GST_EVENT_CUSTOM_UPSTREAM);
  GstClockTime time = 0;
  gboolean all_headers = FALSE;
  guint count = 0;
  fail_unless(
      gst_video_event_parse_upstream_force_key_unit(event.get(), &time, &all_headers, &count));
  fail_unless(all_headers && time == GST_CLOCK_TIME_NONE);
  push(4, false);
  push(5, true);
  for (const Harness* joiner : {&one, &two}) {
    fail_unless_equals_uint64(joiner->pull_number(), 4);
    fail_unless_equals_uint64(joiner->pull_number(), 5);
  }
  fail_unless_equals_int(gst_harness_upstream_events_in_queue(pair.sink.get()), 0);
}

// As of encoders that mark none: openjpegenc with stripes is one.
TEST(a_stream_without_key_frames_is_not_waited_for_without_end) {
  const Scene scene;
  const Pair pair(scene);
  guint64 number = 0;
  const auto push = [&] {
    GstBuffer* buffer = test::numbered(number, 100);
    GST_BUFFER_FLAG_SET(buffer, GST_BUFFER_FLAG_DELTA_UNIT);
    fail_unless_equals_int(pair.sink.push(buffer), GST_FLOW_OK);
    // Who has been there from its beginning has missed nothing.
    fail_unless_equals_uint64(pair.reader.pull_number(), number++);
  };
  push();
  push();
  const Harness late(scene.src());
  late.play();
  pair.sink.wait_for_clients(2);
  fail_unless(test::becomes([&] {
    push();
    return gst_harness_buffers_in_queue(late.get()) > 0;
  }));
}

namespace {

// Two readers of a stream of packets, in lock step.
struct Two : Pair {
  explicit Two(const Scene& scene) : Pair(scene), other(scene.src()) {
    other.play();
    sink.wait_for_clients(2);
    push(true);
    events();
  }
  void push(bool is_key) {
    GstBuffer* buffer = test::numbered(next, 100);
    if (!is_key) GST_BUFFER_FLAG_SET(buffer, GST_BUFFER_FLAG_DELTA_UNIT);
    fail_unless_equals_int(sink.push(buffer), GST_FLOW_OK);
    for (const Harness* one : {&reader, &other})
      fail_unless_equals_uint64(one->pull_number(), next);
    ++next;
  }
  static void ask(const Harness& from, GstEvent* event) {
    fail_unless(gst_harness_push_upstream_event(from.get(), event));
  }
  // What has come to upstream of all that was asked.
  std::vector<test::Ref<GstEvent>> events() {
    for (const Harness* one : {&reader, &other})
      ask(*one, gst_event_new_custom(GST_EVENT_CUSTOM_UPSTREAM, gst_structure_new_empty("end")));
    std::vector<test::Ref<GstEvent>> all;
    for (int ends = 0; ends < 2;) {
      test::Ref<GstEvent> event(gst_harness_pull_upstream_event(sink.get()));
      fail_unless(event != nullptr);
      if (gst_event_has_name(event.get(), "end"))
        ++ends;
      else
        all.push_back(std::move(event));
    }
    return all;
  }
  Harness other;
  guint64 next = 0;
};

GstEvent* key_unit(GstClockTime time, gboolean all_headers, guint count) {
  return gst_video_event_new_upstream_force_key_unit(time, all_headers, count);
}

}  // namespace

TEST(a_key_frame_on_its_way_serves_all_who_ask) {
  const Scene scene;
  Two two(scene);
  two.push(false);
  const test::Ref<GstEvent> asked(key_unit(GST_CLOCK_TIME_NONE, FALSE, 7));
  two.ask(two.reader, gst_event_ref(asked.get()));
  auto came = two.events();
  fail_unless_equals_int(static_cast<int>(came.size()), 1);
  fail_unless(text_of(came[0].get()) == text_of(asked.get()));
  two.ask(two.other, key_unit(GST_CLOCK_TIME_NONE, FALSE, 8));
  two.push(false);
  fail_unless(two.events().empty());
  // It does not for one with headers, nor for one at another time.
  two.ask(two.other, key_unit(GST_CLOCK_TIME_NONE, TRUE, 9));
  two.ask(two.other, key_unit(5 * GST_SECOND, FALSE, 10));
  fail_unless_equals_int(static_cast<int>(two.events().size()), 2);
  // Nor when it has passed.
  two.push(true);
  two.ask(two.other, key_unit(GST_CLOCK_TIME_NONE, FALSE, 11));
  came = two.events();
  fail_unless_equals_int(static_cast<int>(came.size()), 1);
  guint count = 0;
  gst_video_event_parse_upstream_force_key_unit(came[0].get(), nullptr, nullptr, &count);
  fail_unless_equals_int(static_cast<int>(count), 11);
}

TEST(a_key_frame_asked_for_too_often_comes_later) {
  const Scene scene;
  Two two(scene);
  size_t at_once = 0;
  for (int i = 0; i < 20; ++i) {
    two.ask(two.other, key_unit(GST_CLOCK_TIME_NONE, FALSE, 1));
    at_once += two.events().size();
    two.push(true);
  }
  fail_unless(at_once >= 4 && at_once < 20, "%zu", at_once);
  // The other one asks for the first time, and nobody does again.
  two.ask(two.reader, key_unit(GST_CLOCK_TIME_NONE, TRUE, 1));
  std::vector<test::Ref<GstEvent>> later = two.events();
  fail_unless(test::becomes([&] {
    two.push(false);
    if (later.empty()) later = two.events();
    return !later.empty();
  }));
  gboolean all_headers = FALSE;
  fail_unless(gst_video_event_parse_upstream_force_key_unit(later[0].get(), nullptr, &all_headers,
                                                            nullptr));
  fail_unless(all_headers);
}

TEST(the_last_of_many_negotiations_takes_place) {
  const Scene scene;
  Two two(scene);
  for (int i = 0; i < 20; ++i) two.ask(two.other, gst_event_new_reconfigure());
  const size_t at_once = two.events().size();
  fail_unless(at_once >= 2 && at_once < 20, "%zu", at_once);
  fail_unless(test::becomes([&] {
    two.push(true);
    return !two.events().empty();
  }));
}

TEST(a_reader_that_is_alone_asks_as_often_as_it_likes) {
  const Scene scene;
  const Pair pair(scene);
  for (guint i = 0; i < 100; ++i)
    Two::ask(pair.reader,
             i % 2 == 0 ? key_unit(GST_CLOCK_TIME_NONE, TRUE, i) : gst_event_new_reconfigure());
  for (guint i = 0; i < 100; ++i)
    next_upstream(pair.sink, i % 2 == 0 ? GST_EVENT_CUSTOM_UPSTREAM : GST_EVENT_RECONFIGURE);
}

TEST(joiner_of_a_silent_stream_gets_its_stickies_at_once) {
  const Scene scene;
  const Pair pair(scene);
  pair.sink.push_event(gst_event_new_tag(gst_tag_list_new(GST_TAG_TITLE, "quiet", nullptr)));
  const Harness joiner(scene.src());
  joiner.play();
  joiner.pull_event(GST_EVENT_STREAM_START);
  joiner.pull_event(GST_EVENT_CAPS);
  joiner.pull_event(GST_EVENT_SEGMENT);
  joiner.pull_event(GST_EVENT_TAG);
}

TEST(messages_of_a_two_way_server_reach_the_client) {
  const Scene scene;
  const Pipeline server(scene.src("role=server mmap=yes ! identity name=middle ! ") + scene.sink());
  const Pipeline client("videotestsrc is-live=true ! " + std::string(test::kVideo) + " ! " +
                        scene.sink("role=client name=sink remote-messages=wanted,other ") +
                        scene.src("name=back ! fakesink async=false"));
  server.play();
  client.play();
  fail_unless(test::becomes([&] { return test::stat(client.element("back"), "buffers") > 0; }));
  GstElement* middle = server.element("middle");
  for (const char* name : {"unwanted", "wanted"})
    gst_element_post_message(
        middle, gst_message_new_element(GST_OBJECT(middle),
                                        gst_structure_new(name, "n", G_TYPE_INT, 5, nullptr)));
  GST_ELEMENT_WARNING(middle, STREAM, DECODE, ("Something odd."), ("where it was"));
  const auto element = client.wait(GST_MESSAGE_ELEMENT);
  fail_unless(gst_structure_has_name(gst_message_get_structure(element.get()), "wanted"));
  const auto warning = client.wait(GST_MESSAGE_WARNING);
  GError* error = nullptr;
  gchar* debug = nullptr;
  gst_message_parse_warning(warning.get(), &error, &debug);
  fail_unless(g_error_matches(error, GST_STREAM_ERROR, GST_STREAM_ERROR_DECODE));
  fail_unless_equals_string(error->message, "Something odd.");
  fail_unless(test::contains(debug, "where it was") && test::contains(debug, "middle"), "%s",
              debug);
  g_clear_error(&error);
  g_free(debug);

  GST_ELEMENT_ERROR(middle, RESOURCE, NO_SPACE_LEFT, ("It is full."), (nullptr));
  const auto message = client.wait(GST_MESSAGE_ERROR);
  fail_unless(GST_MESSAGE_SRC(message.get()) == GST_OBJECT(client.element("sink")));
  const GstStructure* details = nullptr;
  gst_message_parse_error_details(message.get(), &details);
  const gchar* where = gst_structure_get_string(details, "remote-element");
  fail_unless(where != nullptr && test::contains(where, "middle"));
  gint pid = 0;
  fail_unless(gst_structure_get_int(details, "remote-pid", &pid) && pid == getpid());
  gst_message_parse_error(message.get(), &error, &debug);
  fail_unless(g_error_matches(error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_NO_SPACE_LEFT));
  fail_unless_equals_string(error->message, "It is full.");
  // Where it was raised over there: file, line, function and element.
  fail_unless(test::contains(debug, "upstream.cpp") && test::contains(debug, "middle") &&
                  test::contains(debug, "process " + std::to_string(getpid())),
              "%s", debug);
  g_free(debug);
  g_clear_error(&error);

  // That the failed server goes away is no error of its own.
  server.stop();
  GstPad* pad = gst_element_get_static_pad(client.element("back"), "src");
  fail_unless(test::becomes([&] {
    GstEvent* eos = gst_pad_get_sticky_event(pad, GST_EVENT_EOS, 0);
    const bool came = eos != nullptr;
    if (came) gst_event_unref(eos);
    return came;
  }));
  gst_object_unref(pad);
  // Its own source may say that it was stopped.
  for (const auto& text : client.errors())
    fail_if(test::contains(text, scene.path()), "%s", text.c_str());
}
