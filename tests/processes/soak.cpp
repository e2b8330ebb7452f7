// soak: two processes and a link, on which buffers of all sizes cross in random order, for an hour
// or as long as it is told: from none and one byte to several MiB, in memory of mmapsink's pools,
// of its allocator and of others, with other caps and pools every now and then. The reader holds
// some of them for a while. All bytes of all buffers are looked at, once more when they are let go
// of, and that none is missing.
//
//   soak [--seconds N] [--seed N] [--rate N] [--every N] [--sink "PROPERTIES"] [--src "…"]
//
// It says every minute how much memory, how many arenas and descriptors there are, and fails where
// they creep up. What it takes at most depends on the seed, but not on how long it runs: in the
// last third of a run of ten minutes or more the median of each is at most a quarter, and a little,
// above that of the first third. What goes on in less is no trend.
//
// Exit status: 0 where all is well, 1 where it is not, 2 for a wrong call.
#include <gst/gst.h>
#include <gst/video/video.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <deque>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr guint64 kMega = 1 << 20;
constexpr auto kStuck = seconds(60);
constexpr auto kTrend = seconds(600);
// Bounds of the verdict; those of memory are of what the reader may hold and max-memory.
constexpr guint64 kMaxMemory = 512 * kMega;
constexpr gint64 kMostArenas = 128;
constexpr gint64 kMostFiles = 2 * kMostArenas + 64;
constexpr gint64 kMostResident = kMaxMemory + 256 * kMega;

struct Options {
  int seconds = 3600;
  int seed = 1;
  int rate = 100;  // buffers a second; 0: as fast as it goes
  int every = 60;
  gchar* sink = nullptr;
  gchar* src = nullptr;
  gchar* reads = nullptr;  // the path: this is the reader
};

[[noreturn]] void fail(const std::string& text) {
  std::fprintf(stderr, "soak: %s\n", text.c_str());
  std::fflush(nullptr);
  _exit(1);
}

// --- what is in a buffer --------------------------------------------------------------------

guint64 word_of(guint64 number, guint64 size, guint64 index) {
  guint64 mixed = number * 0x9e3779b97f4a7c15 + size * 0xc2b2ae3d27d4eb4f + index;
  mixed = (mixed ^ (mixed >> 31)) * 0xbf58476d1ce4e5b9;
  return mixed ^ (mixed >> 29);
}

// Calls with each piece of up to eight bytes and where it is to be.
template <class Call>
void for_each_word(guint64 number, gsize size, Call call) {
  for (gsize at = 0; at < size; at += sizeof(guint64)) {
    const guint64 word = word_of(number, size, at);
    call(at, word, std::min(sizeof word, size - at));
  }
}

void write_into(GstBuffer* buffer, guint64 number) {
  const gsize size = gst_buffer_get_size(buffer);
  GST_BUFFER_OFFSET(buffer) = number;
  GST_BUFFER_OFFSET_END(buffer) = size;
  GstMapInfo map;
  if (size == 0) return;
  if (!gst_buffer_map(buffer, &map, GST_MAP_WRITE)) fail("a buffer can't be written");
  for_each_word(number, size, [&](gsize at, guint64 word, gsize count) {
    std::memcpy(map.data + at, &word, count);
  });
  gst_buffer_unmap(buffer, &map);
}

void look_at(GstBuffer* buffer, const char* when) {
  const guint64 number = GST_BUFFER_OFFSET(buffer);
  const std::string name = "buffer " + std::to_string(number);
  const gsize size = gst_buffer_get_size(buffer);
  if (GST_BUFFER_OFFSET_END(buffer) != size)
    fail(name + " has " + std::to_string(size) + " bytes, of " +
         std::to_string(GST_BUFFER_OFFSET_END(buffer)));
  if (size == 0) return;
  GstMapInfo map;
  if (!gst_buffer_map(buffer, &map, GST_MAP_READ)) fail(name + " can't be read");
  for_each_word(number, size, [&](gsize at, guint64 word, gsize count) {
    if (std::memcmp(map.data + at, &word, count) != 0)
      fail(name + " of " + std::to_string(size) + " bytes differs at byte " + std::to_string(at) +
           " " + when);
  });
  gst_buffer_unmap(buffer, &map);
}

// --- both ---------------------------------------------------------------------------------------

GstElement* parse(const std::string& line) {
  GError* error = nullptr;
  GstElement* pipeline = gst_parse_launch(line.c_str(), &error);
  if (pipeline == nullptr || error != nullptr)
    fail(line + ": " + (error != nullptr ? error->message : "no pipeline"));
  return pipeline;
}

// Whether it has come to EOS, in that time.
bool has_ended(GstElement* pipeline, milliseconds time) {
  GstBus* bus = gst_element_get_bus(pipeline);
  GstMessage* message =
      gst_bus_timed_pop_filtered(bus, static_cast<GstClockTime>(time.count()) * GST_MSECOND,
                                 static_cast<GstMessageType>(GST_MESSAGE_EOS | GST_MESSAGE_ERROR));
  gst_object_unref(bus);
  if (message == nullptr) return false;
  if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ERROR) {
    GError* error = nullptr;
    gst_message_parse_error(message, &error, nullptr);
    fail(std::string(GST_MESSAGE_SRC_NAME(message)) + ": " + error->message);
  }
  gst_message_unref(message);
  return true;
}

// --- the reader ---------------------------------------------------------------------------------

class Holder {
 public:
  explicit Holder(unsigned seed) : random_(seed), thread_([this] { let_go(); }) {}
  Holder(const Holder&) = delete;
  Holder& operator=(const Holder&) = delete;
  ~Holder() {
    {
      const std::lock_guard lock(mutex_);
      quit_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  // Takes the buffer: every fourth for a while, and not in the order in which they came. Not so
  // long that the sender, who waits for its memory, could take us for one that never gives back.
  void see(GstBuffer* buffer) {
    if (GST_BUFFER_OFFSET(buffer) != count_)
      fail("buffer " + std::to_string(GST_BUFFER_OFFSET(buffer)) + " came in place of " +
           std::to_string(count_));
    ++count_;
    look_at(buffer, "as it comes");
    const std::lock_guard lock(mutex_);
    if (random_() % 4 != 0 || held_.size() >= kMost) {
      gst_buffer_unref(buffer);
      return;
    }
    held_.emplace_back(buffer, Clock::now() + milliseconds(random_() % 400));
    changed_.notify_all();
  }
  guint64 count() const { return count_; }

 private:
  static constexpr size_t kMost = 12;

  void let_go() {
    std::unique_lock lock(mutex_);
    while (!quit_ || !held_.empty()) {
      const auto next =
          std::min_element(held_.begin(), held_.end(),
                           [](const auto& a, const auto& b) { return a.second < b.second; });
      if (next == held_.end()) {
        changed_.wait(lock);
      } else if (const auto due = next->second; !quit_ && Clock::now() < due) {
        changed_.wait_until(lock, due);
      } else {
        GstBuffer* buffer = next->first;
        held_.erase(next);
        lock.unlock();
        look_at(buffer, "after it was held");
        gst_buffer_unref(buffer);
        lock.lock();
      }
    }
  }

  std::minstd_rand random_;
  guint64 count_ = 0;  // the streaming thread's
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::pair<GstBuffer*, Clock::time_point>> held_;
  bool quit_ = false;
  std::thread thread_;
};

// Says how many there were.
int read(const Options& options) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  guint64 count = 0;
  {
    GstElement* pipeline = parse("mmapsrc socket-path=" + std::string(options.reads) + " " +
                                 options.src + " ! fakesink name=out sync=false async=false");
    Holder holder(static_cast<unsigned>(options.seed) + 1);
    GstElement* out = gst_bin_get_by_name(GST_BIN(pipeline), "out");
    GstPad* pad = gst_element_get_static_pad(out, "sink");
    const auto see = [](GstPad*, GstPadProbeInfo* info, gpointer to) {
      static_cast<Holder*>(to)->see(gst_buffer_ref(GST_PAD_PROBE_INFO_BUFFER(info)));
      return GST_PAD_PROBE_OK;
    };
    gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_BUFFER, see, &holder, nullptr);
    gst_element_set_state(pipeline, GST_STATE_PLAYING);
    while (!has_ended(pipeline, seconds(1))) {
    }
    gst_element_set_state(pipeline, GST_STATE_NULL);
    gst_object_unref(pad);
    gst_object_unref(out);
    gst_object_unref(pipeline);
    count = holder.count();
  }
  std::printf("read %" G_GUINT64_FORMAT "\n", count);
  return 0;
}

// --- the writer ---------------------------------------------------------------------------------

class Writer {
 public:
  Writer(GstElement* sink, const Options& options)
      : random_(static_cast<unsigned>(options.seed)),
        rate_(options.rate),
        end_(Clock::now() + seconds(options.seconds)),
        pad_(gst_pad_new("src", GST_PAD_SRC)) {
    GstPad* to = gst_element_get_static_pad(sink, "sink");
    gst_pad_set_active(pad_, TRUE);
    if (gst_pad_link(pad_, to) != GST_PAD_LINK_OK) fail("the pads can't be linked");
    gst_object_unref(to);
    thread_ = std::thread([this] { write(); });
  }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;
  ~Writer() {
    thread_.join();
    gst_pad_set_active(pad_, FALSE);
    gst_object_unref(pad_);
  }
  guint64 buffers() const { return buffers_; }
  guint64 bytes() const { return bytes_; }
  guint64 turns() const { return turns_; }

 private:
  guint64 below(guint64 end) { return std::uniform_int_distribution<guint64>(0, end - 1)(random_); }

  // Many small ones, few large ones; and none, and the least.
  gsize any_size() {
    const auto kind = below(100);
    if (kind < 4) return 0;
    if (kind < 8) return 1;
    if (kind < 45) return 1 + below(4 << 10);
    if (kind < 80) return 1 + below(64 << 10);
    if (kind < 95) return 1 + below(kMega);
    return 1 + below(6 * kMega);
  }

  void write() {
    gst_pad_push_event(pad_, gst_event_new_stream_start("soak"));
    bool first = true;
    while (Clock::now() < end_) {
      const auto kind = below(3);
      const guint64 width = 4 * (1 + below(512));
      const guint64 height = 1 + below(2048);
      GstCaps* caps = gst_caps_from_string(
          kind == 0   ? "application/x-anything"
          : kind == 1 ? "audio/x-raw,format=S8,rate=8000,channels=1,layout=interleaved"
                      : ("video/x-raw,format=GRAY8,framerate=0/1,width=" + std::to_string(width) +
                         ",height=" + std::to_string(height))
                            .c_str());
      gst_pad_push_event(pad_, gst_event_new_caps(caps));
      if (std::exchange(first, false)) {
        GstSegment segment;
        gst_segment_init(&segment, GST_FORMAT_TIME);
        gst_pad_push_event(pad_, gst_event_new_segment(&segment));
      }
      turn(caps, kind == 2 ? width * height : 0);
      gst_caps_unref(caps);
      ++turns_;
    }
    gst_pad_push_event(pad_, gst_event_new_eos());
  }

  // Some hundred buffers with the same caps, of one size and from a pool, or of any size.
  void turn(GstCaps* caps, gsize frame_size) {
    GstQuery* query = gst_query_new_allocation(caps, TRUE);
    if (!gst_pad_peer_query(pad_, query)) fail("nothing is proposed");
    GstBufferPool* pool = nullptr;
    GstAllocator* allocator = nullptr;
    GstAllocationParams params;
    if (frame_size > 0) {
      guint size = 0, least = 0, most = 0;
      if (gst_query_get_n_allocation_pools(query) == 0) fail("no pool is proposed");
      gst_query_parse_nth_allocation_pool(query, 0, &pool, &size, &least, &most);
      GstStructure* config = gst_buffer_pool_get_config(pool);
      gst_buffer_pool_config_set_params(config, caps, static_cast<guint>(frame_size), least, most);
      if (!gst_buffer_pool_set_config(pool, config) || !gst_buffer_pool_set_active(pool, TRUE))
        fail("the pool that is proposed does not start");
    }
    gst_query_parse_nth_allocation_param(query, 0, &allocator, &params);
    gst_query_unref(query);
    const guint64 count = 20 + below(400);
    for (guint64 i = 0; i < count && Clock::now() < end_; ++i) {
      GstBuffer* buffer = nullptr;
      if (pool != nullptr) {
        if (gst_buffer_pool_acquire_buffer(pool, &buffer, nullptr) != GST_FLOW_OK)
          fail("no buffer comes from the pool");
      } else {
        // Half of them in memory of somebody else, which is copied.
        const gsize size = any_size();
        buffer = below(2) == 0 ? gst_buffer_new_allocate(nullptr, size, nullptr)
                               : gst_buffer_new_allocate(allocator, size, &params);
      }
      write_into(buffer, buffers_);
      const gsize size = gst_buffer_get_size(buffer);
      if (gst_pad_push(pad_, buffer) != GST_FLOW_OK) fail("a buffer is not taken");
      ++buffers_;
      bytes_ += size;
      if (rate_ > 0) pace();
    }
    if (pool != nullptr) {
      gst_buffer_pool_set_active(pool, FALSE);
      gst_object_unref(pool);
    }
    if (allocator != nullptr) gst_object_unref(allocator);
  }

  // What was not sent in time is not sent faster later.
  void pace() {
    due_ = std::max(due_ + std::chrono::nanoseconds(seconds(1)) / rate_, Clock::now());
    std::this_thread::sleep_until(due_);
  }

  std::mt19937_64 random_;
  const int rate_;
  const Clock::time_point end_;
  Clock::time_point due_;
  GstPad* const pad_;
  std::atomic<guint64> buffers_{0}, bytes_{0}, turns_{0};
  std::thread thread_;
};

// --- what is looked at ----------------------------------------------------------------------

struct Sample {
  gint64 arenas = 0, arena_bytes = 0;
  gint64 resident[2] = {}, files[2] = {};  // of the writer, of the reader
};

gint64 stat(GstElement* sink, const char* field) {
  GstStructure* stats = nullptr;
  g_object_get(sink, "stats", &stats, nullptr);
  guint64 value = 0;
  if (!gst_structure_get_uint64(stats, field, &value)) fail(std::string("no stats: ") + field);
  gst_structure_free(stats);
  return static_cast<gint64>(value);
}

gint64 resident(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(status, line);)
    if (line.rfind("VmRSS:", 0) == 0) return std::stoll(line.substr(6)) << 10;
  return 0;
}

gint64 files(pid_t pid) {
  std::error_code gone;
  const std::filesystem::directory_iterator all("/proc/" + std::to_string(pid) + "/fd", gone);
  return gone ? 0 : std::distance(begin(all), end(all));
}

Sample sample(GstElement* sink, pid_t reader) {
  Sample now;
  now.arenas = stat(sink, "arenas");
  now.arena_bytes = stat(sink, "arena-bytes");
  const pid_t pids[] = {getpid(), reader};
  for (int i = 0; i < 2; ++i) {
    now.resident[i] = resident(pids[i]);
    now.files[i] = files(pids[i]);
  }
  return now;
}

// Of the middle value of some samples.
gint64 median(std::vector<gint64> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

struct Measure {
  const char* name;
  gint64 (*of)(const Sample&);
  gint64 unit;   // it is shown in
  gint64 most;   // at any time, in bytes or pieces
  gint64 slack;  // by which it may grow beside a quarter
};

constexpr Measure kMeasures[] = {
    {"arenas", [](const Sample& one) { return one.arenas; }, 1, kMostArenas, 4},
    {"MiB of arenas", [](const Sample& one) { return one.arena_bytes; }, kMega, kMaxMemory,
     16 * kMega},
    {"MiB of the writer", [](const Sample& one) { return one.resident[0]; }, kMega, kMostResident,
     16 * kMega},
    {"MiB of the reader", [](const Sample& one) { return one.resident[1]; }, kMega, kMostResident,
     16 * kMega},
    {"descriptors of the writer", [](const Sample& one) { return one.files[0]; }, 1, kMostFiles, 8},
    {"descriptors of the reader", [](const Sample& one) { return one.files[1]; }, 1, kMostFiles, 8},
};

bool is_good(const std::vector<Sample>& all, bool has_trend) {
  bool good = !all.empty();
  if (!good) std::printf("verdict: no samples\n");
  for (const Measure& measure : kMeasures) {
    if (all.empty()) break;
    std::vector<gint64> values(all.size());
    std::transform(all.begin(), all.end(), values.begin(), measure.of);
    const auto third = static_cast<std::ptrdiff_t>(values.size() / 3);
    const gint64 first = median({values.begin(), values.begin() + third + 1});
    const gint64 last = median({values.end() - third - 1, values.end()});
    const gint64 peak = *std::max_element(values.begin(), values.end());
    const bool too_many = peak > measure.most;
    const bool creeps = has_trend && last > first + first / 4 + measure.slack;
    good = good && !too_many && !creeps;
    std::printf("verdict: %s: median %" G_GINT64_FORMAT " at first, %" G_GINT64_FORMAT
                " at last; peak %" G_GINT64_FORMAT " of %" G_GINT64_FORMAT ": %s\n",
                measure.name, first / measure.unit, last / measure.unit, peak / measure.unit,
                measure.most / measure.unit,
                too_many    ? "TOO MANY"
                : creeps    ? "CREEPS UP"
                : has_trend ? "good"
                            : "within bounds");
  }
  return good;
}

struct Child {
  pid_t pid = 0;
  FILE* says = nullptr;
};

Child start_reader(const Options& options, const std::string& path) {
  int ends[2];
  if (pipe(ends) != 0) fail("no pipe");
  const std::string seed = std::to_string(options.seed);
  const pid_t pid = fork();
  if (pid == 0) {
    dup2(ends[1], STDOUT_FILENO);
    close(ends[0]);
    close(ends[1]);
    execl("/proc/self/exe", "soak", "--reads", path.c_str(), "--seed", seed.c_str(), "--src",
          options.src, nullptr);
    _exit(1);
  }
  close(ends[1]);
  if (pid < 0) fail("no process");
  return {pid, fdopen(ends[0], "r")};
}

int write(const Options& options) {
  const std::filesystem::path directory =
      std::filesystem::temp_directory_path() / ("soak-" + std::to_string(getpid()));
  std::filesystem::create_directory(directory);
  const std::string path = directory / "link";
  const Child reader = start_reader(options, path);
  GstElement* pipeline =
      parse("mmapsink name=sink wait-for-connection=true on-disconnect=error max-memory=" +
            std::to_string(kMaxMemory) + " socket-path=" + path + " " + options.sink);
  // One element alone is none that has a bus.
  GstElement* sink = GST_IS_BIN(pipeline) ? gst_bin_get_by_name(GST_BIN(pipeline), "sink")
                                          : GST_ELEMENT(gst_object_ref(pipeline));
  if (!GST_IS_BIN(pipeline)) {
    GstElement* bin = gst_pipeline_new(nullptr);
    gst_bin_add(GST_BIN(bin), pipeline);
    pipeline = bin;
  }
  gst_element_set_state(pipeline, GST_STATE_PLAYING);
  const auto start = Clock::now();
  // More often in a short run; what it was before all has been used once is no sample.
  const auto total = seconds(options.seconds);
  const milliseconds between = std::clamp<milliseconds>(total / 300, milliseconds(50), seconds(2));
  const auto warm = start + std::min<milliseconds>(total / 5, seconds(60));
  std::vector<Sample> samples;
  guint64 sent = 0;
  {
    Writer writer(sink, options);
    auto tell_at = start + seconds(options.every);
    auto moved_at = start;
    while (!has_ended(pipeline, between)) {
      const auto now = Clock::now();
      const Sample one = sample(sink, reader.pid);
      if (now >= warm) samples.push_back(one);
      if (writer.buffers() != std::exchange(sent, writer.buffers())) moved_at = now;
      if (now - moved_at > kStuck) fail("nothing moves any more");
      if (now < tell_at) continue;
      tell_at += seconds(options.every);
      std::printf("%5" G_GINT64_FORMAT " s: %" G_GUINT64_FORMAT " buffers, %" G_GUINT64_FORMAT
                  " MiB, %" G_GUINT64_FORMAT " caps; %" G_GINT64_FORMAT " arenas, %" G_GINT64_FORMAT
                  " MiB; writer %" G_GINT64_FORMAT " MiB, %" G_GINT64_FORMAT
                  " fds; reader %" G_GINT64_FORMAT " MiB, %" G_GINT64_FORMAT " fds\n",
                  static_cast<gint64>((now - start) / seconds(1)), writer.buffers(),
                  writer.bytes() / kMega, writer.turns(), one.arenas,
                  one.arena_bytes / static_cast<gint64>(kMega),
                  one.resident[0] / static_cast<gint64>(kMega), one.files[0],
                  one.resident[1] / static_cast<gint64>(kMega), one.files[1]);
      std::fflush(stdout);
    }
    sent = writer.buffers();
  }
  gst_element_set_state(pipeline, GST_STATE_NULL);
  gst_object_unref(sink);
  gst_object_unref(pipeline);
  guint64 seen = 0;
  if (std::fscanf(reader.says, "read %" G_GUINT64_FORMAT, &seen) != 1)
    fail("the reader says nothing");
  std::fclose(reader.says);
  int status = 0;
  waitpid(reader.pid, &status, 0);
  std::filesystem::remove_all(directory);
  const bool all_there = status == 0 && seen == sent && sent > 0;
  std::printf("verdict: %" G_GUINT64_FORMAT " buffers sent, %" G_GUINT64_FORMAT
              " read, each byte as it was: %s\n",
              sent, seen, all_there ? "good" : "NOT ALL");
  const bool good = is_good(samples, total >= kTrend);
  std::printf("verdict: %s\n", good && all_there ? "good" : "BAD");
  return good && all_there ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  options.sink = g_strdup("");
  options.src = g_strdup("");
  const GOptionEntry entries[] = {
      {"seconds", 0, 0, G_OPTION_ARG_INT, &options.seconds, "How long (3600)", "N"},
      {"seed", 0, 0, G_OPTION_ARG_INT, &options.seed, "Of what is sent and held (1)", "N"},
      {"rate", 0, 0, G_OPTION_ARG_INT, &options.rate,
       "Buffers a second (100); 0: as fast as it goes", "N"},
      {"every", 0, 0, G_OPTION_ARG_INT, &options.every, "Seconds between two reports (60)", "N"},
      {"sink", 0, 0, G_OPTION_ARG_STRING, &options.sink, "More properties of mmapsink", "TEXT"},
      {"src", 0, 0, G_OPTION_ARG_STRING, &options.src, "More properties of mmapsrc", "TEXT"},
      {"reads", 0, G_OPTION_FLAG_HIDDEN, G_OPTION_ARG_STRING, &options.reads, nullptr, nullptr},
      {nullptr, 0, 0, G_OPTION_ARG_NONE, nullptr, nullptr, nullptr}};
  GOptionContext* context = g_option_context_new(nullptr);
  g_option_context_add_main_entries(context, entries, nullptr);
  GError* error = nullptr;
  const bool parsed = g_option_context_parse(context, &argc, &argv, &error);
  g_option_context_free(context);
  if (!parsed || options.seconds < 1 || options.rate < 0 || options.every < 1) {
    std::fprintf(stderr, "soak: %s\n", error != nullptr ? error->message : "a number out of range");
    return 2;
  }
  // Before it has threads: the reader is forked from here.
  signal(SIGPIPE, SIG_IGN);
  gst_init(nullptr, nullptr);
  return options.reads != nullptr ? read(options) : write(options);
}
