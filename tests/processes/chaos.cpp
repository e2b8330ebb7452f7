// Peers are killed at random moments, one after the other, while this process goes on: what it
// delivers is right, it says whom it has lost, and nothing of them is left.
//
// The peers are forked by a nursery, a process that is ready to play but has no threads yet. So a
// peer is in its handshake within a millisecond, and is killed anywhere from there on. Every second
// one is let come to its first frame, however long that takes on a busy machine.
//
// CHAOS_KILLS is how many there are (100), CHAOS_SEED repeats a run.
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <csignal>
#include <filesystem>
#include <map>
#include <random>
#include <set>

#include "tests/processes/frames.h"
#include "tests/processes/support.h"

using test::Checker;
using test::has;
using test::line_of;
using test::Marker;
using test::Pipeline;
using test::Process;
using test::Ref;
using test::Scene;
using test::Stage;

namespace {

// Who survives and who is killed. Frames are written behind the element `in`, and looked at before
// the element `out`.
struct Kind {
  const char* name;
  unsigned share;            // of a hundred kills
  const char *here, *there;  // launch lines; SINK and SRC stand for the elements with the path
};

constexpr Kind kKinds[] = {
    {"reader", 50, "FRAMES ! SINK name=sink", "SRC ! fakesink name=out"},
    {"sender", 13, "SRC name=src on-disconnect=none ! fakesink name=out async=false",
     "FRAMES ! SINK wait-for-connection=true"},
    {"receiving-server", 12, "FRAMES ! SINK name=sink role=client on-disconnect=none",
     "SRC role=server ! fakesink name=out"},
    {"two-way-client", 13, "SRC name=src role=server mmap=yes ! identity ! SINK name=sink",
     "FRAMES ! SINK role=client SRC ! fakesink name=out async=false"},
    {"two-way-server", 12,
     "FRAMES ! SINK name=sink role=client on-disconnect=none "
     "SRC name=src on-disconnect=none ! fakesink name=out async=false",
     // Sends copies: what it only hands on is the client's own memory, which is written over when it
     // dies.
     "SRC role=server mmap=yes ! identity name=pass ! gdppay ! gdpdepay ! SINK"},
};
constexpr unsigned kKillsOfOneNursery = 50;  // which is waited for, for a while
constexpr unsigned kMostMilliseconds = 40;
constexpr guint64 kFramesOfLast = 30;

// --- the nursery ------------------------------------------------------------------------------

// What a peer tells its nursery, in memory that both have.
using Frames = std::atomic<guint64>;

GstBusSyncReply end_on_error(GstBus*, GstMessage* message, gpointer) {
  if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ERROR) {
    std::printf("fault %d: %s\n", getpid(), test::text_of(message).c_str());
    std::fflush(stdout);
    _exit(3);
  }
  return GST_BUS_PASS;
}

// Plays until it is killed or, as the last one, for a few frames. It counts those which it can have
// only from or with its peer.
void live(const std::string& line, Frames& frames, bool is_last) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  {
    const Pipeline pipeline(line);
    const Ref<GstBus> bus(gst_element_get_bus(pipeline.get()));
    gst_bus_set_sync_handler(bus.get(), end_on_error, nullptr, nullptr);
    const auto maker = static_cast<guint64>(getpid());
    std::optional<Marker> marker;
    std::optional<Checker> checker;
    if (has(line, "in")) marker.emplace(pipeline.element("in"), maker);
    for (const char* name : {"out", "pass"})
      if (has(line, name)) checker.emplace(pipeline.element(name), marker ? maker : 0);
    if (checker) {
      checker->on_frame = [&](guint64 count) { frames = count; };
      checker->on_fault = [](const std::string& text) {
        std::printf("fault %d: %s\n", getpid(), text.c_str());
        std::fflush(stdout);
        _exit(3);
      };
    } else {
      // The first waits for a reader: when the next is made, it has been sent.
      marker->on_frame = [&](guint64 number) { frames = number; };
    }
    pipeline.play();
    if (!is_last)
      for (;;) pause();
    if (!test::becomes([&] { return frames >= kFramesOfLast; })) _exit(4);
    pipeline.stop();  // while its frames are still written
  }
  _exit(0);
}

// nursery KIND PATH KILLS SEED: says "killed PID FRAMES" of each, and "last PID FRAMES" of one
// more.
void run_nursery(const std::vector<std::string>& words) {
  // No test that crashed leaves it behind.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const std::string line = line_of(kKinds[std::stoul(words[0])].there, words[1], test::kFrames);
  const unsigned long kills = std::stoul(words[2]);
  std::mt19937 random(static_cast<unsigned>(std::stoul(words[3])));
  std::uniform_int_distribution<useconds_t> moments(0, kMostMilliseconds * 1000);
  void* page =
      mmap(nullptr, sizeof(Frames), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  fail_unless(page != MAP_FAILED);
  auto& frames = *new (page) Frames(0);
  fail_unless_equals_int(static_cast<int>(Scene::open_now().threads), 1);
  for (unsigned long i = 0; i <= kills; ++i) {
    const bool is_last = i == kills;
    frames = 0;
    const pid_t peer = fork();
    if (peer == 0) live(line, frames, is_last);
    fail_unless(peer > 0);
    int status = 0;
    bool ended = false;
    const auto has_ended = [&] { return waitpid(peer, &status, WNOHANG) == peer; };
    if (is_last) {
      ended = test::becomes([&] { return (ended = has_ended()); });
    } else {
      if (i % 2 == 1)
        fail_unless(test::becomes([&] { return frames > 0 || (ended = has_ended()); }),
                    "peer %d had no frame", peer);
      if (!ended) usleep(moments(random));
    }
    if (!ended) {
      kill(peer, SIGKILL);
      fail_unless_equals_int(waitpid(peer, &status, 0), peer);
    }
    const bool good = is_last ? WIFEXITED(status) && WEXITSTATUS(status) == 0
                              : WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    fail_unless(good, "peer %d ended with status 0x%x after %" G_GUINT64_FORMAT " frames", peer,
                static_cast<unsigned>(status), frames.load());
    std::printf("%s %d %" G_GUINT64_FORMAT "\n", is_last ? "last" : "killed", peer, frames.load());
    std::fflush(stdout);
  }
}

const test::Program nursery("nursery", run_nursery);

// --- this side --------------------------------------------------------------------------------

unsigned number_from(const char* variable, unsigned otherwise) {
  const char* text = g_getenv(variable);
  return text != nullptr ? static_cast<unsigned>(g_ascii_strtoull(text, nullptr, 10)) : otherwise;
}

// Whom an element has lost, from the messages of its bus until now.
using Lost = std::map<std::pair<std::string, guint>, guint64>;  // element and pid: how many buffers

void read_bus(const Pipeline& pipeline, const std::string& path, Lost& lost) {
  const Ref<GstBus> bus(gst_element_get_bus(pipeline.get()));
  const auto types = static_cast<GstMessageType>(GST_MESSAGE_ELEMENT | GST_MESSAGE_ERROR);
  while (GstMessage* popped = gst_bus_pop_filtered(bus.get(), types)) {
    const Ref<GstMessage> message(popped);
    if (GST_MESSAGE_TYPE(popped) == GST_MESSAGE_ERROR)
      ck_abort_msg("%s: %s", GST_MESSAGE_SRC_NAME(popped), test::text_of(popped).c_str());
    if (!gst_message_has_name(popped, "mmap-peer-lost")) continue;
    guint pid = 0;
    guint uid = 0;
    guint64 count = 0;
    const GstStructure* fields = gst_message_get_structure(popped);
    fail_unless(gst_structure_get(fields, "pid", G_TYPE_UINT, &pid, "uid", G_TYPE_UINT, &uid,
                                  "buffers-reclaimed", G_TYPE_UINT64, &count, nullptr));
    fail_unless_equals_int(static_cast<int>(uid), static_cast<int>(getuid()));
    const gchar* reason = gst_structure_get_string(fields, "reason");
    fail_unless(reason != nullptr && test::contains(reason, path), "%s", reason);
    fail_unless(lost.emplace(std::pair(GST_MESSAGE_SRC_NAME(popped), pid), count).second,
                "%s lost peer %u twice", GST_MESSAGE_SRC_NAME(popped), pid);
  }
}

class Chaos {
 public:
  Chaos(unsigned kind, unsigned kills, unsigned seed)
      : number_(kind), kind_(kKinds[kind]), kills_(kills), seed_(seed) {
    known_.insert(static_cast<guint>(getpid()));  // the steady reader
  }

  void run() {
    const std::string here = line_of(kind_.here, stage_.path(), test::kFrames);
    const Pipeline pipeline(here);
    std::optional<Marker> marker;
    std::optional<Checker> checker;
    const auto maker = static_cast<guint64>(getpid());
    if (has(here, "in")) marker.emplace(pipeline.element("in"), maker);
    if (has(here, "out")) checker.emplace(pipeline.element("out"), marker ? maker : 0);
    for (const char* name : {"sink", "src"})
      if (has(here, name)) elements_.push_back(pipeline.element(name));
    pipeline.play();
    {
      // Of a fan-out one reader stays.
      std::optional<Pipeline> steady;
      std::optional<Checker> steady_checker;
      if (number_ == 0) {
        steady.emplace(stage_.src("name=src ! fakesink name=out async=false"));
        steady_checker.emplace(steady->element("out"), maker);
        steady->play();
        steady_checker->wait_more(1);
      }
      kill_them(pipeline, 2);
      const Scene::Open before = settled(steady ? 1 : 0);
      for (unsigned left = kills_ - 2; left > 0;) {
        const unsigned some = std::min(left, kKillsOfOneNursery);
        kill_them(pipeline, some);
        left -= some;
      }
      settled(steady ? 1 : 0);
      // Of the last link a socket, two halves and an arena, until the next buffer comes; and
      // payload memory may be in one arena more than it was.
      const bool clean = test::becomes([&] {
        const Scene::Open now = Scene::open_now();
        return now.files <= before.files + 4 && now.threads <= before.threads &&
               now.mappings <= before.mappings + 4;
      });
      fail_unless(clean, "%s after 2 kills, %s after all", before.text().c_str(),
                  Scene::open_now().text().c_str());
      if (steady_checker) {
        steady_checker->wait_more(10);
        fail_unless(steady_checker->fault().empty(), "%s", steady_checker->fault().c_str());
        g_print("the steady reader had %" G_GUINT64_FORMAT " frames, %" G_GUINT64_FORMAT " gaps\n",
                steady_checker->count(), steady_checker->gaps());
      }
      if (steady) steady->stop();  // while there is who looks at its frames
    }
    settled(0);
    for (const auto& file : std::filesystem::directory_iterator("/dev/shm"))
      fail_unless(!test::contains(file.path(), "mmap-"), "%s is there", file.path().c_str());
    read_bus(pipeline, stage_.path(), lost_);
    check_lost();
    if (checker) fail_unless(checker->fault().empty(), "%s", checker->fault().c_str());
  }

 private:
  void kill_them(const Pipeline& pipeline, unsigned kills) {
    const std::string self = std::filesystem::read_symlink("/proc/self/exe");
    Process process({self, "nursery", std::to_string(number_), stage_.path(), std::to_string(kills),
                     std::to_string(seed_++)});
    process.wait_good();
    for (const std::string word : {"killed", "last"}) {
      for (const auto& line : process.lines(word)) {
        char* rest = nullptr;
        const auto pid = static_cast<guint>(std::strtoul(line.c_str() + word.size(), &rest, 10));
        known_.insert(pid);
        if (std::strtoul(rest, nullptr, 10) > 0 && word == "killed") connected_.insert(pid);
      }
    }
    read_bus(pipeline, stage_.path(), lost_);
  }

  // What is open when the elements have noticed that all the others are gone.
  Scene::Open settled(guint64 peers) {
    for (GstElement* element : elements_) {
      fail_unless(test::becomes([&] { return test::stat(element, "peers") == peers; }),
                  "%s has %" G_GUINT64_FORMAT " peers", GST_OBJECT_NAME(element),
                  test::stat(element, "peers"));
      if (peers > 0) continue;
      fail_unless(test::becomes([&] { return test::stat(element, "in-flight") == 0; }),
                  "%s has %" G_GUINT64_FORMAT " buffers in flight", GST_OBJECT_NAME(element),
                  test::stat(element, "in-flight"));
      // What the dead held is of use again.
      fail_unless(test::becomes([&] { return test::stat(element, "arenas") <= 2; }),
                  "%s has %" G_GUINT64_FORMAT " arenas", GST_OBJECT_NAME(element),
                  test::stat(element, "arenas"));
    }
    return Scene::open_now();
  }

  // Everyone who had a frame is lost once, by each element; nobody else is but who was there.
  void check_lost() const {
    guint64 buffers = 0;
    for (const auto& [who, count] : lost_) {
      fail_unless(known_.contains(who.second), "%s lost peer %u, which nobody knows",
                  who.first.c_str(), who.second);
      buffers += count;
    }
    for (GstElement* element : elements_)
      for (const guint pid : connected_)
        fail_unless(lost_.contains({GST_OBJECT_NAME(element), pid}), "%s did not lose peer %u",
                    GST_OBJECT_NAME(element), pid);
    g_print("%u kills, %zu of them with frames, %zu peers lost, %" G_GUINT64_FORMAT
            " buffers reclaimed\n",
            kills_, connected_.size(), lost_.size(), buffers);
    fail_unless(connected_.size() >= kills_ / 2 - 1);
  }

  const Stage stage_;
  const unsigned number_;
  const Kind& kind_;
  const unsigned kills_;
  unsigned seed_;
  std::vector<GstElement*> elements_;
  std::set<guint> known_, connected_;  // pids
  Lost lost_;
};

void run(int number) {
  const Kind& kind = kKinds[number];
  tcase_fn_start(kind.name, __FILE__, __LINE__);
  const unsigned kills = std::max(4U, number_from("CHAOS_KILLS", 100) * kind.share / 100);
  const unsigned seed = number_from("CHAOS_SEED", std::random_device()());
  g_print("%s: CHAOS_SEED=%u\n", kind.name, seed);
  Chaos(static_cast<unsigned>(number), kills, seed).run();
}

const struct Tests {
  Tests() {
    for (int i = 0; i < static_cast<int>(std::size(kKinds)); ++i)
      test::Registered(kKinds[i].name, run, i);
  }
} tests;

}  // namespace
