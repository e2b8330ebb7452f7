// Events, queries and what they are made of as a peer could make them up; found by tests/fuzz.
// What makes no sense is refused, and what is odd is taken in without GStreamer minding it.
#include <cstdlib>
#include <functional>

#include "gst/wire-stream.h"
#include "gst/wire-structure.h"
#include "gst/wire-value.h"
#include "gst/wire.h"
#include "tests/elements/metas_bytes.h"

using gstmmap::BytesIn;
using gstmmap::BytesOut;
using gstmmap::decode_answer;
using gstmmap::decode_event;
using gstmmap::decode_question;
using gstmmap::encode_answer;
using gstmmap::encode_event;
using test::Bytes;
using test::NoComplaints;
using test::Ref;

namespace {

// Where the type and the body of an event begin, and the flags of what is in it.
constexpr size_t kEventBody = 16;
constexpr size_t kSeekFlags = kEventBody + 36;

template <class T>
Bytes with(Bytes bytes, size_t at, T number) {
  fail_unless(at + sizeof number <= bytes.size());
  std::memcpy(bytes.data() + at, &number, sizeof number);
  return bytes;
}

Bytes bytes_of(GstEvent* event) {
  const auto bytes = encode_event(event);
  gst_event_unref(event);
  fail_unless(bytes.has_value());
  return *bytes;
}

Bytes written(const std::function<bool(BytesOut&)>& put) {
  Bytes bytes;
  BytesOut to(bytes);
  fail_unless(put(to));
  return bytes;
}

// As a peer would write it: GStreamer has not seen the name yet.
Bytes protection(const std::string& system, const std::string& origin) {
  return written([&](BytesOut& to) {
    for (const uint32_t number : {uint32_t{GST_EVENT_PROTECTION}, 0u, 0u, 0u, 1u}) to.put(number);
    return gstmmap::put_text(system.c_str(), to) && gstmmap::put_text(origin.c_str(), to) &&
           gstmmap::put_bytes({}, to);
  });
}

}  // namespace

TEST(types_that_are_none_are_refused) {
  const NoComplaints strict;
  const auto eos = bytes_of(gst_event_new_eos());
  for (const uint32_t type : {0u, 1u, 77u, 0x7fffffffu, 0xffffff0au, ~0u}) {
    fail_if(decode_event(with(eos, 0, type)) != nullptr, "event %u", type);
    fail_if(decode_question(with(Bytes(4), 0, type)) != nullptr, "query %u", type);
  }
}

// Found by a fuzzer: GStreamer 1.22 follows a null pointer as it compares them.
TEST(caps_with_an_empty_list_in_a_list_are_refused) {
  const NoComplaints strict;
  for (const bool is_empty : {true, false}) {
    GValue inner = G_VALUE_INIT;
    GValue one = G_VALUE_INIT;
    GValue list = G_VALUE_INIT;
    g_value_init(&inner, GST_TYPE_LIST);
    g_value_init(&one, G_TYPE_INT);
    if (!is_empty) gst_value_list_append_value(&inner, &one);
    g_value_init(&list, GST_TYPE_LIST);
    gst_value_list_append_and_take_value(&list, &inner);
    gst_value_list_append_and_take_value(&list, &one);
    GstStructure* structure = gst_structure_new_empty("a/b");
    gst_structure_take_value(structure, "x", &list);
    const auto bytes = written([&](BytesOut& to) {
      to.put(0u);
      to.put(1u);
      const bool put = gstmmap::put_structure(structure, to);
      to.put(0u);
      to.put(0u);
      return put;
    });
    gst_structure_free(structure);
    BytesIn from(bytes);
    fail_unless_equals_int(gstmmap::get_caps(from) == nullptr, is_empty);
  }
}

// An enum holds no others, and GObject warns.
TEST(flags_that_are_none_are_left_out) {
  const NoComplaints strict;
  const auto seek = bytes_of(gst_event_new_seek(1, GST_FORMAT_TIME, GST_SEEK_FLAG_FLUSH,
                                                GST_SEEK_TYPE_SET, 1, GST_SEEK_TYPE_NONE, 0));
  const Ref<GstEvent> came(decode_event(
      with(seek, kSeekFlags,
           uint32_t{0x80000000u | GST_SEEK_FLAG_ACCURATE | GST_SEEK_FLAG_SNAP_AFTER})));
  fail_unless(came != nullptr);
  GstSeekFlags flags{};
  gst_event_parse_seek(came.get(), nullptr, nullptr, &flags, nullptr, nullptr, nullptr, nullptr);
  fail_unless_equals_int(flags, GST_SEEK_FLAG_ACCURATE);

  const gstmmap::OwnStream<GstStream> sent(
      gst_stream_new("id", nullptr, GST_STREAM_TYPE_VIDEO, GST_STREAM_FLAG_SPARSE));
  const auto bytes =
      with(with(written([&](BytesOut& to) { return gstmmap::put_stream(sent.get(), to); }), 0,
                uint32_t{0xffffff00u | GST_STREAM_TYPE_AUDIO}),
           4, uint32_t{0x3b000000u | GST_STREAM_FLAG_SELECT});
  BytesIn from(bytes);
  const auto stream = gstmmap::get_stream(from);
  fail_unless(stream != nullptr);
  fail_unless_equals_int(gst_stream_get_stream_type(stream.get()), GST_STREAM_TYPE_AUDIO);
  fail_unless_equals_int(gst_stream_get_stream_flags(stream.get()), GST_STREAM_FLAG_SELECT);
}

TEST(instant_rate_seeks_change_the_rate_alone) {
  const NoComplaints strict;
  const auto seek = [](GstSeekType start, GstSeekType stop) {
    return with(
        bytes_of(gst_event_new_seek(2, GST_FORMAT_TIME, GST_SEEK_FLAG_NONE, start, 1, stop, 2)),
        kSeekFlags, uint32_t{GST_SEEK_FLAG_INSTANT_RATE_CHANGE});
  };
  const auto takes = [](const Bytes& bytes) {
    return Ref<GstEvent>(decode_event(bytes)) != nullptr;
  };
  fail_unless(takes(seek(GST_SEEK_TYPE_NONE, GST_SEEK_TYPE_NONE)));
  fail_if(takes(seek(GST_SEEK_TYPE_SET, GST_SEEK_TYPE_NONE)));
  fail_if(takes(seek(GST_SEEK_TYPE_NONE, GST_SEEK_TYPE_END)));
  fail_if(takes(with(seek(GST_SEEK_TYPE_NONE, GST_SEEK_TYPE_NONE), kSeekFlags,
                     uint32_t{GST_SEEK_FLAG_INSTANT_RATE_CHANGE | GST_SEEK_FLAG_FLUSH})));
}

TEST(latency_and_intervals_are_times) {
  const NoComplaints strict;
  constexpr size_t kInterval = kEventBody + 24;
  const auto seek = bytes_of(gst_event_new_seek(2, GST_FORMAT_TIME, GST_SEEK_FLAG_NONE,
                                                GST_SEEK_TYPE_SET, 1, GST_SEEK_TYPE_NONE, 0));
  fail_if(decode_event(with(seek, kInterval, GST_CLOCK_TIME_NONE)) != nullptr);
  const auto bytes = bytes_of(gst_event_new_latency(5));
  fail_if(decode_event(with(bytes, kEventBody, GST_CLOCK_TIME_NONE)) != nullptr);
}

TEST(time_zones_come_back_to_the_minute) {
  const NoComplaints strict;
  for (int minutes = -12 * 60; minutes <= 12 * 60; ++minutes) {
    gchar* text = g_strdup_printf("2026-11-24T10:11:12%c%02d:%02d", minutes < 0 ? '-' : '+',
                                  std::abs(minutes) / 60, std::abs(minutes) % 60);
    GstStructure* sent = gst_structure_new_empty("a");
    GstDateTime* time = gst_date_time_new_from_iso8601_string(text);
    gst_structure_set(sent, "time", GST_TYPE_DATE_TIME, time, nullptr);
    gst_date_time_unref(time);
    const auto bytes = written([&](BytesOut& to) { return gstmmap::put_structure(sent, to); });
    BytesIn from(bytes);
    const auto came = gstmmap::get_structure(from);
    fail_unless(came != nullptr);
    fail_unless(gst_structure_is_equal(came.get(), sent), "%s", text);
    const auto again =
        written([&](BytesOut& to) { return gstmmap::put_structure(came.get(), to); });
    fail_unless(again == bytes, "%s", text);
    gst_structure_free(sent);
    g_free(text);
  }
}

TEST(protection_may_be_empty) {
  const NoComplaints strict;
  GstBuffer* nothing = gst_buffer_new();
  const auto bytes = bytes_of(gst_event_new_protection("system", nothing, nullptr));
  gst_buffer_unref(nothing);
  const Ref<GstEvent> came(decode_event(bytes));
  fail_unless(came != nullptr);
  GstBuffer* data = nullptr;
  gst_event_parse_protection(came.get(), nullptr, &data, nullptr);
  fail_unless_equals_uint64(gst_buffer_get_size(data), 0);
}

// GStreamer makes a name of what the event says, which it checks. What is refused is not kept.
TEST(protection_makes_good_names_only) {
  const NoComplaints strict;
  const auto takes = [](const std::string& system, const std::string& origin) {
    const Ref<GstEvent> event(decode_event(protection(system, origin)));
    const std::string name = "GstProtectionEvent-" + origin + "-" + system;
    const bool kept = g_quark_try_string(name.c_str()) != 0;
    fail_unless(kept == (event != nullptr), "%s", name.c_str());
    if (event) fail_unless(gst_event_has_name(event.get(), name.c_str()));
    return event != nullptr;
  };
  fail_unless(takes("sys/tem", "origin"));
  fail_if(takes("sy(tem", "origin"));
  fail_if(takes("system", "ori gin"));
  fail_if(takes(std::string(255, 'x'), "origin"));
}

// More often than a peer may bring new ones, whether GStreamer keeps them or not.
TEST(protection_of_one_name_counts_once) {
  const NoComplaints strict;
  const auto bytes = protection("again", "and-again");
  int taken = 0;
  while (taken <= 100'000 && Ref<GstEvent>(decode_event(bytes)) != nullptr) ++taken;
  fail_unless_equals_int(taken, 100'001);
}

namespace {

// How many covers come of a title and one with that picture.
guint covers_with(GstBuffer* picture) {
  GstSample* sample = gst_sample_new(picture, nullptr, nullptr, nullptr);
  GstTagList* tags = gst_tag_list_new(GST_TAG_TITLE, "a title", GST_TAG_IMAGE, sample, nullptr);
  gst_sample_unref(sample);
  const Ref<GstEvent> came(decode_event(bytes_of(gst_event_new_tag(tags))));
  fail_unless(came != nullptr);
  GstTagList* got = nullptr;
  gst_event_parse_tag(came.get(), &got);
  fail_unless_equals_int(gst_tag_list_get_tag_size(got, GST_TAG_TITLE), 1);
  return gst_tag_list_get_tag_size(got, GST_TAG_IMAGE);
}

}  // namespace

TEST(cover_may_be_empty) {
  const NoComplaints strict;
  const Ref<GstBuffer> nothing(gst_buffer_new());
  fail_unless_equals_int(covers_with(nothing.get()), 1);
}

// GStreamer can't compare two of them.
TEST(cover_without_a_picture_is_left_out) {
  const NoComplaints strict;
  fail_unless_equals_int(covers_with(nullptr), 0);
}

// GStreamer asserts that.
TEST(answers_have_the_format_that_was_asked_for) {
  const NoComplaints strict;
  using New = GstQuery* (*)(GstFormat);
  using Set = void (*)(GstQuery*, GstFormat, gint64);
  const struct {
    New create;
    Set set;
  } kinds[] = {{gst_query_new_position, gst_query_set_position},
               {gst_query_new_duration, gst_query_set_duration}};
  for (const auto& [create, set] : kinds) {
    const Ref<GstQuery> bytes(create(GST_FORMAT_BYTES));
    set(bytes.get(), GST_FORMAT_BYTES, 5);
    const auto answer = encode_answer(bytes.get());
    const Ref<GstQuery> asked(create(GST_FORMAT_TIME));
    fail_if(decode_answer(*answer, asked.get()));
    const Ref<GstQuery> again(create(GST_FORMAT_BYTES));
    fail_unless(decode_answer(*answer, again.get()));
  }
}

TEST(segments_have_a_format) {
  const NoComplaints strict;
  GstSegment segment;
  gst_segment_init(&segment, GST_FORMAT_TIME);
  const auto bytes = bytes_of(gst_event_new_segment(&segment));
  fail_unless(Ref<GstEvent>(decode_event(bytes)) != nullptr);
  fail_if(decode_event(with(bytes, kEventBody + 4, int32_t{GST_FORMAT_UNDEFINED})) != nullptr);
}

// A sink reckons from its end, and GStreamer asserts that there is one.
TEST(segments_backwards_have_an_end) {
  const NoComplaints strict;
  constexpr size_t kOffset = kEventBody + 32;
  constexpr size_t kStop = kEventBody + 48;
  GstSegment segment;
  gst_segment_init(&segment, GST_FORMAT_TIME);
  segment.rate = -1;
  segment.stop = 1000;
  const auto bytes = bytes_of(gst_event_new_segment(&segment));
  const auto takes = [](const Bytes& event) {
    return Ref<GstEvent>(decode_event(event)) != nullptr;
  };
  fail_unless(takes(with(bytes, kOffset, uint64_t{1000})));
  fail_if(takes(with(bytes, kOffset, uint64_t{1001})));
  fail_if(takes(with(bytes, kStop, GST_CLOCK_TIME_NONE)));
  segment.stop = GST_CLOCK_TIME_NONE;
  const Ref<GstEvent> event(gst_event_new_segment(&segment));
  fail_if(encode_event(event.get()).has_value());
}

// Two of a kind are a list.
TEST(tags_are_there) {
  const NoComplaints strict;
  const auto read = [](bool present) {
    const auto bytes = written([&](BytesOut& to) {
      for (const uint32_t number : {uint32_t{GST_TAG_SCOPE_STREAM}, 1u}) to.put(number);
      const bool put = gstmmap::put_name(GST_TAG_ARTIST, to);
      to.put(uint32_t{1});  // a value
      GValue text = G_VALUE_INIT;
      g_value_init(&text, G_TYPE_STRING);
      if (present) g_value_set_string(&text, "artist");
      const bool value = gstmmap::put_value(&text, to, gstmmap::kDeepest);
      g_value_unset(&text);
      return put && value;
    });
    BytesIn from(bytes);
    return gstmmap::get_tags(from) != nullptr;
  };
  fail_unless(read(true));
  fail_if(read(false));
}

// Which GStreamer would not print.
TEST(what_is_in_lists_is_there) {
  const NoComplaints strict;
  for (const char* text : {"text", static_cast<const char*>(nullptr)}) {
    GValue list = G_VALUE_INIT;
    GValue string = G_VALUE_INIT;
    g_value_init(&list, GST_TYPE_LIST);
    g_value_init(&string, G_TYPE_STRING);
    g_value_set_string(&string, text);
    gst_value_list_append_and_take_value(&list, &string);
    GstStructure* structure = gst_structure_new_empty("a");
    gst_structure_take_value(structure, "field", &list);
    const Ref<GstEvent> event(gst_event_new_custom(GST_EVENT_CUSTOM_DOWNSTREAM, structure));
    fail_unless(encode_event(event.get()).has_value() == (text != nullptr));
  }
}

TEST(structures_in_structures_are_there) {
  const NoComplaints strict;
  const test::Ref<GstEvent> event(
      gst_event_new_custom(GST_EVENT_CUSTOM_DOWNSTREAM,
                           gst_structure_new("a", "field", GST_TYPE_STRUCTURE, nullptr, nullptr)));
  fail_if(encode_event(event.get()).has_value());
}

// What GStreamer can't compare has no place in caps, however deep inside.
TEST(caps_can_be_compared) {
  const NoComplaints strict;
  const auto crosses = [](GstStructure* structure) {
    Bytes bytes;
    BytesOut to(bytes);
    to.put(uint32_t{0});  // listed
    to.put(uint32_t{1});
    fail_unless(gstmmap::put_structure(structure, to));
    to.put(uint32_t{0});
    to.put(uint32_t{0});
    const Ref<GstCaps> caps(gst_caps_new_full(structure, nullptr));
    Bytes other;
    BytesOut to_other(other);
    const bool put = gstmmap::put_caps(caps.get(), to_other);
    BytesIn from(bytes);
    const auto got = gstmmap::get_caps(from);
    fail_unless((got != nullptr) == put);
    fail_if(got && !gst_caps_is_equal(got.get(), caps.get()));
    return put;
  };
  const auto new_structure = [](GType type, int value) {
    return gst_structure_new("a", "field", type, value, nullptr);
  };
  fail_unless(crosses(new_structure(G_TYPE_INT, 1)));
  fail_if(crosses(new_structure(G_TYPE_CHAR, 1)));
  for (const GType type : {GST_TYPE_LIST, GST_TYPE_ARRAY}) {
    for (const GType inner : {G_TYPE_INT, G_TYPE_CHAR}) {
      GValue list = G_VALUE_INIT;
      GValue value = G_VALUE_INIT;
      g_value_init(&list, type);
      g_value_init(&value, inner);
      if (type == GST_TYPE_LIST)
        gst_value_list_append_and_take_value(&list, &value);
      else
        gst_value_array_append_and_take_value(&list, &value);
      GstStructure* structure = gst_structure_new_empty("a");
      gst_structure_take_value(structure, "field", &list);
      fail_unless(crosses(structure) == (inner == G_TYPE_INT));
    }
  }
  GstStructure* inner = new_structure(G_TYPE_CHAR, 1);
  fail_if(crosses(gst_structure_new("a", "field", GST_TYPE_STRUCTURE, inner, nullptr)));
  gst_structure_free(inner);
}
