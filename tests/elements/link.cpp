// Both elements in one process: buffers bit for bit, a change of format, and pairs of elements that
// share a link.
#include <algorithm>
#include <atomic>

#include "gst/mmap.h"
#include "tests/elements/support.h"

using test::Harness;
using test::Pipeline;
using test::Scene;

namespace {

// A sender and a reader of its own, connected.
struct Pair {
  explicit Pair(const Scene& scene, const char* caps = test::kVideo)
      : sink(scene.sink(), caps), reader(scene.src()) {
    reader.play();
    sink.wait_for_clients(1);
  }
  test::Ref<GstBuffer> send(GstBuffer* buffer) const {
    fail_unless_equals_int(sink.push(buffer), GST_FLOW_OK);
    return reader.pull();
  }
  Harness sink, reader;
};

void check_same_content(GstBuffer* one, GstBuffer* other) {
  GstMapInfo map;
  fail_unless_equals_uint64(gst_buffer_get_size(one), gst_buffer_get_size(other));
  fail_unless(gst_buffer_map(one, &map, GST_MAP_READ));
  fail_unless_equals_int(gst_buffer_memcmp(other, 0, map.data, map.size), 0);
  gst_buffer_unmap(one, &map);
}

void check_same_fields(GstBuffer* one, GstBuffer* other) {
  fail_unless_equals_uint64(GST_BUFFER_PTS(one), GST_BUFFER_PTS(other));
  fail_unless_equals_uint64(GST_BUFFER_DTS(one), GST_BUFFER_DTS(other));
  fail_unless_equals_uint64(GST_BUFFER_DURATION(one), GST_BUFFER_DURATION(other));
  fail_unless_equals_uint64(GST_BUFFER_OFFSET(one), GST_BUFFER_OFFSET(other));
  fail_unless_equals_uint64(GST_BUFFER_OFFSET_END(one), GST_BUFFER_OFFSET_END(other));
  // Whether a buffer's memory changed since the pool made it is the pool's own business.
  constexpr guint kOfThisProcess = GST_BUFFER_FLAG_TAG_MEMORY | (GST_MINI_OBJECT_FLAG_LAST - 1);
  fail_unless_equals_int_hex(GST_BUFFER_FLAGS(one) & ~kOfThisProcess,
                             GST_BUFFER_FLAGS(other) & ~kOfThisProcess);
}

}  // namespace

TEST(fields_cross_bit_for_bit) {
  const Scene scene;
  const Pair pair(scene);
  const struct {
    guint64 pts, dts, duration, offset, offset_end;
    guint flags;
  } all[] = {
      {0, 0, 0, 0, 0, 0},
      {GST_CLOCK_TIME_NONE, GST_CLOCK_TIME_NONE, GST_CLOCK_TIME_NONE, GST_BUFFER_OFFSET_NONE,
       GST_BUFFER_OFFSET_NONE, GST_BUFFER_FLAG_DISCONT | GST_BUFFER_FLAG_HEADER},
      {1, 2, 3, 4, 5, GST_BUFFER_FLAG_DELTA_UNIT | GST_BUFFER_FLAG_NON_DROPPABLE},
      {G_MAXINT64, G_MAXINT64 - 1, G_MAXUINT64 - 1, G_MAXUINT64 - 2, G_MAXUINT64 - 3,
       GST_BUFFER_FLAG_CORRUPTED | GST_BUFFER_FLAG_GAP | GST_BUFFER_FLAG_DROPPABLE |
           GST_BUFFER_FLAG_MARKER | GST_BUFFER_FLAG_RESYNC | GST_BUFFER_FLAG_LIVE},
      {33333333, 66666667, 33333334, 1, 2,
       GST_VIDEO_BUFFER_FLAG_INTERLACED | GST_VIDEO_BUFFER_FLAG_TFF | GST_VIDEO_BUFFER_FLAG_RFF |
           GST_BUFFER_FLAG_SYNC_AFTER | GST_BUFFER_FLAG_DECODE_ONLY},
  };
  for (const auto& fields : all) {
    GstBuffer* buffer = test::numbered(9);
    GST_BUFFER_PTS(buffer) = fields.pts;
    GST_BUFFER_DTS(buffer) = fields.dts;
    GST_BUFFER_DURATION(buffer) = fields.duration;
    GST_BUFFER_OFFSET(buffer) = fields.offset;
    GST_BUFFER_OFFSET_END(buffer) = fields.offset_end;
    GST_BUFFER_FLAG_SET(buffer, fields.flags);
    const test::Ref<GstBuffer> sent(gst_buffer_copy(buffer));
    const auto came = pair.send(buffer);
    check_same_fields(sent.get(), came.get());
    check_same_content(sent.get(), came.get());
  }
}

// What an encoder gives out before its frame is complete goes at once: each is there before the
// next is pushed.
TEST(pieces_of_a_frame_cross_one_by_one) {
  const Scene scene;
  const Pair pair(scene, "video/x-h264,stream-format=byte-stream,alignment=nal");
  constexpr guint kPieces = 4;
  for (guint frame = 0; frame < 3; ++frame) {
    for (guint piece = 0; piece < kPieces; ++piece) {
      const gsize size = 100 + 1000 * piece;
      test::Ref<GstBuffer> sent(gst_buffer_new_allocate(nullptr, size, nullptr));
      gst_buffer_memset(sent.get(), 0, static_cast<guint8>(frame + piece), size);
      GST_BUFFER_PTS(sent.get()) = frame * 40 * GST_MSECOND;
      if (frame > 0) GST_BUFFER_FLAG_SET(sent.get(), GST_BUFFER_FLAG_DELTA_UNIT);
      if (piece + 1 == kPieces) GST_BUFFER_FLAG_SET(sent.get(), GST_BUFFER_FLAG_MARKER);
      const auto came = pair.send(gst_buffer_ref(sent.get()));
      check_same_fields(sent.get(), came.get());
      check_same_content(sent.get(), came.get());
    }
  }
}

TEST(buffers_without_bytes_cross) {
  const Scene scene;
  const Pair pair(scene);
  GstBuffer* empty = gst_buffer_new();
  GST_BUFFER_PTS(empty) = 42;
  const auto came = pair.send(empty);
  fail_unless_equals_uint64(gst_buffer_get_size(came.get()), 0);
  fail_unless_equals_uint64(GST_BUFFER_PTS(came.get()), 42);
  // A memory of no bytes, and then one with some.
  GstBuffer* odd = gst_buffer_new_allocate(nullptr, 0, nullptr);
  gst_buffer_append_memory(odd, gst_allocator_alloc(nullptr, 3, nullptr));
  gst_buffer_memset(odd, 0, 7, 3);
  fail_unless_equals_int(gst_buffer_memcmp(pair.send(odd).get(), 0, "\7\7\7", 3), 0);
}

TEST(sizes_of_all_kinds_cross) {
  const Scene scene;
  const Pair pair(scene, "application/x-bytes");
  for (const gsize size : {gsize{1}, gsize{63}, gsize{64}, gsize{4095}, gsize{4097}, gsize{100000},
                           gsize{1 << 20}, gsize{(5 << 20) + 1}, gsize{2}}) {
    const test::Ref<GstBuffer> sent(test::numbered(size, size));
    const auto came = pair.send(gst_buffer_ref(sent.get()));
    check_same_content(sent.get(), came.get());
    check_same_fields(sent.get(), came.get());
  }
}

TEST(several_memories_cross_as_one_content) {
  const Scene scene;
  const Pair pair(scene);
  for (const int count : {2, 3, 16, 17, 40}) {
    GstBuffer* buffer = gst_buffer_new();
    for (int i = 0; i < count && i < static_cast<int>(gst_buffer_get_max_memory()); ++i) {
      GstMemory* memory = gst_allocator_alloc(nullptr, 10 + static_cast<gsize>(i), nullptr);
      GstMapInfo map;
      fail_unless(gst_memory_map(memory, &map, GST_MAP_WRITE));
      memset(map.data, i, map.size);
      gst_memory_unmap(memory, &map);
      gst_buffer_append_memory(buffer, memory);
    }
    const test::Ref<GstBuffer> sent(gst_buffer_copy_deep(buffer));
    check_same_content(sent.get(), pair.send(buffer).get());
  }
}

TEST(several_memories_of_the_arena_are_not_copied) {
  const Scene scene;
  const Pair pair(scene);
  GstBuffer* buffer = gst_buffer_new();
  for (int i = 0; i < 4; ++i) {
    buffer = gst_buffer_append(buffer, pair.sink.allocate(1000));
    // Parts of memories too.
    gst_memory_resize(gst_buffer_peek_memory(buffer, static_cast<guint>(i)), i, 500);
    gst_buffer_memset(buffer, static_cast<gsize>(i) * 500, static_cast<guint8>(i + 1), 500);
  }
  std::vector<test::Lies> there;
  for (guint i = 0; i < 4; ++i) there.push_back(test::lies(gst_buffer_peek_memory(buffer, i)));
  const test::Ref<GstBuffer> sent(gst_buffer_copy_deep(buffer));
  const auto came = pair.send(buffer);
  fail_unless_equals_int(gst_buffer_n_memory(came.get()), 4);
  for (guint i = 0; i < 4; ++i)
    fail_unless(test::lies_still(there[i], gst_buffer_peek_memory(came.get(), i)));
  check_same_content(sent.get(), came.get());
  fail_unless_equals_uint64(pair.sink.stat("bytes-copied"), 0);
}

TEST(video_and_crop_metas_cross) {
  const Scene scene;
  const Pair pair(scene);
  GstBuffer* buffer = test::numbered(3, 2 * test::kVideoSize);
  gsize offset[GST_VIDEO_MAX_PLANES] = {128, 128 + 80 * 48, 128 + 80 * 48 + 40 * 24};
  gint stride[GST_VIDEO_MAX_PLANES] = {80, 40, 40};
  GstVideoMeta* meta = gst_buffer_add_video_meta_full(
      buffer, GST_VIDEO_FRAME_FLAG_NONE, GST_VIDEO_FORMAT_I420, 64, 48, 3, offset, stride);
  meta->id = 11;
  GstVideoCropMeta* crop = gst_buffer_add_video_crop_meta(buffer);
  crop->x = 1;
  crop->y = 2;
  crop->width = 30;
  crop->height = 40;
  fail_unless_equals_int(pair.sink.push(buffer), GST_FLOW_OK);
  // This harness says nothing of GstVideoMeta: the frame comes tight, and cropped all the same.
  const auto tight = pair.reader.pull();
  const GstVideoCropMeta* cropped = gst_buffer_get_video_crop_meta(tight.get());
  fail_unless(gst_buffer_get_size(tight.get()) == test::kVideoSize || cropped != nullptr);

  const Harness knows(scene.src());
  gst_harness_add_propose_allocation_meta(knows.get(), GST_VIDEO_META_API_TYPE, nullptr);
  knows.play();
  pair.sink.wait_for_clients(2);
  buffer = test::numbered(3, 2 * test::kVideoSize);
  meta = gst_buffer_add_video_meta_full(buffer, GST_VIDEO_FRAME_FLAG_TFF, GST_VIDEO_FORMAT_I420, 64,
                                        48, 3, offset, stride);
  meta->id = 11;
  crop = gst_buffer_add_video_crop_meta(buffer);
  crop->x = 1;
  crop->y = 2;
  crop->width = 30;
  crop->height = 40;
  fail_unless_equals_int(pair.sink.push(buffer), GST_FLOW_OK);
  const auto came = knows.pull();
  const GstVideoMeta* there = gst_buffer_get_video_meta(came.get());
  fail_unless(there != nullptr);
  fail_unless(there->format == GST_VIDEO_FORMAT_I420 && there->width == 64 && there->height == 48 &&
              there->n_planes == 3 && there->id == 11 && there->flags == GST_VIDEO_FRAME_FLAG_TFF);
  for (guint i = 0; i < 3; ++i) {
    fail_unless_equals_uint64(there->offset[i], offset[i]);
    fail_unless_equals_int(there->stride[i], stride[i]);
  }
  cropped = gst_buffer_get_video_crop_meta(came.get());
  fail_unless(cropped != nullptr && cropped->x == 1 && cropped->y == 2 && cropped->width == 30 &&
              cropped->height == 40);
}

TEST(change_of_size_in_mid_stream_gives_memory_back) {
  const Scene scene;
  const std::string large = "video/x-raw,format=I420,width=1920,height=1080,framerate=30/1";
  const std::string small = "video/x-raw,format=I420,width=320,height=240,framerate=30/1";
  const Pair pair(scene, large.c_str());
  guint64 most = 0;  // while a frame is there
  const auto run = [&](guint8 start, gsize size) {
    for (guint8 i = start; i < start + 8; ++i) {
      GstBuffer* buffer = pair.sink.acquire();
      most = std::max(most, pair.sink.stat("arena-bytes"));
      gst_buffer_memset(buffer, 0, i, size);
      GST_BUFFER_OFFSET(buffer) = i;
      fail_unless_equals_int(pair.sink.push(buffer), GST_FLOW_OK);
      fail_unless_equals_uint64(pair.reader.pull_number(), i);
    }
  };
  run(0, 1920 * 1080 * 3 / 2);
  fail_unless(most >= 1920 * 1080 * 3 / 2);
  fail_unless(test::contains(test::caps_of(pair.reader.pull_event(GST_EVENT_CAPS).get()), "1080"));
  pair.sink.set_caps(small);
  run(100, 320 * 240 * 3 / 2);
  // Caps come again where running time was compared anew.
  while (!test::contains(test::caps_of(pair.reader.pull_event(GST_EVENT_CAPS).get()), "240")) {
  }
  // Small frames share a chunk of 4 MiB.
  for (const Harness* side : {&pair.sink, &pair.reader})
    fail_unless(test::becomes([&] { return side->stat("arena-bytes") < most / 4; }),
                "%s keeps %d bytes", GST_OBJECT_NAME(side->element()),
                static_cast<int>(side->stat("arena-bytes")));
  fail_unless_equals_uint64(pair.sink.stat("bytes-copied"), 0);
}

TEST(sink_and_source_of_one_path_and_role_share_a_link) {
  const Scene scene;
  std::atomic<int> heard{0};
  // A server that sends back what it gets, and a client of both directions.
  const Pipeline server(scene.src("role=server name=src mmap=yes ! ") + scene.sink("name=sink"));
  const Pipeline client("videotestsrc num-buffers=20 ! " + std::string(test::kVideo) + " ! " +
                        scene.sink("role=client name=sink ") +
                        scene.src("name=src ! fakesink async=false"));
  for (const char* name : {"src", "sink"})
    g_signal_connect_swapped(server.element(name), "client-connected",
                             G_CALLBACK(+[](std::atomic<int>* count) { ++*count; }), &heard);
  client.play();
  server.play();
  client.wait_eos();
  // Each of the two says so once: there is one client.
  fail_unless_equals_int(heard, 2);
  fail_unless_equals_uint64(test::stat(client.element("src"), "buffers"), 20);
  fail_unless_equals_uint64(test::stat(client.element("sink"), "buffers"), 20);
}

TEST(second_reader_of_a_path_has_a_link_of_its_own) {
  const Scene scene;
  const Pipeline readers(scene.src("name=one num-buffers=5 ! fakesink async=false ") +
                         scene.src("name=two num-buffers=5 ! fakesink async=false"));
  const Harness sink(scene.sink());
  readers.play();
  sink.wait_for_clients(2);
  for (guint64 i = 0; i < 8; ++i) sink.push_number(i);
  readers.wait_eos();
  for (const char* name : {"one", "two"})
    fail_unless_equals_uint64(test::stat(readers.element(name), "buffers"), 5);
}
