// The GstBaseSink around bench::FrameReader; see gstbenchsink.h.

#include "gstbenchsink.h"

#include "frame_reader.h"
#include "pin.h"
#include "stamp.h"

namespace {

enum {
  PROP_0,
  PROP_EXPECTED_FRAMES,
  PROP_EOS_WHEN_COMPLETE,
  PROP_TOUCH,
  PROP_COUNT_FROM,
  PROP_CPU,
};

GstStaticPadTemplate sink_template =
    GST_STATIC_PAD_TEMPLATE("sink", GST_PAD_SINK, GST_PAD_ALWAYS, GST_STATIC_CAPS_ANY);

}  // namespace

struct GstBenchSinkPrivate {
  bench::FrameReader::Settings settings;
  bool eos_when_complete = false;
  int cpu = bench::kAnyCpu;

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
    case PROP_EXPECTED_FRAMES:
      priv->settings.expected_frames = g_value_get_uint(value);
      break;
    case PROP_EOS_WHEN_COMPLETE:
      priv->eos_when_complete = g_value_get_boolean(value);
      break;
    case PROP_TOUCH:
      priv->settings.touch = g_value_get_boolean(value);
      break;
    case PROP_COUNT_FROM:
      priv->settings.count_from = g_value_get_uint64(value);
      break;
    case PROP_CPU:
      priv->cpu = g_value_get_int(value);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, pspec);
  }
}

static void gst_bench_sink_get_property(GObject* object, guint id, GValue* value,
                                        GParamSpec* pspec) {
  const auto* priv = GST_BENCH_SINK(object)->priv;
  switch (id) {
    case PROP_EXPECTED_FRAMES:
      g_value_set_uint(value, static_cast<guint>(priv->settings.expected_frames));
      break;
    case PROP_EOS_WHEN_COMPLETE:
      g_value_set_boolean(value, priv->eos_when_complete);
      break;
    case PROP_TOUCH:
      g_value_set_boolean(value, priv->settings.touch);
      break;
    case PROP_COUNT_FROM:
      g_value_set_uint64(value, priv->settings.count_from);
      break;
    case PROP_CPU:
      g_value_set_int(value, priv->cpu);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, pspec);
  }
}

static gboolean gst_bench_sink_start(GstBaseSink* sink) {
  auto* priv = GST_BENCH_SINK(sink)->priv;
  if (priv->settings.expected_frames == 0) {
    GST_ELEMENT_ERROR(sink, RESOURCE, SETTINGS, (nullptr), ("expected-frames is not set"));
    return FALSE;
  }
  priv->reader.prepare(priv->settings);
  return TRUE;
}

static GstFlowReturn gst_bench_sink_render(GstBaseSink* sink, GstBuffer* buffer) {
  auto* priv = GST_BENCH_SINK(sink)->priv;
  const guint64 arrived_ns = bench::monotonic_ns();

  if (priv->reader.arrived() == 0 && !bench::pin_this_thread(priv->cpu)) {
    GST_ELEMENT_ERROR(sink, RESOURCE, SETTINGS, (nullptr), ("no processor %d for this", priv->cpu));
    return GST_FLOW_ERROR;
  }

  GstMapInfo map;
  if (!gst_buffer_map(buffer, &map, GST_MAP_READ)) {
    GST_ELEMENT_ERROR(sink, RESOURCE, READ, (nullptr),
                      ("a frame's memory can't be mapped for reading"));
    return GST_FLOW_ERROR;
  }
  priv->reader.read(map.data, map.size, arrived_ns, priv->settings);
  gst_buffer_unmap(buffer, &map);

  return priv->eos_when_complete && priv->reader.complete() ? GST_FLOW_EOS : GST_FLOW_OK;
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
  const auto flags = static_cast<GParamFlags>(G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS);

  object_class->set_property = gst_bench_sink_set_property;
  object_class->get_property = gst_bench_sink_get_property;
  object_class->finalize = gst_bench_sink_finalize;
  base_class->start = gst_bench_sink_start;
  base_class->render = gst_bench_sink_render;

  const auto install = [object_class](guint id, GParamSpec* pspec) {
    g_object_class_install_property(object_class, id, pspec);
  };
  install(PROP_EXPECTED_FRAMES,
          g_param_spec_uint("expected-frames", "Expected frames", "How many frames benchsrc pushes",
                            0, 100'000'000, 0, flags));
  install(PROP_EOS_WHEN_COMPLETE,
          g_param_spec_boolean("eos-when-complete", "EOS when complete",
                               "End the stream when every expected frame has "
                               "arrived, for transports that carry no EOS",
                               FALSE, flags));
  install(PROP_TOUCH, g_param_spec_boolean("touch", "Touch",
                                           "Read every byte of a frame, and check it "
                                           "(benchsrc must have touch set, too)",
                                           FALSE, flags));
  install(PROP_COUNT_FROM,
          g_param_spec_uint64("count-from", "Count from", "First frame that is no longer start-up",
                              0, G_MAXUINT64, 200, flags));
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
  bench::JsonLine line;
  line.number("frames", reader.arrived())
      .number("counted_from", self->priv->settings.count_from)
      .number("counted", reader.counted())
      .number("counted_s", reader.counted_seconds())
      .number("lost", reader.sequence().lost())
      .number("duplicated", reader.sequence().duplicated())
      .number("reordered", reader.sequence().reordered())
      .number("damaged", reader.damaged())
      .number("latency_p50_us", reader.latencies().percentile_us(0.50))
      .number("latency_p99_us", reader.latencies().percentile_us(0.99))
      .number("latency_max_us", reader.latencies().percentile_us(1.0));
  return line;
}

guint64 gst_bench_sink_counted(GstBenchSink* self) { return self->priv->reader.counted(); }
