// gst-mmap-server and its clients: each gets what an encoder of its own would give it, whatever the
// others do, in one process and with a worker for each.
#include <sys/stat.h>
#include <atomic>

#include <csignal>

#include "tests/processes/serving.h"

using test::Asking;
using test::client_of;
using test::Process;
using test::server_words;
using test::Stage;
using test::watch;

namespace {

constexpr auto kEncoder = "x264enc threads=1 option-string=asm=0 speed-preset=superfast";
constexpr auto kQuick =
    "x264enc threads=1 option-string=asm=0 speed-preset=ultrafast tune=zerolatency";

std::string frames(const std::string& pattern, int count, int rate = 30) {
  return "videotestsrc pattern=" + pattern + " num-buffers=" + std::to_string(count) +
         " ! video/x-raw,format=I420,width=160,height=120,framerate=" + std::to_string(rate) + "/1";
}
std::string live(const std::string& pattern, int count = -1) {
  return "videotestsrc is-live=true pattern=" + pattern + " num-buffers=" + std::to_string(count) +
         " ! video/x-raw,format=I420,width=160,height=120,framerate=100/1";
}

// What an encoder in the same process makes of the same frames.
Process::Words local(const std::string& source, const std::string& encoder) {
  Process process(watch({"--frames", "out"}, source + " ! " + encoder + " ! fakesink name=out"));
  process.wait_good();
  return process.lines("frame");
}

// By content: a live source's times are its own.
void check_same_content(const Process::Words& wanted, const Process::Words& came) {
  const auto content = [](const std::string& line) { return line.substr(line.rfind(' ')); };
  fail_unless_equals_int(came.size(), wanted.size());
  for (size_t i = 0; i < came.size(); ++i)
    fail_unless(content(came[i]) == content(wanted[i]), "packet %zu is another", i);
}

void ends_well(Process& server) {
  server.send(SIGTERM);
  server.wait_good();
}

// A client whose packets are compared, while `trouble` is made.
template <class Trouble>
void is_left_alone(const Process::Words& options, Trouble trouble) {
  const Stage stage;
  Process::Words all = options;
  all.emplace_back(kQuick);
  Process server(server_words(stage, all));
  Process good(watch({"--frames", "out"}, client_of(stage, live("ball"))));
  good.wait_line("frame", 20);
  trouble(stage, server, good);
  good.send(SIGINT);
  good.wait_good();
  const auto came = good.lines("frame");
  check_same_content(local(frames("ball", static_cast<int>(came.size()), 100), kQuick), came);
  ends_well(server);
}

void make_trouble(const Stage& stage, Process& server, Process& good) {
  const auto goes_on = [&] { good.wait_line("frame", good.lines("frame").size() + 10); };
  {
    Process killed(watch({"--frames", "out"}, client_of(stage, live("snow"))));
    killed.wait_line("frame", 5);
    killed.send(SIGKILL);
    fail_unless_equals_int(killed.wait(), 128 + SIGKILL);
    goes_on();
  }
  {
    // Before the greeting, and after it.
    const auto before = test::connect(stage.path());
    const std::string garbage(1000, 'x');
    fail_unless(write(before.get(), garbage.data(), garbage.size()) > 0);
    const Asking after(stage.path());
    fail_unless(write(after.socket().get(), garbage.data(), garbage.size()) > 0);
    goes_on();
  }
  {
    Process stopped(watch({"--frames", "out"}, client_of(stage, live("snow"))));
    stopped.wait_line("frame", 5);
    stopped.stand_still();
    goes_on();
    stopped.send(SIGKILL);
    stopped.wait();
    goes_on();
  }
  fail_unless(server.lines("gst-mmap-server: drain").empty());
}

}  // namespace

static void check_three(const Process::Words& options) {
  const Stage stage;
  Process::Words all = options;
  all.emplace_back(kEncoder);
  Process server(server_words(stage, all));
  const char* patterns[] = {"ball", "smpte", "snow"};
  std::vector<std::unique_ptr<Process>> clients;
  for (const char* pattern : patterns)
    clients.push_back(std::make_unique<Process>(
        watch({"--frames", "out"}, client_of(stage, frames(pattern, 200)))));
  for (size_t i = 0; i < std::size(patterns); ++i) {
    clients[i]->wait_good();
    test::check_same(local(frames(patterns[i], 200), kEncoder), clients[i]->lines("frame"));
  }
  ends_well(server);
}

TEST(each_client_has_an_encoder_of_its_own) { check_three({}); }

TEST(each_client_has_an_encoder_in_a_process_of_its_own) { check_three({"--isolate"}); }

TEST(trouble_with_one_is_not_the_others) { is_left_alone({}, make_trouble); }

TEST(trouble_with_one_is_not_the_others_with_workers) {
  is_left_alone({"--isolate"}, make_trouble);
}

TEST(a_worker_that_is_killed_takes_its_client_along_and_nobody_else) {
  is_left_alone({"--isolate"}, [](const Stage& stage, Process& server, Process& good) {
    for (int i = 0; i < 3; ++i) {
      const auto before = test::children_of(server.id());
      fail_unless_equals_int(before.size(), 1);
      Process other(watch({"--frames", "out"}, client_of(stage, live("snow"))));
      other.wait_line("frame", 5);
      for (const auto& worker : test::children_of(server.id()))
        if (worker != before[0]) kill(std::stoi(worker), SIGKILL);
      fail_unless(test::contains(other.wait_line("error"), "hung up"));
      fail_unless_equals_int(other.wait(), 1);
      good.wait_line("frame", good.lines("frame").size() + 10);
      fail_unless(test::becomes([&] { return test::children_of(server.id()) == before; }));
    }
  });
}

TEST(workers_end_with_their_server) {
  const Stage stage;
  Process server(server_words(stage, {"--isolate", kQuick}));
  Process client(watch({"--frames", "out"}, client_of(stage, live("ball"))));
  client.wait_line("frame", 5);
  const auto workers = test::children_of(server.id());
  fail_unless_equals_int(workers.size(), 1);
  server.send(SIGKILL);
  server.wait();
  client.wait_line("error");
  fail_unless_equals_int(client.wait(), 1);
  fail_unless(test::becomes([&] { return kill(std::stoi(workers[0]), 0) != 0; }));
  unlink(stage.path().c_str());
}

static void check_drain(const Process::Words& options) {
  const Stage stage;
  Process::Words all = options;
  // With frames that it holds until it is told of the end.
  all.emplace_back("x264enc threads=1 speed-preset=ultrafast rc-lookahead=30 bframes=0");
  Process server(server_words(stage, all));
  Process client(watch({"--frames", "out"}, client_of(stage, live("ball"))));
  client.wait_line("frame", 10);
  ends_well(server);
  const size_t before = client.lines("frame").size();
  client.wait_good();
  // Each frame that the server took, and nothing left out.
  guint64 last = 0;
  const auto came = client.lines("frame");
  fail_unless(came.size() >= before);
  for (const auto& line : came) {
    const guint64 pts = g_ascii_strtoull(line.c_str() + 6, nullptr, 10);
    fail_unless(last == 0 || pts == last + GST_SECOND / 100);
    last = pts;
  }
  // All but those that it had not read, and that were about to be sent.
  const guint64 sent = test::stat_of(client.lines("stats mmapsink")[0], "buffers");
  fail_unless(came.size() <= sent && came.size() + 12 >= sent, "%zu of %" G_GUINT64_FORMAT,
              came.size(), sent);
}

TEST(a_server_that_ends_ends_each_stream) { check_drain({}); }

TEST(a_server_that_ends_ends_each_stream_of_its_workers) { check_drain({"--isolate"}); }

TEST(a_client_that_does_not_read_is_waited_for_so_long) {
  for (const bool isolate : {false, true}) {
    const Stage stage;
    Process::Words options{"--drain-timeout=1"};
    if (isolate) options.emplace_back("--isolate");
    options.emplace_back(kQuick);
    Process server(server_words(stage, options));
    Process client(watch({"--frames", "out"}, client_of(stage, live("ball"))));
    client.wait_line("frame", 5);
    client.stand_still();
    server.send(SIGTERM);
    server.wait_line("gst-mmap-server: drain-timeout is over");
    fail_unless_equals_int(server.wait(), 1);
  }
}

TEST(who_is_too_many_waits_and_is_told_so) {
  const Stage stage;
  Process server(server_words(stage, {"--max-clients=1", kQuick}));
  Process one(watch({"--frames", "out"}, client_of(stage, live("ball"))));
  one.wait_line("frame", 5);
  Process refused(watch({}, client_of(stage, live("ball"))));
  fail_unless(test::contains(refused.wait_line("error"),
                             "serving as many clients as it may, max-clients=1"));
  fail_unless_equals_int(refused.wait(), 1);
  Process waits(watch({"--frames", "out"}, client_of(stage, live("snow"), "on-disconnect=none")));
  fail_unless(test::contains(waits.wait_line("warning"), "max-clients=1. Trying again"));
  one.send(SIGINT);
  one.wait_good();
  waits.wait_line("frame", 5);
  fail_unless_equals_int(waits.lines("warning").size(), 1);
  waits.send(SIGINT);
  waits.wait_good();
  ends_well(server);
}

static void check_limits(const Process::Words& more) {
  const Stage stage;
  Process::Words options{"--max-memory=300000000", "--client-memory=70000000",
                         "--max-pixel-rate=2000000"};
  options.insert(options.end(), more.begin(), more.end());
  options.emplace_back(kQuick);
  Process server(server_words(stage, options));
  Process one(watch({"--frames", "out"}, client_of(stage, live("ball"))));
  one.wait_line("frame", 5);
  {
    const Asking second(stage.path());
    const std::string told = Asking(stage.path()).refusal();
    fail_unless(test::contains(told,
                               "max-memory=300000000 has room for, where each is reckoned "
                               "with 140000000 bytes"),
                "%s", told.c_str());
  }
  // Once that one has gone.
  Process pixels(watch({}, client_of(stage, live("ball"), "on-disconnect=none")));
  fail_unless(
      test::contains(pixels.wait_line("error"), "max-pixel-rate=2000000, of which 80000 are left"));
  fail_unless_equals_int(pixels.wait(), 1);
  // Its memory is given back with it, once that has gone, and there is room for one that wants
  // less.
  Process less(
      watch({"--frames", "out"}, client_of(stage, frames("ball", 3, 4), "on-disconnect=none")));
  less.wait_good();
  fail_unless_equals_int(less.lines("frame").size(), 3);
  one.send(SIGINT);
  one.wait_good();
  ends_well(server);
}

TEST(limits_hold) { check_limits({}); }

TEST(limits_hold_with_workers) { check_limits({"--isolate"}); }

TEST(refusals_say_why) {
  const Stage stage;
  for (const bool isolate : {false, true}) {
    Process::Words options{"--profile=h264=" + std::string(kQuick), "--profile=jpeg=jpegenc",
                           "--allow=qos"};
    if (isolate) options.emplace_back("--isolate");
    Process server(server_words(stage, options));
    const auto refused = [&](const char* request, const std::string& text) {
      Asking client(stage.path(), request);
      const std::string told = client.refusal();
      fail_unless(test::contains(told, text), "%s", told.c_str());
    };
    refused("vp8", "there is no profile vp8 here; there are: h264, jpeg");
    refused("\n\n", "'' in a request is not name=value");
    refused("jpeg\n\xff=1", "a request that is no valid UTF-8");
    refused("jpeg\nquality=50", "the parameter quality may not be set; allowed: qos");
    refused("h264\nqos=maybe", "the parameter qos may not be maybe, which is no value");
    ends_well(server);
  }
}

static void check_requests(const Process::Words& more) {
  const Stage stage;
  Process::Words options{"--profile=h264=" + std::string(kQuick), "--profile=jpeg=jpegenc",
                         "--default-profile=h264"};
  options.insert(options.end(), more.begin(), more.end());
  const std::string file = stage.path("config");
  g_file_set_contents(file.c_str(),
                      "[profile small]\nlaunch=x264enc threads=1 option-string=asm=0 "
                      "speed-preset=ultrafast tune=zerolatency\n"
                      "allow=bitrate=100..8000,key-int-max\n",
                      -1, nullptr);
  options.push_back("--config=" + file);
  Process server(server_words(stage, options));
  const auto remote = [&](const std::string& asks) {
    return watch({"--frames", "out"}, frames("snow", 60) +
                                          " ! mmapremote socket-path=" + stage.path() + " " + asks +
                                          " ! fakesink name=out async=false");
  };
  Process standard(remote(""));
  Process jpeg(remote("profile=jpeg"));
  Process small(remote("profile=small params=bitrate=300,key-int-max=7"));
  Process wrong(remote("profile=small params=bitrate=99"));
  Process unknown(remote("profile=vp8"));
  standard.wait_good();
  jpeg.wait_good();
  small.wait_good();
  check_same_content(local(frames("snow", 60), "jpegenc"), jpeg.lines("frame"));
  check_same_content(local(frames("snow", 60), std::string(kQuick) + " bitrate=300 key-int-max=7"),
                     small.lines("frame"));
  fail_unless(test::contains(wrong.wait_line("error"),
                             "the parameter bitrate may not be 99; allowed: bitrate=100..8000, "
                             "key-int-max"));
  fail_unless(test::contains(unknown.wait_line("error"), "there is no profile vp8 here"));
  ends_well(server);
  unlink(file.c_str());
}

TEST(a_client_asks_for_what_it_wants) { check_requests({}); }

TEST(a_client_asks_for_what_it_wants_of_a_worker) { check_requests({"--isolate"}); }

static void check_changes(const Process::Words& more) {
  const Stage stage;
  Process::Words options{"--allow=bitrate=100..8000"};
  options.insert(options.end(), more.begin(), more.end());
  options.emplace_back(kQuick);
  Process server(server_words(stage, options));
  static std::atomic<gsize> size;
  size = 0;
  {
    const test::Pipeline client(live("snow") +
                                " ! mmapremote name=remote socket-path=" + stage.path() +
                                " params=bitrate=8000 ! fakesink name=out "
                                "async=false signal-handoffs=true");
    g_signal_connect(client.element("out"), "handoff",
                     G_CALLBACK(+[](GstElement*, GstBuffer* buffer, GstPad*, gpointer) {
                       size = gst_buffer_get_size(buffer);
                     }),
                     nullptr);
    client.set(GST_STATE_PLAYING);
    fail_unless(test::becomes([] { return size > 5000; }));
    g_object_set(client.element("remote"), "params", "bitrate=100", nullptr);
    fail_unless(test::becomes([] { return size < 1500; }), "%zu", size.load());
    g_object_set(client.element("remote"), "params", "bitrate=99", nullptr);
    const auto message = client.wait(GST_MESSAGE_WARNING);
    GError* error = nullptr;
    gst_message_parse_warning(message.get(), &error, nullptr);
    fail_unless(test::contains(error->message,
                               "The parameter bitrate may not be 99; allowed: bitrate=100..8000"),
                "%s", error->message);
    g_error_free(error);
  }
  ends_well(server);
}

TEST(parameters_change_while_playing) { check_changes({}); }

TEST(parameters_change_while_playing_in_a_worker) { check_changes({"--isolate"}); }

// With a fallback a client loses no frame, whatever becomes of its worker.
TEST(a_client_with_a_fallback_outlives_its_worker) {
  const Stage stage;
  constexpr int kCount = 1500;
  Process server(server_words(stage, {"--isolate", kQuick}));
  Process client(watch({"--times", "out"},
                       live("ball", kCount) + " ! mmapremote name=remote socket-path=" +
                           stage.path() + " fallback=\"" + kQuick +
                           "\" ! h264parse ! avdec_h264 max-threads=1 ! fakesink name=out"));
  // A worker may be there before the stream goes through it, which is no loss.
  while (client.lines("warning").size() < 2) {
    client.wait_line("time", client.lines("time").size() + 80);
    for (const auto& worker : test::children_of(server.id())) kill(std::stoi(worker), SIGKILL);
  }
  client.wait_good();
  const auto times = client.lines("time");
  fail_unless_equals_int(times.size(), kCount);
  for (size_t i = 1; i < times.size(); ++i) {
    const auto at = [&](size_t which) {
      return g_ascii_strtoull(times[which].c_str() + 5, nullptr, 10);
    };
    fail_unless_equals_uint64(at(i), at(0) + i * GST_SECOND / 100);
  }
  ends_well(server);
}

// Also before its pipeline is there, and with text that is none of its locale.
TEST(a_worker_whose_server_has_gone_ends) {
  const std::string starter =
      "import os, socket, sys\n"
      "client, ours = socket.socketpair()\n"
      "server, theirs = socket.socketpair()\n"
      "server.shutdown(socket.SHUT_RDWR)\n"
      "high = [os.dup2(s.fileno(), 20 + i) for i, s in enumerate((ours, theirs, client))]\n"
      "for i in range(2): os.dup2(high[i], 3 + i)\n"
      "os.execv(sys.argv[1], sys.argv[1:])\n";
  Process worker({"env", "LC_ALL=C", "python3", "-c", starter, g_getenv("GST_MMAP_WORKER"),
                  "--launch=identity name=é", "--mmap=yes", "--memory=1000000"});
  worker.wait_good();
}

// Its place is another's in the end.
TEST(a_worker_that_hangs_up_and_stays_is_killed) {
  const Stage stage;
  const std::string worker = stage.path("worker");
  g_file_set_contents(worker.c_str(), "#!/bin/sh\nexec 4>&-\nexec sleep 1000\n", -1, nullptr);
  fail_unless(chmod(worker.c_str(), 0700) == 0);
  Process server(server_words(stage, {"--isolate", "--max-clients=1", "identity"},
                              {"GST_MMAP_WORKER=" + worker}));
  const Asking first(stage.path());
  fail_unless(test::becomes([&] { return test::children_of(server.id()).size() == 1; }));
  const std::string told = Asking(stage.path()).refusal();
  fail_unless(test::contains(told, "as many clients as it may"), "%s", told.c_str());
  // It is given five seconds to end by itself, and five more.
  fail_unless(test::becomes([&] { return test::children_of(server.id()).empty(); }) ||
              test::becomes([&] { return test::children_of(server.id()).empty(); }));
  ends_well(server);
}

TEST(without_a_worker_clients_are_told_so) {
  const Stage stage;
  Process server(server_words(stage, {"--isolate", "identity"}, {"GST_MMAP_WORKER=/none/there"}));
  const std::string told = Asking(stage.path()).refusal();
  fail_unless(test::contains(told, "starting the worker /none/there: "), "%s", told.c_str());
  fail_unless(test::contains(told, "No such file or directory"), "%s", told.c_str());
  server.wait_line("gst-mmap-server: client 1: starting the worker");
  ends_well(server);
}
