// Tracers at a link: ours, and what GStreamer's own one for latencies sees on each side.
#include "tests/processes/support.h"

using test::contains;
using test::Process;
using test::Stage;
using test::watch;

namespace {

constexpr size_t kBuffers = 20;
constexpr auto kFrames = "videotestsrc name=near num-buffers=20 ! video/x-raw,width=64,height=48";

Process::Words traced(const std::string& tracer, const Process::Words& command) {
  Process::Words words{"env", "GST_TRACERS=" + tracer, "GST_DEBUG=GST_TRACER:7",
                       "GST_DEBUG_NO_COLOR=1"};
  words.insert(words.end(), command.begin(), command.end());
  return words;
}

// Those of that name.
std::vector<GstStructure*> records_of(const Process& process, const std::string& name) {
  std::vector<GstStructure*> records;
  for (const auto& line : process.lines()) {
    const size_t at = line.find(":: " + name + ",");
    if (at == std::string::npos) continue;
    records.push_back(gst_structure_from_string(line.c_str() + at + 3, nullptr));
    fail_unless(records.back() != nullptr, "%s", line.c_str());
  }
  return records;
}

void free_all(const std::vector<GstStructure*>& records) {
  for (GstStructure* record : records) gst_structure_free(record);
}

}  // namespace

TEST(each_buffer_of_a_link) {
  const Stage stage;
  Process reader(traced("mmaplatency", watch({}, stage.src("name=far ! queue ! fakesink"))));
  Process sender(watch({}, kFrames + (" ! " + stage.sink("wait-for-connection=true"))));
  const std::string sender_id = sender.id();
  sender.wait_good();
  reader.wait_good();
  const auto records = records_of(reader, "mmaplatency");
  fail_unless_equals_int(records.size(), kBuffers);
  for (const GstStructure* record : records) {
    guint64 published = 0, received = 0, released = 0;
    guint peer = 0;
    fail_unless(gst_structure_get(record, "published", G_TYPE_UINT64, &published, "received",
                                  G_TYPE_UINT64, &received, "released", G_TYPE_UINT64, &released,
                                  "peer", G_TYPE_UINT, &peer, nullptr));
    fail_unless(0 < published && published <= received && received <= released);
    fail_unless(std::to_string(peer) == sender_id);
    fail_unless_equals_string(gst_structure_get_string(record, "element"), "far");
    fail_unless(gst_structure_has_field_typed(record, "pts", G_TYPE_UINT64));
  }
  free_all(records);
}

// Its probes cross as any custom event, and the source on the far side sends its own behind them.
TEST(each_side_has_its_half_of_the_latency) {
  const Stage stage;
  Process reader(traced("latency", watch({}, stage.src("name=far ! queue ! fakesink"))));
  Process sender(
      traced("latency", watch({}, kFrames + (" ! " + stage.sink("wait-for-connection=true")))));
  sender.wait_good();
  reader.wait_good();
  for (const auto& [process, source] : {std::pair(&sender, "near"), {&reader, "far"}}) {
    const auto records = records_of(*process, "latency");
    fail_unless(records.size() > 0 && records.size() <= kBuffers, "%zu", records.size());
    for (const GstStructure* record : records)
      fail_unless_equals_string(gst_structure_get_string(record, "src-element"), source);
    free_all(records);
  }
}
