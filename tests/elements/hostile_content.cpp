// What a hostile peer puts into items and notices whose frame is right: caps, events, tags, metas,
// queries. Nothing that GStreamer or GLib would mind gets through: their complaints fail a test.
#include <cstring>

#include "gst/bytes.h"
#include "gst/wire-meta.h"
#include "gst/wire-structure.h"
#include "gst/wire.h"
#include "tests/elements/forged_peer.h"

using gstmmap::FlushStart;
using gstmmap::FlushStop;
using gstmmap::Item;
using gstmmap::Notice;
using mmaplink::Descriptor;
using mmaplink::ExtraFrom;
using mmaplink::Note;
using test::ForgedPeer;
using test::Harness;
using test::kForSink;
using test::kSends;
using test::Play;
using test::Ref;
using test::Scene;

namespace {

using Bytes = std::vector<std::byte>;

constexpr auto kNoEvent = "an event that makes no sense";
constexpr auto kNoBuffer = "a buffer that makes no sense";
constexpr auto kNoQuery = "a query that makes no sense";

Bytes encoded(GstEvent* event) {
  const auto bytes = gstmmap::encode_event(event);
  gst_event_unref(event);
  fail_unless(bytes.has_value());
  return *bytes;
}

GstEvent* caps_event(const char* text) {
  const Ref<GstCaps> caps(gst_caps_from_string(text));
  return gst_event_new_caps(caps.get());
}

GstEvent* segment_event(GstFormat format = GST_FORMAT_TIME) {
  GstSegment segment;
  gst_segment_init(&segment, format);
  return gst_event_new_segment(&segment);
}

// Of a kind, with these bytes in its slot.
void publish(ForgedPeer& peer, Item kind, std::span<const std::byte> bytes) {
  Descriptor descriptor;
  descriptor.kind = static_cast<uint32_t>(kind);
  descriptor.extra_from = static_cast<uint32_t>(ExtraFrom::slot);
  if (kind == Item::buffer) {
    descriptor.arena = 1;
    descriptor.size = test::kVideoSize;
  }
  peer.publish(descriptor, bytes);
}

// Good events of all kinds, small enough for a slot.
std::vector<Bytes> events() {
  GstTagList* tags = gst_tag_list_new(GST_TAG_TITLE, "title", GST_TAG_BITRATE, 1000u,
                                      GST_TAG_TRACK_GAIN, 1.5, nullptr);
  GstToc* toc = gst_toc_new(GST_TOC_SCOPE_GLOBAL);
  GstTocEntry* chapter = gst_toc_entry_new(GST_TOC_ENTRY_TYPE_CHAPTER, "one");
  gst_toc_entry_set_start_stop_times(chapter, 0, 100);
  gst_toc_append_entry(toc, chapter);
  GstStreamCollection* streams = gst_stream_collection_new("up");
  const Ref<GstCaps> caps(gst_caps_from_string(test::kVideo));
  gst_stream_collection_add_stream(
      streams, gst_stream_new("one", caps.get(), GST_STREAM_TYPE_VIDEO, GST_STREAM_FLAG_NONE));
  GstBuffer* data = gst_buffer_new_allocate(nullptr, 10, nullptr);
  gst_buffer_memset(data, 0, 1, 10);
  std::vector<Bytes> all;
  for (GstEvent* event :
       {gst_event_new_stream_start("id"), caps_event(test::kVideo),
        caps_event("audio/x-raw,format=S16LE,rate=48000,channels=2,layout=interleaved"),
        caps_event("video/x-h264,codec_data=(buffer)0123,stream-format=avc,list=(int)<1,2>"),
        segment_event(), segment_event(GST_FORMAT_BYTES), gst_event_new_tag(tags),
        gst_event_new_toc(toc, FALSE), gst_event_new_stream_collection(streams),
        gst_event_new_protection("edef8ba9-79d6-4ace-a3c8-27dcd51d21ed", data, "origin"),
        gst_event_new_gap(1, 2), gst_event_new_segment_done(GST_FORMAT_TIME, 3),
        gst_event_new_instant_rate_change(1.5, GST_SEGMENT_FLAG_NONE),
        gst_event_new_buffer_size(GST_FORMAT_BYTES, 1, 2, FALSE),
        gst_event_new_stream_group_done(5),
        gst_event_new_custom(GST_EVENT_CUSTOM_DOWNSTREAM,
                             gst_structure_new("custom", "number", G_TYPE_INT, 3, "text",
                                               G_TYPE_STRING, "words", nullptr)),
        gst_event_new_custom(GST_EVENT_CUSTOM_DOWNSTREAM_STICKY,
                             gst_structure_new("sticky", "f", GST_TYPE_FRACTION, 1, 2, nullptr))})
    all.push_back(encoded(event));
  gst_buffer_unref(data);
  gst_object_unref(streams);
  gst_toc_unref(toc);
  return all;
}

std::vector<Bytes> upstream_events() {
  std::vector<Bytes> all;
  for (GstEvent* event :
       {gst_event_new_qos(GST_QOS_TYPE_UNDERFLOW, 1.0, 5, 100), gst_event_new_latency(5),
        gst_event_new_seek(1.0, GST_FORMAT_TIME, GST_SEEK_FLAG_NONE, GST_SEEK_TYPE_SET, 0,
                           GST_SEEK_TYPE_NONE, 0),
        gst_event_new_step(GST_FORMAT_BUFFERS, 1, 1.0, FALSE, FALSE), gst_event_new_reconfigure(),
        gst_event_new_navigation(gst_structure_new("application/x-gst-navigation", "event",
                                                   G_TYPE_STRING, "mouse-move", nullptr)),
        gst_video_event_new_upstream_force_key_unit(5, TRUE, 1)})
    all.push_back(encoded(event));
  return all;
}

// The same numbers in each run.
class Random {
 public:
  explicit Random(guint32 seed) : random_(g_rand_new_with_seed(seed)) {}
  Random(const Random&) = delete;
  Random& operator=(const Random&) = delete;
  ~Random() { g_rand_free(random_); }
  size_t below(size_t end) {
    return static_cast<size_t>(g_rand_int_range(random_, 0, static_cast<gint32>(end)));
  }
  // One to three bytes are others, or it has another end.
  Bytes spoil(Bytes bytes) {
    static constexpr int kTelling[] = {0, 1, 0x7f, 0x80, 0xff};
    for (size_t i = below(3) + 1; i > 0 && !bytes.empty(); --i)
      bytes[below(bytes.size())] =
          static_cast<std::byte>(below(2) == 0 ? kTelling[below(5)] : static_cast<int>(below(256)));
    if (below(8) == 0) bytes.resize(below(bytes.size() + 8));
    bytes.resize(std::min(bytes.size(), mmaplink::kSlotExtra));
    return bytes;
  }

 private:
  GRand* const random_;
};

}  // namespace

TEST(events_that_make_no_sense_end_the_link) {
  Bytes eos = encoded(gst_event_new_eos());
  eos.push_back(std::byte{0});
  Bytes caps = encoded(caps_event(test::kVideo));
  caps.resize(caps.size() - 1);
  const Bytes all[] = {{},
                       Bytes(8),
                       Bytes(16),
                       Bytes(16, std::byte{0xff}),
                       Bytes(mmaplink::kSlotExtra, std::byte{0x20}),
                       eos,
                       caps,
                       // one that goes the other way
                       encoded(gst_event_new_reconfigure())};
  for (const Bytes& bytes : all) {
    test::attack_source(
        "an event",
        [&](ForgedPeer& peer) {
          peer.begin_stream();
          publish(peer, Item::event, bytes);
        },
        kNoEvent);
  }
}

TEST(caps_that_are_no_format_end_the_link) {
  // As its encoding would be, were it not refused there as well.
  for (const char* text : {"video/x-raw", "video/x-raw,width=[1,100]", "ANY", "EMPTY",
                           "video/x-raw,format={I420,NV12}", "video/x-raw;audio/x-raw"}) {
    const Ref<GstCaps> caps(gst_caps_from_string(text));
    Bytes bytes = encoded(caps_event(test::kVideo));
    bytes.resize(16);
    gstmmap::BytesOut to(bytes);
    if (!gstmmap::put_caps(caps.get(), to) || gst_caps_is_fixed(caps.get())) continue;
    test::attack_source(
        text,
        [&](ForgedPeer& peer) {
          peer.publish_event(gst_event_new_stream_start("forged"));
          publish(peer, Item::event, bytes);
        },
        kNoEvent);
  }
}

// What GStreamer warns of when an element does it.
TEST(streams_out_of_order_end_the_link) {
  const struct {
    const char* name;
    void (*does)(ForgedPeer&);
  } all[] = {
      {"a buffer first",
       [](ForgedPeer& peer) {
         peer.announce(1, 64 << 10);
         publish(peer, Item::buffer, {});
       }},
      {"a buffer without a segment",
       [](ForgedPeer& peer) {
         peer.announce(1, 64 << 10);
         peer.publish_event(gst_event_new_stream_start("forged"));
         peer.publish_event(caps_event(test::kVideo));
         publish(peer, Item::buffer, {});
       }},
      {"caps first", [](ForgedPeer& peer) { peer.publish_event(caps_event(test::kVideo)); }},
      {"a segment first", [](ForgedPeer& peer) { peer.publish_event(segment_event()); }},
      {"caps behind a segment",
       [](ForgedPeer& peer) {
         peer.publish_event(gst_event_new_stream_start("forged"));
         peer.publish_event(segment_event());
         peer.publish_event(caps_event(test::kVideo));
       }},
  };
  for (const auto& [name, does] : all) test::attack_source(name, does, "a stream out of order");
}

// The end of a flush that another one has overtaken is none, and what comes then is of the next.
TEST(caps_in_a_flush_without_any_before) {
  const Scene scene;
  const Harness source(scene.src("role=server"));
  source.play();
  ForgedPeer peer(scene.path());
  peer.greet_server(kSends);
  peer.publish_event(gst_event_new_stream_start("forged"));
  peer.publish_event(segment_event());
  peer.announce(1, 64 << 10);
  peer.publish_number(0);
  fail_unless_equals_uint64(source.pull_number(), 0);
  peer.note(static_cast<uint32_t>(Notice::flush_start), gstmmap::encode(FlushStart{2, 5}));
  source.pull_event(GST_EVENT_FLUSH_START);
  publish(peer, Item::flush_stop, gstmmap::encode(FlushStop{1, 4, 0}));
  peer.publish_event(caps_event(test::kVideo));
  peer.publish_event(segment_event());
  publish(peer, Item::flush_stop, gstmmap::encode(FlushStop{2, 5, 0}));
  source.pull_event(GST_EVENT_FLUSH_STOP);
  peer.publish_event(segment_event());
  peer.publish_number(1);
  fail_unless_equals_uint64(source.pull_number(), 1);
  fail_unless(peer.look(), "%s", peer.refusal().c_str());
}

namespace {

GstEvent* sticky(const std::string& name) {
  return gst_event_new_custom(GST_EVENT_CUSTOM_DOWNSTREAM_STICKY,
                              gst_structure_new_empty(name.c_str()));
}

constexpr auto kTooManySticky = "more sticky events than are kept";

}  // namespace

// A pad keeps one of each name.
TEST(sticky_events_without_end_end_the_link) {
  test::attack_source(
      "their names",
      [](ForgedPeer& peer) {
        peer.begin_stream();
        for (int i = 0; i < 65; ++i) {
          peer.publish_event(sticky("name" + std::to_string(i)));
          peer.publish_event(sticky("name"));
        }
      },
      kTooManySticky);
  test::attack_source(
      "their names, while it flushes",
      [](ForgedPeer& peer) {
        peer.begin_stream();
        peer.note(static_cast<uint32_t>(Notice::flush_start), gstmmap::encode(FlushStart{1, 1}));
        for (int i = 0; i < 65; ++i) peer.publish_event(sticky("name" + std::to_string(i)));
      },
      kTooManySticky);
  test::attack_source(
      "their bytes",
      [](ForgedPeer& peer) {
        peer.begin_stream();
        const std::string text(3 << 20, 'a');
        uint64_t tickets = 0;
        std::byte* arena = peer.announce(2, 4 << 20);
        // The one of a name is in place of the one before.
        for (const int number : {0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5}) {
          const std::string name = "large" + std::to_string(number);
          const Bytes bytes = encoded(gst_event_new_custom(
              GST_EVENT_CUSTOM_DOWNSTREAM_STICKY,
              gst_structure_new(name.c_str(), "text", G_TYPE_STRING, text.c_str(), nullptr)));
          // It is copied from there behind what says that it was taken.
          fail_unless(test::becomes([&] { return peer.theirs().receipt_head == tickets; }));
          std::memcpy(arena, bytes.data(), bytes.size());
          Descriptor descriptor;
          descriptor.ticket = ++tickets;
          descriptor.kind = static_cast<uint32_t>(Item::event);
          descriptor.extra_from = static_cast<uint32_t>(ExtraFrom::block);
          descriptor.extra_arena = 2;
          descriptor.extra_size = static_cast<uint32_t>(bytes.size());
          peer.publish(descriptor);
        }
      },
      kTooManySticky);
}

// Those of many senders, one after the other, are still there with the next: they are bounded, and
// a good one is not hung up on for what others have sent.
TEST(sticky_events_of_many_senders_are_bounded) {
  const Scene scene;
  const Harness source(scene.src("role=server"));
  source.play();
  for (int sender = 0; sender < 20; ++sender) {
    ForgedPeer peer(scene.path());
    peer.greet_server(kSends);
    peer.begin_stream();
    for (int i = 0; i < 64; ++i)
      peer.publish_event(sticky("name" + std::to_string(sender) + "-" + std::to_string(i)));
    fail_unless(
        test::becomes([&] { return peer.look() && peer.theirs().taken == peer.own().head; }), "%s",
        peer.refusal().c_str());
    peer.hang_up();
    fail_unless(test::becomes([&] { return source.stat("peers") == 0; }));
  }
  const Harness good(scene.sink("role=client"));
  good.push_event(sticky("good"));
  good.push_number(9);
  fail_unless_equals_uint64(source.pull_number(), 9);
  int kept = 0;
  gst_pad_sticky_events_foreach(
      source.get()->sinkpad,
      [](GstPad*, GstEvent** event, gpointer count) -> gboolean {
        *static_cast<int*>(count) += GST_EVENT_TYPE(*event) == GST_EVENT_CUSTOM_DOWNSTREAM_STICKY;
        return TRUE;
      },
      &kept);
  fail_unless_equals_int(kept, 1024);
}

TEST(metas_that_make_no_sense_end_the_link) {
  const Bytes none(8);  // of further memories
  const auto with = [&](const Bytes& metas) {
    Bytes all = none;
    all.insert(all.end(), metas.begin(), metas.end());
    return all;
  };
  GstBuffer* buffer = gst_buffer_new_allocate(nullptr, test::kVideoSize, nullptr);
  GstVideoMeta* meta =
      gst_buffer_add_video_meta(buffer, GST_VIDEO_FRAME_FLAG_NONE, GST_VIDEO_FORMAT_I420, 64, 48);
  Bytes good;
  gstmmap::encode_metas(buffer, good);
  meta->offset[2] += 1;  // runs off the frame
  Bytes beyond;
  gstmmap::encode_metas(buffer, beyond);
  gst_buffer_unref(buffer);
  // Where our own encoder leaves it out: the good one, with the offset of its last plane.
  if (beyond.size() < good.size()) {
    beyond = good;
    beyond[32 + 16] ^= std::byte{0x01};
  }
  const Bytes all[] = {with(beyond), with(Bytes(7, std::byte{0x55})),
                       with(Bytes(300, std::byte{0xff})), Bytes(3)};
  for (const Bytes& bytes : all)
    test::attack_source(
        "metas",
        [&](ForgedPeer& peer) {
          peer.begin_stream();
          publish(peer, Item::buffer, bytes);
        },
        kNoBuffer);
}

TEST(queries_and_flushes_that_make_no_sense_end_the_link) {
  for (const size_t size : {size_t{0}, size_t{3}, size_t{4}, size_t{20}, mmaplink::kSlotExtra}) {
    const Bytes bytes(size, std::byte{0x91});
    test::attack_source(
        "a query",
        [&](ForgedPeer& peer) {
          peer.begin_stream();
          publish(peer, Item::query, bytes);
        },
        kNoQuery);
    test::attack_source(
        "the end of a flush",
        [&](ForgedPeer& peer) {
          peer.begin_stream();
          publish(peer, Item::flush_stop, bytes);
        },
        "a flush that makes no sense");
  }
}

// Good ones with some bytes that are others: what is still an event can also be shown to a person.
TEST(spoilt_bytes_are_events_or_nothing) {
  Random random(5);
  auto all = events();
  for (const Bytes& bytes : upstream_events()) all.push_back(bytes);
  size_t came = 0;
  for (int round = 0; round < 200'000; ++round) {
    Ref<GstEvent> event(gstmmap::decode_event(random.spoil(all[random.below(all.size())])));
    if (event == nullptr) continue;
    ++came;
    if (const GstStructure* structure = gst_event_get_structure(event.get()))
      g_free(gst_structure_to_string(structure));
    if (GST_EVENT_TYPE(event.get()) != GST_EVENT_SEGMENT) continue;
    const GstSegment* segment = nullptr;
    gst_event_parse_segment(event.get(), &segment);
    for (const guint64 position : {guint64{0}, guint64{1} << 40, GST_CLOCK_TIME_NONE}) {
      gst_segment_to_running_time(segment, segment->format, position);
      gst_segment_to_stream_time(segment, segment->format, position);
    }
  }
  fail_unless(came > 1000, "%zu", came);
}

// Questions, and answers put into the queries that they are none for.
TEST(spoilt_queries_are_queries_or_nothing) {
  Random random(6);
  const Ref<GstCaps> caps(gst_caps_from_string(test::kVideo));
  const auto make = [&] {
    std::vector<Ref<GstQuery>> all;
    for (GstQuery* query :
         {gst_query_new_caps(caps.get()), gst_query_new_accept_caps(caps.get()),
          gst_query_new_allocation(caps.get(), TRUE), gst_query_new_latency(),
          gst_query_new_position(GST_FORMAT_TIME), gst_query_new_duration(GST_FORMAT_TIME),
          gst_query_new_seeking(GST_FORMAT_TIME), gst_query_new_segment(GST_FORMAT_TIME),
          gst_query_new_convert(GST_FORMAT_TIME, 1, GST_FORMAT_BYTES), gst_query_new_formats(),
          gst_query_new_context("some"), gst_query_new_drain(), gst_query_new_uri(),
          gst_query_new_bitrate(), gst_query_new_buffering(GST_FORMAT_PERCENT),
          gst_query_new_custom(GST_QUERY_CUSTOM, gst_structure_new_empty("custom"))})
      all.emplace_back(query);
    return all;
  };
  const auto answered = make();
  for (const auto& query : answered) {
    if (GST_QUERY_TYPE(query.get()) == GST_QUERY_CAPS)
      gst_query_set_caps_result(query.get(), caps.get());
    if (GST_QUERY_TYPE(query.get()) == GST_QUERY_ALLOCATION) {
      gst_query_add_allocation_pool(query.get(), nullptr, 100, 2, 3);
      GstAllocationParams params;
      gst_allocation_params_init(&params);
      gst_query_add_allocation_param(query.get(), nullptr, &params);
      gst_query_add_allocation_meta(query.get(), GST_VIDEO_META_API_TYPE, nullptr);
    }
    if (GST_QUERY_TYPE(query.get()) == GST_QUERY_FORMATS)
      gst_query_set_formats(query.get(), 2, GST_FORMAT_TIME, GST_FORMAT_BYTES);
  }
  size_t came = 0;
  for (int round = 0; round < 10'000; ++round) {
    const auto asked = make();
    for (size_t i = 0; i < asked.size(); ++i) {
      const auto question = gstmmap::encode_question(asked[i].get());
      fail_unless(question.has_value());
      const Ref<GstQuery> got(gstmmap::decode_question(random.spoil(*question)));
      came += got != nullptr;
      const auto answer = gstmmap::encode_answer(answered[i].get());
      if (answer) came += gstmmap::decode_answer(random.spoil(*answer), asked[i].get());
      for (const GstQuery* query : {got.get(), asked[i].get()})
        if (query != nullptr) {
          const GstStructure* inside = gst_query_get_structure(const_cast<GstQuery*>(query));
          if (inside != nullptr) g_free(gst_structure_to_string(inside));
        }
    }
  }
  fail_unless(came > 1000, "%zu", came);
}

// Over a link they come as an event or end the link, and the next
// stream is well.
TEST(spoilt_events_do_no_harm) {
  const Scene scene;
  const Harness source(scene.src("role=server"));
  source.play();
  Random random(3);
  const auto all = events();
  for (int round = 0; round < 400; ++round) {
    ForgedPeer peer(scene.path());
    peer.greet_server(kSends);
    peer.begin_stream();
    publish(peer, Item::event, random.spoil(all[random.below(all.size())]));
    peer.publish_number(3);
    // Until it has been read, or is not.
    fail_unless(
        test::becomes([&] { return !peer.look() || peer.theirs().taken == peer.own().head; }));
    peer.hang_up();
    fail_unless(test::becomes([&] { return source.stat("peers") == 0; }));
    while (GstBuffer* buffer = gst_harness_try_pull(source.get())) gst_buffer_unref(buffer);
    while (GstEvent* event = gst_harness_try_pull_event(source.get())) gst_event_unref(event);
  }
  const Harness good(scene.sink("role=client"));
  good.push_number(9);
  fail_unless_equals_uint64(source.pull_number(), 9);
}

// The same for what a reader says, while another one reads.
TEST(spoilt_requests_do_no_harm) {
  const Scene scene;
  Play play(scene);
  Random random(4);
  const auto all = upstream_events();
  std::vector<Bytes> questions;
  for (GstQuery* query :
       {gst_query_new_caps(nullptr), gst_query_new_position(GST_FORMAT_TIME),
        gst_query_new_latency(), gst_query_new_seeking(GST_FORMAT_TIME),
        gst_query_new_convert(GST_FORMAT_TIME, 1, GST_FORMAT_BYTES), gst_query_new_formats(),
        gst_query_new_segment(GST_FORMAT_TIME), gst_query_new_context("some"), gst_query_new_uri(),
        gst_query_new_buffering(GST_FORMAT_PERCENT)}) {
    questions.push_back(gstmmap::with_id(7, *gstmmap::encode_question(query)));
    gst_query_unref(query);
  }
  for (int round = 0; round < 150; ++round) {
    fail_unless(play.until([&] { return play.sink.stat("peers") == 1; }));
    ForgedPeer peer(scene.path());
    peer.join(play.sink);
    for (int i = 0; i < 5; ++i) {
      const bool asks = random.below(2) == 0;
      const Bytes bytes = random.spoil(asks ? questions[random.below(questions.size())]
                                            : all[random.below(all.size())]);
      const auto kind = asks ? Notice::query : Notice::event;
      if (!peer.send(Note{kForSink | static_cast<uint32_t>(kind), bytes})) break;
    }
    play.step();
    while (GstEvent* event = gst_harness_try_pull_upstream_event(play.sink.get()))
      gst_event_unref(event);
  }
}
