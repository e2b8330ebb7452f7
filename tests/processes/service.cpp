// gst-mmap-server as a service: its options and its file, signals, what a service manager passes
// and is told; and that nothing is left of clients that have gone.
#include <sys/socket.h>
#include <sys/un.h>

#include <csignal>
#include <fstream>

#include "tests/processes/serving.h"

using test::Asking;
using test::client_of;
using test::Process;
using test::server_words;
using test::Stage;
using test::watch;

namespace {

constexpr auto kFrames =
    "videotestsrc num-buffers=5 ! video/x-raw,format=I420,width=64,height=48,framerate=30/1";
constexpr auto kLive =
    "videotestsrc is-live=true ! video/x-raw,format=I420,width=64,height=48,framerate=100/1";

// Where a service manager listens.
class Manager {
 public:
  // In the directory of the stage, or where `path` begins with @ by a name of no file.
  explicit Manager(std::string path) : name_(std::move(path)) {
    socket_ = mmaplink::Fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    name_.copy(address.sun_path, sizeof address.sun_path - 1);
    if (name_[0] == '@') address.sun_path[0] = '\0';
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name_.size());
    fail_unless_equals_int(bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), size),
                           0);
    const timeval patience{40, 0};
    setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  }
  ~Manager() { unlink(name_.c_str()); }
  Manager(const Manager&) = delete;
  Manager& operator=(const Manager&) = delete;

  std::string variable() const { return "NOTIFY_SOCKET=" + name_; }
  std::string next() const {
    char text[200];
    const ssize_t size = recv(socket_.get(), text, sizeof text, 0);
    fail_unless(size > 0, "the manager is told nothing");
    return {text, static_cast<size_t>(size)};
  }

 private:
  std::string name_;
  mmaplink::Fd socket_;
};

void write_file(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text;
}

// What a client gets of a server with that profile: its caps.
std::string kind_of_packets(const Stage& stage) {
  Process client(watch({"--frames", "out"}, client_of(stage, kFrames)));
  client.wait_good();
  const auto came = client.lines("frame");
  fail_unless_equals_int(came.size(), 5);
  const std::string size = came[0];
  // I420 of that size as it is, or what an encoder makes of it.
  return test::contains(size, " 4608 ") ? "raw" : "encoded";
}

void says(const Process::Words& options, const std::string& text, int status = 2) {
  Process::Words words{test::server_program()};
  words.insert(words.end(), options.begin(), options.end());
  Process server(words);
  fail_unless_equals_int(server.wait(), status);
  const auto lines = server.lines();
  fail_unless(!lines.empty() && test::contains(lines[0], text), "%s",
              lines.empty() ? "" : lines[0].c_str());
}

}  // namespace

TEST(wrong_options_are_told_in_a_line) {
  const Stage stage;
  const std::string path = "--socket-path=" + stage.path();
  says({}, "gst-mmap-server: no --socket-path says where clients come");
  says({path}, "nothing says what clients get: LAUNCH, --profile, or a [profile] of --config");
  says({path, "nothere"}, "the launch line 'nothere': no element \"nothere\"");
  says({path, "identity !"}, "the launch line 'identity !'");
  says({"--nonsense"}, "Unknown option --nonsense");
  says({path, "identity", "--max-clients=0"}, "--max-clients=0 lets nobody in");
  says({path, "identity", "--max-clients=1025"}, "--max-clients=1025 is no number up to 1024");
  says({path, "identity", "--max-clients=two"}, "--max-clients=two is no number");
  says({path, "identity", "--client-memory=1"}, "--client-memory=1 is less than a page");
  says({path, "identity", "--max-pixel-rate=-1"}, "--max-pixel-rate=-1 is no number");
  says({path, "identity", "--perms=800"}, "--perms=800 is no octal number up to 511");
  says({path, "identity", "--drain-timeout=1h"}, "--drain-timeout=1h is no number");
  says({path, "--profile=identity"}, "--profile=identity is not NAME=LAUNCH");
  says({path, "identity", "--default-profile=x"}, "default-profile=x is none of the profiles");
  says({path, "identity", "--allow=bitrate"}, "has the property bitrate");
  says({path, "identity", "--allow=sleep-time=1..x"}, "'1..x' in 'sleep-time=1..x' is no range");
  says({path, "identity", "--config=/none/there"}, "/none/there: No such file or directory");
  says({path, "identity", "--mmap=yess"}, "--mmap: the value in mmap=yess is none of");
  says({path, "identity", "--group=no such"}, "no such", 1);
  says({"--socket-path=/none/there", "identity"}, "The directory /none", 1);
  says({"--version"}, "gst-mmap-server 0.", 0);
  Process help({test::server_program(), "--help"});
  help.wait_good();
  for (const char* option : {"socket-path=", "profile=", "allow=", "isolate", "config="})
    fail_unless_equals_int(help.lines("  --" + std::string(option)).size(), 1);
}

TEST(a_file_says_the_same) {
  const Stage stage;
  const std::string file = stage.path("config");
  const std::string server =
      "[server]\nsocket-path=" + stage.path() + ";" + stage.path("two") + "\n";
  const auto refused = [&](const std::string& text, const std::string& why) {
    write_file(file, text);
    says({"--config=" + file}, why);
  };
  refused("[server", file + ": ");
  refused(server + "colour=red\n[profile a]\nlaunch=identity",
          "[server] knows no colour; it knows:");
  refused(server + "profile=a\n[profile a]\nlaunch=identity", "[server] knows no profile");
  refused(server + "[profil a]\nlaunch=identity", "there is no [profil a]; there are");
  refused(server + "[profile a]\nlauch=identity", "[profile a] knows no lauch; it knows: launch");
  refused(server + "[profile a]\n", "[profile a] has no launch=");
  refused(server + "isolate=yes\n[profile a]\nlaunch=identity", "isolate=yes is neither");
  refused(server + "max-clients=x\n[profile a]\nlaunch=identity", "max-clients=x is no number");
  refused("[server]\n[profile a]\nlaunch=identity", "no --socket-path");

  write_file(file, server +
                       "allow=sleep-time=0..5\nmax-clients=7\ndefault-profile=raw\n"
                       "[profile jpeg]\nlaunch=jpegenc\nallow=quality=1..90\n"
                       "[profile raw]\nlaunch=identity\n");
  Process process({test::server_program(), "--config=" + file});
  const auto allowed = [&](const char* path, const char* request) {
    return Asking(stage.path(path), request).refusal();
  };
  fail_unless(kind_of_packets(stage) == "raw");
  fail_unless(test::contains(allowed("link", "jpeg\na=1"), "; allowed: quality=1..90"));
  fail_unless(test::contains(allowed("two", "raw\na=1"), "; allowed: sleep-time=0..5"));
  process.send(SIGTERM);
  process.wait_good();
  // What the command line says counts more.
  Process other({test::server_program(), "--config=" + file, "--socket-path=" + stage.path("three"),
                 "--default-profile=jpeg", "--profile=raw=identity sync=true"});
  fail_unless(test::contains(allowed("three", "\na=1"), "; allowed: quality=1..90"));
  fail_unless(access(stage.path("two").c_str(), F_OK) != 0);
  other.send(SIGINT);
  other.wait_good();
  unlink(file.c_str());
}

TEST(a_hangup_reads_the_file_again) {
  const Stage stage;
  const Manager manager(stage.path("manager"));
  const std::string file = stage.path("config");
  write_file(file, "[profile raw]\nlaunch=identity\n");
  Process server(server_words(stage, {"--config=" + file}, {manager.variable()}));
  fail_unless(manager.next() == "READY=1");
  const auto reload = [&] {
    server.send(SIGHUP);
    const std::string told = manager.next();
    fail_unless(told.starts_with("RELOADING=1\nMONOTONIC_USEC="), "%s", told.c_str());
    fail_unless(manager.next() == "READY=1");
  };
  Process stays(watch({"--frames", "out"}, client_of(stage, kLive)));
  stays.wait_line("frame", 5);
  write_file(file, "[server]\nmax-clients=2\n[profile jpeg]\nlaunch=jpegenc\n");
  reload();
  fail_unless(kind_of_packets(stage) == "encoded");
  fail_unless(test::contains(Asking(stage.path(), "raw").refusal(), "there are: jpeg"));
  stays.wait_line("frame", stays.lines("frame").size() + 10);
  // A mistake changes nothing, and neither does what can't be changed.
  write_file(file, "[profile jpeg]\nlaunch=nothere\n");
  reload();
  server.wait_line("gst-mmap-server: not all is changed: Profile 'jpeg'");
  fail_unless(kind_of_packets(stage) == "encoded");
  write_file(file, "[server]\nmmap=yess\n[profile jpeg]\nlaunch=jpegenc\n");
  reload();
  server.wait_line("gst-mmap-server: nothing is changed: " + file + ": mmap: the value");
  fail_unless(kind_of_packets(stage) == "encoded");
  // What was taken of a file with a mistake goes with the next one, as all else.
  write_file(file, "[profile half]\nlaunch=identity\n[profile jpeg]\nlaunch=nothere\n");
  reload();
  write_file(file, "[server]\nperms=666\n[profile jpeg]\nlaunch=jpegenc\n");
  reload();
  server.wait_line("gst-mmap-server: socket-path, isolate, perms, group and allowed-uids stay");
  fail_unless(test::contains(Asking(stage.path(), "half").refusal(), "there are: jpeg"));
  stays.wait_line("frame", stays.lines("frame").size() + 10);
  stays.send(SIGINT);
  stays.wait_good();
  server.send(SIGTERM);
  fail_unless(manager.next() == "STOPPING=1");
  server.wait_good();
  unlink(file.c_str());
}

TEST(a_manager_without_a_file_is_told) {
  const Stage stage;
  const Manager manager("@gst-mmap-test-" + std::to_string(getpid()));
  Process server(server_words(stage, {"identity"}, {manager.variable()}));
  fail_unless(manager.next() == "READY=1");
  server.send(SIGTERM);
  fail_unless(manager.next() == "STOPPING=1");
  server.wait_good();
}

TEST(a_socket_that_was_passed_is_taken) {
  for (const bool isolate : {false, true}) {
    const Stage stage;
    const std::string starter =
        "import os, socket, sys\n"
        "s = socket.socket(socket.AF_UNIX)\n"
        "s.bind(sys.argv[1])\n"
        "s.listen()\n"
        "os.dup2(s.fileno(), 3)\n"
        "os.set_inheritable(3, True)\n"
        "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))\n"
        "os.execvp(sys.argv[2], sys.argv[2:])\n";
    Process::Words words{"python3", "-c", starter, stage.path()};
    for (const auto& word : server_words(stage, {"--idle-timeout=1", "identity"}))
      words.push_back(word);
    if (isolate) words.emplace_back("--isolate");
    Process server(words);
    fail_unless(kind_of_packets(stage) == "raw");
    fail_unless(kind_of_packets(stage) == "raw");
    // With nobody there it ends; the socket is not its own.
    server.wait_good();
    fail_unless_equals_int(unlink(stage.path().c_str()), 0);
  }
}

TEST(without_clients_it_ends) {
  const Stage stage;
  Process server(server_words(stage, {"--idle-timeout=1", "identity"}));
  server.wait_good();
  Process busy(server_words(stage, {"--idle-timeout=1", "identity"}));
  Process client(watch({"--frames", "out"}, client_of(stage, kLive)));
  client.wait_line("frame", 200);
  fail_unless(busy.lines().empty());
  client.send(SIGINT);
  client.wait_good();
  busy.wait_good();
}

static void check_many(const Process::Words& more, int count) {
  const Stage stage;
  Process::Words options = more;
  options.emplace_back("identity");
  Process server(server_words(stage, options));
  const auto come_and_go = [&](int clients) {
    for (int i = 0; i < clients; ++i) {
      const test::Pipeline client(
          client_of(stage, "videotestsrc num-buffers=1 ! video/x-raw,width=16,height=16"));
      client.play();
      // Some are gone before they are served.
      if (i % 4 != 0) client.wait_eos();
      if (i % 10 == 0) Asking(stage.path(), "nothing of that name").refusal();
    }
  };
  const std::string pid = server.id();
  Asking(stage.path(), "nothing of that name").refusal();  // it has started
  const size_t alone_files = test::open_files(pid);
  come_and_go(std::min(200, count));
  const auto is_alone = [&] {
    // Threads of GLib's pools stay for a while, as many as worked at a time.
    return test::open_files(pid) <= alone_files + 2 && test::threads(pid) <= 20 &&
           test::children_of(pid).empty();
  };
  fail_unless(test::becomes(is_alone), "%zu files, %zu threads, %zu children",
              test::open_files(pid), test::threads(pid), test::children_of(pid).size());
  const size_t before = test::resident_kib(pid);
  come_and_go(count);
  fail_unless(test::becomes(is_alone), "%zu files, %zu threads, %zu children",
              test::open_files(pid), test::threads(pid), test::children_of(pid).size());
  const size_t after = test::resident_kib(pid);
  g_print("%d clients: %zu KiB, then %zu KiB\n", count, before, after);
  // What each would leave: a pipeline takes some hundred KiB.
  fail_unless(after < before + 8192 + static_cast<size_t>(count), "%zu KiB, then %zu KiB", before,
              after);
  server.send(SIGTERM);
  server.wait_good();
}

static int clients() {
  const gchar* text = g_getenv("SERVICE_CLIENTS");
  return text != nullptr ? std::stoi(text) : 1000;
}

TEST(many_clients_leave_nothing) { check_many({}, clients()); }

TEST(many_clients_leave_nothing_of_their_workers) { check_many({"--isolate"}, clients() / 20); }
