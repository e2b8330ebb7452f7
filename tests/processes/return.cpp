// A peer that was killed, and the next: with on-disconnect=none the two sides find each other
// again, and the stream begins anew in all that it says, with its time right. And many servers that
// want one path.
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <csignal>
#include <filesystem>
#include <mutex>
#include <optional>
#include <random>

#include "tests/processes/support.h"

using test::has;
using test::line_of;
using test::Pipeline;
using test::Process;
using test::Ref;
using test::Stage;

namespace {

// Who stays and who is killed. Frames are written behind the element `in`, and looked at before the
// element `out`.
struct Kind {
  const char* name;
  const char *here, *there;  // launch lines; SINK and SRC stand for the elements with the path
};

constexpr Kind kKinds[] = {
    {"server_that_sends_returns", "SRC on-disconnect=none ! fakesink name=out async=false",
     "FRAMES ! SINK"},
    {"client_that_sends_returns", "SRC role=server ! fakesink name=out async=false",
     "FRAMES ! SINK role=client"},
    {"server_that_reads_returns", "FRAMES ! SINK role=client on-disconnect=none",
     "SRC role=server ! fakesink name=out async=false"},
    {"client_that_reads_returns", "FRAMES ! SINK", "SRC ! fakesink name=out async=false"},
    {"encoder_returns",
     "FRAMES ! SINK role=client on-disconnect=none "
     "SRC on-disconnect=none ! fakesink name=out async=false",
     "SRC role=server mmap=yes ! identity ! SINK"},
    {"client_of_an_encoder_returns", "SRC role=server mmap=yes ! identity ! SINK",
     "FRAMES ! SINK role=client SRC ! fakesink name=out async=false"},
};

std::string frames_of(const std::string& title) {
  return "videotestsrc is-live=true ! "
         "video/x-raw,format=GRAY8,width=64,height=48,framerate=200/1 ! "
         "taginject tags=title=" +
         title + " ! identity name=in";
}

// Writes into each frame at which instant it is due: here, and so there.
void write_instants(const Pipeline& pipeline) {
  const Ref<GstPad> pad(gst_element_get_static_pad(pipeline.element("in"), "src"));
  gst_pad_add_probe(
      pad.get(), GST_PAD_PROBE_TYPE_BUFFER,
      [](GstPad*, GstPadProbeInfo* info, gpointer data) {
        GstBuffer* buffer = gst_buffer_make_writable(GST_PAD_PROBE_INFO_BUFFER(info));
        GST_PAD_PROBE_INFO_DATA(info) = buffer;
        const guint64 due = gst_element_get_base_time(GST_ELEMENT(data)) + GST_BUFFER_PTS(buffer);
        gst_buffer_fill(buffer, 0, &due, sizeof due);
        return GST_PAD_PROBE_OK;
      },
      pipeline.get(), nullptr);
}

// Looks at what comes to `out`: each stream has its events before its first frame, and each frame
// is due at its instant.
class Seen {
 public:
  explicit Seen(const Pipeline& pipeline)
      : pipeline_(pipeline.get()),
        pad_(gst_element_get_static_pad(pipeline.element("out"), "sink")),
        probe_(gst_pad_add_probe(pad_.get(),
                                 static_cast<GstPadProbeType>(GST_PAD_PROBE_TYPE_BUFFER |
                                                              GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM),
                                 see, this, nullptr)) {}
  Seen(const Seen&) = delete;
  Seen& operator=(const Seen&) = delete;
  ~Seen() { gst_pad_remove_probe(pad_.get(), probe_); }

  struct Stream {
    guint64 number = 0;  // of streams until then
    guint64 frames = 0;
    gint64 since = 0;  // monotonic µs, of the first
    bool caps = false, segment = false;
    std::string id, title;
  };
  // The next stream behind that number, once it has this title and some frames.
  Stream wait_for(const std::string& title, guint64 behind = 0) {
    Stream found;
    const bool came = test::becomes([&] {
      const std::lock_guard lock(mutex_);
      found = now_;
      return !fault_.empty() ||
             (found.number > behind && found.title == title && found.frames >= 5);
    });
    const std::lock_guard lock(mutex_);
    fail_unless(fault_.empty(), "%s", fault_.c_str());
    fail_unless(came, "no stream %s came", title.c_str());
    return found;
  }

 private:
  static GstPadProbeReturn see(GstPad*, GstPadProbeInfo* info, gpointer data) {
    auto& self = *static_cast<Seen*>(data);
    const std::lock_guard lock(self.mutex_);
    if ((info->type & GST_PAD_PROBE_TYPE_BUFFER) != 0)
      self.look(GST_PAD_PROBE_INFO_BUFFER(info));
    else
      self.look(GST_PAD_PROBE_INFO_EVENT(info));
    return GST_PAD_PROBE_OK;
  }

  void look(GstEvent* event) {
    switch (GST_EVENT_TYPE(event)) {
      case GST_EVENT_STREAM_START: {
        const gchar* id = nullptr;
        gst_event_parse_stream_start(event, &id);
        const guint64 number = now_.number + 1;
        now_ = {};
        now_.number = number;
        now_.id = id;
        break;
      }
      case GST_EVENT_CAPS:
        now_.caps = true;
        break;
      case GST_EVENT_SEGMENT:
        now_.segment = true;
        gst_event_copy_segment(event, &segment_);
        break;
      case GST_EVENT_TAG: {
        GstTagList* tags = nullptr;
        gst_event_parse_tag(event, &tags);
        gchar* title = nullptr;
        if (gst_tag_list_get_string(tags, GST_TAG_TITLE, &title)) now_.title = title;
        g_free(title);
        break;
      }
      default:
        break;
    }
  }

  void look(GstBuffer* buffer) {
    if (now_.frames++ == 0) {
      now_.since = g_get_monotonic_time();
      if (!now_.caps || !now_.segment || now_.title.empty())
        fault_ = "a stream without" + std::string(now_.caps ? "" : " caps") +
                 (now_.segment ? "" : " segment") + (now_.title.empty() ? " title" : "");
    }
    guint64 due = 0;
    gst_buffer_extract(buffer, 0, &due, sizeof due);
    // What was sent before this side had begun is before its running time 0.
    guint64 running = 0;
    const int sign = gst_segment_to_running_time_full(&segment_, GST_FORMAT_TIME,
                                                      GST_BUFFER_PTS(buffer), &running);
    const guint64 base = gst_element_get_base_time(pipeline_);
    const guint64 here = sign < 0 ? base - running : base + running;
    if (here != due && fault_.empty())
      fault_ = "a frame is due " +
               std::to_string(static_cast<gint64>(here) - static_cast<gint64>(due)) + " ns late";
  }

  GstElement* pipeline_;
  Ref<GstPad> pad_;
  gulong probe_;
  std::mutex mutex_;
  Stream now_;  // these under mutex_
  GstSegment segment_{};
  std::string fault_;
};

// peer LINE TITLE: plays until it is killed. Says "ready MICROSECONDS", and "stream ID" once it has
// had frames of the stream with that title.
void play_peer(const std::vector<std::string>& words) {
  // No test that crashed leaves it behind.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const Pipeline pipeline(words[0]);
  std::optional<Seen> seen;
  if (has(words[0], "in")) write_instants(pipeline);
  if (has(words[0], "out")) seen.emplace(pipeline);
  pipeline.play();
  std::printf("ready %" G_GINT64_FORMAT "\n", g_get_monotonic_time());
  std::fflush(stdout);
  if (seen) {
    const auto stream = seen->wait_for(words[1]);
    std::printf("stream %s\n", stream.id.c_str());
    std::fflush(stdout);
  }
  for (;;) pause();
}

const test::Program peer("peer", play_peer);

void run(int number) {
  const Kind& kind = kKinds[number];
  tcase_fn_start(kind.name, __FILE__, __LINE__);
  const Stage stage;
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  {
    const std::string line = line_of(kind.here, stage.path(), frames_of("here"));
    const Pipeline pipeline(line);
    std::optional<Seen> seen;
    if (has(line, "in")) write_instants(pipeline);
    if (has(line, "out")) seen.emplace(pipeline);
    pipeline.play();
    Seen::Stream before;
    for (const std::string title : {"first", "second", "third"}) {
      const std::string there = line_of(kind.there, stage.path(), frames_of(title));
      // Frames are of whoever has `in`.
      const std::string wanted = has(line, "in") ? "here" : title;
      Process process({self, "peer", there, wanted});
      if (seen) {
        const auto stream = seen->wait_for(wanted, before.number);
        const auto ready = g_ascii_strtoll(process.wait_line("ready").c_str() + 6, nullptr, 10);
        g_print("%s, %s: frames %" G_GINT64_FORMAT " us after it was ready\n", kind.name,
                title.c_str(), stream.since - ready);
        if (wanted == title) fail_unless(stream.id != before.id, "the stream-id of the one before");
        before = stream;
      } else {
        process.wait_line("stream");
      }
      process.send(SIGKILL);
      fail_unless_equals_int(process.wait(), 128 + SIGKILL);
    }
    for (const auto& error : pipeline.errors()) ck_abort_msg("%s", error.c_str());
  }
  unlink(stage.path().c_str());
}

const struct Tests {
  Tests() {
    for (int i = 0; i < static_cast<int>(std::size(kKinds)); ++i)
      test::Registered(kKinds[i].name, run, i);
  }
} tests;

// --- many servers for one path ----------------------------------------------------------------

constexpr size_t kServers = 20;
constexpr int kRounds = 8;

// What they tell the process that has forked them, in memory that all have.
struct Contest {
  struct One {
    std::atomic<int> outcome{0};  // 1: serves, 2: was told who does
    char text[256] = "";
  };
  std::atomic<bool> begins{false};
  One servers[kServers];
};

[[noreturn]] void contend(const std::string& line, Contest& contest, size_t number) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  Contest::One& me = contest.servers[number];
  {
    const Pipeline pipeline(line);
    if (!test::becomes([&] { return contest.begins.load(); })) _exit(3);
    if (pipeline.set(GST_STATE_PLAYING) == GST_STATE_CHANGE_FAILURE) {
      g_strlcpy(me.text, pipeline.wait_error().c_str(), sizeof me.text);
      me.outcome = 2;
      pipeline.stop();
      _exit(0);
    }
    me.outcome = 1;
    for (;;) pause();
  }
}

// contest PATH SEED: rounds in which that many servers are started at once, some of them killed
// meanwhile. Says "serves" or "nobody" of each.
void run_contest(const std::vector<std::string>& words) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const std::string line =
      "videotestsrc is-live=true ! video/x-raw,format=GRAY8,width=64,height=48 ! "
      "mmapsink socket-path=" +
      words[0];
  std::mt19937 random(static_cast<unsigned>(std::stoul(words[1])));
  void* page =
      mmap(nullptr, sizeof(Contest), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  fail_unless(page != MAP_FAILED);
  for (int round = 0; round < kRounds; ++round) {
    auto& contest = *new (page) Contest;
    std::vector<pid_t> pids;
    for (size_t i = 0; i < kServers; ++i) {
      pids.push_back(fork());
      if (pids.back() == 0) contend(line, contest, i);
      fail_unless(pids.back() > 0);
    }
    contest.begins = true;
    // In every second round three of them die on the way.
    std::vector<bool> killed(kServers);
    for (int i = 0; round % 2 == 1 && i < 3; ++i) {
      usleep(static_cast<useconds_t>(random() % 2000));
      const size_t one = random() % kServers;
      killed[one] = true;
      kill(pids[one], SIGKILL);
    }
    pid_t server = 0;
    for (size_t i = 0; i < kServers; ++i) {
      const auto& outcome = contest.servers[i].outcome;
      fail_unless(killed[i] || test::becomes([&] { return outcome != 0; }),
                  "server %zu stands still", i);
      if (killed[i] || outcome != 1) continue;
      fail_unless(server == 0, "%d and %d serve", server, pids[i]);
      server = pids[i];
    }
    for (size_t i = 0; i < kServers; ++i) {
      if (killed[i] || contest.servers[i].outcome != 2) continue;
      const std::string text = contest.servers[i].text;
      bool names_it = server != 0 && test::contains(text, "pid " + std::to_string(server) + ")");
      // Or one that has died since.
      for (size_t k = 0; k < kServers; ++k)
        names_it |= killed[k] && test::contains(text, "pid " + std::to_string(pids[k]) + ")");
      fail_unless(names_it, "%s, and %d serves", text.c_str(), server);
    }
    // One that died while it served was in the others' way.
    fail_unless(server != 0 || round % 2 == 1, "nobody serves");
    std::printf("%s\n", server != 0 ? "serves" : "nobody");
    std::fflush(stdout);
    for (const pid_t pid : pids) {
      kill(pid, SIGKILL);
      fail_unless_equals_int(waitpid(pid, nullptr, 0), pid);
    }
  }
}

const test::Program contest("contest", run_contest);

}  // namespace

TEST(one_of_twenty_servers_serves) {
  const Stage stage;
  const unsigned seed = std::random_device()();
  g_print("seed %u\n", seed);
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  Process process({self, "contest", stage.path(), std::to_string(seed)});
  process.wait_good();
  g_print("%zu of %d rounds had a server\n", process.lines("serves").size(), kRounds);
  // Who comes after all that finds the last one's socket, and takes it.
  const Pipeline next("videotestsrc ! " + stage.sink());
  next.play();
}
