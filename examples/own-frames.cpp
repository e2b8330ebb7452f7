// Frames that the application makes itself, in memory which the other process reads in place:
// nothing is copied.
//
//   own-frames write SOCKET    makes 100 frames, for who reads
//   own-frames read SOCKET     looks at them, where they lie
//
// In either order, within 15 seconds. Both print `frame NUMBER INODE:OFFSET GREY` for each frame,
// where it lies and what is in it, and at the end how many bytes had to be copied: 0.
#include <gst/app/app.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>

#include "gst/mmap.h"
#include "pipeline.h"

namespace {

constexpr guint64 kFrames = 100;
constexpr auto kCaps = "video/x-raw,format=RGB,width=640,height=480,framerate=25/1";
using Caps = example::Owned<GstCaps, gst_caps_unref>;
using Pool = example::Owned<GstBufferPool, gst_object_unref>;
using Query = example::Owned<GstQuery, gst_query_unref>;
using Sample = example::Owned<GstSample, gst_sample_unref>;

struct Job {
  Caps caps{gst_caps_from_string(kCaps)};
  Pool pool;  // the writer's, from the first frame on
  std::atomic<guint64> frames{0};
};

// Rows of this size and format have no padding; others take gst_video_frame_map.
bool fill(GstBuffer* buffer, guint8 grey) {
  GstMapInfo map;
  if (!gst_buffer_map(buffer, &map, GST_MAP_WRITE)) return false;
  std::memset(map.data, grey, map.size);
  gst_buffer_unmap(buffer, &map);
  return true;
}

// Says where it lies; false if it is not all of one grey, or in memory of this process alone.
bool show(GstBuffer* buffer, guint64 number) {
  GstMapInfo map;
  if (!gst_buffer_map(buffer, &map, GST_MAP_READ)) return false;
  const guint8 grey = map.data[0];
  const bool same =
      std::all_of(map.data, map.data + map.size, [&](auto one) { return one == grey; });
  gst_buffer_unmap(buffer, &map);
  GstMemory* memory = gst_buffer_peek_memory(buffer, 0);
  struct stat arena {};
  if (!same || !gst_is_mmap_memory(memory) || fstat(gst_mmap_memory_get_fd(memory), &arena) != 0)
    return false;
  g_print("frame %" G_GUINT64_FORMAT " %ju:%" G_GUINT64_FORMAT " %d\n", number,
          uintmax_t{arena.st_ino}, gst_mmap_memory_get_offset(memory), grey);
  return true;
}

// What whoever reads can map: the pool that mmapsink proposes, to whoever asks as elements do.
Pool proposed_pool(GstElement* source, GstCaps* caps) {
  const Query query(gst_query_new_allocation(caps, TRUE));
  const example::Pad pad(gst_element_get_static_pad(source, "src"));
  if (!gst_pad_peer_query(pad.get(), query.get()) ||
      gst_query_get_n_allocation_pools(query.get()) == 0)
    return nullptr;
  GstBufferPool* pool = nullptr;
  guint size = 0, least = 0, most = 0;
  gst_query_parse_nth_allocation_pool(query.get(), 0, &pool, &size, &least, &most);
  Pool owned(pool);
  GstStructure* config = gst_buffer_pool_get_config(pool);
  gst_buffer_pool_config_set_params(config, caps, size, least, most);
  if (!gst_buffer_pool_set_config(pool, config) || !gst_buffer_pool_set_active(pool, TRUE))
    return nullptr;
  return owned;
}

// By appsrc's thread, when it has nothing to send.
void on_need_data(GstAppSrc* source, guint, gpointer data) {
  auto& job = *static_cast<Job*>(data);
  const guint64 number = job.frames;
  if (number == kFrames) {
    gst_app_src_end_of_stream(source);
    return;
  }
  if (!job.pool) job.pool = proposed_pool(GST_ELEMENT(source), job.caps.get());
  GstBuffer* buffer = nullptr;
  // Waits while all frames are with the reader.
  if (!job.pool || gst_buffer_pool_acquire_buffer(job.pool.get(), &buffer, nullptr) != GST_FLOW_OK)
    return;  // mmapsink has said why, or the pipeline stops
  GST_BUFFER_DURATION(buffer) = GST_SECOND / 25;
  GST_BUFFER_PTS(buffer) = number * GST_BUFFER_DURATION(buffer);
  ++job.frames;
  if (!fill(buffer, static_cast<guint8>(number)) || !show(buffer, number))
    GST_ELEMENT_ERROR(source, RESOURCE, WRITE, ("A frame is not in shared memory."), (nullptr));
  gst_app_src_push_buffer(source, buffer);
}

GstFlowReturn on_new_sample(GstAppSink* sink, gpointer data) {
  auto& job = *static_cast<Job*>(data);
  const Sample sample(gst_app_sink_pull_sample(sink));
  if (!sample) return GST_FLOW_EOS;
  GstBuffer* buffer = gst_sample_get_buffer(sample.get());
  if (!show(buffer, job.frames++)) {
    GST_ELEMENT_ERROR(sink, RESOURCE, READ, ("A frame is not what was written."), (nullptr));
    return GST_FLOW_ERROR;
  }
  return GST_FLOW_OK;  // and the last unref gives the frame back to the writer
}

}  // namespace

int main(int argc, char** argv) {
  gst_init(&argc, &argv);
  const bool writes = argc == 3 && g_str_equal(argv[1], "write");
  if (!writes && !(argc == 3 && g_str_equal(argv[1], "read"))) {
    g_printerr("usage: own-frames write|read SOCKET\n");
    return EXIT_FAILURE;
  }
  const auto pipeline = example::parse(writes ? "appsrc name=app format=time ! "
                                                "mmapsink name=link wait-for-connection=true"
                                              : "mmapsrc name=link ! appsink name=app sync=false");
  if (!pipeline) return EXIT_FAILURE;
  g_object_set(example::find(pipeline, "link").get(), "socket-path", argv[2], "connection-timeout",
               guint64{15 * GST_SECOND}, nullptr);
  Job job;
  const auto app = example::find(pipeline, "app");
  g_object_set(app.get(), "caps", job.caps.get(), nullptr);
  GstAppSrcCallbacks source_calls{};
  source_calls.need_data = on_need_data;
  GstAppSinkCallbacks sink_calls{};
  sink_calls.new_sample = on_new_sample;
  if (writes)
    gst_app_src_set_callbacks(GST_APP_SRC(app.get()), &source_calls, &job, nullptr);
  else
    gst_app_sink_set_callbacks(GST_APP_SINK(app.get()), &sink_calls, &job, nullptr);

  const bool ended = example::run(pipeline, {[&] { return job.frames.load(); }, [] {}});
  g_print("bytes-copied=%" G_GUINT64_FORMAT "\n",
          example::count_of(pipeline, "link", "bytes-copied"));
  example::stop(pipeline);
  return ended ? EXIT_SUCCESS : EXIT_FAILURE;
}
