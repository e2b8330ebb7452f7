// Questions and their answers, in both directions; and a peer that does not answer.
#include <atomic>
#include <thread>

#include "tests/elements/support.h"

using test::Harness;
using test::Pipeline;
using test::Scene;

namespace {

// What is asked is answered in time, however slow all is, where a test wants it no sooner.
std::string in_time(const char* properties) {
  return "query-timeout=" + std::to_string(test::slowness() * GST_SECOND) + " " + properties;
}

struct Pair {
  Pair(const Scene& scene, const char* sink_properties = "", const char* properties = "")
      : sink(scene.sink(in_time(sink_properties))), reader(scene.src(in_time(properties))) {
    reader.play();
    sink.wait_for_clients(1);
    fail_unless(test::becomes([this] { return reader.stat("peers") == 1; }));
  }
  Harness sink, reader;
};

// Answers queries of a harness's own pad instead of the harness.
using Answer = std::function<bool(GstQuery*)>;
void answer_with(GstPad* pad, Answer& answer) {
  static GQuark key = g_quark_from_static_string("test-answer");
  g_object_set_qdata(G_OBJECT(pad), key, &answer);
  gst_pad_set_query_function(pad, [](GstPad* at, GstObject*, GstQuery* query) -> gboolean {
    return (*static_cast<Answer*>(g_object_get_qdata(G_OBJECT(at), key)))(query);
  });
}

// What is said of a peer that has not answered: here it is always this process.
std::string silence(const std::string& query) {
  return "process " + std::to_string(getpid()) + " did not answer a " + query +
         (query.empty() ? "" : " query within query-timeout");
}

test::Ref<GstCaps> caps_of(const Harness& sink, GstCaps* filter = nullptr) {
  return test::Ref<GstCaps>(gst_pad_peer_query_caps(sink.get()->srcpad, filter));
}

// The latency of each pipeline becomes so many milliseconds, where its application does as they all
// do: it has the pipeline find out anew when there is a message that says so.
void wait_for_latency(const std::vector<std::pair<const Pipeline*, guint64>>& wanted) {
  std::string were;
  const auto are_right = [&] {
    bool all = true;
    were.clear();
    for (const auto& [pipeline, ms] : wanted) {
      GstBus* bus = gst_element_get_bus(pipeline->get());
      while (test::Ref<GstMessage>(gst_bus_pop_filtered(bus, GST_MESSAGE_LATENCY)))
        gst_bin_recalculate_latency(GST_BIN(pipeline->get()));
      gst_object_unref(bus);
      const test::Ref<GstQuery> query(gst_query_new_latency());
      GstClockTime min = GST_CLOCK_TIME_NONE;
      gboolean live = FALSE;
      if (gst_element_query(pipeline->get(), query.get()))
        gst_query_parse_latency(query.get(), &live, &min, nullptr);
      were += " " + std::to_string(min / GST_MSECOND);
      all = all && live && min == ms * GST_MSECOND;
    }
    return all;
  };
  fail_unless(test::becomes(are_right), "%s", were.c_str());
}

}  // namespace

TEST(far_downstream_decides_on_caps) {
  const Scene scene;
  const Harness sink(scene.sink(), nullptr);
  const Harness reader(scene.src());
  gst_harness_set_sink_caps_str(reader.get(),
                                "video/x-raw,format={NV12,I420},width=[16,640],height=[16,480]");
  reader.play();
  sink.wait_for_clients(1);
  const test::Ref<GstCaps> filter(
      gst_caps_from_string("video/x-raw,format={YUY2,I420};image/jpeg"));
  const auto caps = caps_of(sink, filter.get());
  const test::Ref<GstCaps> wanted(
      gst_caps_from_string("video/x-raw,format=I420,width=[16,640],height=[16,480]"));
  fail_unless(gst_caps_is_equal(caps.get(), wanted.get()));
  for (const bool good : {true, false}) {
    const test::Ref<GstCaps> one(gst_caps_from_string(
        good ? "video/x-raw,format=I420,width=64,height=48" : "video/x-raw,format=RGB,width=64"));
    fail_unless_equals_int(gst_pad_peer_query_accept_caps(sink.get()->srcpad, one.get()), good);
  }
}

TEST(reader_that_takes_nothing_of_it_does_not_decide) {
  const Scene scene;
  const Harness sink(scene.sink(), nullptr);
  const Harness first(scene.src());
  const Harness second(scene.src());
  gst_harness_set_sink_caps_str(first.get(), "video/x-raw,format=I420");
  gst_harness_set_sink_caps_str(second.get(), "audio/x-raw");
  first.play();
  sink.wait_for_clients(1);
  second.play();
  sink.wait_for_clients(2);
  const test::Ref<GstCaps> wanted(gst_caps_from_string("video/x-raw,format=I420"));
  fail_unless(gst_caps_is_equal(caps_of(sink).get(), wanted.get()));
}

TEST(upstream_questions_are_answered_by_the_senders_upstream) {
  const Scene scene;
  const Pair pair(scene);
  Answer answer = [](GstQuery* query) {
    switch (GST_QUERY_TYPE(query)) {
      case GST_QUERY_POSITION:
        gst_query_set_position(query, GST_FORMAT_BYTES, 123456789012);
        return true;
      case GST_QUERY_DURATION:
        gst_query_set_duration(query, GST_FORMAT_TIME, 17 * GST_SECOND);
        return true;
      case GST_QUERY_SEEKING:
        gst_query_set_seeking(query, GST_FORMAT_TIME, TRUE, 3, 14);
        return true;
      case GST_QUERY_SEGMENT:
        gst_query_set_segment(query, -2.5, GST_FORMAT_TIME, 100, 200);
        return true;
      case GST_QUERY_CONVERT:
        gst_query_set_convert(query, GST_FORMAT_BYTES, 10, GST_FORMAT_TIME, 20);
        return true;
      case GST_QUERY_FORMATS:
        gst_query_set_formats(query, 2, GST_FORMAT_TIME, GST_FORMAT_BYTES);
        return true;
      case GST_QUERY_LATENCY:
        gst_query_set_latency(query, TRUE, 33 * GST_MSECOND, 99 * GST_MSECOND);
        return true;
      case GST_QUERY_CONTEXT: {
        GstContext* context = gst_context_new("my.context", TRUE);
        gst_structure_set(gst_context_writable_structure(context), "n", G_TYPE_INT, 7, nullptr);
        gst_query_set_context(query, context);
        gst_context_unref(context);
        return true;
      }
      case GST_QUERY_URI:
        gst_query_set_uri(query, "file:///films/one.m3u8");
        gst_query_set_uri_redirection(query, "http://there/two.m3u8");
        gst_query_set_uri_redirection_permanent(query, TRUE);
        return true;
      case GST_QUERY_BUFFERING:
        gst_query_set_buffering_percent(query, TRUE, 40);
        gst_query_set_buffering_stats(query, GST_BUFFERING_DOWNLOAD, 1000, 2000, 3000);
        gst_query_set_buffering_range(query, GST_FORMAT_PERCENT, 1, 400000, 5000);
        gst_query_add_buffering_range(query, 10, 20);
        gst_query_add_buffering_range(query, 30, 40);
        return true;
      case GST_QUERY_CUSTOM:
        gst_structure_set(gst_query_writable_structure(query), "answer", G_TYPE_INT, 42, nullptr);
        return true;
      default:
        return false;
    }
  };
  answer_with(pair.sink.get()->srcpad, answer);
  GstPad* asks = pair.reader.get()->sinkpad;
  gint64 value = 0;
  fail_unless(gst_pad_peer_query_position(asks, GST_FORMAT_BYTES, &value));
  fail_unless_equals_int64(value, 123456789012);
  fail_unless(gst_pad_peer_query_duration(asks, GST_FORMAT_TIME, &value));
  fail_unless_equals_int64(value, 17 * GST_SECOND);
  fail_unless(gst_pad_peer_query_convert(asks, GST_FORMAT_BYTES, 10, GST_FORMAT_TIME, &value));
  fail_unless_equals_int64(value, 20);

  const auto ask = [&](GstQuery* query) {
    test::Ref<GstQuery> asked(query);
    fail_unless(gst_pad_peer_query(asks, query), "%s", GST_QUERY_TYPE_NAME(query));
    return asked;
  };
  gboolean flag = FALSE;
  gint64 start = 0;
  gint64 stop = 0;
  const auto seeking = ask(gst_query_new_seeking(GST_FORMAT_TIME));
  gst_query_parse_seeking(seeking.get(), nullptr, &flag, &start, &stop);
  fail_unless(flag && start == 3 && stop == 14);
  gdouble rate = 0;
  const auto segment = ask(gst_query_new_segment(GST_FORMAT_TIME));
  gst_query_parse_segment(segment.get(), &rate, nullptr, &start, &stop);
  fail_unless(rate == -2.5 && start == 100 && stop == 200);
  guint count = 0;
  const auto formats = ask(gst_query_new_formats());
  gst_query_parse_n_formats(formats.get(), &count);
  fail_unless_equals_int(count, 2);
  GstClockTime min = 0;
  GstClockTime max = 0;
  const auto latency = ask(gst_query_new_latency());
  gst_query_parse_latency(latency.get(), &flag, &min, &max);
  // The way through the link is a millisecond.
  fail_unless(flag && min == 34 * GST_MSECOND && max == 100 * GST_MSECOND);
  const auto uri = ask(gst_query_new_uri());
  gchar* text = nullptr;
  gst_query_parse_uri(uri.get(), &text);
  fail_unless_equals_string(text, "file:///films/one.m3u8");
  g_free(text);
  gst_query_parse_uri_redirection(uri.get(), &text);
  fail_unless_equals_string(text, "http://there/two.m3u8");
  g_free(text);
  gst_query_parse_uri_redirection_permanent(uri.get(), &flag);
  fail_unless(flag);
  const auto buffering = ask(gst_query_new_buffering(GST_FORMAT_PERCENT));
  gint percent = 0;
  gst_query_parse_buffering_percent(buffering.get(), &flag, &percent);
  fail_unless(flag && percent == 40);
  GstBufferingMode mode{};
  gint in = 0;
  gint out = 0;
  gst_query_parse_buffering_stats(buffering.get(), &mode, &in, &out, &value);
  fail_unless(mode == GST_BUFFERING_DOWNLOAD && in == 1000 && out == 2000 && value == 3000);
  gst_query_parse_buffering_range(buffering.get(), nullptr, &start, &stop, &value);
  fail_unless(start == 1 && stop == 400000 && value == 5000);
  fail_unless_equals_int(gst_query_get_n_buffering_ranges(buffering.get()), 2);
  gst_query_parse_nth_buffering_range(buffering.get(), 1, &start, &stop);
  fail_unless(start == 30 && stop == 40);
  GstContext* context = nullptr;
  gint number = 0;
  const auto with_context = ask(gst_query_new_context("my.context"));
  gst_query_parse_context(with_context.get(), &context);
  fail_unless(gst_structure_get_int(gst_context_get_structure(context), "n", &number));
  fail_unless_equals_int(number, 7);
  const auto custom = ask(gst_query_new_custom(
      GST_QUERY_CUSTOM, gst_structure_new("my-question", "what", G_TYPE_STRING, "it", nullptr)));
  const GstStructure* answered = gst_query_get_structure(custom.get());
  fail_unless(gst_structure_get_int(answered, "answer", &number) && number == 42);
  fail_unless_equals_string(gst_structure_get_string(answered, "what"), "it");
}

TEST(downstream_questions_are_answered_by_the_readers_downstream) {
  const Scene scene;
  const Pair pair(scene);
  std::atomic<int> drained{0};
  Answer answer = [&](GstQuery* query) {
    if (GST_QUERY_TYPE(query) == GST_QUERY_DRAIN) ++drained;
    if (GST_QUERY_TYPE(query) == GST_QUERY_CUSTOM)
      gst_structure_set(gst_query_writable_structure(query), "answer", G_TYPE_INT, 1, nullptr);
    if (GST_QUERY_TYPE(query) == GST_QUERY_BITRATE) gst_query_set_bitrate(query, 128000);
    return GST_QUERY_TYPE(query) == GST_QUERY_DRAIN || GST_QUERY_TYPE(query) == GST_QUERY_CUSTOM ||
           GST_QUERY_TYPE(query) == GST_QUERY_BITRATE;
  };
  answer_with(pair.reader.get()->sinkpad, answer);
  const test::Ref<GstQuery> custom(
      gst_query_new_custom(GST_QUERY_CUSTOM, gst_structure_new_empty("my-question")));
  fail_unless(gst_pad_peer_query(pair.sink.get()->srcpad, custom.get()));
  gint number = 0;
  fail_unless(gst_structure_get_int(gst_query_get_structure(custom.get()), "answer", &number));
  const test::Ref<GstQuery> bitrate(gst_query_new_bitrate());
  guint bits = 0;
  fail_unless(gst_pad_peer_query(pair.sink.get()->srcpad, bitrate.get()));
  gst_query_parse_bitrate(bitrate.get(), &bits);
  fail_unless_equals_int(bits, 128000);
  // In order with the data: what was sent before has been delivered.
  for (guint64 i = 0; i < 5; ++i) pair.sink.push_number(i);
  const test::Ref<GstQuery> drain(gst_query_new_drain());
  fail_unless(gst_pad_peer_query(pair.sink.get()->srcpad, drain.get()));
  fail_unless_equals_int(drained, 1);
  fail_unless_equals_int(gst_harness_buffers_in_queue(pair.reader.get()), 5);
}

// A muxer asks: what it goes back to must be there for each of them.
TEST(sender_may_go_back_where_all_of_its_readers_can) {
  const Scene scene;
  const Harness sink(scene.sink(), nullptr);
  const auto may_go_back = [&] {
    const test::Ref<GstQuery> query(gst_query_new_seeking(GST_FORMAT_BYTES));
    gboolean seekable = FALSE;
    if (gst_pad_peer_query(sink.get()->srcpad, query.get()))
      gst_query_parse_seeking(query.get(), nullptr, &seekable, nullptr, nullptr);
    return seekable != FALSE;
  };
  fail_unless(!may_go_back());
  const Pipeline file(scene.src() + "! filesink async=false location=" + scene.path("file"));
  file.play();
  sink.wait_for_clients(1);
  fail_unless(may_go_back());
  const Pipeline other(scene.src() + "! fakesink async=false");
  other.play();
  sink.wait_for_clients(2);
  fail_unless(!may_go_back());
  other.stop();
  sink.wait_for_clients(1);
  fail_unless(may_go_back());
}

TEST(metas_that_the_reader_knows_are_offered) {
  const Scene scene;
  const Pair pair(scene);
  gst_harness_add_propose_allocation_meta(pair.reader.get(), GST_VIDEO_CROP_META_API_TYPE, nullptr);
  gst_harness_add_propose_allocation_meta(pair.reader.get(),
                                          GST_VIDEO_OVERLAY_COMPOSITION_META_API_TYPE, nullptr);
  const auto query = pair.sink.ask_allocation();
  fail_unless(gst_query_find_allocation_meta(query.get(), GST_VIDEO_CROP_META_API_TYPE, nullptr));
  // That one holds memory, and does not cross.
  fail_unless(!gst_query_find_allocation_meta(
      query.get(), GST_VIDEO_OVERLAY_COMPOSITION_META_API_TYPE, nullptr));
}

namespace {

// A context with a number, or with an object, which is of one process.
void set_context(GstQuery* query, GObject* object) {
  const gchar* type = nullptr;
  gst_query_parse_context_type(query, &type);
  GstContext* context = gst_context_new(type, FALSE);
  GstStructure* fields = gst_context_writable_structure(context);
  if (object != nullptr)
    gst_structure_set(fields, "display", G_TYPE_OBJECT, object, nullptr);
  else
    gst_structure_set(fields, "id", G_TYPE_UINT64, G_GUINT64_CONSTANT(1) << 40, nullptr);
  gst_query_set_context(query, context);
  gst_context_unref(context);
}

}  // namespace

// As an element does that needs one: it asks both ways, before it asks its application.
TEST(contexts_are_found_on_the_other_side) {
  const Scene scene;
  const Pair pair(scene);
  GObject* object = nullptr;
  Answer answer = [&](GstQuery* query) {
    if (GST_QUERY_TYPE(query) != GST_QUERY_CONTEXT) return false;
    set_context(query, object);
    return true;
  };
  const auto ask = [](GstPad* pad) {
    const test::Ref<GstQuery> query(gst_query_new_context("my.context"));
    GstContext* context = nullptr;
    if (gst_pad_peer_query(pad, query.get())) gst_query_parse_context(query.get(), &context);
    if (context == nullptr) return guint64{0};
    fail_unless(gst_context_has_context_type(context, "my.context"));
    fail_unless(!gst_context_is_persistent(context));
    guint64 id = 0;
    fail_unless(gst_structure_get_uint64(gst_context_get_structure(context), "id", &id));
    return id;
  };
  for (const auto& [asks, answers] :
       {std::pair(&pair.sink, &pair.reader), std::pair(&pair.reader, &pair.sink)}) {
    GstPad* from = asks == &pair.sink ? asks->get()->srcpad : asks->get()->sinkpad;
    GstPad* to = asks == &pair.sink ? answers->get()->sinkpad : answers->get()->srcpad;
    fail_unless_equals_uint64(ask(from), 0);
    answer_with(to, answer);
    object = nullptr;
    fail_unless_equals_uint64(ask(from), G_GUINT64_CONSTANT(1) << 40);
    // All of it or nothing.
    object = G_OBJECT(pair.sink.element());
    fail_unless_equals_uint64(ask(from), 0);
  }
}

TEST(latency_is_right_on_both_sides) {
  const Scene scene;
  // A frame of 20 ms on one side, a sink of 30 ms on the other.
  const Pipeline sender("videotestsrc is-live=true ! video/x-raw,framerate=50/1 ! " +
                        scene.sink("name=sink"));
  const Pipeline reader(
      scene.src("name=src ! fakesink name=end sync=true processing-deadline=30000000"));
  sender.play();
  reader.play();
  // And a millisecond of the link's.
  wait_for_latency({{&reader, 51}, {&sender, 51}});
  // Whose latency changes says so, and both hear of it.
  g_object_set(reader.element("end"), "processing-deadline", 90 * GST_MSECOND, nullptr);
  wait_for_latency({{&reader, 111}, {&sender, 111}});
}

TEST(latency_is_right_over_a_two_way_link) {
  const Scene scene;
  // Ten frames of 20 ms wait in the encoder.
  const Pipeline server(scene.src("role=server mmap=yes ! ") +
                        "x264enc bframes=0 rc-lookahead=10 sync-lookahead=0 sliced-threads=false "
                        "threads=1 speed-preset=ultrafast ! " +
                        scene.sink());
  const Pipeline client(
      "videotestsrc is-live=true ! video/x-raw,width=64,height=48,framerate=50/1 ! " +
      scene.sink("role=client ") + scene.src("! fakesink sync=true processing-deadline=30000000"));
  server.play();
  client.play();
  wait_for_latency({{&server, 20 + 1 + 200}, {&client, 20 + 1 + 200 + 1 + 30}});
}

// Whoever links elements of a client that plays asks for caps, and may start the other half next.
TEST(caps_wait_for_the_way_back_but_not_for_ever) {
  const Scene scene;
  const Pipeline server(scene.src("role=server mmap=yes ! ") + scene.sink());
  const Pipeline back(scene.src("! fakesink"));
  server.play();
  fail_unless_equals_int(back.set(GST_STATE_READY), GST_STATE_CHANGE_SUCCESS);
  const Harness sink(scene.sink("role=client query-timeout=50000000"), nullptr);
  fail_unless(caps_of(sink) != nullptr);
}

TEST(peer_that_does_not_answer_is_waited_for_in_vain_once) {
  const Scene scene;
  // Who answers may still be at it when the pair ends.
  std::atomic<bool> release{false};
  std::atomic<int> asked{0};
  Answer silent = [&](GstQuery*) {
    ++asked;
    fail_unless(test::becomes([&] { return release.load(); }));
    return false;
  };
  test::Warnings warnings;
  const Pair pair(scene, "query-timeout=50000000", "query-timeout=50000000");
  answer_with(pair.sink.get()->srcpad, silent);
  gint64 value = 0;
  fail_unless(!gst_pad_peer_query_position(pair.reader.get()->sinkpad, GST_FORMAT_TIME, &value));
  fail_unless(warnings.has(silence("position")));
  fail_unless(test::becomes([&] { return asked == 1; }));
  release = true;
  // What was late is for nobody, and the next question is answered.
  Answer quick = [](GstQuery* query) {
    gst_query_set_position(query, GST_FORMAT_TIME, 5);
    return true;
  };
  answer_with(pair.sink.get()->srcpad, quick);
  fail_unless(test::becomes([&] {
    return gst_pad_peer_query_position(pair.reader.get()->sinkpad, GST_FORMAT_TIME, &value);
  }));
  fail_unless_equals_int64(value, 5);
}

TEST(streaming_goes_on_past_a_reader_that_does_not_answer) {
  const Scene scene;
  // Who answers may still be at it when the pair ends.
  std::atomic<bool> release{false};
  Answer silent = [&](GstQuery* query) {
    if (GST_QUERY_TYPE(query) != GST_QUERY_CAPS) return false;
    fail_unless(test::becomes([&] { return release.load(); }));
    return false;
  };
  test::Warnings warnings;
  const Pair pair(scene, "query-timeout=50000000");
  // The pad that takes caps asks itself which: they are to have come before it is silent.
  GstPad* const pad = pair.reader.get()->sinkpad;
  fail_unless(test::becomes([&] { return gst_pad_has_current_caps(pad); }));
  answer_with(pad, silent);
  caps_of(pair.sink);
  // Where it was too slow before, it was not asked again.
  fail_unless(warnings.has(silence("")));
  for (guint64 i = 0; i < 3; ++i) {
    pair.sink.push_number(i);
    fail_unless_equals_uint64(pair.reader.pull_number(), i);
  }
  release = true;
}
