// mmapremote in a pipeline: from outside it is the element that is in the server's.
#include <gst/pbutils/pbutils.h>
#include <gst/video/video.h>

#include <atomic>
#include <optional>
#include <thread>

#include "tests/elements/like_support.h"

using test::becomes;
using test::Pipeline;
using test::Ref;
using test::Scene;
using test::Seen;

namespace {

constexpr auto kPictures = "videotestsrc name=source ! video/x-raw,width=64,height=48 ! ";
constexpr auto kLivePictures =
    "videotestsrc name=source is-live=true ! "
    "video/x-raw,format=I420,width=64,height=48,framerate=100/1 ! ";

// As a live source, which has another running time than we, or as one that leaves it alone.
std::string server_of(const Scene& scene, const std::string& elements, bool is_live = true) {
  return scene.src("role=server mmap=yes name=in ") + (is_live ? "! " : "is-live=false ! ") +
         elements + " ! " + scene.sink("name=back");
}

std::string remote(const Scene& scene, const std::string& properties = "") {
  return "mmapremote name=remote socket-path=" + scene.path() + " " + properties + " ! ";
}

std::string active(const Pipeline& pipeline) {
  gchar* text = nullptr;
  g_object_get(pipeline.element("remote"), "active", &text, nullptr);
  const std::string word = text;
  g_free(text);
  return word;
}

// Transfer full, or nothing.
GstElement* find_remote(GstBin* bin) {
  GstIterator* all = gst_bin_iterate_all_by_element_factory_name(bin, "mmapremote");
  GValue first = G_VALUE_INIT;
  GstElement* found = nullptr;
  if (gst_iterator_next(all, &first) == GST_ITERATOR_OK) {
    found = GST_ELEMENT(g_value_dup_object(&first));
    g_value_unset(&first);
  }
  gst_iterator_free(all);
  return found;
}

void seek(const Pipeline& client, GstClockTime to) {
  fail_unless(gst_element_seek_simple(
      client.get(), GST_FORMAT_TIME,
      static_cast<GstSeekFlags>(GST_SEEK_FLAG_FLUSH | GST_SEEK_FLAG_ACCURATE),
      static_cast<gint64>(to)));
}

GstClockTime running_time(GstPad* pad, GstClockTime pts) {
  const Ref<GstEvent> event(gst_pad_get_sticky_event(pad, GST_EVENT_SEGMENT, 0));
  const GstSegment* segment = nullptr;
  gst_event_parse_segment(event.get(), &segment);
  return gst_segment_to_running_time(segment, GST_FORMAT_TIME, pts);
}

}  // namespace

TEST(its_caps_are_those_over_there) {
  const Scene scene;
  const Pipeline server(server_of(scene, "video/x-raw,format=NV12,width=32,height=24 ! identity"));
  const Pipeline client("videotestsrc num-buffers=5 ! " + remote(scene) + "fakesink name=end");
  server.play();
  client.play();
  client.wait_eos();
  const Ref<GstPad> pad(gst_element_get_static_pad(client.element("end"), "sink"));
  const Ref<GstCaps> caps(gst_pad_get_current_caps(pad.get()));
  GstVideoInfo info;
  fail_unless(gst_video_info_from_caps(&info, caps.get()));
  fail_unless(GST_VIDEO_INFO_FORMAT(&info) == GST_VIDEO_FORMAT_NV12);
  fail_unless_equals_int(info.width, 32);
}

TEST(no_frame_is_copied_on_the_way) {
  const Scene scene;
  const Pipeline server(server_of(scene, "identity"));
  const Pipeline client("videotestsrc num-buffers=30 ! video/x-raw,width=64,height=48 ! " +
                        remote(scene) + "fakesink name=end");
  server.play();
  client.play();
  client.wait_eos();
  GstStructure* stats = nullptr;
  g_object_get(client.element("remote"), "stats", &stats, nullptr);
  for (const char* direction : {"send", "receive"}) {
    GstStructure* one = nullptr;
    fail_unless(gst_structure_get(stats, direction, GST_TYPE_STRUCTURE, &one, nullptr));
    guint64 count = 0;
    guint64 copied = 1;
    fail_unless(gst_structure_get_uint64(one, "buffers", &count) &&
                gst_structure_get_uint64(one, "buffers-copied", &copied));
    fail_unless_equals_uint64(count, 30);
    if (g_getenv("TEST_MMAP") == nullptr) fail_unless_equals_uint64(copied, 0);
    gst_structure_free(one);
  }
  gst_structure_free(stats);
}

TEST(a_seek_goes_through_it) {
  const Scene scene;
  const Pipeline server(server_of(scene, "identity"));
  const Pipeline client(kPictures + remote(scene) + "fakesink name=end sync=true");
  const Seen seen(client.element("end"), "sink");
  server.play();
  client.play();
  client.wait(GST_MESSAGE_ASYNC_DONE);
  for (const GstClockTime to : {20 * GST_SECOND, 3 * GST_SECOND}) {
    seek(client, to);
    client.wait(GST_MESSAGE_ASYNC_DONE);
    seen.wait_buffer_near(to);
  }
}

TEST(a_key_frame_can_be_asked_for) {
  const Scene scene;
  const Pipeline server(server_of(scene, "x264enc tune=zerolatency key-int-max=10000"));
  const Pipeline client(kLivePictures + remote(scene) + "fakesink name=end");
  std::atomic<int> keys{0};
  const Ref<GstPad> pad(gst_element_get_static_pad(client.element("end"), "sink"));
  const gulong probe = gst_pad_add_probe(
      pad.get(), GST_PAD_PROBE_TYPE_BUFFER,
      [](GstPad*, GstPadProbeInfo* info, gpointer count) {
        if (!GST_BUFFER_FLAG_IS_SET(GST_PAD_PROBE_INFO_BUFFER(info), GST_BUFFER_FLAG_DELTA_UNIT))
          ++*static_cast<std::atomic<int>*>(count);
        return GST_PAD_PROBE_OK;
      },
      &keys, nullptr);
  server.play();
  client.play();
  fail_unless(becomes([&] { return keys >= 1; }));
  for (int i = 2; i < 5; ++i) {
    gst_pad_push_event(pad.get(), gst_video_event_new_upstream_force_key_unit(
                                      GST_CLOCK_TIME_NONE, TRUE, static_cast<guint>(i)));
    fail_unless(becomes([&] { return keys >= i; }));
  }
  gst_pad_remove_probe(pad.get(), probe);
  client.stop();
}

static void check_latency(bool is_live) {
  const Scene scene;
  const Pipeline server(
      server_of(scene, "x264enc rc-lookahead=20 sliced-threads=false bframes=0", is_live));
  const Pipeline client(kLivePictures + remote(scene) + "fakesink name=end");
  const Seen seen(client.element("end"), "sink");
  server.play();
  client.play();
  seen.wait_buffers(5);
  const Ref<GstPad> pad(gst_element_get_static_pad(client.element("end"), "sink"));
  const Ref<GstQuery> query(gst_query_new_latency());
  fail_unless(gst_pad_peer_query(pad.get(), query.get()));
  gboolean live = FALSE;
  GstClockTime min = 0;
  gst_query_parse_latency(query.get(), &live, &min, nullptr);
  fail_unless(live);
  fail_unless(min >= 20 * GST_SECOND / 100, "%" GST_TIME_FORMAT, GST_TIME_ARGS(min));
  client.stop();
}

TEST(latency_is_the_far_encoders) {
  for (const bool is_live : {true, false}) check_latency(is_live);
}

// As for an element that is there, its pipeline prerolls with the first frame; one that is live
// does not.
TEST(a_pipeline_prerolls_through_it) {
  const Scene scene;
  const Pipeline server(server_of(scene, "identity"));
  server.play();
  {
    const Pipeline client(kPictures + remote(scene) + "fakesink name=end");
    fail_unless(client.set(GST_STATE_PAUSED) == GST_STATE_CHANGE_ASYNC);
    client.wait(GST_MESSAGE_ASYNC_DONE);
  }
  const Pipeline client(kLivePictures + remote(scene) + "fakesink name=end");
  fail_unless(client.set(GST_STATE_PAUSED) == GST_STATE_CHANGE_NO_PREROLL);
}

TEST(what_it_makes_can_be_used_again) {
  const Scene scene;
  const Pipeline server(server_of(scene, "identity"));
  const Pipeline client(kPictures + remote(scene, "fallback=identity") + "fakesink name=end");
  const Seen seen(client.element("end"), "sink");
  server.play();
  for (int i = 0; i < 5; ++i) {
    client.play();
    seen.wait_buffers(5);
    fail_unless(active(client) == "server");
    client.set(i % 2 == 0 ? GST_STATE_READY : GST_STATE_NULL);
  }
}

TEST(without_a_server_it_can_be_stopped) {
  const Scene scene;
  for (const char* fallback : {"", "fallback=identity"})
    for (const GstState from : {GST_STATE_PAUSED, GST_STATE_PLAYING}) {
      const Pipeline client(kPictures + remote(scene, fallback) + "fakesink name=end");
      client.set(from);
      client.set(GST_STATE_READY);
      client.set(from);
      client.stop();
      fail_unless(client.errors().empty());
    }
}

TEST(a_fallback_alone_is_an_element_like_any) {
  const Scene scene;
  const Pipeline client("videotestsrc name=source ! video/x-raw,width=64,height=48 ! " +
                        remote(scene, "fallback=\"queue ! jpegenc\"") +
                        "jpegdec ! fakesink name=end sync=true");
  const Seen seen(client.element("end"), "sink");
  client.play();
  client.wait(GST_MESSAGE_ASYNC_DONE);
  fail_unless(active(client) == "fallback");
  const GstClockTime to = 20 * GST_SECOND;
  seek(client, to);
  client.wait(GST_MESSAGE_ASYNC_DONE);
  seen.wait_buffer_near(to);
  gst_element_send_event(client.element("source"), gst_event_new_eos());
  client.wait_eos();
}

// Each frame once, whoever has seen to it, at its time.
static void come_and_go(bool is_live) {
  const Scene scene;
  const std::string line = server_of(scene, "identity", is_live);
  std::optional<Pipeline> server(std::in_place, line);
  const Pipeline client(kLivePictures + remote(scene, "fallback=identity") +
                        "fakesink name=end async=false");
  const Seen seen(client.element("end"), "sink");
  server->play();
  client.play();
  seen.wait_buffers(30);
  for (int i = 0; i < 3; ++i) {
    fail_unless(becomes([&] { return active(client) == "server"; }));
    seen.wait_buffers(30);
    server.reset();
    fail_unless(becomes([&] { return active(client) == "fallback"; }));
    seen.wait_buffers(30);
    server.emplace(line);
    server->play();
  }
  fail_unless(becomes([&] { return active(client) == "server"; }));
  seen.wait_buffers(30);
  gst_element_send_event(client.element("source"), gst_event_new_eos());
  client.wait_eos();
  const Ref<GstPad> pad(gst_element_get_static_pad(client.element("end"), "sink"));
  GstClockTime last = GST_CLOCK_TIME_NONE;
  for (const auto& item : seen.items()) {
    if (!item.is_buffer()) continue;
    if (GST_CLOCK_TIME_IS_VALID(last)) fail_unless_equals_uint64(item.pts, last + GST_SECOND / 100);
    last = item.pts;
  }
  fail_unless_equals_uint64(running_time(pad.get(), last), last);
  client.stop();
}

TEST(the_server_comes_and_goes) { come_and_go(true); }

TEST(one_that_leaves_time_alone_comes_and_goes) { come_and_go(false); }

// One stream begins once.
TEST(what_both_say_is_said_once) {
  const Scene scene;
  std::optional<Pipeline> server(std::in_place, server_of(scene, "identity"));
  const Pipeline client(kLivePictures + remote(scene, "fallback=identity") +
                        "fakesink name=end async=false");
  const Seen seen(client.element("end"), "sink");
  server->play();
  client.play();
  seen.wait_buffers(10);
  server.reset();
  fail_unless(becomes([&] { return active(client) == "fallback"; }));
  seen.wait_buffers(10);
  int starts = 0;
  int caps = 0;
  for (const auto& item : seen.items()) {
    starts += item.is(GST_EVENT_STREAM_START) ? 1 : 0;
    caps += item.is(GST_EVENT_CAPS) ? 1 : 0;
  }
  fail_unless_equals_int(starts, 1);
  fail_unless_equals_int(caps, 1);
  client.stop();
}

// Where it is asked for by name, and its rank, none, is raised to what encodebin looks at.
TEST(encodebin_takes_it_by_its_name) {
  const Scene scene;
  const Pipeline server(server_of(scene, "jpegenc"));
  server.play();
  const Ref<GstElementFactory> factory(gst_element_factory_find("mmapremote"));
  auto* feature = GST_PLUGIN_FEATURE(factory.get());
  fail_unless_equals_int(static_cast<int>(gst_plugin_feature_get_rank(feature)), GST_RANK_NONE);
  gst_plugin_feature_set_rank(feature, GST_RANK_MARGINAL);

  const Pipeline client(
      "videotestsrc num-buffers=10 ! capsfilter name=in caps=video/x-raw,width=64,height=48 "
      "fakesink name=end");
  const Ref<GstCaps> jpeg(gst_caps_new_empty_simple("image/jpeg"));
  GstEncodingVideoProfile* profile =
      gst_encoding_video_profile_new(jpeg.get(), "mmapremote", nullptr, 0);
  gst_encoding_profile_set_preset_name(GST_ENCODING_PROFILE(profile), "mmapremote");
  GstElement* encode = gst_element_factory_make("encodebin", "encode");
  g_object_set(encode, "profile", profile, nullptr);
  gst_encoding_profile_unref(profile);
  gst_bin_add(GST_BIN(client.get()), encode);
  fail_unless(gst_element_link(client.element("in"), encode));
  fail_unless(gst_element_link(encode, client.element("end")));
  GstElement* remote = find_remote(GST_BIN(encode));
  fail_unless(remote != nullptr);
  g_object_set(remote, "socket-path", scene.path().c_str(), nullptr);
  gst_object_unref(remote);
  client.play();
  client.wait_eos();
}

TEST(what_is_wrong_is_said) {
  struct Wrong {
    const char* properties;
    const char* text;
  };
  for (const auto& [properties, text] : {
           Wrong{"fallback=nosuchthing", "no element \"nosuchthing\""},
           Wrong{"fallback=fakesrc", "one sink pad and one source pad"},
           Wrong{"params=bitrate", "'bitrate' in a request is not name=value"},
           Wrong{"mmap=maybe", "mmap=maybe"},
           Wrong{"connection-timeout=1", "within connection-timeout"},
           Wrong{"connection-timeout=1 fallback=identity", "is nothing to one that has a fallback"},
       }) {
    const Scene scene;
    const Pipeline client(kPictures + remote(scene, properties) + "fakesink");
    client.set(GST_STATE_PLAYING);
    const std::string error = client.wait_error();
    fail_unless(test::contains(error, text), "%s", error.c_str());
  }
}

// Each seek comes to its end, whoever is there to do the work, and whoever goes meanwhile.
TEST(seeks_while_the_server_comes_and_goes) {
  const Scene scene;
  const Pipeline client(kPictures + remote(scene, "fallback=identity") +
                        "fakesink name=end sync=true");
  const Seen seen(client.element("end"), "sink");
  std::optional<Pipeline> server;
  for (int i = 0; i < 24; ++i) {
    std::thread changes([&] {
      if (server) {
        server.reset();
      } else {
        server.emplace(server_of(scene, "identity", i % 4 == 0));
        server->play();
      }
    });
    if (i == 0) {
      changes.join();
      client.play();
      client.wait(GST_MESSAGE_ASYNC_DONE);
      continue;
    }
    const GstClockTime to = static_cast<GstClockTime>(i) * 10 * GST_SECOND;
    seek(client, to);
    changes.join();
    client.wait(GST_MESSAGE_ASYNC_DONE);
    seen.wait_buffer_near(to);
  }
  client.stop();
}

// Whose fallback is drained just then.
TEST(a_server_may_end_as_the_stream_turns_to_it) {
  const Scene scene;
  const Pipeline client(kLivePictures + remote(scene, "fallback=\"identity name=near\"") +
                        "fakesink name=end async=false");
  const Seen seen(client.element("end"), "sink");
  client.play();
  seen.wait_buffers(5);
  struct Drain {
    std::atomic<bool> begins{false}, may_end{false};
  } drain;
  const Ref<GstPad> near(gst_element_get_static_pad(client.element("near"), "src"));
  const gulong probe = gst_pad_add_probe(
      near.get(), GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM,
      [](GstPad*, GstPadProbeInfo* info, gpointer data) {
        auto& now = *static_cast<Drain*>(data);
        if (GST_EVENT_TYPE(GST_PAD_PROBE_INFO_EVENT(info)) != GST_EVENT_EOS)
          return GST_PAD_PROBE_OK;
        now.begins = true;
        becomes([&] { return now.may_end.load(); });
        return GST_PAD_PROBE_OK;
      },
      &drain, nullptr);
  std::atomic<bool> hung_up{false};  // outlives the server, which says so as it goes
  const Pipeline server(server_of(scene, "identity"));
  g_signal_connect(server.element("in"), "client-disconnected",
                   G_CALLBACK(+[](GstElement*, guint, guint, gpointer flag) {
                     *static_cast<std::atomic<bool>*>(flag) = true;
                   }),
                   &hung_up);
  server.play();
  fail_unless(becomes([&] { return drain.begins.load(); }));
  gst_element_send_event(server.get(), gst_event_new_eos());
  // One that has not turned to us yet only says that it takes nothing.
  becomes([&] { return hung_up.load(); });
  drain.may_end = true;
  seen.wait_buffers(30);
  fail_unless(active(client) == "fallback");
  gst_pad_remove_probe(near.get(), probe);
  client.stop();
}

// What is inside has been told of a fallback, which is gone.
TEST(a_fallback_can_be_taken_away) {
  const Scene scene;
  const Pipeline server(server_of(scene, "identity"));
  const Pipeline client(kLivePictures + remote(scene, "fallback=identity") +
                        "fakesink name=end async=false");
  const Seen seen(client.element("end"), "sink");
  server.play();
  client.play();
  seen.wait_buffers(5);
  client.set(GST_STATE_NULL);
  g_object_set(client.element("remote"), "fallback", "", nullptr);
  client.play();
  seen.wait_buffers(5);
  client.stop();
  fail_unless(client.errors().empty());
}

// As after an error of its own, but its last word never comes, and it does not hang up either.
static void check_silent_server(const std::string& source, bool ends) {
  const Scene scene;
  const Pipeline server(server_of(scene, "identity name=broken error-after=20"));
  const Ref<GstPad> out(gst_element_get_static_pad(server.element("broken"), "src"));
  gst_pad_add_probe(
      out.get(), GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM,
      [](GstPad*, GstPadProbeInfo* info, gpointer) {
        return GST_EVENT_TYPE(GST_PAD_PROBE_INFO_EVENT(info)) == GST_EVENT_EOS ? GST_PAD_PROBE_DROP
                                                                               : GST_PAD_PROBE_OK;
      },
      nullptr, nullptr);
  const Pipeline client(source + remote(scene, "fallback=identity") +
                        "fakesink name=end async=false");
  const Seen seen(client.element("end"), "sink");
  std::atomic<int> came{0};
  g_signal_connect(server.element("in"), "client-connected",
                   G_CALLBACK(+[](GstElement*, guint, guint, gpointer n) {
                     ++*static_cast<decltype(came)*>(n);
                   }),
                   &came);
  server.play();
  client.play();
  if (ends) {
    client.wait_eos();
  } else {
    // It tries again, and that server is there.
    seen.wait_buffers(40);
    fail_unless(becomes([&] { return came >= 2; }));
    seen.wait_buffers(40);
  }
  fail_unless(active(client) == "fallback");
  client.stop();
}

TEST(a_server_that_takes_no_more_is_hung_up_on) { check_silent_server(kLivePictures, false); }

TEST(the_end_of_the_stream_does_not_wait_for_a_silent_server) {
  check_silent_server(
      "videotestsrc num-buffers=20 ! video/x-raw,format=I420,width=64,height=48,framerate=100/1 ! ",
      true);
}

// As one that is stopped: it neither takes nor gives, and does not hang up.
TEST(a_server_that_stands_still_is_left_after_peer_timeout) {
  const Scene scene;
  const Pipeline server(server_of(scene, "identity"));
  const Pipeline client(kLivePictures + remote(scene, "fallback=identity") +
                        "fakesink name=end async=false");
  // Not in the launch line, whose parser keeps a reference of the child (GStreamer 1.22).
  g_object_set(client.element("mmapsink"), "peer-timeout", 300 * GST_MSECOND, nullptr);
  const Seen seen(client.element("end"), "sink");
  server.play();
  client.play();
  seen.wait_buffers(30);
  fail_unless(active(client) == "server");
  server.set(GST_STATE_PAUSED);
  fail_unless(becomes([&] { return active(client) == "fallback"; }));
  seen.wait_buffers(30);
  client.stop();
}
