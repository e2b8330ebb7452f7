// States, and what the end of a peer means: on-disconnect on both elements in both roles, pausing,
// and reconnecting.
#include <sys/stat.h>

#include <atomic>
#include <thread>

#include "tests/elements/support.h"

using test::Harness;
using test::Pipeline;
using test::Scene;

namespace {

constexpr auto kLiveSource = "videotestsrc is-live=true ! video/x-raw,framerate=100/1 ! ";

guint64 buffers_of(const Pipeline& pipeline, const char* name) {
  return test::stat(pipeline.element(name), "buffers");
}

void check_flows(const Pipeline& pipeline, const char* name) {
  const guint64 before = buffers_of(pipeline, name);
  fail_unless(test::becomes([&] { return buffers_of(pipeline, name) > before + 2; }),
              "%s is at a standstill after %d", name, static_cast<int>(before));
}

// The peer goes in mid-stream, without an EOS.
void lose_sender(const Scene& scene, const Pipeline& reader, const std::string& role) {
  const Pipeline sender(kLiveSource + scene.sink("role=" + role));
  reader.play();
  sender.play();
  check_flows(reader, "src");
  sender.stop();
}

void lose_reader(const Scene& scene, const Pipeline& sender, const std::string& role) {
  const Pipeline reader(scene.src("name=src role=" + role + " ! fakesink async=false"));
  sender.play();
  reader.play();
  check_flows(reader, "src");
  reader.stop();
}

std::string reader_line(const Scene& scene, const std::string& properties) {
  return scene.src(properties + " name=src ! fakesink async=false");
}

std::string sender_line(const Scene& scene, const std::string& properties) {
  return kLiveSource + scene.sink(properties + " name=sink");
}

}  // namespace

// --- a source whose sender goes -----------------------------------------------------------------

TEST(client_source_reports_an_error) {
  const Scene scene;
  for (const char* properties : {"", "on-disconnect=auto", "on-disconnect=error"}) {
    const Pipeline reader(reader_line(scene, properties));
    lose_sender(scene, reader, "server");
    const std::string error = reader.wait_error();
    fail_unless(test::contains(error, scene.path()), "%s", error.c_str());
    fail_unless(reader.errors().empty());
  }
}

TEST(client_source_ends_the_stream) {
  const Scene scene;
  const Pipeline reader(reader_line(scene, "on-disconnect=eos"));
  lose_sender(scene, reader, "server");
  reader.wait_eos();
}

TEST(client_source_waits_for_the_next_server) {
  const Scene scene;
  const Pipeline reader(reader_line(scene, "on-disconnect=none"));
  for (int i = 0; i < 3; ++i) lose_sender(scene, reader, "server");
  fail_unless(reader.errors().empty());
}

TEST(server_source_waits_for_the_next_client) {
  const Scene scene;
  for (const char* properties : {"", "on-disconnect=none"}) {
    const Pipeline reader(reader_line(scene, std::string("role=server ") + properties));
    for (int i = 0; i < 3; ++i) lose_sender(scene, reader, "client");
    fail_unless(reader.errors().empty());
  }
}

TEST(server_source_ends_the_stream) {
  const Scene scene;
  const Pipeline reader(reader_line(scene, "role=server on-disconnect=eos"));
  lose_sender(scene, reader, "client");
  reader.wait_eos();
}

TEST(server_source_reports_an_error) {
  const Scene scene;
  const Pipeline reader(reader_line(scene, "role=server on-disconnect=error"));
  lose_sender(scene, reader, "client");
  fail_unless(test::contains(reader.wait_error(), scene.path()));
  fail_unless(reader.errors().empty());
}

// --- a sink whose reader goes -------------------------------------------------------------------

TEST(server_sink_goes_on) {
  const Scene scene;
  for (const char* properties : {"", "on-disconnect=none"}) {
    const Pipeline sender(sender_line(scene, properties));
    for (int i = 0; i < 3; ++i) {
      const Pipeline reader(reader_line(scene, ""));
      sender.play();
      reader.play();
      check_flows(reader, "src");
    }
    fail_unless(sender.errors().empty());
  }
}

TEST(server_sink_ends_the_stream) {
  const Scene scene;
  const Pipeline sender(sender_line(scene, "on-disconnect=eos"));
  {
    const Pipeline reader(reader_line(scene, ""));
    sender.play();
    reader.play();
    check_flows(reader, "src");
  }
  sender.wait_eos();
}

TEST(server_sink_reports_an_error) {
  const Scene scene;
  const Pipeline sender(sender_line(scene, "on-disconnect=error"));
  {
    const Pipeline reader(reader_line(scene, ""));
    sender.play();
    reader.play();
    check_flows(reader, "src");
  }
  fail_unless(test::contains(sender.wait_error(), scene.path()));
}

TEST(client_sink_reports_an_error) {
  const Scene scene;
  for (const char* properties : {"", "on-disconnect=error"}) {
    const Pipeline sender(sender_line(scene, std::string("role=client ") + properties));
    lose_reader(scene, sender, "server");
    const std::string error = sender.wait_error();
    fail_unless(test::contains(error, scene.path()), "%s", error.c_str());
    sender.stop();
  }
}

TEST(client_sink_ends_the_stream) {
  const Scene scene;
  const Pipeline sender(sender_line(scene, "role=client on-disconnect=eos"));
  lose_reader(scene, sender, "server");
  sender.wait_eos();
}

TEST(client_sink_waits_for_the_next_server) {
  const Scene scene;
  const Pipeline sender(sender_line(scene, "role=client on-disconnect=none"));
  for (int i = 0; i < 3; ++i) lose_reader(scene, sender, "server");
  fail_unless(sender.errors().empty());
}

// --- both directions ----------------------------------------------------------------------------

TEST(two_way_server_serves_one_client_after_the_other) {
  const Scene scene;
  const Pipeline server(scene.src("role=server mmap=yes name=src ! queue ! ") +
                        scene.sink("name=sink"));
  server.play();
  for (int i = 0; i < 3; ++i) {
    const Pipeline client(kLiveSource + scene.sink("role=client ") +
                          scene.src("name=src ! fakesink async=false"));
    client.play();
    check_flows(client, "src");
    // One link, which goes both ways.
    for (const char* name : {"src", "sink"})
      fail_unless_equals_uint64(test::stat(server.element(name), "peers"), 1);
  }
  fail_unless(server.errors().empty());
}

TEST(two_way_client_that_stops_in_mid_stream_is_not_an_error) {
  const Scene scene;
  const Pipeline server(scene.src("role=server mmap=yes ! ") + scene.sink("name=sink"));
  const Pipeline client(kLiveSource + scene.sink("role=client ") +
                        scene.src("name=src ! fakesink async=false"));
  for (int i = 0; i < 5; ++i) {
    server.play();
    client.play();
    check_flows(client, "src");
    client.stop();
    fail_unless(client.errors().empty() && server.errors().empty());
  }
}

// --- who reads no more ---------------------------------------------------------------------------

TEST(a_server_that_has_failed_says_so_to_whoever_comes) {
  const Scene scene;
  const Pipeline server(scene.src("role=server mmap=yes name=src ! identity error-after=20 ! ") +
                        scene.sink("name=sink"));
  server.play();
  for (int i = 0; i < 3; ++i) {
    const Pipeline client(kLiveSource + scene.sink("role=client ") +
                          scene.src("! fakesink async=false"));
    client.play();
    const std::string error = client.wait_error();
    fail_unless(i == 0 || (test::contains(error, scene.path()) && test::contains(error, "stopped")),
                "%s", error.c_str());
  }
}

TEST(a_reader_that_has_had_enough_does_not_hold_up_the_next_server) {
  const Scene scene;
  const Pipeline reader(reader_line(scene, "num-buffers=3 on-disconnect=none"));
  std::atomic<int> links{0};
  g_signal_connect(reader.element("src"), "client-connected",
                   G_CALLBACK(+[](GstElement*, guint, guint, gpointer count) {
                     ++*static_cast<std::atomic<int>*>(count);
                   }),
                   &links);
  reader.play();
  for (int i = 1; i <= 2; ++i) {
    const Pipeline sender(sender_line(scene, "max-buffers=2"));
    sender.play();
    fail_unless(test::becomes([&] { return links == i; }));
    // With nobody there all is dropped.
    fail_unless(test::becomes([&] { return test::stat(sender.element("sink"), "dropped") > 30; }));
  }
  fail_unless_equals_uint64(buffers_of(reader, "src"), 3);
}

// Though it still sends, and announces memory for that.
TEST(a_client_that_has_had_enough_does_not_hold_up_its_server) {
  const Scene scene;
  const Pipeline server(scene.src("role=server mmap=yes name=src ! ") +
                        scene.sink("name=sink max-buffers=2"));
  const Pipeline client(
      "videotestsrc is-live=true ! capsfilter name=size "
      "caps=video/x-raw,width=64,height=48,framerate=100/1 ! " +
      scene.sink("role=client ") +
      scene.src("num-buffers=3 name=src ! fakesink name=end async=false"));
  server.play();
  client.play();
  fail_unless(test::becomes([&] { return buffers_of(client, "src") == 3; }));
  fail_unless(test::becomes([&] { return test::stat(server.element("sink"), "peers") == 0; }));
  gst_util_set_object_arg(G_OBJECT(client.element("size")), "caps",
                          "video/x-raw,width=1920,height=1080,framerate=100/1");
  const guint64 before = buffers_of(server, "src");
  fail_unless(test::becomes([&] { return buffers_of(server, "src") > before + 100; }));
  fail_unless_equals_uint64(test::stat(server.element("sink"), "peers"), 0);
  // One that is started anew, over the same link, has not had enough.
  for (const char* name : {"src", "end"})
    fail_unless_equals_int(gst_element_set_state(client.element(name), GST_STATE_READY),
                           GST_STATE_CHANGE_SUCCESS);
  for (const char* name : {"end", "src"})
    fail_unless(gst_element_sync_state_with_parent(client.element(name)));
  fail_unless(test::becomes([&] { return buffers_of(client, "src") == 3; }));
}

// --- states -------------------------------------------------------------------------------------

TEST(pausing_loses_nothing) {
  const Scene scene;
  std::atomic<guint64> next{0};
  const Pipeline sender("videotestsrc ! " + scene.sink("name=sink wait-for-connection=true"));
  const Pipeline reader(scene.src("is-live=false name=src ! fakesink name=end"));
  GstPad* pad = gst_element_get_static_pad(reader.element("end"), "sink");
  gst_pad_add_probe(
      pad, GST_PAD_PROBE_TYPE_BUFFER,
      [](GstPad*, GstPadProbeInfo* info, gpointer data) {
        auto& wanted = *static_cast<std::atomic<guint64>*>(data);
        fail_unless_equals_uint64(GST_BUFFER_OFFSET(GST_PAD_PROBE_INFO_BUFFER(info)), wanted);
        ++wanted;
        return GST_PAD_PROBE_OK;
      },
      &next, nullptr);
  gst_object_unref(pad);
  sender.play();
  reader.play();
  for (int i = 0; i < 5; ++i) {
    const Pipeline& one = i % 2 == 0 ? reader : sender;
    check_flows(reader, "src");
    fail_unless_equals_int(one.set(GST_STATE_PAUSED), GST_STATE_CHANGE_ASYNC - (i % 2));
    fail_unless(gst_element_get_state(one.get(), nullptr, nullptr, 10 * GST_SECOND) !=
                GST_STATE_CHANGE_FAILURE);
    one.play();
  }
  check_flows(reader, "src");
}

// What the server takes is not known yet: a pause must not make it anything.
TEST(caps_are_waited_for_through_a_pause) {
  const Scene scene;
  const Pipeline client(kLiveSource + scene.sink("role=client name=sink ") +
                        scene.src("name=src ! fakesink async=false"));
  client.play();
  GstPad* pad = gst_element_get_static_pad(client.element("sink"), "sink");
  fail_unless(test::becomes([&] {
    GstEvent* start = gst_pad_get_sticky_event(pad, GST_EVENT_STREAM_START, 0);
    const bool streams = start != nullptr;
    gst_clear_event(&start);
    return streams;
  }));
  gst_object_unref(pad);
  fail_unless(client.set(GST_STATE_PAUSED) != GST_STATE_CHANGE_FAILURE);
  client.play();
  const Pipeline server(scene.src("role=server mmap=yes ! video/x-raw,format=NV12 ! ") +
                        scene.sink());
  server.play();
  check_flows(client, "src");
  fail_unless(client.errors().empty() && server.errors().empty());
}

TEST(settings_may_change_between_two_runs) {
  const Scene scene;
  const Pipeline sender(sender_line(scene, ""));
  const Pipeline reader(reader_line(scene, ""));
  for (const char* name : {"one", "two"}) {
    const std::string path = scene.path(name);
    g_object_set(sender.element("sink"), "socket-path", path.c_str(), nullptr);
    g_object_set(reader.element("src"), "socket-path", path.c_str(), nullptr);
    sender.play();
    reader.play();
    check_flows(reader, "src");
    reader.stop();
    sender.stop();
  }
}

// All but where the two meet.
TEST(settings_may_change_in_ready) {
  const Scene scene;
  const Pipeline sender(sender_line(scene, ""));
  GstElement* sink = sender.element("sink");
  fail_unless_equals_int(gst_element_set_state(sink, GST_STATE_READY), GST_STATE_CHANGE_SUCCESS);
  g_object_set(sink, "perms", 0640, "socket-path", scene.path("elsewhere").c_str(), nullptr);
  fail_unless(gst_element_set_state(sink, GST_STATE_PAUSED) != GST_STATE_CHANGE_FAILURE);
  struct stat st {};
  fail_unless_equals_int(stat(scene.path().c_str(), &st), 0);
  fail_unless_equals_int(static_cast<int>(st.st_mode & 0777), 0640);
  // What makes no sense is found then.
  gst_element_set_state(sink, GST_STATE_READY);
  g_object_set(sink, "allowed-uids", "me", nullptr);
  fail_unless_equals_int(gst_element_set_state(sink, GST_STATE_PAUSED), GST_STATE_CHANGE_FAILURE);
  const std::string error = sender.wait_error();
  fail_unless(test::contains(error, "me"), "%s", error.c_str());

  const Harness source(scene.src("role=server num-buffers=-1"));
  gst_element_set_state(source.element(), GST_STATE_READY);
  g_object_set(source.element(), "num-buffers", 2, nullptr);
  source.play();
  const Harness from(scene.sink("role=client"));
  from.wait_for_clients(1);
  for (guint64 i = 0; i < 2; ++i) from.push_number(i);
  source.pull_event(GST_EVENT_EOS);
}

TEST(every_state_can_be_left_again) {
  const Scene scene;
  for (const std::string& line :
       {reader_line(scene, ""), reader_line(scene, "role=server"), sender_line(scene, ""),
        sender_line(scene, "role=client"), sender_line(scene, "wait-for-connection=true")}) {
    const Pipeline pipeline(line);
    for (const GstState state : {GST_STATE_READY, GST_STATE_PAUSED, GST_STATE_PLAYING,
                                 GST_STATE_PAUSED, GST_STATE_READY, GST_STATE_PLAYING})
      fail_unless(pipeline.set(state) != GST_STATE_CHANGE_FAILURE, "%s", line.c_str());
  }
}

// The events that a late reader must know first need memory, too, where they are long.
TEST(sender_stops_while_it_waits_for_memory_to_greet_a_reader) {
  constexpr gsize kAll = 8 << 20;
  const Scene scene;
  struct Gate {
    std::atomic<bool> reached{false}, go{false};
  } gate;
  const Harness sink(scene.sink("max-memory=" + std::to_string(kAll)));
  sink.push_event(gst_event_new_tag(
      gst_tag_list_new(GST_TAG_COMMENT, std::string(8192, 'x').c_str(), nullptr)));
  const Harness holder(scene.src());
  holder.play();
  sink.wait_for_clients(1);
  fail_unless_equals_int(sink.push(test::numbered(0, kAll)), GST_FLOW_OK);
  const auto held = holder.pull();

  // So that the one who pushes greets it, and not the one that it has come to.
  GstPad* pad = gst_element_get_static_pad(sink.element(), "sink");
  gst_pad_add_probe(
      pad, GST_PAD_PROBE_TYPE_BUFFER,
      [](GstPad*, GstPadProbeInfo*, gpointer data) {
        auto& self = *static_cast<Gate*>(data);
        self.reached = true;
        fail_unless(test::becomes([&] { return self.go.load(); }));
        return GST_PAD_PROBE_OK;
      },
      &gate, nullptr);
  gst_object_unref(pad);
  GstFlowReturn flow = GST_FLOW_OK;
  std::thread pusher([&] { flow = sink.push(gst_buffer_new()); });
  fail_unless(test::becomes([&] { return gate.reached.load(); }));
  const Harness late(scene.src());
  late.play();
  sink.wait_for_clients(2);
  gate.go = true;
  late.pull_event(GST_EVENT_CAPS);  // which comes before the tags
  fail_unless_equals_int(gst_element_set_state(sink.element(), GST_STATE_READY),
                         GST_STATE_CHANGE_SUCCESS);
  pusher.join();
  fail_unless_equals_int(flow, GST_FLOW_FLUSHING);
}

// A sink that is being stopped says EOS to a buffer that comes just then (GstBaseSink). Nothing has
// ended by that, and the next reader gets the stream.
TEST(a_reader_that_is_stopped_has_not_had_enough) {
  const Scene scene;
  const Pipeline sender(kLiveSource + scene.sink("role=client on-disconnect=none name=sink"));
  sender.play();
  for (int i = 0; i < 2; ++i) {
    std::thread stopper;
    const Pipeline reader(scene.src("role=server name=src ! fakesink name=end async=false"));
    struct Stop {
      GstElement* pipeline;
      std::thread& by;
      std::atomic<bool> seen{false};
    } stop{reader.get(), stopper};
    GstPad* pad = gst_element_get_static_pad(reader.element("end"), "sink");
    gst_pad_add_probe(
        pad, GST_PAD_PROBE_TYPE_BUFFER,
        [](GstPad*, GstPadProbeInfo* info, gpointer data) {
          auto& self = *static_cast<Stop*>(data);
          if (self.seen.exchange(true)) return GST_PAD_PROBE_OK;
          self.by = std::thread([&self] { gst_element_set_state(self.pipeline, GST_STATE_NULL); });
          fail_unless(
              test::becomes([&] { return GST_STATE_TARGET(self.pipeline) == GST_STATE_NULL; }));
          gst_buffer_unref(GST_PAD_PROBE_INFO_BUFFER(info));
          GST_PAD_PROBE_INFO_FLOW_RETURN(info) = GST_FLOW_EOS;
          return GST_PAD_PROBE_HANDLED;
        },
        &stop, nullptr);
    gst_object_unref(pad);
    reader.play();
    fail_unless(test::becomes([&] { return stop.seen.load(); }));
    reader.stop();
    stopper.join();
  }
  fail_unless(sender.errors().empty());
}
