// One client of a two-way server and the next: nothing of one reaches the other. And what a reader
// takes a private copy of.
#include <atomic>
#include <mutex>
#include <set>
#include <utility>

#include "gst/mmap.h"
#include "tests/elements/support.h"

using test::Harness;
using test::Pipeline;
using test::Scene;

namespace {

// What comes back to a client: in which memory, and with which titles.
class Back {
 public:
  explicit Back(const Pipeline& client)
      : pad_(gst_element_get_static_pad(client.element("end"), "sink")) {
    probe_ = gst_pad_add_probe(pad_,
                               static_cast<GstPadProbeType>(GST_PAD_PROBE_TYPE_BUFFER |
                                                            GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM),
                               see, new Shared(came_),
                               [](gpointer data) { delete static_cast<Shared*>(data); });
  }
  Back(const Back&) = delete;
  Back& operator=(const Back&) = delete;
  ~Back() {
    gst_pad_remove_probe(pad_, probe_);
    gst_object_unref(pad_);
  }
  void wait_buffers(size_t count) {
    fail_unless(test::becomes([&] {
      const std::lock_guard lock(came_->mutex);
      return came_->buffers >= count;
    }));
  }
  std::set<guint64> arenas() {
    const std::lock_guard lock(came_->mutex);
    return came_->arenas;
  }
  std::set<std::string> titles() {
    const std::lock_guard lock(came_->mutex);
    return came_->titles;
  }

 private:
  // A probe that is removed may still run.
  struct Came {
    std::mutex mutex;
    size_t buffers = 0;
    std::set<guint64> arenas;  // by the inode of their memory, which the kernel gives out anew
    std::set<std::string> titles;
  };
  using Shared = std::shared_ptr<Came>;

  static GstPadProbeReturn see(GstPad*, GstPadProbeInfo* info, gpointer data) {
    Came& came = **static_cast<Shared*>(data);
    const std::lock_guard lock(came.mutex);
    if ((info->type & GST_PAD_PROBE_TYPE_BUFFER) != 0) {
      ++came.buffers;
      came.arenas.insert(
          test::lies(gst_buffer_peek_memory(GST_PAD_PROBE_INFO_BUFFER(info), 0)).inode);
      return GST_PAD_PROBE_OK;
    }
    GstEvent* event = GST_PAD_PROBE_INFO_EVENT(info);
    if (GST_EVENT_TYPE(event) != GST_EVENT_TAG) return GST_PAD_PROBE_OK;
    GstTagList* tags = nullptr;
    gst_event_parse_tag(event, &tags);
    gchar* title = nullptr;
    if (gst_tag_list_get_string(tags, GST_TAG_TITLE, &title)) came.titles.insert(title);
    g_free(title);
    return GST_PAD_PROBE_OK;
  }

  Shared came_ = std::make_shared<Came>();
  GstPad* pad_;  // owned
  gulong probe_ = 0;
};

std::string client_line(const Scene& scene, const std::string& between) {
  return "videotestsrc is-live=true ! " + std::string(test::kVideo) + " ! " + between +
         scene.sink("role=client ") + scene.src("! fakesink name=end async=false");
}

void check_arenas(const std::string& middle) {
  const Scene scene;
  const Pipeline server(scene.src("role=server mmap=yes ! ") + middle + scene.sink());
  server.play();
  std::set<guint64> known;
  for (int i = 0; i < 3; ++i) {
    const Pipeline client(client_line(scene, ""));
    Back back(client);
    client.play();
    back.wait_buffers(20);
    client.stop();
    for (const guint64 arena : back.arenas())
      fail_unless(known.insert(arena).second, "client %d got the arena of one before it", i);
  }
  fail_unless(known.size() >= 3 && server.errors().empty());
}

}  // namespace

TEST(arenas_of_copies_are_new_for_each_client) { check_arenas(""); }

TEST(arenas_of_a_pool_are_new_for_each_client) {
  check_arenas("videoconvert ! video/x-raw,format=RGB ! ");
}

TEST(titles_of_one_client_are_nothing_to_the_next) {
  const Scene scene;
  const Pipeline server(scene.src("role=server mmap=yes ! identity ! ") + scene.sink());
  server.play();
  {
    const Pipeline first(client_line(scene, "taginject tags=title=secret ! "));
    Back back(first);
    first.play();
    back.wait_buffers(5);
    fail_unless(back.titles() == std::set<std::string>{"secret"});
  }
  const Pipeline second(client_line(scene, ""));
  Back back(second);
  second.play();
  back.wait_buffers(5);
  fail_unless(back.titles().empty());
}

// Where GStreamer warns of events out of order the test fails.
TEST(a_sender_with_caps_follows_one_without) {
  const Scene scene;
  const Pipeline server(scene.src("role=server name=src ! identity ! fakesink async=false"));
  server.play();
  const std::string with = "videotestsrc is-live=true ! " + std::string(test::kVideo);
  const std::string without = "fakesrc is-live=true sizetype=fixed sizemax=100";
  for (const std::string& from : {without, with, without, without, with, with}) {
    const guint64 before = test::stat(server.element("src"), "buffers");
    const Pipeline sender(from + " ! " + scene.sink("role=client"));
    sender.play();
    fail_unless(
        test::becomes([&] { return test::stat(server.element("src"), "buffers") > before + 5; }));
  }
  fail_unless(server.errors().empty());
}

TEST(a_client_with_caps_follows_one_without) {
  const Scene scene;
  const Pipeline server(scene.src("role=server mmap=yes ! identity ! ") + scene.sink());
  server.play();
  const auto line = [&](const std::string& from) {
    return from + " ! " + scene.sink("role=client ") +
           scene.src("name=back ! fakesink async=false");
  };
  const std::string with = line("videotestsrc is-live=true ! " + std::string(test::kVideo));
  const std::string without = line("fakesrc is-live=true sizetype=fixed sizemax=100");
  for (const std::string& one : {without, with, without, without, with, with}) {
    const Pipeline client(one);
    client.play();
    fail_unless(test::becomes([&] { return test::stat(client.element("back"), "buffers") > 5; }));
  }
  fail_unless(server.errors().empty());
}

// The thread that has it must come back for the next client's.
TEST(frame_on_its_way_when_the_next_client_comes_is_for_nobody) {
  const Scene scene;
  struct Hold {
    std::atomic<bool> wanted{false}, is_on{false}, over{false};
  } hold;
  const Pipeline server(scene.src("role=server mmap=yes ! identity name=middle ! ") +
                        scene.sink("name=sink"));
  const auto wait_for_clients = [&](guint wanted) {
    fail_unless(test::becomes([&] {
      guint count = 0;
      g_object_get(server.element("sink"), "num-clients", &count, nullptr);
      return count == wanted;
    }));
  };
  GstPad* pad = gst_element_get_static_pad(server.element("middle"), "src");
  gst_pad_add_probe(
      pad, GST_PAD_PROBE_TYPE_BUFFER,
      [](GstPad*, GstPadProbeInfo*, gpointer data) {
        auto& that = *static_cast<Hold*>(data);
        if (!that.wanted) return GST_PAD_PROBE_OK;
        that.is_on = true;
        test::becomes([&] { return that.over.load(); });
        return GST_PAD_PROBE_REMOVE;
      },
      &hold, nullptr);
  gst_object_unref(pad);
  server.play();
  {
    const Pipeline first(client_line(scene, ""));
    Back back(first);
    first.play();
    back.wait_buffers(3);
    hold.wanted = true;
    fail_unless(test::becomes([&] { return hold.is_on.load(); }));
  }
  wait_for_clients(0);
  const Pipeline second(client_line(scene, ""));
  Back back(second);
  second.play();
  wait_for_clients(1);
  hold.over = true;
  back.wait_buffers(5);
  fail_unless(server.errors().empty());
}

TEST(what_may_be_parsed_is_a_private_copy) {
  const Scene scene;
  for (const auto& [caps, is_private] :
       {std::pair(test::kVideo, false),
        std::pair("audio/x-raw,format=S16LE,rate=8000,channels=1,"
                  "layout=interleaved",
                  false),
        std::pair("video/x-h264", true), std::pair("application/x-anything", true)}) {
    const Harness sink(scene.sink(), caps);
    const Harness reader(scene.src());
    reader.play();
    sink.wait_for_clients(1);
    fail_unless_equals_int(sink.push_number(7), GST_FLOW_OK);
    const auto buffer = reader.pull();
    fail_unless(gst_is_mmap_memory(gst_buffer_peek_memory(buffer.get(), 0)) != is_private, "%s",
                caps);
    fail_unless_equals_uint64(reader.stat("buffers-copied"), is_private ? 1 : 0);
    // It was given back before it is read.
    if (is_private) fail_unless(test::becomes([&] { return sink.stat("in-flight") == 0; }));
    guint8 byte = 0;
    gst_buffer_extract(buffer.get(), 50, &byte, 1);
    fail_unless_equals_int(byte, 7);
  }
}
