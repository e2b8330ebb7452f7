// Tracers at a link: ours, and what GStreamer's own one for latencies sees on each side.
#include <algorithm>

#include "lib/futex.h"
#include "tests/processes/serving.h"

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

constexpr auto kPath = "mmaplatency.path";

// One for each buffer, from "near" in the process `source` to "out" in this one. PTS and times.
std::vector<std::pair<guint64, guint64>> check_paths(const Process& process,
                                                     const std::string& source) {
  const auto records = records_of(process, kPath);
  fail_unless_equals_int(records.size(), kBuffers);
  std::vector<std::pair<guint64, guint64>> all;
  for (const GstStructure* record : records) {
    guint64 pts = 0, time = 0;
    guint pid = 0;
    fail_unless(gst_structure_get(record, "pts", G_TYPE_UINT64, &pts, "time", G_TYPE_UINT64, &time,
                                  "src-pid", G_TYPE_UINT, &pid, nullptr));
    fail_unless(time > 0);
    fail_unless(std::to_string(pid) == source);
    fail_unless_equals_string(gst_structure_get_string(record, "src-element"), "near");
    fail_unless_equals_string(gst_structure_get_string(record, "sink-element"), "out");
    all.emplace_back(pts, time);
  }
  free_all(records);
  return all;
}

// Each of its own buffer, in whatever order an encoder puts them, and by as much as it shifts them.
void check_order(const std::vector<std::pair<guint64, guint64>>& paths,
                 const Process::Words& frames) {
  fail_unless_equals_int(frames.size(), paths.size());
  const auto came = [&](size_t i) { return g_ascii_strtoull(frames[i].c_str() + 6, nullptr, 10); };
  for (size_t i = 0; i < paths.size(); ++i)
    fail_unless_equals_uint64(came(i) - came(0), paths[i].first - paths[0].first);
}

GstEvent* says(GstStructure* structure) {
  return gst_event_new_custom(GST_EVENT_CUSTOM_DOWNSTREAM, structure);
}

GstStructure* begun(const char* name, guint64 time) {
  return gst_structure_new("mmaplatency.begun", "element", G_TYPE_STRING, name, "pid", G_TYPE_UINT,
                           1U, "time", G_TYPE_UINT64, time, "pts", G_TYPE_UINT64,
                           GST_CLOCK_TIME_NONE, nullptr);
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

// Through bins on both sides, whose pads are no ends.
TEST(a_path_over_a_link) {
  const Stage stage;
  Process reader(
      traced("mmaplatency", watch({}, stage.src("! bin.( queue ! fakesink name=out )"))));
  Process sender(
      traced("mmaplatency", watch({}, "bin.( " + (kFrames + std::string(" ! identity ) ! ")) +
                                          stage.sink("wait-for-connection=true"))));
  const std::string sender_id = sender.id();
  sender.wait_good();
  reader.wait_good();
  fail_unless_equals_int(records_of(sender, kPath).size(), 0);
  // What the link took is part of it.
  const auto paths = check_paths(reader, sender_id);
  const auto links = records_of(reader, "mmaplatency");
  fail_unless_equals_int(links.size(), kBuffers);
  for (const GstStructure* link : links) {
    guint64 pts = 0, published = 0, received = 0;
    gst_structure_get(link, "pts", G_TYPE_UINT64, &pts, "published", G_TYPE_UINT64, &published,
                      "received", G_TYPE_UINT64, &received, nullptr);
    const auto path =
        std::find_if(paths.begin(), paths.end(), [&](const auto& one) { return one.first == pts; });
    fail_unless(path != paths.end() && path->second > received - published);
  }
  free_all(links);
}

TEST(a_path_there_and_back) {
  for (const char* encoder : {"identity", "x264enc tune=zerolatency", "x264enc bframes=3"}) {
    const Stage stage;
    Process server(traced("mmaplatency", watch({}, stage.src("role=server mmap=yes ! ") + encoder +
                                                       " ! " + stage.sink())));
    Process client(
        traced("mmaplatency", watch({"--frames", "out"}, test::client_of(stage, kFrames))));
    const std::string client_id = client.id();
    client.wait_good();
    server.wait_good();
    check_order(check_paths(client, client_id), client.lines("frame"));
    fail_unless_equals_int(records_of(server, kPath).size(), 0);
  }
}

// Whose worker is not traced.
TEST(a_path_through_mmapremote) {
  const Stage stage;
  Process server(test::server_words(stage, {"--isolate", "x264enc"}));
  Process client(traced(
      "mmaplatency",
      watch({"--frames", "out"},
            kFrames + (" ! mmapremote socket-path=" + stage.path() + " ! fakesink name=out"))));
  const std::string client_id = client.id();
  client.wait_good();
  check_order(check_paths(client, client_id), client.lines("frame"));
  server.send(SIGTERM);
  server.wait_good();
}

// Of a peer: no record, or one in a line, whatever it says.
TEST(forged_beginnings_of_paths) {
  const Stage stage;
  Process reader(traced("mmaplatency", watch({}, stage.src("! fakesink name=out"))));
  {
    const test::Harness sink(stage.sink("wait-for-connection=true"));
    const guint64 now = mmaplink::monotonic_ns();
    guint64 number = 0;
    for (GstStructure* nonsense :
         {gst_structure_new_empty("mmaplatency.begun"), begun("", now),
          begun("future", now + GST_SECOND * 3600), begun("future", G_MAXUINT64),
          gst_structure_new("mmaplatency.begun", "element", G_TYPE_INT, 1, "pid", G_TYPE_STRING,
                            "1", "time", G_TYPE_STRING, "1", "pts", G_TYPE_BOOLEAN, TRUE,
                            nullptr)}) {
      sink.push_event(says(nonsense));
      fail_unless_equals_int(sink.push_number(number++), GST_FLOW_OK);
    }
    const std::string line = "a\n0 :: mmaplatency.path, src-element=(string)b;\n";
    sink.push_event(says(begun((line + std::string(100'000, 'c')).c_str(), now)));
    fail_unless_equals_int(sink.push_number(number++), GST_FLOW_OK);
    for (int i = 0; i < 1000; ++i) sink.push_event(says(begun("many", now)));
    fail_unless_equals_int(sink.push_number(number++), GST_FLOW_OK);
    sink.push_event(gst_event_new_eos());
  }
  reader.wait_good();
  const auto records = records_of(reader, kPath);
  fail_unless_equals_int(records.size(), 2);
  fail_unless_equals_string(gst_structure_get_string(records[0], "src-element"),
                            "a_0_::_mmaplatency.path__src-element__string_b__cccccccccccccccc");
  fail_unless_equals_string(gst_structure_get_string(records[1], "src-element"), "many");
  free_all(records);
}
