// Every serialized event of its own kind crosses in order with the data, whole; and those that go
// past the data.
#include "tests/elements/support.h"

using test::Harness;
using test::Pipeline;
using test::Scene;

namespace {

struct Pair {
  explicit Pair(const Scene& scene) : sink(scene.sink()), reader(scene.src("is-live=false")) {
    reader.play();
    sink.wait_for_clients(1);
    sink.push_number(0);
    reader.pull();
  }
  // What arrives of an event, which keeps its seqnum.
  test::Ref<GstEvent> send(GstEvent* event) const {
    const guint32 seqnum = gst_event_get_seqnum(event);
    const GstEventType type = GST_EVENT_TYPE(event);
    sink.push_event(event);
    // Those before it are of the harness.
    for (;;)
      if (auto came = reader.pull_event(type); gst_event_get_seqnum(came.get()) == seqnum)
        return came;
  }
  Harness sink, reader;
};

GstTocEntry* chapter(const char* uid, gint64 start, gint64 stop, const char* title) {
  GstTocEntry* entry = gst_toc_entry_new(GST_TOC_ENTRY_TYPE_CHAPTER, uid);
  gst_toc_entry_set_start_stop_times(entry, start, stop);
  gst_toc_entry_set_tags(entry, gst_tag_list_new(GST_TAG_TITLE, title, nullptr));
  return entry;
}

}  // namespace

TEST(table_of_contents) {
  const Scene scene;
  const Pair pair(scene);
  GstToc* toc = gst_toc_new(GST_TOC_SCOPE_GLOBAL);
  GstTocEntry* edition = gst_toc_entry_new(GST_TOC_ENTRY_TYPE_EDITION, "edition");
  gst_toc_entry_set_loop(edition, GST_TOC_LOOP_PING_PONG, 3);
  gst_toc_entry_append_sub_entry(edition, chapter("one", 0, 10, "Beginning"));
  gst_toc_entry_append_sub_entry(edition, chapter("two", 10, 20, "End"));
  gst_toc_append_entry(toc, edition);
  gst_toc_set_tags(toc, gst_tag_list_new(GST_TAG_ARTIST, "somebody", nullptr));
  const auto event = pair.send(gst_event_new_toc(toc, TRUE));
  gst_toc_unref(toc);

  GstToc* came = nullptr;
  gboolean updated = FALSE;
  gst_event_parse_toc(event.get(), &came, &updated);
  fail_unless(updated && gst_toc_get_scope(came) == GST_TOC_SCOPE_GLOBAL);
  GstTocLoopType loop{};
  gint repeat = 0;
  fail_unless(gst_toc_entry_get_loop(gst_toc_find_entry(came, "edition"), &loop, &repeat));
  fail_unless(loop == GST_TOC_LOOP_PING_PONG && repeat == 3);
  GstTocEntry* two = gst_toc_find_entry(came, "two");
  gint64 start = 0;
  gint64 stop = 0;
  fail_unless(two != nullptr && gst_toc_entry_get_start_stop_times(two, &start, &stop));
  fail_unless(start == 10 && stop == 20);
  gchar* title = nullptr;
  fail_unless(gst_tag_list_get_string(gst_toc_entry_get_tags(two), GST_TAG_TITLE, &title));
  fail_unless_equals_string(title, "End");
  g_free(title);
  gst_toc_unref(came);
}

TEST(cover_art_in_tags) {
  const Scene scene;
  const Pair pair(scene);
  // Larger than what fits a descriptor or a control message.
  const gsize size = 300000;
  GstBuffer* picture = gst_buffer_new_allocate(nullptr, size, nullptr);
  gst_buffer_memset(picture, 0, 0xa5, size);
  const test::Ref<GstCaps> caps(gst_caps_from_string("image/jpeg,width=600"));
  GstSample* sample = gst_sample_new(picture, caps.get(), nullptr,
                                     gst_structure_new("info", "n", G_TYPE_INT, 3, nullptr));
  GstTagList* tags = gst_tag_list_new(GST_TAG_IMAGE, sample, GST_TAG_TRACK_NUMBER, 7u, nullptr);
  const auto event = pair.send(gst_event_new_tag(tags));
  gst_sample_unref(sample);

  GstTagList* came = nullptr;
  gst_event_parse_tag(event.get(), &came);
  GstSample* there = nullptr;
  fail_unless(gst_tag_list_get_sample(came, GST_TAG_IMAGE, &there));
  fail_unless(gst_caps_is_equal(gst_sample_get_caps(there), caps.get()));
  fail_unless(gst_structure_has_name(gst_sample_get_info(there), "info"));
  GstMapInfo map;
  fail_unless(gst_buffer_map(gst_sample_get_buffer(there), &map, GST_MAP_READ));
  fail_unless(gst_buffer_get_size(picture) == map.size &&
              gst_buffer_memcmp(picture, 0, map.data, map.size) == 0);
  gst_buffer_unmap(gst_sample_get_buffer(there), &map);
  gst_sample_unref(there);
  gst_buffer_unref(picture);
}

TEST(stream_collection_and_the_stream_of_a_stream_start) {
  const Scene scene;
  const Pair pair(scene);
  const test::Ref<GstCaps> caps(gst_caps_from_string(test::kVideo));
  GstStream* stream =
      gst_stream_new("id", caps.get(), GST_STREAM_TYPE_VIDEO, GST_STREAM_FLAG_SELECT);
  GstTagList* tags = gst_tag_list_new(GST_TAG_LANGUAGE_CODE, "de", nullptr);
  gst_stream_set_tags(stream, tags);
  gst_tag_list_unref(tags);
  GstEvent* start = gst_event_new_stream_start("id");
  gst_event_set_stream(start, stream);
  const auto check = [&](GstStream* came) {
    fail_unless_equals_string(gst_stream_get_stream_id(came), "id");
    fail_unless_equals_int(gst_stream_get_stream_type(came), GST_STREAM_TYPE_VIDEO);
    fail_unless_equals_int(gst_stream_get_stream_flags(came), GST_STREAM_FLAG_SELECT);
    const test::Ref<GstCaps> there(gst_stream_get_caps(came));
    fail_unless(gst_caps_is_equal(there.get(), caps.get()));
    GstTagList* tags_there = gst_stream_get_tags(came);
    gchar* language = nullptr;
    fail_unless(gst_tag_list_get_string(tags_there, GST_TAG_LANGUAGE_CODE, &language));
    fail_unless_equals_string(language, "de");
    g_free(language);
    gst_tag_list_unref(tags_there);
  };
  const auto started = pair.send(start);
  GstStream* came = nullptr;
  gst_event_parse_stream(started.get(), &came);
  check(came);
  gst_object_unref(came);

  GstStreamCollection* streams = gst_stream_collection_new("upstream");
  gst_stream_collection_add_stream(streams, stream);
  const auto event = pair.send(gst_event_new_stream_collection(streams));
  gst_object_unref(streams);
  gst_event_parse_stream_collection(event.get(), &streams);
  fail_unless_equals_string(gst_stream_collection_get_upstream_id(streams), "upstream");
  fail_unless_equals_int(gst_stream_collection_get_size(streams), 1);
  check(gst_stream_collection_get_stream(streams, 0));
  gst_object_unref(streams);
}

TEST(small_events) {
  const Scene scene;
  const Pair pair(scene);
  GstFormat format{};
  gint64 position = 0;
  gst_event_parse_segment_done(pair.send(gst_event_new_segment_done(GST_FORMAT_BYTES, 77)).get(),
                               &format, &position);
  fail_unless(format == GST_FORMAT_BYTES && position == 77);

  gint64 least = 0;
  gint64 most = 0;
  gboolean async = FALSE;
  gst_event_parse_buffer_size(
      pair.send(gst_event_new_buffer_size(GST_FORMAT_TIME, 1, 2, TRUE)).get(), &format, &least,
      &most, &async);
  fail_unless(format == GST_FORMAT_TIME && least == 1 && most == 2 && async);

  GstEvent* gap = gst_event_new_gap(5, 6);
  gst_event_set_gap_flags(gap, GST_GAP_FLAG_MISSING_DATA);
  GstGapFlags gap_flags{};
  gst_event_parse_gap_flags(pair.send(gap).get(), &gap_flags);
  fail_unless_equals_int(gap_flags, GST_GAP_FLAG_MISSING_DATA);

  gdouble rate = 0;
  GstSegmentFlags flags{};
  const auto change =
      pair.send(gst_event_new_instant_rate_change(1.5, GST_SEGMENT_FLAG_TRICKMODE_KEY_UNITS));
  gst_event_parse_instant_rate_change(change.get(), &rate, &flags);
  fail_unless(rate == 1.5 && flags == GST_SEGMENT_FLAG_TRICKMODE_KEY_UNITS);

  GstBuffer* data = test::numbered(9, 40);
  const auto protection = pair.send(gst_event_new_protection("system", data, "here"));
  const gchar* system = nullptr;
  const gchar* origin = nullptr;
  GstBuffer* there = nullptr;
  gst_event_parse_protection(protection.get(), &system, &there, &origin);
  fail_unless_equals_string(system, "system");
  fail_unless_equals_string(origin, "here");
  fail_unless_equals_uint64(gst_buffer_get_size(there), 40);
  gst_buffer_unref(data);

  GstEvent* start = gst_event_new_stream_start("one");
  gst_event_set_group_id(start, 815);
  guint group = 0;
  guint done = 0;
  gst_event_parse_group_id(pair.send(start).get(), &group);
  gst_event_parse_stream_group_done(pair.send(gst_event_new_stream_group_done(815)).get(), &done);
  fail_unless_equals_int(done, static_cast<int>(group));
}

TEST(events_past_the_data) {
  const Scene scene;
  const Pair pair(scene);
  for (const GstEventType type : {GST_EVENT_CUSTOM_DOWNSTREAM_OOB, GST_EVENT_CUSTOM_BOTH_OOB}) {
    const auto came = pair.send(
        gst_event_new_custom(type, gst_structure_new("past", "n", G_TYPE_INT, 5, nullptr)));
    gint number = 0;
    fail_unless(gst_structure_get_int(gst_event_get_structure(came.get()), "n", &number));
    fail_unless_equals_int(number, 5);
  }
}

TEST(buffer_lists_arrive_as_their_buffers) {
  const Scene scene;
  const Pair pair(scene);
  GstBufferList* list = gst_buffer_list_new();
  for (guint64 i = 1; i <= 3; ++i) gst_buffer_list_add(list, test::numbered(i, 1000 * i));
  fail_unless_equals_int(gst_pad_push_list(pair.sink.get()->srcpad, list), GST_FLOW_OK);
  for (guint64 i = 1; i <= 3; ++i) fail_unless_equals_uint64(pair.reader.pull_number(), i);
}
