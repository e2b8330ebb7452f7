// One client's pipeline in a process of its own, started by a GstMmapServer with `isolate`, and of
// no use otherwise. What is said over descriptor 4 is in gst/isolated.cpp.
#include <gst/gst.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "gst/media.h"
#include "lib/reception.h"
#include "lib/system.h"

using gstmmap::Media;
using mmaplink::Fd;
using mmaplink::Reception;
using mmaplink::Status;

namespace {

constexpr int kClient = 3;
constexpr int kServer = 4;
constexpr auto kAnswer = std::chrono::seconds(5);
constexpr unsigned kEnd = 5;  // seconds for a pipeline to stop

// What the server says, and what is said to it.
class Line {
 public:
  // Any thread.
  void say(std::string text) {
    std::replace(text.begin(), text.end(), '\n', ' ');
    text += '\n';
    // A server that has gone is seen by whoever reads.
    send(kServer, text.data(), text.size(), MSG_NOSIGNAL);
  }
  // Waits for the answer: why not, or nothing.
  std::string ask(guint64 rate) {
    std::unique_lock lock(mutex_);
    answer_.reset();
    say("rate " + std::to_string(rate));
    if (!answered_.wait_for(lock, kAnswer, [this] { return answer_.has_value(); }))
      return "the server did not say whether it has room for this stream";
    return *answer_;
  }
  // By a thread of its own, to the end of what the server says.
  template <class Drain, class Lines>
  void read(const Drain& drain, const Lines& status) {
    std::string input;
    std::array<char, 4096> bytes{};
    for (ssize_t got; (got = recv(kServer, bytes.data(), bytes.size(), 0)) > 0;) {
      input.append(bytes.data(), static_cast<size_t>(got));
      for (size_t end; (end = input.find('\n')) != std::string::npos; input.erase(0, end + 1)) {
        const std::string line = input.substr(0, end);
        if (line == "drain") {
          drain();
        } else if (line == "status") {
          for (const auto& one : status()) say("status " + one);
          say("status-end");
        } else {
          answer(line == "yes" ? "" : line.substr(std::min(line.size(), size_t{3})));
        }
      }
    }
    answer("the server is gone");
  }

 private:
  void answer(std::string text) {
    const std::lock_guard lock(mutex_);
    answer_ = std::move(text);
    answered_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable answered_;
  std::optional<std::string> answer_;
};

struct Words {
  gchar* launch = nullptr;
  gchar* mmap = nullptr;
  gint64 memory = 0;
  gchar* allow = nullptr;
  gchar** params = nullptr;
};

std::optional<Media::Plan> plan_of(int argc, char** argv) {
  static Words words;
  // As file names: these are taken as they are, in whatever locale this runs.
  const GOptionEntry entries[] = {
      {"launch", 0, 0, G_OPTION_ARG_FILENAME, &words.launch, nullptr, nullptr},
      {"mmap", 0, 0, G_OPTION_ARG_FILENAME, &words.mmap, nullptr, nullptr},
      {"memory", 0, 0, G_OPTION_ARG_INT64, &words.memory, nullptr, nullptr},
      {"allow", 0, 0, G_OPTION_ARG_FILENAME, &words.allow, nullptr, nullptr},
      {"param", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &words.params, nullptr, nullptr},
      {nullptr, 0, 0, G_OPTION_ARG_NONE, nullptr, nullptr, nullptr}};
  GOptionContext* context = g_option_context_new("- started by gst-mmap-server --isolate");
  g_option_context_add_main_entries(context, entries, nullptr);
  const bool good = g_option_context_parse(context, &argc, &argv, nullptr) &&
                    words.launch != nullptr && words.mmap != nullptr && words.memory > 0;
  g_option_context_free(context);
  if (!good) return std::nullopt;
  auto rules = gstmmap::parse_rules(words.allow != nullptr ? words.allow : "");
  if (!rules) return std::nullopt;
  Media::Plan plan{words.launch, *rules, {}, words.mmap, static_cast<guint64>(words.memory)};
  for (gchar** param = words.params; param != nullptr && *param != nullptr; ++param) {
    const std::string text = *param;
    const size_t equals = text.find('=');
    if (equals == std::string::npos) return std::nullopt;
    plan.params.emplace_back(text.substr(0, equals), text.substr(equals + 1));
  }
  return plan;
}

// A pipeline that does not play yet would forget that it is to end.
class Draining {
 public:
  void drain(Media& media) {
    const std::lock_guard lock(mutex_);
    wanted_ = true;
    if (plays_) media.drain();
  }
  void plays(Media& media) {
    const std::lock_guard lock(mutex_);
    plays_ = true;
    if (wanted_) media.drain();
  }

 private:
  std::mutex mutex_;
  bool wanted_ = false;
  bool plays_ = false;
};

Status begin(Media& media, Fd& socket) {
  if (auto prepared = media.prepare(socket); !prepared) return prepared;
  return media.play();
}

int fail(Line& line, Fd socket, const std::string& text) {
  if (socket) Reception::refuse(std::move(socket), text);
  line.say("error " + text);
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  // Of a terminal; the server says what is to be done.
  signal(SIGINT, SIG_IGN);
  const auto plan = plan_of(argc, argv);
  if (!plan) {
    g_printerr("gst-mmap-worker is started by gst-mmap-server --isolate\n");
    return 2;
  }
  gst_init(nullptr, nullptr);
  Fd socket(kClient);
  Line line;
  auto made = Media::make(*plan, socket, nullptr, [&](guint64 rate) { return line.ask(rate); });
  if (!made) return fail(line, std::move(socket), made.error().text);
  const auto media = *made;
  GMainLoop* loop = g_main_loop_new(nullptr, FALSE);
  Draining draining;
  auto reader = mmaplink::sys::thread([&] {
    line.read([&] { draining.drain(*media); }, [&] { return media->status(); });
    // Whatever the pipeline does, this process ends with its server.
    alarm(kEnd);
    // Not at once, by this thread: a loop that does not run yet would not see that it is to quit.
    g_idle_add(
        [](gpointer to_quit) -> gboolean {
          g_main_loop_quit(static_cast<GMainLoop*>(to_quit));
          return G_SOURCE_REMOVE;
        },
        loop);
  });
  if (!reader) return fail(line, std::move(socket), reader.error().text);
  int status = 0;
  if (auto begun = begin(*media, socket); !begun) {
    status = fail(line, std::move(socket), begun.error().text);
  } else {
    media->watch(nullptr, [&](Media::Event event, const std::string& text) {
      // The client may seek, and go on; the server knows whether it is to end.
      if (event == Media::Event::ended) return line.say("ended");
      if (event == Media::Event::error) line.say("error " + text);
      g_main_loop_quit(loop);
    });
    draining.plays(*media);
    g_main_loop_run(loop);
  }
  alarm(kEnd);
  media->stop();
  shutdown(kServer, SHUT_RDWR);  // its reader ends
  reader->join();
  g_main_loop_unref(loop);
  return status;
}
