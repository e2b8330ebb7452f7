// The GstBaseSink around bench::FrameReader; see gstbenchsink.h.

#include "gstbenchsink.h"

#include "frame_reader.h"
#include "pin.h"
#include "push_times.h"

namespace {

enum {
  PROP_0,
  PROP_END_WITH_LAST,
  PROP_TOUCH,
  PROP_ENCODED,
  PROP_PIECES,
  PROP_CPU,
};

GstStaticPadTemplate sink_template =
    GST_STATIC_PAD_TEMPLATE("sink", GST_PAD_SINK, GST_PAD_ALWAYS, GST_STATIC_CAPS_ANY);

}  // namespace

struct GstBenchSinkPrivate {
  bool end_with_last = false;
  bool touch = false;
  bool encoded = false;
  bool pieces = false;
  int cpu = bench::kAnyCpu;

  int fps_n = 0, fps_d = 1;
  bench::FrameReader reader;
};

struct _GstBenchSink {
  GstBaseSink parent;
  GstBenchSinkPrivate* priv;
};

G_DEFINE_TYPE(GstBenchSink, gst_bench_sink, GST_TYPE_BASE_SINK)

static void gst_bench_sink_set_property(GObject* object, guint id, const GValue* value,
                                        GParamSpec* pspec) {
  auto* priv = GST_BENCH_SINK(object)->priv;
  switch (id) {
    case PROP_END_WITH_LAST:
      priv->end_with_last = g_value_get_boolean(value);
      break;
    case PROP_TOUCH:
      priv->touch = g_value_get_boolean(value);
      break;
    case PROP_ENCODED:
      priv->encoded = g_value_get_boolean(value);
      break;
    case PROP_PIECES:
      priv->pieces = g_value_get_boolean(value);
      break;
    case PROP_CPU:
      priv->cpu = g_value_get_int(value);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, pspec);
  }
}

static gboolean gst_bench_sink_start(GstBaseSink* sink) {
  GST_BENCH_SINK(sink)->priv->reader.prepare();
  return TRUE;
}

static gboolean gst_bench_sink_set_caps(GstBaseSink* sink, GstCaps* caps) {
  auto* priv = GST_BENCH_SINK(sink)->priv;
  const GstStructure* structure = gst_caps_get_structure(caps, 0);
  if (!priv->encoded ||
      gst_structure_get_fraction(structure, "framerate", &priv->fps_n, &priv->fps_d))
    return TRUE;
  GST_ELEMENT_ERROR(sink, STREAM, FORMAT, (nullptr),
                    ("without a frame rate, encoded frames can't be numbered"));
  return FALSE;
}

// Not its timestamp, which encoders shift, nor its running time, which is another in each process.
static guint32 number_of(GstBaseSink* sink, const GstBuffer* buffer) {
  const auto* priv = GST_BENCH_SINK(sink)->priv;
  const guint64 time =
      gst_segment_to_stream_time(&sink->segment, GST_FORMAT_TIME, GST_BUFFER_PTS(buffer));
  return static_cast<guint32>(gst_util_uint64_scale_round(
      time, static_cast<guint64>(priv->fps_n), static_cast<guint64>(priv->fps_d) * GST_SECOND));
}

static GstFlowReturn gst_bench_sink_render(GstBaseSink* sink, GstBuffer* buffer) {
  auto* priv = GST_BENCH_SINK(sink)->priv;
  const guint64 arrived_ns = bench::monotonic_ns();

  if (priv->reader.frames() == 0 && !bench::pin_this_thread(priv->cpu)) {
    GST_ELEMENT_ERROR(sink, RESOURCE, SETTINGS, (nullptr), ("no processor %d for this", priv->cpu));
    return GST_FLOW_ERROR;
  }

  if (priv->encoded) {
    const auto stamp = bench::PushTimes::of_process().of(number_of(sink, buffer));
    priv->reader.began(stamp, arrived_ns);
    const bool is_last = !priv->pieces || GST_BUFFER_FLAG_IS_SET(buffer, GST_BUFFER_FLAG_MARKER);
    if (is_last) priv->reader.arrived(stamp, arrived_ns);
    return GST_FLOW_OK;
  }

  GstMapInfo map;
  if (!gst_buffer_map(buffer, &map, GST_MAP_READ)) {
    GST_ELEMENT_ERROR(sink, RESOURCE, READ, (nullptr),
                      ("a frame's memory can't be mapped for reading"));
    return GST_FLOW_ERROR;
  }
  priv->reader.read(map.data, map.size, arrived_ns, priv->touch);
  gst_buffer_unmap(buffer, &map);

  return priv->end_with_last && priv->reader.ended() ? GST_FLOW_EOS : GST_FLOW_OK;
}

static void gst_bench_sink_finalize(GObject* object) {
  delete GST_BENCH_SINK(object)->priv;
  G_OBJECT_CLASS(gst_bench_sink_parent_class)->finalize(object);
}

static void gst_bench_sink_init(GstBenchSink* self) {
  self->priv = new GstBenchSinkPrivate;
  auto* sink = GST_BASE_SINK(self);
  gst_base_sink_set_sync(sink, FALSE);
  gst_base_sink_set_async_enabled(sink, FALSE);
  // A frame that is kept as the last one is one that the sender can't reuse.
  gst_base_sink_set_last_sample_enabled(sink, FALSE);
}

static void gst_bench_sink_class_init(GstBenchSinkClass* klass) {
  auto* object_class = G_OBJECT_CLASS(klass);
  auto* element_class = GST_ELEMENT_CLASS(klass);
  auto* base_class = GST_BASE_SINK_CLASS(klass);
  const auto flags = static_cast<GParamFlags>(G_PARAM_WRITABLE | G_PARAM_STATIC_STRINGS);

  object_class->set_property = gst_bench_sink_set_property;
  object_class->finalize = gst_bench_sink_finalize;
  base_class->start = gst_bench_sink_start;
  base_class->set_caps = gst_bench_sink_set_caps;
  base_class->render = gst_bench_sink_render;

  const auto install = [object_class](guint id, GParamSpec* pspec) {
    g_object_class_install_property(object_class, id, pspec);
  };
  install(PROP_END_WITH_LAST,
          g_param_spec_boolean("end-with-last", "End with the last",
                               "End the stream when the last frame has arrived, "
                               "for transports that carry no EOS",
                               FALSE, flags));
  install(PROP_TOUCH, g_param_spec_boolean("touch", "Touch",
                                           "Read every byte of a frame, and check it "
                                           "(benchsrc must have touch set, too)",
                                           FALSE, flags));
  install(PROP_ENCODED,
          g_param_spec_boolean("encoded", "Encoded",
                               "Frames are those of a benchsrc in this process, encoded meanwhile",
                               FALSE, flags));
  install(PROP_PIECES,
          g_param_spec_boolean("pieces", "Pieces",
                               "Encoded frames may come in several buffers, the last of which is "
                               "marked (GST_BUFFER_FLAG_MARKER)",
                               FALSE, flags));
  install(PROP_CPU, g_param_spec_int("cpu", "Processor",
                                     "Keep the streaming thread on this one (-1 = on any)",
                                     bench::kAnyCpu, G_MAXINT, bench::kAnyCpu, flags));

  gst_element_class_add_static_pad_template(element_class, &sink_template);
  gst_element_class_set_static_metadata(element_class, "Benchmark sink", "Sink",
                                        "Checks and times stamped frames",
                                        "The GstMmap developers");
}

bench::JsonLine gst_bench_sink_report(GstBenchSink* self) {
  const auto& reader = self->priv->reader;
  const auto& latencies = reader.latencies();
  bench::JsonLine line;
  line.number("frames", reader.frames())
      .number("distinct", reader.sequence().distinct())
      .number("counted", reader.counted())
      .number("counted_s", reader.counted_seconds())
      .number("duplicated", reader.sequence().duplicated())
      .number("reordered", reader.sequence().reordered())
      .number("damaged", reader.damaged())
      .number("latency_p50_us", latencies.percentile_us(0.50))
      .number("latency_p99_us", latencies.percentile_us(0.99))
      .number("latency_max_us", latencies.max_us());
  if (self->priv->encoded)
    line.number("first_piece_p50_us", reader.first_pieces().percentile_us(0.50));
  return line;
}
