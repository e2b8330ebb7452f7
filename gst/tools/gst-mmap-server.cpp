// gst-mmap-server: a GstMmapServer with a command line, as a service or in a terminal.
#include <glib-unix.h>
#include <gst/gst.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <clocale>
#include <csignal>
#include <set>
#include <string>
#include <vector>

#include "gst/gstmmapserver.h"
#include "gst/request.h"
#include "gst/tools/notify.h"
#include "gst/tools/options.h"

using mmaplink::Error;
using mmaplink::Failure;
using mmaplink::Result;
using mmaplink::Status;

namespace {

constexpr unsigned kStop = 10;  // seconds for pipelines to stop; then this process is killed

void complain(const std::string& text) { g_printerr("gst-mmap-server: %s\n", text.c_str()); }

class Program {
 public:
  Program(CommandLine line, const Options& options)
      : line_(std::move(line)),
        options_(options),
        server_(gst_mmap_server_new()),
        loop_(g_main_loop_new(nullptr, FALSE)) {}
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;
  ~Program() {
    g_object_unref(server_);
    g_main_loop_unref(loop_);
  }

  int run();

 private:
  Status set_up(const Options& options);
  Status set_profiles(const Options& options);
  guint num_clients() const {
    guint count = 0;
    g_object_get(server_, "num-clients", &count, nullptr);
    return count;
  }
  // Somebody came or left.
  void look();
  void drain();
  void reload();
  void quit() { g_main_loop_quit(loop_); }

  const CommandLine line_;
  Options options_;
  std::set<std::string> names_;  // of profiles; also of a file that had a mistake further on
  GstMmapServer* const server_;
  GMainLoop* const loop_;
  bool draining_ = false;
  guint idle_ = 0;  // the timer's id
  int status_ = 0;
};

Status Program::set_profiles(const Options& options) {
  for (const auto& profile : options.profiles) {
    GError* error = nullptr;
    if (gst_mmap_server_add_profile(server_, profile.name.c_str(), profile.launch.c_str(),
                                    profile.allow.c_str(), &error)) {
      names_.insert(profile.name);
      continue;
    }
    Error why{Failure::settings, error->message};
    g_error_free(error);
    return why;
  }
  return mmaplink::ok();
}

Status Program::set_up(const Options& options) {
  if (auto good = set_profiles(options); !good) return good;
  std::erase_if(names_, [&](const std::string& name) {
    const bool goes = std::none_of(options.profiles.begin(), options.profiles.end(),
                                   [&](const Profile& one) { return one.name == name; });
    if (goes) gst_mmap_server_remove_profile(server_, name.c_str());
    return goes;
  });
  std::vector<const gchar*> paths;
  for (const auto& path : options.paths) paths.push_back(path.c_str());
  paths.push_back(nullptr);
  const std::string& first =
      options.default_profile.empty() ? options.profiles.front().name : options.default_profile;
  g_object_set(server_, "socket-paths", paths.data(), "mmap", options.mmap.c_str(), "max-clients",
               options.max_clients, "client-memory", static_cast<guint64>(options.client_memory),
               "max-memory", static_cast<guint64>(options.max_memory), "max-pixel-rate",
               static_cast<guint64>(options.max_pixel_rate), "default-profile", first.c_str(),
               "isolate", options.isolate, "monitor", options.monitor, "perms", options.perms,
               "group", options.group.c_str(), "allowed-uids", options.allowed_uids.c_str(),
               nullptr);
  options_ = options;
  return mmaplink::ok();
}

void Program::look() {
  const guint clients = num_clients();
  if (clients == 0 && draining_) return quit();
  if (clients > 0 && idle_ != 0) g_source_remove(std::exchange(idle_, 0));
  if (clients > 0 || idle_ != 0 || options_.idle_timeout == 0) return;
  const auto idle = [](gpointer self) -> gboolean {
    auto* program = static_cast<Program*>(self);
    program->idle_ = 0;
    // Who has just come is not told of yet.
    if (program->num_clients() == 0) program->drain();
    return G_SOURCE_REMOVE;
  };
  idle_ = g_timeout_add_seconds(options_.idle_timeout, idle, this);
}

// The second time without waiting.
void Program::drain() {
  if (std::exchange(draining_, true)) {
    if (num_clients() > 0) status_ = 1;
    return quit();
  }
  notify("STOPPING=1");
  gst_mmap_server_drain(server_);
  const auto late = [](gpointer self) -> gboolean {
    auto* program = static_cast<Program*>(self);
    complain("drain-timeout is over, and there are clients still: they are hung up on");
    program->status_ = 1;
    program->quit();
    return G_SOURCE_REMOVE;
  };
  g_timeout_add_seconds(options_.drain_timeout, late, this);
  look();
}

void Program::reload() {
  const std::string now = std::to_string(g_get_monotonic_time());
  notify("RELOADING=1\nMONOTONIC_USEC=" + now);
  auto options = read_options(line_);
  if (!options) {
    complain("nothing is changed: " + options.error().text);
  } else {
    if (options->paths != options_.paths || options->isolate != options_.isolate ||
        options->perms != options_.perms || options->group != options_.group ||
        options->allowed_uids != options_.allowed_uids)
      complain(
          "socket-path, isolate, perms, group and allowed-uids stay as they were at the start");
    if (auto set = set_up(*options); !set) complain("not all is changed: " + set.error().text);
    if (idle_ != 0) g_source_remove(std::exchange(idle_, 0));
    look();
  }
  notify("READY=1");
}

int Program::run() {
  if (auto set = set_up(options_); !set) {
    complain(set.error().text);
    return 2;
  }
  // Called by the server's threads: what is to be done is done here.
  const auto look = +[](GstMmapServer*, GParamSpec*, gpointer self) {
    g_idle_add(
        [](gpointer program) -> gboolean {
          static_cast<Program*>(program)->look();
          return G_SOURCE_REMOVE;
        },
        self);
  };
  g_signal_connect(server_, "notify::num-clients", G_CALLBACK(look), this);
  g_signal_connect(
      server_, "error", G_CALLBACK(+[](GstMmapServer*, guint client, const gchar* text, gpointer) {
        // It may quote what a client sent.
        complain("client " + std::to_string(client) + ": " + gstmmap::shortened(text, 500));
      }),
      nullptr);
  const auto on_signal = [this](int number, void (*call)(Program&)) {
    struct Called {
      Program* program;
      void (*call)(Program&);
    };
    g_unix_signal_add_full(
        G_PRIORITY_DEFAULT, number,
        [](gpointer called) -> gboolean {
          const auto* one = static_cast<Called*>(called);
          one->call(*one->program);
          return G_SOURCE_CONTINUE;
        },
        new Called{this, call}, [](gpointer called) { delete static_cast<Called*>(called); });
  };
  for (const int number : {SIGTERM, SIGINT})
    on_signal(number, [](Program& program) { program.drain(); });
  on_signal(SIGHUP, [](Program& program) { program.reload(); });

  GError* error = nullptr;
  if (!gst_mmap_server_start(server_, &error)) {
    complain(error->message);
    g_error_free(error);
    return 1;
  }
  notify("READY=1");
  this->look();
  g_main_loop_run(loop_);
  // An element that does not come to its end must not keep this process: SIGALRM ends it.
  alarm(kStop);
  gst_mmap_server_stop(server_);
  return status_;
}

}  // namespace

// Ten descriptors a client, and some more of what its elements have. Nothing here uses select(2).
static void raise_limit_of_files() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
    // It stays as it was; whoever comes when there are none left is told.
  }
}

// NOLINTNEXTLINE(bugprone-exception-escape): where there is no memory it ends, as everywhere
int main(int argc, char** argv) {
  setlocale(LC_ALL, "");  // NOLINT(concurrency-mt-unsafe): there is one thread
  g_set_prgname("gst-mmap-server");
  raise_limit_of_files();
  auto line = parse_command_line(argc, argv);
  if (line && line->is_answered) return 0;
  auto options = line ? read_options(*line) : Result<Options>(line.error());
  if (!options) {
    complain(options.error().text);
    complain("--help says what there is");
    return 2;
  }
  return Program(std::move(*line), *options).run();
}
