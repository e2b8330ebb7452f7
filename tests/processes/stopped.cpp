// Peers that SIGSTOP holds: they hold up nobody else, may go on where they were, are hung up on
// where that is wanted, and keep nobody from leaving.
#include <sys/prctl.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "tests/processes/support.h"

using test::Harness;
using test::Pipeline;
using test::Process;
using test::Ref;
using test::Stage;

namespace {

// reader PATH: says "frame NUMBER" of each, with " discont" where frames are missing.
void read_all(const std::vector<std::string>& words) {
  // No test that crashed leaves it behind.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const Pipeline pipeline("mmapsrc socket-path=" + words[0] +
                          " ! fakesink name=out async=false enable-last-sample=false");
  const Ref<GstPad> pad(gst_element_get_static_pad(pipeline.element("out"), "sink"));
  gst_pad_add_probe(
      pad.get(), GST_PAD_PROBE_TYPE_BUFFER,
      [](GstPad*, GstPadProbeInfo* info, gpointer) {
        GstBuffer* buffer = GST_PAD_PROBE_INFO_BUFFER(info);
        const guint64 number = GST_BUFFER_OFFSET(buffer);
        std::printf("frame %" G_GUINT64_FORMAT "%s\n", number,
                    GST_BUFFER_FLAG_IS_SET(buffer, GST_BUFFER_FLAG_DISCONT) ? " discont" : "");
        std::fflush(stdout);
        return GST_PAD_PROBE_OK;
      },
      nullptr, nullptr);
  pipeline.play();
  const Ref<GstBus> bus(gst_element_get_bus(pipeline.get()));
  const auto ends = static_cast<GstMessageType>(GST_MESSAGE_EOS | GST_MESSAGE_ERROR);
  const Ref<GstMessage> end(gst_bus_timed_pop_filtered(bus.get(), 60 * GST_SECOND, ends));
  fail_unless(end != nullptr);
  if (GST_MESSAGE_TYPE(end.get()) == GST_MESSAGE_ERROR)
    std::printf("error %s\n", test::text_of(end.get()).c_str());
  std::fflush(stdout);
}

const test::Program reader("reader", read_all);

Process::Words reader_of(const Stage& stage) {
  return {std::filesystem::read_symlink("/proc/self/exe"), "reader", stage.path()};
}

std::string frame(guint64 number) { return "frame " + std::to_string(number); }

// One of three readers is stopped for a hundred frames. `kept`: the first of those it finds.
void check_others(const std::string& leaky, guint64 kept) {
  constexpr guint64 kQueue = 4;
  const Stage stage;
  const Harness sink(stage.sink("max-buffers=" + std::to_string(kQueue) + " leaky-type=" + leaky));
  const Harness one(stage.src());
  const Harness other(stage.src());
  one.play();
  other.play();
  Process third(reader_of(stage));
  sink.wait_for_clients(3);
  const auto push = [&](guint64 number) {
    fail_unless_equals_int(sink.push_number(number), GST_FLOW_OK);
    fail_unless_equals_uint64(one.pull_number(), number);
    fail_unless_equals_uint64(other.pull_number(), number);
  };
  push(0);
  third.wait_line(frame(0));
  third.stand_still();
  for (guint64 i = 1; i <= 100; ++i) push(i);
  fail_unless_equals_uint64(sink.stat("dropped"), 100 - kQueue);
  third.send(SIGCONT);
  third.wait_line(frame(kept + kQueue - 1));
  push(101);
  third.wait_line(frame(101));
  const auto lines = third.lines("frame");
  fail_unless_equals_uint64(lines.size(), 1 + kQueue + 1);
  for (guint64 i = 0; i < kQueue; ++i)
    fail_unless(lines[1 + i].starts_with(frame(kept + i)), "%s", lines[1 + i].c_str());
  sink.push_event(gst_event_new_eos());
  third.wait_good();
}

}  // namespace

TEST(stopped_process_leaves_the_others_alone) { check_others("none", 1); }
TEST(stopped_process_misses_new_frames) { check_others("upstream", 1); }
TEST(stopped_process_misses_old_frames) { check_others("downstream", 97); }

TEST(peer_timeout_hangs_up_on_a_stopped_process) {
  const Stage stage;
  const Harness sink(stage.sink("max-buffers=2 peer-timeout=50000000"));
  Process process(reader_of(stage));
  sink.wait_for_clients(1);
  fail_unless_equals_int(sink.push_number(0), GST_FLOW_OK);
  process.wait_line(frame(0));
  fail_unless(test::becomes([&] { return sink.stat("in-flight") == 0; }));
  process.stand_still();
  for (guint64 i = 1; i <= 5; ++i) fail_unless_equals_int(sink.push_number(i), GST_FLOW_OK);
  for (;;) {
    const Ref<GstMessage> message(
        gst_bus_timed_pop_filtered(sink.bus(), 10 * GST_SECOND, GST_MESSAGE_ELEMENT));
    fail_unless(message != nullptr, "no peer was lost");
    if (!gst_message_has_name(message.get(), "mmap-peer-lost")) continue;
    const GstStructure* lost = gst_message_get_structure(message.get());
    guint pid = 0;
    guint64 count = 0;
    fail_unless(gst_structure_get(lost, "pid", G_TYPE_UINT, &pid, "buffers-reclaimed",
                                  G_TYPE_UINT64, &count, nullptr));
    fail_unless(std::to_string(pid) == process.id());
    fail_unless_equals_uint64(count, 2);
    const gchar* why = gst_structure_get_string(lost, "reason");
    fail_unless(test::contains(why, "peer-timeout"), "%s", why);
    break;
  }
  sink.wait_for_clients(0);
  fail_unless_equals_uint64(sink.stat("in-flight"), 0);
  // It hears of that when it can.
  process.send(SIGCONT);
  const std::string error = process.wait_line("error");
  fail_unless(test::contains(error, "peer-timeout"), "%s", error.c_str());
  process.wait_good();
}

// --- leaving while the peer is stopped --------------------------------------------------------

namespace {

constexpr auto kLive = "videotestsrc is-live=true ! video/x-raw,width=64,height=48,framerate=100/1";
constexpr guint64 kMaxBuffers = 4;
constexpr auto kSinkOne = "name=one max-buffers=4 ";

// The pipeline `here` has had frames, with `there` in another process, or has sent some: its
// element `one`.
void check_leaving(const Stage& stage, const std::string& here, const std::string& there) {
  const bool has_sink = test::contains(here, "max-buffers");
  Process process(test::watch({}, there));
  {
    const Pipeline pipeline(here);
    pipeline.play();
    const auto stat = [&](const char* field) { return test::stat(pipeline.element("one"), field); };
    fail_unless(test::becomes([&] { return stat("buffers") >= 10 && stat("peers") == 1; }));
    process.stand_still();
    // A sink waits for it by then.
    if (has_sink) fail_unless(test::becomes([&] { return stat("in-flight") >= kMaxBuffers; }));
    pipeline.stop();
  }
  process.send(SIGCONT);
  process.send(SIGINT);
  process.wait();
  unlink(stage.path().c_str());
}

}  // namespace

TEST(sink_leaves_a_stopped_reader) {
  const Stage stage;
  check_leaving(stage, kLive + (" ! " + stage.sink(kSinkOne)), stage.src("! fakesink"));
}

TEST(source_leaves_a_stopped_sender) {
  const Stage stage;
  check_leaving(stage, stage.src("name=one ! fakesink"), kLive + (" ! " + stage.sink()));
}

TEST(client_leaves_a_stopped_encoder) {
  const Stage stage;
  check_leaving(stage,
                kLive + (" ! " + stage.sink(std::string(kSinkOne) + "role=client ")) +
                    stage.src("! fakesink async=false"),
                stage.src("role=server mmap=yes ! identity ! ") + stage.sink());
}

TEST(encoder_leaves_a_stopped_client) {
  const Stage stage;
  check_leaving(stage, stage.src("name=one role=server mmap=yes ! identity ! ") + stage.sink(),
                kLive + (" ! " + stage.sink("role=client ")) + stage.src("! fakesink"));
}
