// gst-mmap-top at servers that run: its numbers are those of who sent and who received, who may not
// see them does not, and a terminal is as it was before in the end.
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <csignal>
#include <filesystem>
#include <optional>

#include "lib/json_line.h"
#include "lib/socket.h"
#include "lib/status.h"
#include "tests/processes/serving.h"
#include "tests/processes/support.h"
#include "tests/processes/terminal.h"

using mmaplink::JsonFields;
using test::contains;
using test::OnTerminal;
using test::Process;
using test::Stage;
using test::watch;

namespace {

constexpr guint64 kBuffers = 60;
constexpr guint64 kSize = 64 * 48 * 3 / 2;
constexpr auto kFrames =
    "videotestsrc num-buffers=60 is-live=true ! "
    "video/x-raw,format=I420,width=64,height=48,framerate=100/1";
// So that a pipeline goes on after the EOS of the other branch.
constexpr auto kGoesOn = " audiotestsrc is-live=true ! fakesink";

Process::Words top(const Process::Words& words) {
  Process::Words all{TOP_PROGRAM};
  all.insert(all.end(), words.begin(), words.end());
  return all;
}

// What it says once of that path, a line each; nothing where the server does not say.
std::optional<std::vector<JsonFields>> links_of(const std::string& path) {
  Process process(top({"--once", "--json", path}));
  if (process.wait() != 0) return std::nullopt;
  std::vector<JsonFields> links;
  for (const auto& line : process.lines("{"))
    if (auto fields = JsonFields::parse(line)) links.push_back(std::move(*fields));
  return links;
}

// Looks until it is so.
std::vector<JsonFields> links_when(const std::string& path,
                                   const std::function<bool(const std::vector<JsonFields>&)>& so) {
  std::vector<JsonFields> links;
  const bool became = test::becomes([&] {
    auto now = links_of(path);
    if (now) links = std::move(*now);
    return now && so(links);
  });
  std::string text;
  for (const auto& link : links) text += link.line() + "\n";
  fail_unless(became, "it says: %s", text.c_str());
  return links;
}

void stop(Process& process) {
  process.send(SIGINT);
  process.wait_good();
}

// A server that shows its status, with one reader.
struct Served {
  Served()
      : server(watch({}, "videotestsrc is-live=true ! " + std::string(test::kVideo) + " ! " +
                             stage.sink("monitor=true name=shown"))),
        reader(watch({}, stage.src("! fakesink"))) {
    links_when(stage.path(), [](const auto& links) { return links.size() == 1; });
  }
  ~Served() {
    stop(reader);
    stop(server);
  }
  Served(const Served&) = delete;
  Served& operator=(const Served&) = delete;
  const Stage stage;
  Process server;
  Process reader;
};

// Reads one question, whatever it is, and answers it so; for as long as it lives.
class Liar {
 public:
  Liar(const std::string& path, const mmaplink::StatusLines& lines) {
    auto listener = mmaplink::Listener::open(path, {});
    fail_unless(static_cast<bool>(listener));
    thread_ = std::thread([this, lines, to = std::move(*listener)]() mutable {
      while (!quit_) {
        auto client = to.accept();
        if (!client || !*client) {
          pollfd comes{to.fd(), POLLIN, 0};
          poll(&comes, 1, 100);  // and looks at quit_ again
          continue;
        }
        auto told = mmaplink::answer_status(std::move(*client), lines,
                                            mmaplink::Clock::now() + std::chrono::seconds(10));
        if (!told) return;
      }
    });
  }
  Liar(const Liar&) = delete;
  Liar& operator=(const Liar&) = delete;
  ~Liar() {
    quit_ = true;
    thread_.join();
  }

 private:
  std::atomic<bool> quit_{false};
  std::thread thread_;
};

}  // namespace

TEST(a_fan_out_in_numbers) {
  const Stage stage;
  Process server(
      watch({}, kFrames + (" ! " + stage.sink("monitor=true wait-for-connection=true")) + kGoesOn));
  Process one(watch({}, stage.src("! fakesink") + kGoesOn));
  Process two(watch({}, stage.src("! fakesink") + kGoesOn));
  // The first one gets all of them, the second one maybe less.
  const auto links = links_when(stage.path(), [](const auto& all) {
    const auto is_whole = [](const auto& link) { return link.number("buffers") == kBuffers; };
    return all.size() == 2 && std::any_of(all.begin(), all.end(), is_whole);
  });
  for (const auto& link : links) {
    fail_unless(link.text("path") == stage.path());
    fail_unless(link.text("direction") == "send" && link.text("role") == "server");
    fail_unless(link.text("mode") == "mmap", "%s", link.line().c_str());
    fail_unless(contains(link.text("caps"), "format=I420, width=64, height=48"), "%s",
                link.line().c_str());
    fail_unless(std::to_string(link.number("pid")) == server.id());
    fail_unless_equals_uint64(link.number("peer-uid"), geteuid());
    fail_unless_equals_uint64(link.number("bytes"), link.number("buffers") * kSize);
    fail_unless_equals_uint64(link.number("dropped"), 0);
    fail_unless(link.number("arena-bytes") > 0 && link.number("time") > 0);
  }
  for (Process* reader : {&one, &two}) {
    const std::string id = reader->id();
    stop(*reader);
    const std::string stats = reader->lines("stats mmapsrc").front();
    const auto is_its = [&](const auto& link) {
      return std::to_string(link.number("peer-pid")) == id;
    };
    const auto its = std::find_if(links.begin(), links.end(), is_its);
    fail_unless(its != links.end(), "no link of process %s", id.c_str());
    fail_unless_equals_uint64(its->number("buffers"), test::stat_of(stats, "buffers"));
    fail_unless_equals_uint64(its->number("bytes"), test::stat_of(stats, "bytes"));
  }
  links_when(stage.path(), [](const auto& all) { return all.empty(); });
  stop(server);
}

TEST(both_ways_in_numbers) {
  const Stage stage;
  Process server(watch(
      {}, stage.src("role=server mmap=yes monitor=true ! queue ! ") + stage.sink() + kGoesOn));
  Process client(watch(
      {}, kFrames + (" ! " + stage.sink("role=client ")) + stage.src("! fakesink") + kGoesOn));
  const auto links = links_when(stage.path(), [](const auto& all) {
    return all.size() == 2 && all[0].number("buffers") == kBuffers &&
           all[1].number("buffers") == kBuffers;
  });
  fail_unless(links[0].text("direction") == "send" && links[1].text("direction") == "receive");
  for (const auto& link : links) {
    fail_unless_equals_uint64(link.number("bytes"), kBuffers * kSize);
    fail_unless_equals_uint64(link.number("buffers-copied"), 0);
    fail_unless(std::to_string(link.number("peer-pid")) == client.id());
  }
  fail_unless(links[1].number("latency-max") >= links[1].number("latency-p99"));
  fail_unless(links[1].number("latency-p99") >= links[1].number("latency-p50"));
  fail_unless(links[1].number("latency-p50") > 0);
  stop(client);
  stop(server);
}

// Each client's pipeline, wherever it is, with what it took.
static void check_server(const Process::Words& options) {
  const Stage stage;
  Process::Words words{"--monitor", "--profile=late=x264enc rc-lookahead=10 bframes=2",
                       "--profile=early=identity"};
  words.insert(words.end(), options.begin(), options.end());
  Process server(test::server_words(stage, words));
  fail_unless(test::becomes([&] { return links_of(stage.path()).has_value(); }));
  const auto live = "videotestsrc is-live=true ! " + std::string(test::kVideo);
  const auto client = [&](const char* profile) {
    return live + " ! mmapremote socket-path=" + stage.path() + " profile=" + profile +
           " ! fakesink";
  };
  Process early(watch({}, client("early")));
  Process late(watch({}, client("late")));
  const auto links = links_when(stage.path(), [](const auto& all) {
    const auto takes = [](const auto& link) { return link.number("encode-p50") > 0; };
    return all.size() == 4 && std::count_if(all.begin(), all.end(), takes) == 2;
  });
  for (const auto& link : links) {
    const std::string profile = link.text("profile");
    const bool is_late = profile == "late";
    fail_unless(is_late || profile == "early", "%s", link.line().c_str());
    fail_unless(std::to_string(link.number("peer-pid")) == (is_late ? late : early).id());
    fail_unless(link.number("client") == 1 || link.number("client") == 2);
    fail_unless(link.text("path") == stage.path());
    const auto workers = test::children_of(server.id());
    const std::string pid = std::to_string(link.number("pid"));
    fail_unless(workers.empty() ? pid == server.id()
                                : std::find(workers.begin(), workers.end(), pid) != workers.end());
    if (link.text("direction") == "receive") continue;
    fail_unless(link.number("encode-p99") >= link.number("encode-p50"));
    fail_unless(link.number("encode-max") >= link.number("encode-p99"));
  }
  stop(early);
  stop(late);
  links_when(stage.path(), [](const auto& all) { return all.empty(); });
  stop(server);
}

TEST(a_server_and_its_clients) { check_server({}); }

TEST(a_server_and_its_workers) { check_server({"--isolate"}); }

// One that stands still says nothing, and the others are shown.
TEST(a_worker_that_does_not_answer) {
  const Stage stage;
  Process server(test::server_words(stage, {"--monitor", "--isolate", "identity"}));
  fail_unless(test::becomes([&] { return links_of(stage.path()).has_value(); }));
  const auto live = "videotestsrc is-live=true ! " + std::string(test::kVideo);
  Process one(watch({}, test::client_of(stage, live)));
  Process two(watch({}, test::client_of(stage, live)));
  const auto all = links_when(stage.path(), [](const auto& links) { return links.size() == 4; });
  const auto worker = static_cast<pid_t>(all.front().number("pid"));
  fail_unless(kill(worker, SIGSTOP) == 0);
  const auto left = links_when(stage.path(), [](const auto& links) { return links.size() == 2; });
  fail_unless(left.front().number("pid") != static_cast<guint64>(worker));
  fail_unless(kill(worker, SIGCONT) == 0);
  links_when(stage.path(), [](const auto& links) { return links.size() == 4; });
  stop(one);
  stop(two);
  stop(server);
}

TEST(what_a_server_does_not_show) {
  const Stage stage;
  Process server(test::server_words(stage, {"identity"}));
  test::becomes([&] { return std::filesystem::is_socket(stage.path()); });
  Process named(top({"--once", stage.path()}));
  fail_unless_equals_int(named.wait(), 1);
  named.wait_line("gst-mmap-top: " + stage.path() +
                  ": this server does not show its status: set monitor=true there, or start "
                  "gst-mmap-server with --monitor");
  stop(server);
}

TEST(what_is_not_shown) {
  const Stage stage;
  Process server(watch({}, "videotestsrc is-live=true ! " + stage.sink()));
  const auto path = stage.path();
  test::becomes([&] { return std::filesystem::is_socket(path); });
  Process named(top({"--once", path}));
  fail_unless_equals_int(named.wait(), 1);
  named.wait_line("gst-mmap-top: " + path + ": this server does not show its status: set monitor");
  // Of a directory it is not worth a word.
  Process in_directory(top({"--once", std::filesystem::path(path).parent_path()}));
  fail_unless_equals_int(in_directory.wait(), 1);
  in_directory.wait_line("gst-mmap-top: no server here shows its status");
  stop(server);
}

// As root alone: tests/lib/status.cpp says that it was left out otherwise.
TEST(another_user) {
  if (geteuid() != 0) return;
  const Served served;
  const std::filesystem::path directory = std::filesystem::path(served.stage.path()).parent_path();
  // Nobody may reach both.
  const std::string program = directory / "top";
  std::filesystem::copy_file(TOP_PROGRAM, program);
  fail_unless(chmod(directory.c_str(), 0755) == 0 && chmod(program.c_str(), 0755) == 0 &&
              chmod(served.stage.path().c_str(), 0666) == 0);
  Process process({"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", program, "--once",
                   "--json", served.stage.path()});
  fail_unless_equals_int(process.wait(), 1);
  process.wait_line("gst-mmap-top: " + served.stage.path() + ": uid 65534 may not connect");
  fail_unless(process.lines("{").empty());
}

TEST(tables_and_metrics) {
  const Served served;
  const std::string directory = std::filesystem::path(served.stage.path()).parent_path();
  Process table(top({"--once", "--interval", "0.2", directory}));
  table.wait_good();
  fail_unless_equals_int(table.lines().size(), 2);
  fail_unless(contains(table.lines()[1], "shown") &&
                  contains(table.lines()[1], served.stage.path()) &&
                  contains(table.lines()[1], served.reader.id()),
              "%s", table.lines()[1].c_str());
  Process metrics(top({"--once", "--prometheus", served.stage.path()}));
  metrics.wait_good();
  fail_unless_equals_int(metrics
                             .lines("gst_mmap_buffers_total{path=\"" + served.stage.path() +
                                    "\",pid=\"" + served.server.id())
                             .size(),
                         1);
  fail_unless_equals_int(
      metrics.lines("gst_mmap_up{path=\"" + served.stage.path() + "\"} 1").size(), 1);
}

TEST(metrics_over_a_socket) {
  const Served served;
  const std::string path = served.stage.path("metrics");
  Process server(top({"--metrics", path, served.stage.path()}));
  const auto ask = [&](const std::string& request) {
    auto socket = mmaplink::connect_to(path);
    if (!socket) return std::string();
    send(socket->get(), request.data(), request.size(), MSG_NOSIGNAL);
    shutdown(socket->get(), SHUT_WR);
    std::string reply;
    const bool ended = test::becomes([&] {
      char bytes[4096];
      const ssize_t got = recv(socket->get(), bytes, sizeof bytes, 0);
      if (got > 0) reply.append(bytes, static_cast<size_t>(got));
      return got == 0;
    });
    fail_unless(ended);
    return reply;
  };
  fail_unless(test::becomes([&] { return !ask("GET /metrics HTTP/1.1\r\n\r\n").empty(); }));
  const std::string reply = ask("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
  fail_unless(reply.starts_with("HTTP/1.0 200 OK\r\n"), "%s", reply.c_str());
  fail_unless(contains(reply, "\ngst_mmap_buffers_total{path=\"" + served.stage.path()), "%s",
              reply.c_str());
  fail_unless(ask("POST / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.0 404"));
  fail_unless(ask("GET /metrics").empty());
  fail_unless(ask(std::string(100'000, 'x')).size() < 1000);
  server.send(SIGTERM);
  server.wait_good();
  fail_if(std::filesystem::exists(path));
}

TEST(a_terminal) {
  const Served served;
  OnTerminal view(top({"--interval", "0.1", served.stage.path()}), {"TERM=xterm"});
  view.wait_for("\x1b[?1049h");
  view.wait_for("shown");
  view.wait_for("\x1b[7m");  // the title
  fail_if(view.is_restored());
  // It is drawn again, in each size.
  view.wait_for("shown", view.written());
  for (const unsigned short columns : {40, 120, 20}) {
    view.resize(columns, 3);
    const bool fits = test::becomes([&] {
      const auto rows = view.screen();
      return rows.size() == 3 && rows[1].size() == columns && rows[2].size() == columns &&
             rows[0].size() <= columns;
    });
    fail_unless(fits, "%d columns: %s", columns, view.all().c_str());
  }
  view.resize(200, 1);
  fail_unless(test::becomes([&] { return view.screen().size() == 1; }));
  view.press("xq");
  fail_unless_equals_int(view.wait(), 0);
  view.wait_for("\x1b[?25h\x1b[?1049l");
  fail_unless(view.is_restored());
}

TEST(ends_of_a_view) {
  const Served served;
  for (const char* key : {"\x03", "q"}) {  // Ctrl-C
    OnTerminal view(top({served.stage.path()}), {"TERM=xterm", "NO_COLOR=1"});
    view.wait_for("shown");
    view.press(key);
    fail_unless_equals_int(view.wait(), 0);
    view.wait_for("\x1b[?25h\x1b[?1049l");
    fail_unless(view.is_restored());
    fail_if(contains(view.all(), "\x1b[7m"), "colours: %s", view.all().c_str());
  }
  OnTerminal dumb(top({"--interval", "0.1", served.stage.path()}), {"TERM=dumb"});
  dumb.wait_for("shown");
  fail_unless(dumb.is_restored());
  dumb.press("\x03");
  fail_unless_equals_int(dumb.wait(), 0);
  fail_if(contains(dumb.all(), "\x1b"), "%s", dumb.all().c_str());
}

// What a server says of itself gives a terminal no orders, and no other bytes of its own.
TEST(a_server_that_lies) {
  const Stage stage;
  mmaplink::JsonLine line;
  line.text("element",
            "\x1b]0;owned\x07\x9b"
            "2J")
      .text("caps", "\u202e\u0085\r\n{x}");
  line.text("direction", std::string(100'000, 'y')).number("pid", ~uint64_t{0});
  const Liar liar(stage.path(), {line.line(), "no JSON", "{\"left-out\":7}", "{}"});
  const auto is_clean = [](const std::string& text) {
    return std::all_of(text.begin(), text.end(),
                       [](char c) { return c == '\n' || (c >= ' ' && c <= '~'); });
  };
  for (const char* how : {"--once", "--prometheus"}) {
    Process process(top({"--once", "--interval", "0.1", how, stage.path()}));
    process.wait_good();
    for (const auto& said : process.lines())
      fail_unless(is_clean(said), "%s: %s", how, said.c_str());
  }
  Process json(top({"--once", "--json", stage.path()}));
  json.wait_good();
  fail_unless_equals_int(json.lines().size(), 3);
  for (const auto& said : json.lines()) {
    fail_unless(JsonFields::parse(said).has_value());
    fail_unless(g_utf8_validate(said.c_str(), -1, nullptr));
  }
  OnTerminal view(top({"--interval", "0.1", stage.path()}), {"TERM=xterm"});
  view.wait_for("and 7 more");
  view.press("q");
  fail_unless_equals_int(view.wait(), 0);
  fail_if(contains(view.all(), "owned\x07") || contains(view.all(), "\x1b]"));
}

TEST(options_that_make_no_sense) {
  for (const Process::Words& words : {Process::Words{"--interval", "0"},
                                      {"--interval", "nan"},
                                      {"--prometheus"},
                                      {"--once", "--json", "--prometheus"},
                                      {"--metrics", "/tmp/x", "--once"},
                                      {"--what"}}) {
    Process process(top(words));
    fail_unless_equals_int(process.wait(), 2);
    fail_unless(contains(process.lines().front(), "--help"), "%s", process.lines().front().c_str());
  }
}
