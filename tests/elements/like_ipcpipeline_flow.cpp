// After ipcpipeline's cases of what goes along with the data: queries, events, tags, new caps,
// the end, and a far side that has an error.
#include <algorithm>
#include <atomic>

#include "tests/elements/like_support.h"

using test::Kind;
using test::Linked;
using test::Pipeline;
using test::Ref;
using test::Scene;
using test::Seen;

namespace {

GstClockTime newest(const Seen& seen) {
  GstClockTime pts = 0;
  for (const auto& item : seen.items())
    if (item.is_buffer() && GST_CLOCK_TIME_IS_VALID(item.pts)) pts = std::max(pts, item.pts);
  return pts;
}

// Both pipelines know where they are and how long it takes. A sender is ahead by what waits for a
// reader, which is little here.
void check_position_and_duration(const Kind& kind) {
  const Scene scene;
  Linked::Options options;
  options.sink = "max-buffers=2";
  const Linked linked(scene, kind, options);
  linked.play();
  linked.wait_buffers(5);
  std::vector<const Pipeline*> all{linked.sender.get()};
  for (const auto& reader : linked.readers) all.push_back(reader.get());
  for (const Pipeline* pipeline : all) {
    gint64 position = -1;
    const bool near = test::becomes([&] {
      fail_unless(gst_element_query_position(pipeline->get(), GST_FORMAT_TIME, &position),
                  "%s: the %s does not know its position", kind.name,
                  pipeline == linked.sender.get() ? "sender" : "reader");
      const GstClockTime at = newest(*linked.ends[0]);
      return ABS(GST_CLOCK_DIFF(at, position)) < static_cast<gint64>(GST_SECOND / 5);
    });
    fail_unless(near, "%s: %" GST_TIME_FORMAT " is not where it is", kind.name,
                GST_TIME_ARGS(position));
    gint64 duration = -1;
    const bool is_file = kind.name == std::string("wav") || kind.name == std::string("ts");
    const bool known = gst_element_query_duration(pipeline->get(), GST_FORMAT_TIME, &duration);
    if (!is_file)
      fail_unless(!known || duration == -1);
    else
      fail_unless(known && ABS(GST_CLOCK_DIFF(test::kFileDuration, duration)) <
                               static_cast<gint64>(GST_SECOND / 5),
                  "%s: %" GST_TIME_FORMAT, kind.name, GST_TIME_ARGS(duration));
  }
}

void check_end(const Kind& kind) {
  const Scene scene;
  Linked::Options options;
  options.source = "num-buffers=10";
  options.sync = false;
  const Linked linked(scene, kind, options);
  linked.play_readers();
  linked.sender->play();
  linked.sender->wait_eos();
  for (const auto& reader : linked.readers) reader->wait_eos();
  for (const auto& seen : linked.ends) {
    const auto items = seen->items();
    fail_unless(items.size() > 10 && items.back().is(GST_EVENT_EOS));
  }
}

// Calls `call` with the pad of each mmapsink, once, by who pushes its next buffer.
using Call = std::function<void(GstPad*)>;
class AtABuffer {
 public:
  AtABuffer(const Linked& linked, Call call) : call_(std::move(call)), left_(linked.kind.streams) {
    for (int i = 0; i < linked.kind.streams; ++i) {
      GstPad* pad = gst_element_get_static_pad(linked.sink(i), "sink");
      gst_pad_add_probe(
          pad, GST_PAD_PROBE_TYPE_BUFFER,
          [](GstPad* at, GstPadProbeInfo*, gpointer data) {
            auto& self = *static_cast<AtABuffer*>(data);
            self.call_(at);
            --self.left_;
            return GST_PAD_PROBE_REMOVE;
          },
          this, nullptr);
      gst_object_unref(pad);
    }
  }
  void wait() const {
    fail_unless(test::becomes([this] { return left_ == 0; }));
  }

 private:
  Call call_;
  std::atomic<int> left_;
};

GstTagList* tags_of(GstEvent* event) {
  GstTagList* list = nullptr;
  gst_event_parse_tag(event, &list);
  return list;
}

// Tags, none and some; an event that is in no order with the data; and a query that is.
void check_between_buffers(const Kind& kind) {
  const Scene scene;
  const Linked linked(scene, kind);
  linked.play();
  std::atomic<int> drained{0};
  const AtABuffer sent(linked, [&](GstPad* pad) {
    fail_unless(gst_pad_send_event(pad, gst_event_new_tag(gst_tag_list_new_empty())));
    fail_unless(
        gst_pad_send_event(pad, gst_event_new_tag(gst_tag_list_new(
                                    GST_TAG_TITLE, "film", GST_TAG_BITRATE, 64000, nullptr))));
    fail_unless(gst_pad_send_event(
        pad, gst_event_new_custom(GST_EVENT_CUSTOM_DOWNSTREAM_OOB,
                                  gst_structure_new("past", "n", G_TYPE_INT, 42, nullptr))));
    const Ref<GstQuery> query(gst_query_new_drain());
    drained += gst_pad_query(pad, query.get());
  });
  sent.wait();
  fail_unless_equals_int(drained, kind.streams);
  for (const auto& seen : linked.ends) {
    seen->wait_event(GST_EVENT_TAG,
                     [](GstEvent* event) { return gst_tag_list_is_empty(tags_of(event)); });
    seen->wait_event(GST_EVENT_TAG, [](GstEvent* event) {
      gchar* title = nullptr;
      guint bitrate = 0;
      gst_tag_list_get_string(tags_of(event), GST_TAG_TITLE, &title);
      const bool good = g_strcmp0(title, "film") == 0;
      g_free(title);
      return good && gst_tag_list_get_uint(tags_of(event), GST_TAG_BITRATE, &bitrate) &&
             bitrate == 64000;
    });
    seen->wait_event(GST_EVENT_CUSTOM_DOWNSTREAM_OOB, [](GstEvent* event) {
      gint n = 0;
      return gst_structure_get_int(gst_event_get_structure(event), "n", &n) && n == 42;
    });
    fail_unless(seen->becomes([](const Seen::Items& items) {
      return std::any_of(items.begin(), items.end(),
                         [](const Seen::Item& item) { return item.query == GST_QUERY_DRAIN; });
    }));
  }
}

// A message that goes with the data, to be posted when it gets there.
void check_message(const Kind& kind) {
  const Scene scene;
  const Linked linked(scene, kind);
  linked.play();
  const AtABuffer sent(linked, [&](GstPad* pad) {
    const Ref<GstMessage> message(gst_message_new_element(
        GST_OBJECT(GST_PAD_PARENT(pad)), gst_structure_new("passing", "n", G_TYPE_INT, 7, nullptr)));
    fail_unless(gst_pad_send_event(pad, gst_event_new_sink_message("pass", message.get())));
  });
  sent.wait();
  for (int i = 0; i < kind.streams; ++i) {
    auto message = linked.reader_of(i).wait(GST_MESSAGE_ELEMENT);
    while (!gst_message_has_name(message.get(), "passing"))
      message = linked.reader_of(i).wait(GST_MESSAGE_ELEMENT);
    gint n = 0;
    fail_unless(gst_structure_get_int(gst_message_get_structure(message.get()), "n", &n) && n == 7);
    // Of an element of the pipeline that it is posted in.
    fail_unless(gst_object_has_as_ancestor(GST_MESSAGE_SRC(message.get()),
                                           GST_OBJECT(linked.reader_of(i).get())));
  }
  // Here it has only passed.
  const Ref<GstBus> bus(gst_element_get_bus(linked.sender->get()));
  while (Ref<GstMessage> message{gst_bus_pop_filtered(bus.get(), GST_MESSAGE_ELEMENT)})
    fail_unless(!gst_message_has_name(message.get(), "passing"));
}

// A filter in the far pipeline changes, and the source over here delivers what it says.
void check_new_caps(const Kind& kind) {
  const Scene scene;
  Linked::Options options;
  options.sink = "max-buffers=4";
  options.middle = "capsfilter !";
  const Linked linked(scene, kind, options);
  linked.play();
  GstPad* pad = gst_element_get_static_pad(linked.end(0), "sink");
  GstPad* peer = gst_pad_get_peer(pad);
  for (const char* rate : {"48000", "22050"}) {
    linked.ends[0]->clear();
    const Ref<GstCaps> caps(
        gst_caps_from_string((std::string("audio/x-raw,rate=") + rate).c_str()));
    g_object_set(GST_PAD_PARENT(peer), "caps", caps.get(), nullptr);
    linked.ends[0]->wait_event(GST_EVENT_CAPS, [&](GstEvent* event) {
      return test::contains(test::caps_of(event), rate);
    });
    linked.wait_buffers(2);
  }
  gst_object_unref(peer);
  gst_object_unref(pad);
  linked.fail_if_errors();
}

// Elements that fail after a few buffers, until the pipelines are played again. The sender has no
// error of its own.
void check_error_of_the_reader(const Kind& kind) {
  const Scene scene;
  Linked::Options options;
  options.src = "on-disconnect=none";
  options.middle = "identity error-after=5 !";
  const Linked linked(scene, kind, options);
  linked.play_readers();
  linked.sender->play();
  for (const auto& reader : linked.readers) {
    reader->wait_error();
    reader->stop();
  }
  fail_unless(linked.sender->errors().empty());
  linked.sender->stop();
  for (int i = 0; i < kind.streams; ++i) {
    GstPad* pad = gst_element_get_static_pad(linked.end(i), "sink");
    GstPad* peer = gst_pad_get_peer(pad);
    g_object_set(GST_PAD_PARENT(peer), "error-after", -1, nullptr);
    gst_object_unref(peer);
    gst_object_unref(pad);
  }
  linked.play();
  linked.wait_buffers(10);
  linked.fail_if_errors();
}

}  // namespace

TEST(position_and_duration) {
  for (const Kind& kind : test::kAllKinds) check_position_and_duration(kind);
}

TEST(end_of_stream) {
  for (const Kind& kind : test::kAllKinds) check_end(kind);
}

TEST(message) {
  for (const Kind& kind : test::kAllKinds) check_message(kind);
}

TEST(between_buffers) {
  for (const Kind& kind : test::kAllKinds) check_between_buffers(kind);
}

TEST(far_side_changes_its_caps) {
  for (const Kind& kind : {test::kTest, test::kBoth, test::kLive, test::kLiveBoth})
    check_new_caps(kind);
}

TEST(error_of_the_reader) {
  for (const Kind& kind : test::kAllKinds) check_error_of_the_reader(kind);
}
