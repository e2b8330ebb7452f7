#include "elements/latencytracer.h"

#include <memory>
#include <string>
#include <utility>

#include "elements/latencypath.h"
#include "lib/futex.h"

struct GstMmapLatencyTracer {
  GstTracer parent;
};
struct GstMmapLatencyTracerClass {
  GstTracerClass parent_class;
};
GType gst_mmap_latency_tracer_get_type();
G_DEFINE_TYPE(GstMmapLatencyTracer, gst_mmap_latency_tracer, GST_TYPE_TRACER)

// What they are logged with, for as long as there is a process.
static GstTracerRecord* record;
static GstTracerRecord* path_record;

static GstStructure* scope(GType type, GstTracerValueScope of) {
  return gst_structure_new("scope", "type", G_TYPE_GTYPE, type, "related-to",
                           GST_TYPE_TRACER_VALUE_SCOPE, of, nullptr);
}

static GstStructure* value(const char* description) {
  return gst_structure_new("value", "type", G_TYPE_GTYPE, G_TYPE_UINT64, "description",
                           G_TYPE_STRING, description, "min", G_TYPE_UINT64, G_GUINT64_CONSTANT(0),
                           "max", G_TYPE_UINT64, G_MAXUINT64, nullptr);
}

static void gst_mmap_latency_tracer_class_init(GstMmapLatencyTracerClass*) {
  record = gst_tracer_record_new(
      "mmaplatency.class", "element", GST_TYPE_STRUCTURE,
      scope(G_TYPE_STRING, GST_TRACER_VALUE_SCOPE_ELEMENT), "peer", GST_TYPE_STRUCTURE,
      scope(G_TYPE_UINT, GST_TRACER_VALUE_SCOPE_PROCESS), "pts", GST_TYPE_STRUCTURE,
      value("PTS of the buffer, as it was sent"), "published", GST_TYPE_STRUCTURE,
      value("when it was published, in ns of CLOCK_MONOTONIC here"), "received", GST_TYPE_STRUCTURE,
      value("when it was received, likewise"), "released", GST_TYPE_STRUCTURE,
      value("when the last of its memory was given back, likewise"), nullptr);
  path_record = gst_tracer_record_new(
      "mmaplatency.path.class", "src-element", GST_TYPE_STRUCTURE,
      scope(G_TYPE_STRING, GST_TRACER_VALUE_SCOPE_ELEMENT), "src-pid", GST_TYPE_STRUCTURE,
      scope(G_TYPE_UINT, GST_TRACER_VALUE_SCOPE_PROCESS), "sink-element", GST_TYPE_STRUCTURE,
      scope(G_TYPE_STRING, GST_TRACER_VALUE_SCOPE_ELEMENT), "pts", GST_TYPE_STRUCTURE,
      value("PTS of the buffer, as its source pushed it"), "time", GST_TYPE_STRUCTURE,
      value("from when the source pushed the buffer until it came to the sink, in ns"), nullptr);
  for (GstTracerRecord* one : {record, path_record})
    GST_OBJECT_FLAG_SET(one, GST_OBJECT_FLAG_MAY_BE_LEAKED);
}

// Switched on for as long as there is a process.
static void gst_mmap_latency_tracer_init(GstMmapLatencyTracer* self) {
  gstmmap::traces_latency = true;
  gstmmap::trace_paths(GST_TRACER(self), path_record);
}

namespace gstmmap {

namespace {

// Shared by what is to go.
struct Traced {
  Traced(std::string name, pid_t process, const mmaplink::Descriptor& of)
      : element(std::move(name)), peer(process), pts(of.pts), published(of.published) {}
  Traced(const Traced&) = delete;
  Traced& operator=(const Traced&) = delete;
  ~Traced() {
    gst_tracer_record_log(record, element.c_str(), static_cast<guint>(peer), pts, published,
                          received, mmaplink::monotonic_ns());
  }
  const std::string element;
  const pid_t peer;
  const guint64 pts;
  const guint64 published;
  const guint64 received = mmaplink::monotonic_ns();
};

}  // namespace

void trace_received(GstElement* element, pid_t peer, const mmaplink::Descriptor& descriptor,
                    GstBuffer* buffer) {
  using Shared = std::shared_ptr<Traced>;
  gchar* name = gst_object_get_name(GST_OBJECT(element));
  const auto traced = std::make_shared<Traced>(name, peer, descriptor);
  g_free(name);
  for (guint i = 0; i < gst_buffer_n_memory(buffer); ++i)
    gst_mini_object_weak_ref(
        GST_MINI_OBJECT(gst_buffer_peek_memory(buffer, i)),
        [](gpointer data, GstMiniObject*) { delete static_cast<Shared*>(data); },
        std::make_unique<Shared>(traced).release());
}

void register_latency_tracer(GstPlugin* plugin) {
  // There are none where GStreamer is built without them.
  if (!gst_tracer_register(plugin, "mmaplatency", gst_mmap_latency_tracer_get_type()))
    GST_INFO("no tracers in this GStreamer");
}

}  // namespace gstmmap
