// Pipelines that change while they play, on either side of the link.
#include <algorithm>
#include <atomic>
#include <initializer_list>

#include "tests/elements/like_support.h"

using test::Pipeline;
using test::Scene;

namespace {

constexpr auto kCamera = "videotestsrc is-live=true name=camera ! ";

guint64 frames(const Pipeline& pipeline, const char* name) {
  return test::stat(pipeline.element(name), "buffers");
}

void more_frames(const Pipeline& pipeline, const char* name) {
  const guint64 now = frames(pipeline, name);
  fail_unless(test::becomes([&] { return frames(pipeline, name) > now + 3; }),
              "no frames come any more: %" G_GUINT64_FORMAT, frames(pipeline, name));
}

std::string format_at(const Pipeline& pipeline, const char* element) {
  GstPad* pad = gst_element_get_static_pad(pipeline.element(element), "sink");
  const test::Ref<GstCaps> caps(gst_pad_get_current_caps(pad));
  gst_object_unref(pad);
  if (!caps) return "";
  gchar* text = gst_caps_to_string(caps.get());
  const std::string copy = text;
  g_free(text);
  return copy;
}

void wait_for_caps(const Pipeline& pipeline, const char* element,
                   std::initializer_list<const char*> fields) {
  fail_unless(test::becomes([&] {
                const std::string caps = format_at(pipeline, element);
                return std::all_of(fields.begin(), fields.end(),
                                   [&](const char* field) { return test::contains(caps, field); });
              }),
              "%s", format_at(pipeline, element).c_str());
}

// Holds up what comes out of a pad while its peer is another one.
class Block {
 public:
  explicit Block(GstPad* pad) : pad_(pad) {
    probe_ = gst_pad_add_probe(
        pad, GST_PAD_PROBE_TYPE_BLOCK_DOWNSTREAM,
        [](GstPad*, GstPadProbeInfo*, gpointer data) {
          *static_cast<std::atomic<bool>*>(data) = true;
          return GST_PAD_PROBE_OK;
        },
        &blocked_, nullptr);
    fail_unless(test::becomes([&] { return blocked_.load(); }));
  }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  ~Block() { gst_pad_remove_probe(pad_, probe_); }

 private:
  std::atomic<bool> blocked_{false};
  GstPad* pad_;
  gulong probe_;
};

test::Ref<GstPad> pad_of(GstElement* element, const char* name) {
  return test::Ref<GstPad>(gst_element_get_static_pad(element, name));
}

// Puts elements behind `element`, while that plays.
GstElement* insert(const Pipeline& pipeline, const char* element, const char* line) {
  GstElement* bin = gst_parse_bin_from_description(line, TRUE, nullptr);
  fail_unless(gst_bin_add(GST_BIN(pipeline.get()), bin));
  const auto before = pad_of(pipeline.element(element), "src");
  const test::Ref<GstPad> behind(gst_pad_get_peer(before.get()));
  const Block block(before.get());
  fail_unless(gst_pad_unlink(before.get(), behind.get()));
  fail_unless_equals_int(gst_pad_link(pad_of(bin, "src").get(), behind.get()), GST_PAD_LINK_OK);
  fail_unless_equals_int(gst_pad_link(before.get(), pad_of(bin, "sink").get()), GST_PAD_LINK_OK);
  fail_unless(gst_element_sync_state_with_parent(bin));
  return bin;
}

// And takes them out again. They must hold nothing back.
void take_out(const Pipeline& pipeline, GstElement* bin) {
  const test::Ref<GstPad> before(gst_pad_get_peer(pad_of(bin, "sink").get()));
  const test::Ref<GstPad> behind(gst_pad_get_peer(pad_of(bin, "src").get()));
  const Block block(before.get());
  gst_object_ref(bin);
  fail_unless(gst_bin_remove(GST_BIN(pipeline.get()), bin));
  fail_unless_equals_int(gst_element_set_state(bin, GST_STATE_NULL), GST_STATE_CHANGE_SUCCESS);
  gst_object_unref(bin);
  fail_unless_equals_int(gst_pad_link(before.get(), behind.get()), GST_PAD_LINK_OK);
}

// Each frame has come, and once: there are a hundred in a second.
void fail_if_gaps(const test::Seen::Items& items) {
  GstClockTime last = GST_CLOCK_TIME_NONE;
  for (const auto& item : items) {
    if (!item.is_buffer()) continue;
    if (GST_CLOCK_TIME_IS_VALID(last))
      fail_unless(item.pts > last && item.pts - last < 15 * GST_MSECOND,
                  "from %" GST_TIME_FORMAT " to %" GST_TIME_FORMAT, GST_TIME_ARGS(last),
                  GST_TIME_ARGS(item.pts));
    last = item.pts;
  }
}

void set_caps(const Pipeline& pipeline, const char* filter, const char* text) {
  const test::Ref<GstCaps> caps(gst_caps_from_string(text));
  g_object_set(pipeline.element(filter), "caps", caps.get(), nullptr);
}

}  // namespace

TEST(far_side_changes_what_it_takes) {
  const Scene scene;
  const Pipeline sender(kCamera + scene.sink("name=sink"));
  const Pipeline reader(
      scene.src("name=src ! capsfilter name=filter "
                "caps=video/x-raw,format=I420,width=64,height=48 ! "
                "fakesink name=end async=false"));
  reader.play();
  sender.play();
  more_frames(reader, "src");
  fail_unless(test::becomes([&] { return test::contains(format_at(reader, "end"), "I420"); }));
  for (const char* caps : {"video/x-raw,format=NV12,width=320,height=240",
                           "video/x-raw,format=RGB,width=320,height=240,framerate=10/1"}) {
    set_caps(reader, "filter", caps);
    const std::string format = test::contains(caps, "NV12") ? "NV12" : "RGB";
    fail_unless(test::becomes([&] {
                  return test::contains(format_at(reader, "end"), format) &&
                         test::contains(format_at(reader, "end"), "320");
                }),
                "%s, not %s", format_at(reader, "end").c_str(), caps);
    more_frames(reader, "src");
  }
  fail_unless(reader.errors().empty() && sender.errors().empty());
}

// Upstream has chosen while there was nobody, and its choice is still on its way: once before the
// sink is asked whether it takes that, and once after.
TEST(reader_comes_between_the_choice_of_caps_and_the_caps) {
  struct Moment {
    std::atomic<bool> has_come{false};
    const Scene scene;
    const Pipeline sender{kCamera + scene.sink("name=sink query-timeout=" +
                                               std::to_string(test::slowness() * GST_SECOND))};
    const Pipeline reader{
        scene.src("name=src ! video/x-raw,format=NV12,width=320,height=240 ! "
                  "fakesink async=false")};
  };
  for (const auto type : {GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM,
                          static_cast<GstPadProbeType>(GST_PAD_PROBE_TYPE_QUERY_DOWNSTREAM |
                                                       GST_PAD_PROBE_TYPE_PULL)}) {
    Moment moment;
    GstPad* pad = gst_element_get_static_pad(moment.sender.element("sink"), "sink");
    const auto come = [](GstPad*, GstPadProbeInfo* info, gpointer data) {
      auto& now = *static_cast<Moment*>(data);
      const bool is_it =
          (info->type & GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM) != 0
              ? GST_EVENT_TYPE(GST_PAD_PROBE_INFO_EVENT(info)) == GST_EVENT_CAPS
              : GST_QUERY_TYPE(GST_PAD_PROBE_INFO_QUERY(info)) == GST_QUERY_ACCEPT_CAPS;
      if (!is_it || now.has_come.exchange(true)) return GST_PAD_PROBE_OK;
      now.reader.play();
      guint clients = 0;
      fail_unless(test::becomes([&] {
        g_object_get(now.sender.element("sink"), "num-clients", &clients, nullptr);
        return clients > 0;
      }));
      return GST_PAD_PROBE_OK;
    };
    gst_pad_add_probe(pad, type, come, &moment, nullptr);
    gst_object_unref(pad);
    moment.sender.play();
    fail_unless(test::becomes([&] { return moment.has_come.load(); }));
    more_frames(moment.reader, "src");
    fail_unless(moment.reader.errors().empty() && moment.sender.errors().empty());
  }
}

TEST(near_side_changes_what_it_delivers) {
  const Scene scene;
  const Pipeline sender(
      "videotestsrc is-live=true ! capsfilter name=filter "
      "caps=video/x-raw,format=I420,width=64,height=48 ! " +
      scene.sink());
  const Pipeline reader(scene.src("name=src ! videoconvert ! fakesink name=end async=false"));
  reader.play();
  sender.play();
  more_frames(reader, "src");
  set_caps(sender, "filter", "video/x-raw,format=NV12,width=640,height=480");
  wait_for_caps(reader, "end", {"format=(string)NV12", "width=(int)640"});
  more_frames(reader, "src");
  set_caps(sender, "filter", "video/x-raw,format=I420,width=32,height=32,framerate=50/1");
  wait_for_caps(reader, "end",
                {"format=(string)I420", "width=(int)32", "framerate=(fraction)50/1"});
  more_frames(reader, "src");
  fail_unless(reader.errors().empty() && sender.errors().empty());
}

// What the client sends, and what the server wants, with an encoder in between.
TEST(either_side_of_an_encoding_server_changes_its_mind) {
  const Scene scene;
  const Pipeline server(scene.src("role=server mmap=yes ! capsfilter name=filter ! jpegenc ! ") +
                        scene.sink());
  const Pipeline client("videotestsrc is-live=true ! capsfilter name=filter ! " +
                        scene.sink("role=client ") + scene.src("name=src ! jpegdec ") +
                        "! fakesink name=end async=false");
  server.play();
  client.play();
  more_frames(client, "src");
  set_caps(client, "filter", "video/x-raw,width=64,height=48,framerate=50/1");
  wait_for_caps(client, "end", {"width=(int)64", "height=(int)48", "framerate=(fraction)50/1"});
  more_frames(client, "src");
  set_caps(client, "filter", "video/x-raw");
  set_caps(server, "filter", "video/x-raw,format=I420,width=128,height=96,framerate=20/1");
  wait_for_caps(client, "end", {"width=(int)128", "height=(int)96", "framerate=(fraction)20/1"});
  more_frames(client, "src");
  fail_unless(client.errors().empty() && server.errors().empty());
}

TEST(reader_added_and_removed_while_the_sender_plays) {
  const Scene scene;
  const Pipeline sender(kCamera + scene.sink("name=sink"));
  const Pipeline other("videotestsrc is-live=true ! fakesink async=false");
  sender.play();
  other.play();
  for (int i = 0; i < 5; ++i) {
    GstElement* bin = gst_parse_bin_from_description(
        (scene.src("name=src ! identity ! fakesink async=false")).c_str(), FALSE, nullptr);
    gst_bin_add(GST_BIN(other.get()), bin);
    fail_unless(gst_element_sync_state_with_parent(bin));
    more_frames(other, "src");
    gst_object_ref(bin);
    gst_bin_remove(GST_BIN(other.get()), bin);
    fail_unless_equals_int(gst_element_set_state(bin, GST_STATE_NULL), GST_STATE_CHANGE_SUCCESS);
    gst_object_unref(bin);
  }
  const auto dropped = [&] { return test::stat(sender.element("sink"), "dropped"); };
  const guint64 before = dropped();
  fail_unless(test::becomes([&] { return dropped() > before; }));
  fail_unless(sender.errors().empty() && other.errors().empty());
}

TEST(one_side_goes_through_its_states_while_the_other_plays) {
  const Scene scene;
  const Pipeline sender(kCamera + scene.sink("name=sink"));
  const Pipeline reader(
      scene.src("name=src on-disconnect=none ! fakesink name=end async=false sync=true"));
  for (int side = 0; side < 2; ++side) {
    const Pipeline& cycled = side == 0 ? reader : sender;
    sender.play();
    reader.play();
    more_frames(reader, "src");
    for (const GstState state : {GST_STATE_PAUSED, GST_STATE_READY, GST_STATE_NULL}) {
      fail_unless(cycled.set(state) != GST_STATE_CHANGE_FAILURE);
      fail_unless(cycled.set(GST_STATE_PLAYING) != GST_STATE_CHANGE_FAILURE);
      more_frames(reader, "src");
    }
  }
  fail_unless(reader.errors().empty() && sender.errors().empty());
}

TEST(source_changed_behind_a_running_sink) {
  const Scene scene;
  std::atomic<bool> blocked{false};
  const Pipeline sender("videotestsrc is-live=true name=old ! " + std::string(test::kVideo) +
                        " ! identity name=joint ! " + scene.sink("name=sink"));
  const Pipeline reader(scene.src("name=src ! fakesink name=end async=false"));
  sender.play();
  reader.play();
  more_frames(reader, "src");
  // Ours is cut off, and another one takes its place.
  GstElement* joint = sender.element("joint");
  GstPad* pad = gst_element_get_static_pad(joint, "sink");
  GstPad* peer = gst_pad_get_peer(pad);
  gst_pad_add_probe(
      peer, GST_PAD_PROBE_TYPE_BLOCK_DOWNSTREAM,
      [](GstPad*, GstPadProbeInfo*, gpointer data) {
        *static_cast<std::atomic<bool>*>(data) = true;
        return GST_PAD_PROBE_OK;
      },
      &blocked, nullptr);
  fail_unless(test::becomes([&] { return blocked.load(); }));
  fail_unless(gst_pad_unlink(peer, pad));
  GstElement* source = gst_element_factory_make("audiotestsrc", nullptr);
  g_object_set(source, "is-live", TRUE, nullptr);
  gst_bin_add(GST_BIN(sender.get()), source);
  fail_unless(gst_element_link(source, joint));
  fail_unless(gst_element_sync_state_with_parent(source));
  fail_unless(test::becomes([&] { return test::contains(format_at(reader, "end"), "audio"); }),
              "%s", format_at(reader, "end").c_str());
  more_frames(reader, "src");
  gst_object_unref(peer);
  gst_object_unref(pad);
  fail_unless(reader.errors().empty() && sender.errors().empty());
}

// Right before the link, and right behind it.
TEST(elements_beside_the_link_come_and_go) {
  const Scene scene;
  const Pipeline sender(
      "videotestsrc is-live=true ! capsfilter name=before "
      "caps=video/x-raw,format=I420,width=64,height=48,framerate=100/1 ! " +
      scene.sink("wait-for-connection=true"));
  const Pipeline reader(scene.src("name=src ! fakesink name=end async=false"));
  const test::Seen seen(reader.element("end"), "sink");
  reader.play();
  sender.play();
  more_frames(reader, "src");
  const auto comes = [&](const std::string& what) {
    fail_unless(test::becomes([&] { return test::contains(format_at(reader, "end"), what); }),
                "%s, not %s", format_at(reader, "end").c_str(), what.c_str());
    more_frames(reader, "src");
  };
  const struct {
    const char *line, *makes;
  } inserted[] = {
      {"identity", "width=(int)64"},
      {"videoscale ! capsfilter caps=video/x-raw,width=320,height=240", "width=(int)320"},
      {"videoconvert ! capsfilter caps=video/x-raw,format=RGB", "format=(string)RGB"},
      {"videocrop left=16", "width=(int)48"},
      {"queue", "width=(int)64"},
  };
  for (const auto& [pipeline, element] :
       {std::pair(&sender, "before"), std::pair(&reader, "src")}) {
    for (const auto& [line, makes] : inserted) {
      GstElement* bin = insert(*pipeline, element, line);
      comes(makes);
      if (line == std::string("queue")) continue;  // which holds something back
      take_out(*pipeline, bin);
      comes("format=(string)I420, width=(int)64");
    }
  }
  fail_if_gaps(seen.items());
  fail_unless(reader.errors().empty() && sender.errors().empty());
}
