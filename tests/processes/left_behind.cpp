// What a sender that was killed leaves behind: frames that it had published, and memory that
// somebody still reads.
#include <sys/prctl.h>

#include <csignal>
#include <filesystem>

#include "tests/processes/support.h"

using test::Harness;
using test::Process;
using test::Ref;
using test::Stage;

namespace {

constexpr guint64 kFrames = 20;

// sender PATH: publishes that many for the first reader, says so, and stays.
void send_some(const std::vector<std::string>& words) {
  // No test that crashed leaves it behind.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const Harness sink("mmapsink max-buffers=64 socket-path=" + words[0]);
  sink.wait_for_clients(1);
  for (guint64 i = 0; i < kFrames; ++i) fail_unless_equals_int(sink.push_number(i), GST_FLOW_OK);
  std::printf("published\n");
  std::fflush(stdout);
  for (;;) pause();
}

const test::Program sender("sender", send_some);

Process::Words sender_of(const Stage& stage) {
  return {std::filesystem::read_symlink("/proc/self/exe"), "sender", stage.path()};
}

void kill(Process& process) {
  process.send(SIGKILL);
  fail_unless_equals_int(process.wait(), 128 + SIGKILL);
}

// A reader that is connected and does not read yet, with a sender that has published all and is
// dead.
struct Remains {
  explicit Remains(const std::string& on_disconnect)
      : reader(stage.src("on-disconnect=" + on_disconnect)) {
    gst_element_set_state(reader.element(), GST_STATE_PAUSED);
    Process process(sender_of(stage));
    process.wait_line("published");
    kill(process);
  }
  ~Remains() { unlink(stage.path().c_str()); }  // which nobody was left to do
  Remains(const Remains&) = delete;
  Remains& operator=(const Remains&) = delete;

  void take_all() const {
    reader.play();
    for (guint64 i = 0; i < kFrames; ++i) fail_unless_equals_uint64(reader.pull_number(), i);
  }

  const Stage stage;
  const Harness reader;
};

// The bytes of numbered(), of memory that has no element any more.
void check(GstBuffer* buffer, guint64 number) {
  GstMapInfo map;
  fail_unless(gst_buffer_map(buffer, &map, GST_MAP_READ));
  fail_unless_equals_uint64(map.size, test::kVideoSize);
  for (gsize i = 0; i < map.size; ++i)
    fail_unless_equals_int(map.data[i], static_cast<guint8>(number));
  gst_buffer_unmap(buffer, &map);
}

}  // namespace

TEST(what_was_published_is_delivered_and_then_the_stream_ends) {
  const Remains remains("eos");
  remains.take_all();
  remains.reader.pull_event(GST_EVENT_EOS);
}

TEST(what_was_published_is_delivered_and_then_there_is_an_error) {
  const Remains remains("error");
  remains.take_all();
  const std::string why = remains.reader.wait_error();
  fail_unless(test::contains(why, remains.stage.path()), "%s", why.c_str());
}

TEST(what_was_published_is_delivered_and_then_the_next_sender_s) {
  const Remains remains("none");
  remains.take_all();
  Process next(sender_of(remains.stage));
  for (guint64 i = 0; i < kFrames; ++i) fail_unless_equals_uint64(remains.reader.pull_number(), i);
  kill(next);
}

TEST(memory_stays_readable_when_sender_and_source_are_gone) {
  const Stage stage;
  std::vector<Ref<GstBuffer>> held;
  {
    const Harness reader(stage.src("on-disconnect=none"));
    Process process(sender_of(stage));
    reader.play();
    for (guint64 i = 0; i < 5; ++i) {
      held.push_back(reader.pull());
      check(held.back().get(), i);
    }
    process.wait_line("published");
    kill(process);
    // What was published and not read when it died is held, too.
    for (guint64 i = 5; i < kFrames; ++i) held.push_back(reader.pull());
    fail_unless(test::becomes([&] { return reader.stat("peers") == 0; }));
  }
  for (guint64 i = 0; i < kFrames; ++i) check(held[i].get(), i);
  unlink(stage.path().c_str());
}
