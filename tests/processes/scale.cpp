// Many clients of one gst-mmap-server, each a process with a paced stream. Each gets back every
// frame that it sent, in order and undamaged. What that takes of the server and of the clients is
// printed, as a table in Markdown with the lines that fit best, and never judged.
//
// SCALE_CLIENTS (4) play for SCALE_SECONDS (1); 1, 2, 4 … of them for a twentieth of that, but for
// a second at least, and so do all where each client has a process at the server.
#include <sys/prctl.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "lib/histogram.h"
#include "tests/processes/serving.h"

using test::Process;
using test::Ref;
using test::Stage;

namespace {

using Clock = std::chrono::steady_clock;

constexpr unsigned kRate = 30;  // frames a second

struct Load {
  const char* launch;  // of the server
  int width, height;
  bool is_encoded;
};
constexpr Load kLoads[] = {{"identity", 1280, 720, false}, {"jpegenc", 160, 120, true}};

std::string caps_of(const Load& load) {
  return "video/x-raw,format=I420,width=" + std::to_string(load.width) +
         ",height=" + std::to_string(load.height) + ",framerate=" + std::to_string(kRate) + "/1";
}

gsize size_of(const Load& load) { return static_cast<gsize>(load.width * load.height * 3 / 2); }

// --- frames -------------------------------------------------------------------------------------

// What a client writes into its frames, and knows again when it comes back.
class Content {
 public:
  virtual ~Content() = default;
  virtual void write(const GstMapInfo& map, guint64 number) const = 0;
  virtual bool is(const GstMapInfo& map, guint64 number) const = 0;
};

// A word at every 64 KiB and at the end, from which the client, the number and the place can be
// told: to draw, or read, all of a frame would take more than to carry it.
class Stamps : public Content {
 public:
  void write(const GstMapInfo& map, guint64 number) const override {
    each(map, [&](gsize at) {
      const guint64 word = word_of(number, at);
      std::memcpy(map.data + at, &word, sizeof word);
      return true;
    });
  }
  bool is(const GstMapInfo& map, guint64 number) const override {
    return map.size == size_of(kLoads[0]) && each(map, [&](gsize at) {
             const guint64 word = word_of(number, at);
             return std::memcmp(map.data + at, &word, sizeof word) == 0;
           });
  }

 private:
  static guint64 word_of(guint64 number, gsize at) {
    return static_cast<guint64>(getpid()) << 42 ^ number << 21 ^ at;  // below 2 MiB
  }
  template <class Call>
  static bool each(const GstMapInfo& map, Call call) {
    const gsize last = map.size - sizeof(guint64);
    bool good = true;
    for (gsize at = 0; at < last && good; at += 64 << 10) good = call(at);
    return good && call(last);
  }
};

// A few pictures of this client's in turn, and what the same encoder makes of them here.
class Pictures : public Content {
 public:
  explicit Pictures(const Load& load) {
    GstHarness* encoder = gst_harness_new(load.launch);
    gst_harness_set_src_caps_str(encoder, caps_of(load).c_str());
    const auto own = static_cast<size_t>(getpid());
    for (size_t i = 0; i < kCount; ++i) {
      GstBuffer* buffer = gst_buffer_new_allocate(nullptr, size_of(load), nullptr);
      drawn_[i].resize(size_of(load));
      for (size_t at = 0; at < drawn_[i].size(); ++at)
        drawn_[i][at] = static_cast<guint8>(at / 16 * (i + 1) + at % 160 + own);
      gst_buffer_fill(buffer, 0, drawn_[i].data(), drawn_[i].size());
      fail_unless_equals_int(gst_harness_push(encoder, buffer), GST_FLOW_OK);
      const Ref<GstBuffer> made(gst_harness_pull(encoder));
      fail_unless(made != nullptr, "%s makes nothing", load.launch);
      encoded_[i].resize(gst_buffer_get_size(made.get()));
      gst_buffer_extract(made.get(), 0, encoded_[i].data(), encoded_[i].size());
      for (size_t other = 0; other < i; ++other) fail_unless(encoded_[other] != encoded_[i]);
    }
    gst_harness_teardown(encoder);
  }
  void write(const GstMapInfo& map, guint64 number) const override {
    const auto& picture = drawn_[number % kCount];
    std::memcpy(map.data, picture.data(), std::min(picture.size(), map.size));
  }
  bool is(const GstMapInfo& map, guint64 number) const override {
    const auto& wanted = encoded_[number % kCount];
    return std::equal(wanted.begin(), wanted.end(), map.data, map.data + map.size);
  }

 private:
  static constexpr size_t kCount = 16;
  std::array<std::vector<guint8>, kCount> drawn_, encoded_;
};

std::unique_ptr<Content> content_of(const Load& load) {
  if (load.is_encoded) return std::make_unique<Pictures>(load);
  return std::make_unique<Stamps>();
}

// --- a client: a process ------------------------------------------------------------------------

volatile std::sig_atomic_t told = 0;  // to come to an end

// With `place` between its source, which is this thread, and its sink.
class Client {
 public:
  Client(const Load& load, const std::string& place)
      : content_(content_of(load)),
        pipeline_(place + " name=place ! fakesink name=out async=false enable-last-sample=false"),
        pad_(gst_pad_new("src", GST_PAD_SRC)),
        out_(gst_element_get_static_pad(pipeline_.element("out"), "sink")) {
    const Ref<GstPad> to(gst_element_get_static_pad(pipeline_.element("place"), "sink"));
    gst_pad_set_active(pad_.get(), TRUE);
    fail_unless_equals_int(gst_pad_link(pad_.get(), to.get()), GST_PAD_LINK_OK);
    gst_pad_add_probe(out_.get(), GST_PAD_PROBE_TYPE_BUFFER, see, this, nullptr);
    pipeline_.play();
    begin(load);
  }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  ~Client() {
    pipeline_.stop();
    gst_buffer_pool_set_active(pool_.get(), FALSE);
    gst_pad_set_active(pad_.get(), FALSE);
  }

  // The first comes through when the server has made a pipeline; time counts from there.
  void play() {
    push();
    fail_unless(test::becomes([this] { return came_ > 0; }), "the first frame does not come back");
    std::printf("ready\n");
    std::fflush(stdout);
    const auto start = Clock::now();
    while (told == 0) {
      const auto due = start + std::chrono::nanoseconds(GST_SECOND) * sent_ / kRate;
      std::this_thread::sleep_until(due);
      // None is left out: those that were held up follow at once.
      late_ += Clock::now() - due > std::chrono::nanoseconds(GST_SECOND) / kRate;
      push();
    }
    gst_pad_push_event(pad_.get(), gst_event_new_eos());
    pipeline_.wait_eos();
    fail_unless(came_ == sent_, "%" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " frames came back",
                came_.load(), sent_);
    std::printf("done %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT
                " %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT "\n",
                sent_, late_, percentile(0.5), percentile(0.99), longest_);
    std::fflush(stdout);
  }

 private:
  void begin(const Load& load) {
    gst_pad_push_event(pad_.get(), gst_event_new_stream_start("scale"));
    const Ref<GstCaps> caps(gst_caps_from_string(caps_of(load).c_str()));
    gst_pad_push_event(pad_.get(), gst_event_new_caps(caps.get()));
    GstSegment segment;
    gst_segment_init(&segment, GST_FORMAT_TIME);
    gst_pad_push_event(pad_.get(), gst_event_new_segment(&segment));
    const Ref<GstQuery> query(gst_query_new_allocation(caps.get(), TRUE));
    const bool answered = gst_pad_peer_query(pad_.get(), query.get()) &&
                          gst_query_get_n_allocation_pools(query.get()) > 0;
    GstBufferPool* pool = nullptr;
    guint size = 0, least = 0, most = 0;
    if (answered) gst_query_parse_nth_allocation_pool(query.get(), 0, &pool, &size, &least, &most);
    pool_.reset(pool != nullptr ? pool : gst_buffer_pool_new());
    GstStructure* config = gst_buffer_pool_get_config(pool_.get());
    gst_buffer_pool_config_set_params(config, caps.get(), static_cast<guint>(size_of(load)), least,
                                      most);
    fail_unless(gst_buffer_pool_set_config(pool_.get(), config));
    fail_unless(gst_buffer_pool_set_active(pool_.get(), TRUE));
  }

  // It is the upper edge of a bucket.
  guint64 percentile(double share) const { return std::min(times_.percentile(share), longest_); }

  static GstClockTime time_of(guint64 number) {
    return gst_util_uint64_scale(number, GST_SECOND, kRate);
  }

  void push() {
    GstBuffer* buffer = nullptr;
    fail_unless_equals_int(gst_buffer_pool_acquire_buffer(pool_.get(), &buffer, nullptr),
                           GST_FLOW_OK);
    GstMapInfo map;
    fail_unless(gst_buffer_map(buffer, &map, GST_MAP_WRITE));
    content_->write(map, sent_);
    gst_buffer_unmap(buffer, &map);
    GST_BUFFER_PTS(buffer) = time_of(sent_);
    GST_BUFFER_DURATION(buffer) = GST_SECOND / kRate;
    sent_at_[sent_ % sent_at_.size()] = g_get_monotonic_time();
    ++sent_;
    if (gst_pad_push(pad_.get(), buffer) != GST_FLOW_OK)
      ck_abort_msg("a frame is not taken: %s", pipeline_.wait_error().c_str());
  }

  static GstPadProbeReturn see(GstPad*, GstPadProbeInfo* info, gpointer data) {
    static_cast<Client*>(data)->look(GST_PAD_PROBE_INFO_BUFFER(info));
    return GST_PAD_PROBE_OK;
  }

  void look(GstBuffer* buffer) {
    const guint64 number = came_;
    const auto took = g_get_monotonic_time() - sent_at_[number % sent_at_.size()];
    times_.add(static_cast<guint64>(took));
    longest_ = std::max(longest_, static_cast<guint64>(took));
    GstMapInfo map;
    bool good =
        GST_BUFFER_PTS(buffer) == time_of(number) && gst_buffer_map(buffer, &map, GST_MAP_READ);
    if (good) {
      good = content_->is(map, number);
      gst_buffer_unmap(buffer, &map);
    }
    if (!good) {
      std::printf("fault: in place of frame %" G_GUINT64_FORMAT
                  " one of %zu bytes and PTS %" GST_TIME_FORMAT " came\n",
                  number, gst_buffer_get_size(buffer), GST_TIME_ARGS(GST_BUFFER_PTS(buffer)));
      std::fflush(stdout);
      _exit(3);
    }
    came_ = number + 1;
  }

  const std::unique_ptr<Content> content_;
  const test::Pipeline pipeline_;
  const Ref<GstPad> pad_, out_;
  Ref<GstBufferPool> pool_;
  guint64 sent_ = 0, late_ = 0;                        // these of this thread
  std::array<std::atomic<gint64>, 256> sent_at_ = {};  // in µs, of frames under way
  std::atomic<guint64> came_{0};
  mmaplink::Histogram times_;  // in µs; these of the streaming thread, until EOS
  guint64 longest_ = 0;
};

// client LOAD PLACE: says "ready", and after SIGTERM "done FRAMES LATE P50 P99 LONGEST".
void run_client(const std::vector<std::string>& words) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // no test that crashed leaves it behind
  std::signal(SIGTERM, [](int) { told = 1; });
  Client(kLoads[std::stoul(words[0])], words[1]).play();
}

const test::Program client("client", run_client);

Process::Words client_words(size_t load, const std::string& place) {
  return {std::filesystem::read_symlink("/proc/self/exe"), "client", std::to_string(load), place};
}

// --- what is looked at --------------------------------------------------------------------------

struct Usage {
  double cpu = 0;  // ms
  // MiB, of pages that several have an equal part each: heaps and stacks; memfds, which are all of
  // the links; and libraries, whose part is the less the more processes there are.
  double own = 0, link = 0, libraries = 0;
  double descriptors = 0, threads = 0;
};

Usage usage_of(const Process::Words& pids) {
  Usage usage;
  for (const auto& pid : pids) {
    clockid_t clock{};
    timespec time{};
    fail_unless(
        clock_getcpuclockid(std::stoi(pid), &clock) == 0 && clock_gettime(clock, &time) == 0,
        "process %s has ended", pid.c_str());
    usage.cpu += static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_nsec) / 1e6;
    const std::pair<const char*, double Usage::*> kinds[] = {
        {"Pss_Anon:", &Usage::own}, {"Pss_Shmem:", &Usage::link}, {"Pss_File:", &Usage::libraries}};
    std::ifstream file("/proc/" + pid + "/smaps_rollup");
    int known = 0;
    double kib = 0;
    for (std::string word; file >> word;)
      for (const auto& [name, value] : kinds)
        if (word == name && file >> kib) usage.*value += kib / 1024, ++known;
    fail_unless_equals_int(known, 3);
    usage.descriptors += static_cast<double>(test::open_files(pid));
    usage.threads += static_cast<double>(test::threads(pid));
  }
  return usage;
}

struct Row {
  unsigned clients, seconds;
  guint64 frames = 0, late = 0;
  guint64 p50 = 0, p99 = 0, longest = 0;  // µs, of the client that waited longest
  std::chrono::duration<double> took{};
  Usage server_before{}, server{}, clients_before{}, all_clients{};
};

Row play(size_t load, const Process::Words& options, unsigned clients, unsigned seconds) {
  const Stage stage;
  Process::Words more = options;
  more.emplace_back(kLoads[load].launch);
  Process server(server_words(stage, more));
  std::vector<std::unique_ptr<Process>> all;
  Process::Words pids;
  for (unsigned i = 0; i < clients; ++i) {
    all.push_back(
        std::make_unique<Process>(client_words(load, "mmapremote socket-path=" + stage.path())));
    pids.push_back(all.back()->id());
    // One after the other, so that what it takes to start is not in the way of those that play.
    all.back()->wait_line("ready");
  }
  Process::Words server_pids = test::children_of(server.id());
  server_pids.push_back(server.id());

  Row row{.clients = clients, .seconds = seconds};
  const auto start = Clock::now();
  row.server_before = usage_of(server_pids);
  row.clients_before = usage_of(pids);
  const auto end = start + std::chrono::seconds(seconds);
  while (Clock::now() < end) {
    std::this_thread::sleep_until(std::min(end, Clock::now() + std::chrono::seconds(1)));
    for (size_t i = 0; i < all.size(); ++i) {
      if (kill(std::stoi(pids[i]), 0) == 0) continue;
      all[i]->wait_good();  // which says why it is not
      ck_abort_msg("a client has come to an end");
    }
  }
  row.server = usage_of(server_pids);
  row.all_clients = usage_of(pids);
  row.took = Clock::now() - start;
  for (const auto& one : all) one->send(SIGTERM);
  for (const auto& one : all) {
    one->wait_good();
    std::istringstream line(one->wait_line("done"));
    std::string word;
    guint64 frames = 0, late = 0, p50 = 0, p99 = 0, longest = 0;
    fail_unless(static_cast<bool>(line >> word >> frames >> late >> p50 >> p99 >> longest));
    row.frames += frames;
    row.late += late;
    row.p50 = std::max(row.p50, p50);
    row.p99 = std::max(row.p99, p99);
    row.longest = std::max(row.longest, longest);
  }
  server.send(SIGTERM);
  server.wait_good();
  return row;
}

// The same without a link, the server's part between source and sink of one process.
void play_without_link(size_t load, unsigned seconds) {
  Process process(client_words(load, kLoads[load].launch));
  process.wait_line("ready");
  const auto start = Clock::now();
  const Usage before = usage_of({process.id()});
  std::this_thread::sleep_until(start + std::chrono::seconds(seconds));
  const Usage after = usage_of({process.id()});
  const std::chrono::duration<double> took = Clock::now() - start;
  process.send(SIGTERM);
  process.wait_good();
  std::printf("One without a link, in one process: %.1f ms/s, %.1f MiB.\n\n",
              (after.cpu - before.cpu) / took.count(), after.own);
}

// --- what is told -------------------------------------------------------------------------------

struct Measure {
  const char* name;
  double (*of)(const Row&);
};
constexpr Measure kMeasures[] = {
    {"server: CPU, ms/s",
     [](const Row& row) { return (row.server.cpu - row.server_before.cpu) / row.took.count(); }},
    {"clients: CPU, ms/s",
     [](const Row& row) {
       return (row.all_clients.cpu - row.clients_before.cpu) / row.took.count();
     }},
    {"server: memory, MiB", [](const Row& row) { return row.server.own; }},
    {"clients: memory, MiB", [](const Row& row) { return row.all_clients.own; }},
    {"links: memory, MiB", [](const Row& row) { return row.server.link + row.all_clients.link; }},
    {"libraries: memory, MiB",
     [](const Row& row) { return row.server.libraries + row.all_clients.libraries; }},
    {"server: descriptors", [](const Row& row) { return row.server.descriptors; }},
    {"server: threads", [](const Row& row) { return row.server.threads; }},
};

// Of which "%g" shows no more digits, and no sign of a zero.
double rounded(double value, double steps) { return std::round(value * steps) / steps + 0.0; }

// The line by least squares, and how far the farthest is from it.
void tell_line(const Measure& measure, const std::vector<Row>& rows) {
  double x = 0, y = 0, xx = 0, xy = 0;
  for (const Row& row : rows) {
    const double clients = row.clients, value = measure.of(row);
    x += clients, y += value, xx += clients * clients, xy += clients * value;
  }
  const auto count = static_cast<double>(rows.size());
  const double slope = (count * xy - x * y) / (count * xx - x * x);
  const double at_none = (y - slope * x) / count;
  double most = 0;
  for (const Row& row : rows)
    most = std::max(most, std::abs(measure.of(row) - (at_none + slope * row.clients)));
  std::printf(" %.2f | %.2f | %.2f |\n", slope, rounded(at_none, 100), most);
}

template <class Call>
void tell_counts(const char* name, const std::vector<Row>& rows, Call call) {
  std::printf("| %s |", name);
  for (const Row& row : rows) std::printf(" %.10g |", static_cast<double>(call(row)));
  std::printf(" | | |\n");
}

void tell(const std::vector<Row>& rows) {
  std::printf("| clients |");
  for (const Row& row : rows) std::printf(" %u |", row.clients);
  std::printf(" for each | beside | farthest |\n|---|");
  for (size_t i = 0; i < rows.size() + 3; ++i) std::printf("--:|");
  std::printf("\n");
  tell_counts("seconds", rows, [](const Row& row) { return row.seconds; });
  tell_counts("frames, all back", rows, [](const Row& row) { return row.frames; });
  tell_counts("frames sent late", rows, [](const Row& row) { return row.late; });
  for (const Measure& measure : kMeasures) {
    std::printf("| %s |", measure.name);
    for (const Row& row : rows) std::printf(" %.10g |", rounded(measure.of(row), 10));
    tell_line(measure, rows);
  }
  const auto in_ms = [](guint64 us) { return rounded(static_cast<double>(us) / 1e3, 100); };
  tell_counts("round trip p50, ms", rows, [&](const Row& row) { return in_ms(row.p50); });
  tell_counts("round trip p99, ms", rows, [&](const Row& row) { return in_ms(row.p99); });
  tell_counts("longest round trip, ms", rows, [&](const Row& row) { return in_ms(row.longest); });
  const Row& last = rows.back();
  std::printf(
      "\nOf %u clients at first and %u s later: server %.1f and %.1f MiB, clients %.1f and "
      "%.1f MiB, links %.1f and %.1f MiB.\n\n",
      last.clients, last.seconds, last.server_before.own, last.server.own, last.clients_before.own,
      last.all_clients.own, last.server_before.link + last.clients_before.link,
      last.server.link + last.all_clients.link);
}

unsigned number_from(const char* variable, unsigned otherwise) {
  const char* text = g_getenv(variable);
  return text != nullptr ? static_cast<unsigned>(g_ascii_strtoull(text, nullptr, 10)) : otherwise;
}

void run(size_t load, bool isolate) {
  const unsigned most = std::max(2U, number_from("SCALE_CLIENTS", 4));
  const unsigned seconds = std::max(1U, number_from("SCALE_SECONDS", 1));
  const unsigned less = std::max(1U, seconds / 20);
  std::string load_average;
  std::getline(std::ifstream("/proc/loadavg"), load_average);
  const Load& what = kLoads[load];
  std::printf("\n%s%s, %dx%d, %u frames/s; %ld processors, their load at first: %s\n", what.launch,
              isolate ? ", --isolate" : "", what.width, what.height, kRate,
              sysconf(_SC_NPROCESSORS_ONLN), load_average.c_str());
  play_without_link(load, less);
  const Process::Words options = isolate ? Process::Words{"--isolate"} : Process::Words{};
  std::vector<Row> rows;
  for (unsigned clients = 1; clients < most; clients *= 2)
    rows.push_back(play(load, options, clients, less));
  rows.push_back(play(load, options, most, isolate ? less : seconds));
  tell(rows);
  std::fflush(stdout);
}

}  // namespace

TEST(each_gets_its_frames_back) { run(0, false); }

TEST(each_gets_its_pictures_encoded) { run(1, false); }

TEST(each_gets_its_frames_back_from_a_worker) { run(0, true); }

TEST(each_gets_its_pictures_encoded_by_a_worker) { run(1, true); }
