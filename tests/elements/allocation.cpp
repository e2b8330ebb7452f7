// What the far pipelines want of the buffers, as upstream is told: how many, how aligned, with what
// around them and which metas.
#include <gst/video/video.h>

#include <algorithm>

#include "gst/mmap.h"
#include "tests/elements/support.h"

using test::Harness;
using test::Scene;

namespace {

// What a far pipeline answers, all of it made up.
struct Wants {
  guint size = 0, min = 0, max = 0;
  gsize align = 0, prefix = 0, padding = 0;
  std::vector<GType> metas = {};
  GstStructure* around = nullptr;  // with GstVideoMeta; freed with this
  Wants() = default;
  Wants(const Wants&) = delete;
  Wants& operator=(const Wants&) = delete;
  ~Wants() {
    if (around != nullptr) gst_structure_free(around);
  }
};

// A reader whose pipeline wants that, which outlives it.
class Reader {
 public:
  Reader(const Scene& scene, const Wants& wants) : harness_(scene.src()) {
    gst_pad_add_probe(
        harness_.get()->sinkpad, GST_PAD_PROBE_TYPE_QUERY_DOWNSTREAM,
        [](GstPad*, GstPadProbeInfo* info, gpointer data) {
          GstQuery* query = GST_PAD_PROBE_INFO_QUERY(info);
          if (GST_QUERY_TYPE(query) != GST_QUERY_ALLOCATION) return GST_PAD_PROBE_OK;
          answer(query, *static_cast<const Wants*>(data));
          return GST_PAD_PROBE_HANDLED;
        },
        const_cast<Wants*>(&wants), nullptr);
    harness_.play();
  }

 private:
  static void answer(GstQuery* query, const Wants& wants) {
    GstAllocationParams params;
    gst_allocation_params_init(&params);
    params.align = wants.align;
    params.prefix = wants.prefix;
    params.padding = wants.padding;
    if (wants.min > 0)
      gst_query_add_allocation_pool(query, nullptr, wants.size, wants.min, wants.max);
    gst_query_add_allocation_param(query, nullptr, &params);
    for (const GType api : wants.metas)
      gst_query_add_allocation_meta(query, api,
                                    api == GST_VIDEO_META_API_TYPE ? wants.around : nullptr);
  }
  Harness harness_;
};

bool offers(GstQuery* query, GType meta) {
  return gst_query_find_allocation_meta(query, meta, nullptr) != FALSE;
}

// As GstVideoMeta's parameters say it; -1 where they say nothing.
int around(GstQuery* query, const char* field) {
  guint index = 0;
  guint value = 0;
  const GstStructure* params = nullptr;
  fail_unless(gst_query_find_allocation_meta(query, GST_VIDEO_META_API_TYPE, &index));
  gst_query_parse_nth_allocation_meta(query, index, &params);
  if (params == nullptr || !gst_structure_get_uint(params, field, &value)) return -1;
  return static_cast<int>(value);
}

GstStructure* padded(guint top, guint right, guint stride) {
  return gst_structure_new("video-meta", "padding-top", G_TYPE_UINT, top, "padding-right",
                           G_TYPE_UINT, right, "stride-align0", G_TYPE_UINT, stride, nullptr);
}

}  // namespace

// Packets are as large as their maker makes them: a pool of a size that a peer says would be no use
// to it, or harm.
TEST(memory_and_metas_are_as_wanted_whatever_the_caps) {
  Wants wants;
  wants.size = 1;
  wants.min = 7;
  wants.max = 9;
  wants.align = 255;
  wants.prefix = 16;
  wants.padding = 33;
  wants.metas = {GST_PROTECTION_META_API_TYPE, GST_REFERENCE_TIMESTAMP_META_API_TYPE};
  for (const char* caps : {"audio/x-raw,format=S16LE,rate=48000,channels=2,layout=interleaved",
                           "video/x-h264,stream-format=byte-stream,alignment=au", "image/jpeg",
                           "application/x-rtp", "text/x-raw,format=utf8"}) {
    const Scene scene;
    const Harness sink(scene.sink(), caps);
    const Reader reader(scene, wants);
    sink.wait_for_clients(1);
    const auto query = sink.ask_allocation();
    fail_unless_equals_int(gst_query_get_n_allocation_pools(query.get()), 0);
    fail_unless_equals_int(gst_query_get_n_allocation_params(query.get()), 1);
    GstAllocationParams params;
    GstAllocator* allocator = nullptr;
    gst_query_parse_nth_allocation_param(query.get(), 0, &allocator, &params);
    fail_unless_equals_int(params.align, 255);
    fail_unless_equals_int(params.prefix, 16);
    fail_unless_equals_int(params.padding, 33);
    for (const GType meta : wants.metas) fail_unless(offers(query.get(), meta));
    fail_unless(!offers(query.get(), GST_VIDEO_META_API_TYPE));
    // And so is what the allocator gives.
    GstMemory* memory = gst_allocator_alloc(allocator, 1000, &params);
    gst_object_unref(allocator);
    fail_unless(gst_is_mmap_memory(memory));
    gsize offset = 0;
    gsize size = 0;
    fail_unless_equals_int(gst_memory_get_sizes(memory, &offset, &size), 1000);
    fail_unless(offset >= 16 && size >= offset + 1000 + 33);
    GstMapInfo map;
    fail_unless(gst_memory_map(memory, &map, GST_MAP_WRITE));
    // As everywhere in GStreamer it is where the prefix begins that is aligned.
    fail_unless_equals_uint64((reinterpret_cast<guint64>(map.data) - offset) & 255, 0);
    gst_memory_unmap(memory, &map);
    gst_memory_unref(memory);
  }
}

// There are as many frames as are wanted, and more: those that wait for readers and are held by
// them are of the same pool. They are as large as the caps say.
TEST(pool_has_no_maximum_and_the_size_of_a_frame) {
  Wants wants;
  wants.size = 1;
  wants.min = 7;
  wants.max = 9;
  const Scene scene;
  const Harness sink(scene.sink());
  const Reader reader(scene, wants);
  sink.wait_for_clients(1);
  const auto query = sink.ask_allocation();
  guint size = 0;
  guint min = 0;
  guint max = 1;
  gst_query_parse_nth_allocation_pool(query.get(), 0, nullptr, &size, &min, &max);
  fail_unless_equals_int(static_cast<int>(size), test::kVideoSize);
  fail_unless_equals_int(static_cast<int>(min), 7);
  fail_unless_equals_int(static_cast<int>(max), 0);
}

// As videotestsrc of GStreamer 1.28 uses a pool: for such a narrow frame nobody wants padded lines,
// and a reader who does not know GstVideoMeta would have to copy each.
TEST(lines_are_not_padded_unless_somebody_wants_it) {
  Wants plain;
  Wants encoder;  // as GstVideoEncoder asks
  encoder.align = 15;
  Wants wide;
  wide.align = 127;
  wide.metas = {GST_VIDEO_META_API_TYPE};
  for (const Wants* wants : {&plain, &encoder, &wide}) {
    const Scene scene;
    const Harness sink(scene.sink());
    const Reader reader(scene, *wants);
    sink.wait_for_clients(1);
    const auto query = sink.ask_allocation();
    GstCaps* caps = nullptr;
    GstBufferPool* pool = nullptr;
    guint size = 0;
    gst_query_parse_allocation(query.get(), &caps, nullptr);
    gst_query_parse_nth_allocation_pool(query.get(), 0, &pool, &size, nullptr, nullptr);
    GstStructure* config = gst_buffer_pool_get_config(pool);
    gst_buffer_pool_config_set_params(config, caps, size, 0, 0);
    gst_buffer_pool_config_add_option(config, GST_BUFFER_POOL_OPTION_VIDEO_META);
    gst_buffer_pool_config_add_option(config, GST_BUFFER_POOL_OPTION_VIDEO_ALIGNMENT);
    fail_unless(gst_buffer_pool_set_config(pool, config));
    fail_unless(gst_buffer_pool_set_active(pool, TRUE));
    GstBuffer* buffer = nullptr;
    fail_unless(gst_buffer_pool_acquire_buffer(pool, &buffer, nullptr) == GST_FLOW_OK);
    const int stride = gst_buffer_get_video_meta(buffer)->stride[1];
    fail_unless_equals_int(stride, wants == &wide ? 128 : 32);
    GstMapInfo map;
    fail_unless(gst_buffer_map(buffer, &map, GST_MAP_WRITE));
    const guint64 align = wants == &wide ? 127 : 63;
    fail_unless_equals_uint64(reinterpret_cast<guint64>(map.data) & align, 0);
    gst_buffer_unmap(buffer, &map);
    gst_buffer_unref(buffer);
    gst_buffer_pool_set_active(pool, FALSE);
    gst_object_unref(pool);
  }
}

TEST(what_is_wanted_around_frames_crosses) {
  Wants one;
  one.metas = {GST_VIDEO_META_API_TYPE};
  one.around = padded(16, 8, 31);
  Wants other;
  other.metas = {GST_VIDEO_META_API_TYPE, GST_VIDEO_CROP_META_API_TYPE};
  other.around = padded(4, 40, 127);
  const Scene scene;
  const Harness sink(scene.sink());
  fail_unless_equals_int(around(sink.ask_allocation().get(), "padding-top"), -1);
  const Reader early(scene, one);
  sink.wait_for_clients(1);
  {
    const auto query = sink.ask_allocation();
    fail_unless_equals_int(around(query.get(), "padding-top"), 16);
    fail_unless_equals_int(around(query.get(), "padding-bottom"), 0);
    fail_unless_equals_int(around(query.get(), "padding-right"), 8);
    fail_unless_equals_int(around(query.get(), "stride-align0"), 31);
  }
  {
    const Reader late(scene, other);
    sink.wait_for_clients(2);
    const auto query = sink.ask_allocation();
    fail_unless_equals_int(around(query.get(), "padding-top"), 16);
    fail_unless_equals_int(around(query.get(), "padding-right"), 40);
    fail_unless_equals_int(around(query.get(), "stride-align0"), 127);
    fail_unless(!offers(query.get(), GST_VIDEO_CROP_META_API_TYPE));
  }
  sink.wait_for_clients(1);
  // For one that does not know GstVideoMeta each padded frame is copied.
  const Wants plain;
  const Reader unaware(scene, plain);
  sink.wait_for_clients(2);
  fail_unless_equals_int(around(sink.ask_allocation().get(), "padding-top"), -1);
}

TEST(what_a_peer_wants_of_our_memory_is_bounded) {
  Wants wants;
  wants.size = G_MAXUINT;
  wants.min = G_MAXUINT;
  wants.align = wants.prefix = wants.padding = G_MAXUINT32;
  wants.metas = {GST_VIDEO_META_API_TYPE};
  wants.around = padded(G_MAXUINT, G_MAXUINT, G_MAXUINT);
  const Scene scene;
  const Harness sink(scene.sink("max-memory=1048576"));
  const Reader reader(scene, wants);
  sink.wait_for_clients(1);
  const auto query = sink.ask_allocation();
  guint size = 0;
  guint min = 0;
  gst_query_parse_nth_allocation_pool(query.get(), 0, nullptr, &size, &min, nullptr);
  fail_unless_equals_int(static_cast<int>(size), test::kVideoSize);
  fail_unless(min >= 1 && static_cast<guint64>(min) * size <= 1048576);
  GstAllocationParams params;
  gst_query_parse_nth_allocation_param(query.get(), 0, nullptr, &params);
  fail_unless(std::max({params.align, params.prefix, params.padding}) <= 65536);
  for (const char* field : {"padding-top", "padding-right", "stride-align0"}) {
    const int wanted = around(query.get(), field);
    fail_unless(wanted > 0 && wanted <= 65535, "%s %d", field, wanted);
  }
}
