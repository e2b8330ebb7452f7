// The GstPushSrc around bench::FrameWriter; see gstbenchsrc.h.

#include "gstbenchsrc.h"

#include <gst/video/video.h>

#include <string>

#include "frame_writer.h"
#include "pin.h"
#include "stamp.h"

namespace {

enum {
  PROP_0,
  PROP_WIDTH,
  PROP_HEIGHT,
  PROP_FORMAT,
  PROP_SIZE,
  PROP_FPS,
  PROP_TOUCH,
  PROP_WARM_UP,
  PROP_SECONDS,
  PROP_FRAMES,
  PROP_OWN_POOL_BUFFERS,
  PROP_CPU,
};

constexpr int kNominalFps = 60;

GstStaticPadTemplate src_template =
    GST_STATIC_PAD_TEMPLATE("src", GST_PAD_SRC, GST_PAD_ALWAYS, GST_STATIC_CAPS_ANY);

}  // namespace

struct GstBenchSrcPrivate {
  int width = 1920;
  int height = 1080;
  std::string format = "I420";
  guint size = 0;
  guint own_pool_buffers = 0;
  int cpu = bench::kAnyCpu;
  bench::FrameWriter::Settings settings;

  bench::FrameWriter writer;
  gsize frame_size = 0;
  std::string pool = "none";   // type of the pool
  std::string memory;          // kind of the first frame's memory
  bool pool_proposed = false;  // by downstream
  bool allocator_proposed = false;
  GstAllocator* allocator = nullptr;
  guint64 foreign = 0;

  ~GstBenchSrcPrivate() { gst_clear_object(&allocator); }

  int nominal_fps() const {
    return settings.fps > 0 ? static_cast<int>(settings.fps) : kNominalFps;
  }
};

struct _GstBenchSrc {
  GstPushSrc parent;
  GstBenchSrcPrivate* priv;
};

G_DEFINE_TYPE(GstBenchSrc, gst_bench_src, GST_TYPE_PUSH_SRC)

static void gst_bench_src_set_property(GObject* object, guint id, const GValue* value,
                                       GParamSpec* pspec) {
  auto* priv = GST_BENCH_SRC(object)->priv;
  switch (id) {
    case PROP_WIDTH:
      priv->width = g_value_get_int(value);
      break;
    case PROP_HEIGHT:
      priv->height = g_value_get_int(value);
      break;
    case PROP_FORMAT: {
      const char* format = g_value_get_string(value);
      priv->format = format ? format : "";
      break;
    }
    case PROP_SIZE:
      priv->size = g_value_get_uint(value);
      break;
    case PROP_FPS:
      priv->settings.fps = g_value_get_uint(value);
      break;
    case PROP_TOUCH:
      priv->settings.touch = g_value_get_boolean(value);
      break;
    case PROP_WARM_UP:
      priv->settings.warm_up = g_value_get_double(value);
      break;
    case PROP_SECONDS:
      priv->settings.seconds = g_value_get_double(value);
      break;
    case PROP_FRAMES:
      priv->settings.frames = g_value_get_uint(value);
      break;
    case PROP_OWN_POOL_BUFFERS:
      priv->own_pool_buffers = g_value_get_uint(value);
      break;
    case PROP_CPU:
      priv->cpu = g_value_get_int(value);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, pspec);
  }
}

static GstCaps* gst_bench_src_get_caps(GstBaseSrc* src, GstCaps* filter) {
  const auto* priv = GST_BENCH_SRC(src)->priv;
  GstCaps* caps = priv->size > 0
                      ? gst_caps_new_empty_simple("application/octet-stream")
                      : gst_caps_new_simple("video/x-raw", "format", G_TYPE_STRING,
                                            priv->format.c_str(), "width", G_TYPE_INT, priv->width,
                                            "height", G_TYPE_INT, priv->height, "framerate",
                                            GST_TYPE_FRACTION, priv->nominal_fps(), 1, nullptr);
  if (filter == nullptr) return caps;
  GstCaps* common = gst_caps_intersect_full(filter, caps, GST_CAPS_INTERSECT_FIRST);
  gst_caps_unref(caps);
  return common;
}

static gboolean gst_bench_src_set_caps(GstBaseSrc* src, GstCaps* caps) {
  auto* priv = GST_BENCH_SRC(src)->priv;
  priv->frame_size = priv->size;
  if (priv->size == 0) {
    GstVideoInfo info;
    if (!gst_video_info_from_caps(&info, caps)) return FALSE;
    priv->frame_size = GST_VIDEO_INFO_SIZE(&info);
  }
  gst_base_src_set_blocksize(src, static_cast<guint>(priv->frame_size));
  return TRUE;
}

static gboolean gst_bench_src_decide_allocation(GstBaseSrc* src, GstQuery* query) {
  auto* priv = GST_BENCH_SRC(src)->priv;
  const auto frame_size = static_cast<guint>(priv->frame_size);
  GstAllocator* allocator = nullptr;

  if (gst_query_get_n_allocation_params(query) > 0)
    gst_query_parse_nth_allocation_param(query, 0, &allocator, nullptr);
  priv->allocator_proposed = allocator != nullptr;
  gst_clear_object(&priv->allocator);
  priv->allocator = allocator;

  GstBufferPool* pool = nullptr;
  if (gst_query_get_n_allocation_pools(query) > 0) {
    guint size = 0, min = 0, max = 0;
    gst_query_parse_nth_allocation_pool(query, 0, &pool, &size, &min, &max);
    priv->pool_proposed = pool != nullptr;
    // Nobody but this element knows how large its octet streams' frames are.
    if (size < frame_size) gst_query_set_nth_allocation_pool(query, 0, pool, frame_size, min, max);
  } else if (priv->size == 0 || priv->own_pool_buffers > 0) {
    // As sources of frames do. Otherwise a transport that proposes no pool would be charged with an
    // allocation for each frame. Packets are allocated one by one, as encoders and parsers do.
    priv->pool_proposed = false;
    pool = gst_buffer_pool_new();
    gst_query_add_allocation_pool(query, pool, frame_size, 0, priv->own_pool_buffers);
  }
  gst_clear_object(&pool);

  if (!GST_BASE_SRC_CLASS(gst_bench_src_parent_class)->decide_allocation(src, query)) return FALSE;

  if (gst_query_get_n_allocation_pools(query) > 0)
    gst_query_parse_nth_allocation_pool(query, 0, &pool, nullptr, nullptr, nullptr);
  priv->pool = pool ? G_OBJECT_TYPE_NAME(pool) : "none";
  gst_clear_object(&pool);
  return TRUE;
}

static GstFlowReturn gst_bench_src_fill(GstPushSrc* src, GstBuffer* buffer) {
  auto* priv = GST_BENCH_SRC(src)->priv;
  if (priv->writer.finished()) return GST_FLOW_EOS;
  const guint64 sequence = priv->writer.written();

  if (sequence == 0 && !bench::pin_this_thread(priv->cpu)) {
    GST_ELEMENT_ERROR(src, RESOURCE, SETTINGS, (nullptr), ("no processor %d for this", priv->cpu));
    return GST_FLOW_ERROR;
  }

  const GstMemory* memory = gst_buffer_peek_memory(buffer, 0);
  if (sequence == 0)
    priv->memory =
        memory->allocator && memory->allocator->mem_type ? memory->allocator->mem_type : "unknown";
  if (memory->allocator != priv->allocator) ++priv->foreign;

  GstMapInfo map;
  if (!gst_buffer_map(buffer, &map, GST_MAP_WRITE)) {
    GST_ELEMENT_ERROR(src, RESOURCE, WRITE, (nullptr),
                      ("a frame's memory can't be mapped for writing"));
    return GST_FLOW_ERROR;
  }
  const bool fits = priv->writer.write(map.data, map.size, priv->settings);
  gst_buffer_unmap(buffer, &map);
  if (!fits) {
    GST_ELEMENT_ERROR(src, RESOURCE, SETTINGS, (nullptr), ("a frame is smaller than its stamp"));
    return GST_FLOW_ERROR;
  }

  const auto fps = static_cast<guint64>(priv->nominal_fps());
  GST_BUFFER_PTS(buffer) = gst_util_uint64_scale(sequence, GST_SECOND, fps);
  GST_BUFFER_DURATION(buffer) = GST_SECOND / fps;
  return GST_FLOW_OK;
}

static void gst_bench_src_finalize(GObject* object) {
  delete GST_BENCH_SRC(object)->priv;
  G_OBJECT_CLASS(gst_bench_src_parent_class)->finalize(object);
}

static void gst_bench_src_init(GstBenchSrc* self) {
  self->priv = new GstBenchSrcPrivate;
  gst_base_src_set_format(GST_BASE_SRC(self), GST_FORMAT_TIME);
}

static void gst_bench_src_class_init(GstBenchSrcClass* klass) {
  auto* object_class = G_OBJECT_CLASS(klass);
  auto* element_class = GST_ELEMENT_CLASS(klass);
  auto* base_class = GST_BASE_SRC_CLASS(klass);
  const auto flags = static_cast<GParamFlags>(G_PARAM_WRITABLE | G_PARAM_STATIC_STRINGS);

  object_class->set_property = gst_bench_src_set_property;
  object_class->finalize = gst_bench_src_finalize;
  base_class->get_caps = gst_bench_src_get_caps;
  base_class->set_caps = gst_bench_src_set_caps;
  base_class->decide_allocation = gst_bench_src_decide_allocation;
  GST_PUSH_SRC_CLASS(klass)->fill = gst_bench_src_fill;

  const auto install = [object_class](guint id, GParamSpec* pspec) {
    g_object_class_install_property(object_class, id, pspec);
  };
  install(PROP_WIDTH,
          g_param_spec_int("width", "Width", "Width of the video", 1, 32768, 1920, flags));
  install(PROP_HEIGHT,
          g_param_spec_int("height", "Height", "Height of the video", 1, 32768, 1080, flags));
  install(PROP_FORMAT,
          g_param_spec_string("format", "Format", "Format of the video", "I420", flags));
  install(PROP_SIZE, g_param_spec_uint("size", "Size",
                                       "Bytes per frame of application/octet-stream "
                                       "(0 = frames are video)",
                                       0, 1u << 30, 0, flags));
  install(PROP_FPS,
          g_param_spec_uint("fps", "Frames per second",
                            "Pace against CLOCK_MONOTONIC (0 = unpaced)", 0, 100000, 0, flags));
  install(PROP_TOUCH,
          g_param_spec_boolean("touch", "Touch", "Write every byte of a frame", FALSE, flags));
  install(PROP_WARM_UP, g_param_spec_double("warm-up", "Warm-up", "Seconds before frames count", 0,
                                            3600, 0.5, flags));
  install(PROP_SECONDS,
          g_param_spec_double("seconds", "Seconds", "For which frames count", 0, 36000, 2, flags));
  install(PROP_FRAMES,
          g_param_spec_uint("frames", "Frames",
                            "How many in all, in place of these times, and a tenth of it warm-up "
                            "(0 = as many as there is time for)",
                            0, bench::kMostFrames, 0, flags));
  install(PROP_OWN_POOL_BUFFERS, g_param_spec_uint("own-pool-buffers", "Own pool's buffers",
                                                   "Most buffers of the pool that is made when "
                                                   "downstream proposes none (0 = no limit)",
                                                   0, G_MAXINT, 0, flags));
  install(PROP_CPU, g_param_spec_int("cpu", "Processor",
                                     "Keep the streaming thread on this one (-1 = on any)",
                                     bench::kAnyCpu, G_MAXINT, bench::kAnyCpu, flags));

  gst_element_class_add_static_pad_template(element_class, &src_template);
  gst_element_class_set_static_metadata(element_class, "Benchmark source", "Source/Video",
                                        "Pushes stamped frames in proposed memory",
                                        "The GstMmap developers");
}

bench::JsonLine gst_bench_src_report(GstBenchSrc* self) {
  const auto* priv = self->priv;
  bench::JsonLine line;
  line.number("frames", priv->writer.written())
      .number("counted", priv->writer.counted())
      .number("frame_size", priv->frame_size)
      .text("pool", priv->pool)
      .text("pool_from", priv->pool_proposed ? "downstream" : "source")
      .text("memory", priv->memory);
  // With an allocator alone, memory that it did not allocate is copied by
  // whoever proposed it. A proposed pool is free to choose its allocator.
  if (priv->allocator_proposed && !priv->pool_proposed)
    line.number("foreign_frames", priv->foreign);
  if (priv->settings.fps > 0)
    line.number("late", priv->writer.late()).number("restarts", priv->writer.restarts());
  return line;
}
