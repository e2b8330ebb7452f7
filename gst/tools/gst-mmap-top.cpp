// gst-mmap-top: what goes on at the servers of this host that show it (monitor=true).
//
// See docs/man/gst-mmap-top.1. It needs no GStreamer: it asks over the control sockets.
#include <glib.h>

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "gst/tools/metrics.h"
#include "gst/tools/servers.h"
#include "gst/tools/table.h"
#include "gst/tools/terminal.h"

namespace {

using mmaplink::Clock;
using mmaptop::Server;
using mmaptop::Servers;
using mmaptop::Table;

constexpr auto kPatience = std::chrono::milliseconds(500);  // with a server
constexpr int kUsage = 2;

struct Options {
  bool once = false;
  bool json = false;
  bool prometheus = false;
  std::string metrics;
  std::chrono::nanoseconds interval{};
  std::vector<std::string> places;
};

int complain(const std::string& text) {
  g_printerr("gst-mmap-top: %s\n", mmaptop::printable(text).c_str());
  return 1;
}

// What there is besides lines of data. Whether any server has answered.
bool remark(const std::vector<Server>& servers) {
  bool any = false;
  for (const Server& server : servers) {
    if (!server.problem.empty()) complain(server.problem);
    any = any || server.problem.empty();
  }
  if (servers.empty()) complain(mmaptop::kNobody);
  return any;
}

void print_json(const std::vector<Server>& servers) {
  for (const Server& server : servers)
    for (const auto& link : server.links) printf("%s\n", link.line().c_str());
  fflush(stdout);
}

void print_table(const Table& table) {
  for (const auto& line : table.lines()) printf("%s\n", line.text.c_str());
  fflush(stdout);
}

int once(const Options& options, Servers& servers) {
  auto seen = servers.ask(kPatience);
  if (options.json || options.prometheus) {
    if (options.json) print_json(seen);
    if (options.prometheus) fputs(mmaptop::prometheus_text(seen).c_str(), stdout);
    return remark(seen) ? 0 : 1;
  }
  // Rates take two readings.
  Table table;
  table.read(seen);
  if (table.links() > 0) {
    g_usleep(static_cast<gulong>(options.interval / std::chrono::microseconds(1)));
    seen = servers.ask(kPatience);
    table.read(seen);
  }
  if (table.servers() == 0) return remark(seen) ? 0 : 1;
  print_table(table);
  return 0;
}

int again_and_again(const Options& options, Servers& servers, const mmaptop::Signals& signals) {
  Table table;
  do {
    const auto seen = servers.ask(kPatience);
    table.read(seen);
    if (options.json)
      print_json(seen);
    else
      print_table(table);
    if (ferror(stdout) != 0) return 1;
  } while (!mmaptop::is_ended(signals, Clock::now() + options.interval));
  return 0;
}

int view(const Options& options, Servers& servers, const mmaptop::Signals& signals) {
  using Wish = mmaptop::Terminal::Wish;
  Table table;
  mmaptop::Terminal terminal(signals);
  for (;;) {
    const auto next = Clock::now() + options.interval;
    table.read(servers.ask(kPatience));
    const auto count = [](size_t number, const char* what) {
      return std::to_string(number) + " " + what + (number == 1 ? "" : "s");
    };
    const std::string head = "gst-mmap-top  " + count(table.links(), "direction") + " at " +
                             count(table.servers(), "server") + "  (q quits)";
    auto wish = Wish::draw;
    while (wish == Wish::draw) {
      if (!terminal.draw(head, table.lines())) return 1;
      wish = terminal.wait(next);
    }
    if (wish == Wish::quit) return 0;
  }
}

// Nothing where the words make no sense, and that has been said.
std::unique_ptr<Options> parse(int& argc, char**& argv) {
  gboolean once = FALSE;
  gboolean json = FALSE;
  gboolean prometheus = FALSE;
  gchar* metrics = nullptr;
  gdouble interval = 1;
  gchar** places = nullptr;
  const GOptionEntry entries[] = {
      {"once", 'o', 0, G_OPTION_ARG_NONE, &once, "One reading, and the end", nullptr},
      {"json", 'j', 0, G_OPTION_ARG_NONE, &json, "A line of JSON for each direction of a link",
       nullptr},
      {"prometheus", 'p', 0, G_OPTION_ARG_NONE, &prometheus,
       "With --once: the text format of Prometheus", nullptr},
      {"metrics", 'm', 0, G_OPTION_ARG_FILENAME, &metrics,
       "Serve the text format of Prometheus there, by HTTP on a Unix socket", "SOCKET"},
      {"interval", 'i', 0, G_OPTION_ARG_DOUBLE, &interval,
       "Seconds between two readings (0.1 to 3600, default 1)", "SECONDS"},
      {G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &places, nullptr,
       "[SOCKET|DIRECTORY...]"},
      {}};
  GOptionContext* context = g_option_context_new(nullptr);
  g_option_context_set_summary(
      context,
      "Shows the links of servers that have monitor=true: of these sockets, and of the sockets in\n"
      "these directories and one level below; else in $XDG_RUNTIME_DIR, /run and /tmp. Whatever\n"
      "listens on a socket there is asked.");
  g_option_context_add_main_entries(context, entries, nullptr);
  GError* error = nullptr;
  const bool parsed = g_option_context_parse(context, &argc, &argv, &error) != FALSE;
  g_option_context_free(context);
  auto options = std::make_unique<Options>();
  options->once = once;
  options->json = json;
  options->prometheus = prometheus;
  if (metrics != nullptr) options->metrics = metrics;
  for (gchar** place = places; place != nullptr && *place != nullptr; ++place)
    options->places.emplace_back(*place);
  g_free(metrics);
  g_strfreev(places);
  std::string wrong;
  if (!parsed) {
    wrong = error->message;
    g_error_free(error);
  } else if (!(interval >= 0.1 && interval <= 3600)) {
    wrong = "--interval is 0.1 to 3600 seconds";
  } else if (prometheus && !once) {
    wrong = "--prometheus goes with --once; to serve it there is --metrics";
  } else if (json && prometheus) {
    wrong = "either --json or --prometheus";
  } else if (!options->metrics.empty() && (once || json)) {
    wrong = "--metrics goes on, and has a format of its own";
  }
  if (!wrong.empty()) {
    complain(wrong + "; see --help");
    return nullptr;
  }
  options->interval = std::chrono::nanoseconds(static_cast<int64_t>(interval * 1e9));
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  const auto options = parse(argc, argv);
  if (!options) return kUsage;
  Servers servers(options->places);
  if (options->once) return once(*options, servers);
  auto signals = mmaptop::Signals::make();
  if (!signals) return complain(signals.error().text);
  if (!options->metrics.empty()) {
    const auto served = mmaptop::serve_metrics(options->metrics, servers, kPatience, *signals);
    return served ? 0 : complain(served.error().text);
  }
  if (options->json || !mmaptop::Terminal::is_there())
    return again_and_again(*options, servers, *signals);
  return view(*options, servers, *signals);
}
