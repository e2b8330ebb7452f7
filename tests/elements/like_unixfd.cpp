// After the cases of unixfdsink's and unixfdsrc's own suite.
#include "tests/elements/like_support.h"

using test::Pipeline;
using test::Ref;
using test::Scene;

namespace {

void register_meta(const char* name) {
  static const gchar* tags[] = {nullptr};
  gst_meta_register_custom(name, tags, nullptr, nullptr, nullptr);
}

struct Unsample {
  void operator()(GstSample* sample) const { gst_sample_unref(sample); }
};
using Sample = std::unique_ptr<GstSample, Unsample>;

Sample next_sample(const Pipeline& reader) {
  GstSample* sample = nullptr;
  g_signal_emit_by_name(reader.element("out"), "try-pull-sample", 10 * GST_SECOND, &sample);
  fail_unless(sample != nullptr, "no sample came");
  return Sample(sample);
}

// Takes the buffer.
void push(const Pipeline& sender, GstBuffer* buffer, const GstSegment& segment) {
  const Ref<GstCaps> caps(gst_caps_new_empty_simple("video/x-raw"));
  const Sample sample(gst_sample_new(buffer, caps.get(), &segment, nullptr));
  gst_buffer_unref(buffer);
  GstFlowReturn flow = GST_FLOW_ERROR;
  g_signal_emit_by_name(sender.element("in"), "push-sample", sample.get(), &flow);
  fail_unless_equals_int(flow, GST_FLOW_OK);
}

// An appsrc in one pipeline, an appsink in the other.
struct Apps {
  explicit Apps(const Scene& scene)
      : sender("appsrc name=in format=time handle-segment-change=true ! " +
               scene.sink("wait-for-connection=true")),
        reader(scene.src("! appsink name=out sync=false async=false")) {
    sender.play();
    reader.play();
  }
  Pipeline sender, reader;
};

}  // namespace

TEST(a_reader_comes_again_and_a_second_one_joins) {
  const Scene scene;
  register_meta("like-unixfd-number");
  {
    const Pipeline sender("videotestsrc name=from ! " + scene.sink());
    GstPad* pad = gst_element_get_static_pad(sender.element("from"), "src");
    gst_pad_add_probe(
        pad, GST_PAD_PROBE_TYPE_BUFFER,
        [](GstPad*, GstPadProbeInfo* info, gpointer) {
          GstBuffer* buffer = gst_buffer_make_writable(GST_PAD_PROBE_INFO_BUFFER(info));
          info->data = buffer;
          GstCustomMeta* meta = gst_buffer_add_custom_meta(buffer, "like-unixfd-number");
          gst_structure_set(gst_custom_meta_get_structure(meta), "number", G_TYPE_INT, 42, nullptr);
          return GST_PAD_PROBE_OK;
        },
        nullptr, nullptr);
    gst_object_unref(pad);
    sender.play();

    const std::string line = scene.src("is-live=false ! fakesink name=end");
    const Pipeline one(line);
    test::reaches(one, GST_STATE_PLAYING);
    fail_unless_equals_int(one.set(GST_STATE_READY), GST_STATE_CHANGE_SUCCESS);
    test::reaches(one, GST_STATE_PLAYING);
    const Pipeline other(line);
    test::reaches(other, GST_STATE_PLAYING);

    for (const Pipeline* reader : {&one, &other}) {
      GstSample* last = nullptr;
      g_object_get(reader->element("end"), "last-sample", &last, nullptr);
      const Sample sample(last);
      fail_unless(sample != nullptr);
      GstCustomMeta* meta =
          gst_buffer_get_custom_meta(gst_sample_get_buffer(sample.get()), "like-unixfd-number");
      fail_unless(meta != nullptr, "the meta did not come");
      gint number = 0;
      fail_unless(gst_structure_get_int(gst_custom_meta_get_structure(meta), "number", &number));
      fail_unless_equals_int(number, 42);
      fail_unless(reader->errors().empty());
    }
    fail_unless(sender.errors().empty());
    fail_unless(g_file_test(scene.path().c_str(), G_FILE_TEST_EXISTS));
  }
  fail_if(g_file_test(scene.path().c_str(), G_FILE_TEST_EXISTS), "the socket is left");
}

TEST(a_new_segment_base_moves_running_time_and_not_timestamps) {
  const Scene scene;
  const Apps apps(scene);
  GstSegment segment;
  gst_segment_init(&segment, GST_FORMAT_TIME);
  const auto send = [&](GstClockTime pts) {
    GstBuffer* buffer = gst_buffer_new();
    GST_BUFFER_PTS(buffer) = pts;
    push(apps.sender, buffer, segment);
    const auto sample = next_sample(apps.reader);
    fail_unless_equals_uint64(GST_BUFFER_PTS(gst_sample_get_buffer(sample.get())), pts);
    return gst_segment_to_running_time(gst_sample_get_segment(sample.get()), GST_FORMAT_TIME, pts);
  };
  const guint64 before = send(30 * GST_SECOND);
  segment.base = 30 * GST_SECOND;
  const guint64 after = send(GST_SECOND);
  fail_unless_equals_uint64(after - before, GST_SECOND);
}

TEST(a_megabyte_in_a_meta_crosses) {
  const Scene scene;
  register_meta("like-unixfd-payload");
  const Apps apps(scene);
  std::string bytes(1000000, 0);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 7 + i / 256);
  const Ref<GstBuffer> payload(gst_buffer_new_memdup(bytes.data(), bytes.size()));
  GstBuffer* buffer = gst_buffer_new();
  GstCustomMeta* meta = gst_buffer_add_custom_meta(buffer, "like-unixfd-payload");
  gst_structure_set(gst_custom_meta_get_structure(meta), "bytes", GST_TYPE_BUFFER, payload.get(),
                    nullptr);
  GstSegment segment;
  gst_segment_init(&segment, GST_FORMAT_TIME);
  push(apps.sender, buffer, segment);

  const auto sample = next_sample(apps.reader);
  GstCustomMeta* there =
      gst_buffer_get_custom_meta(gst_sample_get_buffer(sample.get()), "like-unixfd-payload");
  fail_unless(there != nullptr, "the meta did not come");
  GstBuffer* came = nullptr;
  fail_unless(gst_structure_get(gst_custom_meta_get_structure(there), "bytes", GST_TYPE_BUFFER,
                                &came, nullptr));
  fail_unless_equals_uint64(gst_buffer_get_size(came), bytes.size());
  fail_unless_equals_int(gst_buffer_memcmp(came, 0, bytes.data(), bytes.size()), 0);
  gst_buffer_unref(came);
}
