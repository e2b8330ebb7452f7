#include "tests/processes/support.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace test {

namespace {

constexpr auto kPatience = std::chrono::seconds(40);

bool warm_up() {
  // GLib's own thread for children comes with the first.
  return Process({"true"}).wait() == 0;
}

bool begins(const std::string& line, const std::string& beginning) {
  return line.compare(0, beginning.size(), beginning) == 0;
}

}  // namespace

Process::Process(const Words& command) : name_(command.front()) {
  std::vector<const char*> words;
  for (const auto& word : command) words.push_back(word.c_str());
  words.push_back(nullptr);
  GError* error = nullptr;
  process_ = g_subprocess_newv(words.data(),
                               static_cast<GSubprocessFlags>(G_SUBPROCESS_FLAGS_STDOUT_PIPE |
                                                             G_SUBPROCESS_FLAGS_STDERR_MERGE),
                               &error);
  fail_unless(error == nullptr, "%s: %s", name_.c_str(), error != nullptr ? error->message : "");
  reader_ = std::thread([this] { read(); });
}

Process::~Process() {
  g_subprocess_force_exit(process_);
  reader_.join();
  g_object_unref(process_);
}

// To the end of its output, and then of itself.
void Process::read() {
  GDataInputStream* stream = g_data_input_stream_new(g_subprocess_get_stdout_pipe(process_));
  while (gchar* line = g_data_input_stream_read_line(stream, nullptr, nullptr, nullptr)) {
    const std::lock_guard lock(mutex_);
    lines_.emplace_back(line);
    g_free(line);
    changed_.notify_all();
  }
  g_object_unref(stream);
  g_subprocess_wait(process_, nullptr, nullptr);
  const std::lock_guard lock(mutex_);
  ended_ = true;
  changed_.notify_all();
}

bool Process::wait_until(const std::function<bool()>& condition) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, kPatience, condition);
}

std::string Process::wait_line(const std::string& beginning, size_t count) {
  std::string found;
  const auto there = [&] {
    size_t seen = 0;
    for (const auto& line : lines_) {
      if (!begins(line, beginning) || ++seen < count) continue;
      found = line;
      return true;
    }
    return false;
  };
  wait_until([&] { return there() || ended_; });
  fail_unless(!found.empty(), "%s: no %zu lines begin with '%s'; the last: %s", name_.c_str(),
              count, beginning.c_str(), lines().empty() ? "" : lines().back().c_str());
  return found;
}

int Process::wait() {
  const bool ended = wait_until([this] { return ended_; });
  fail_unless(ended, "%s runs on; the last it said: %s", name_.c_str(),
              lines().empty() ? "" : lines().back().c_str());
  return g_subprocess_get_if_exited(process_) ? g_subprocess_get_exit_status(process_)
                                              : 128 + g_subprocess_get_term_sig(process_);
}

void Process::wait_good() {
  const int status = wait();
  std::string said;
  if (status != 0)
    for (const auto& line : lines())
      if (!begins(line, "frame")) said += "\n" + line;
  fail_unless(status == 0, "%s: exit status %d%s", name_.c_str(), status, said.c_str());
}

void Process::send(int signal) { g_subprocess_send_signal(process_, signal); }

void Process::stand_still() {
  send(SIGSTOP);
  // Its threads go on until one has taken the signal.
  const auto stands = [](const std::filesystem::path& task) {
    std::ifstream stat(task / "stat");
    const std::string text{std::istreambuf_iterator<char>(stat), {}};
    const size_t name_ends = text.rfind(") ");
    return name_ends == std::string::npos || text[name_ends + 2] == 'T';
  };
  fail_unless(becomes([&] {
                const std::filesystem::directory_iterator all("/proc/" + id() + "/task");
                return std::all_of(begin(all), end(all), stands);
              }),
              "%s does not stand still", name_.c_str());
}

Process::Words Process::lines(const std::string& beginning) const {
  const std::lock_guard lock(mutex_);
  Words found;
  for (const auto& line : lines_)
    if (begins(line, beginning)) found.push_back(line);
  return found;
}

Stage::Stage() : warm(warm_up()) { fail_unless(warm); }

static Process::Words split(const std::string& line) {
  gchar** words = nullptr;
  fail_unless(g_shell_parse_argv(line.c_str(), nullptr, &words, nullptr), "%s", line.c_str());
  Process::Words all;
  for (gchar** word = words; *word != nullptr; ++word) all.emplace_back(*word);
  g_strfreev(words);
  return all;
}

Process::Words launch(const std::string& line) { return split("gst-launch-1.0 -e " + line); }

Process::Words watch(const Process::Words& options, const std::string& line) {
  Process::Words words{WATCH_PROGRAM};
  words.insert(words.end(), options.begin(), options.end());
  words.push_back(line);
  return words;
}

std::string line_of(const char* pattern, const std::string& path, const std::string& frames) {
  std::string line = pattern;
  const std::pair<std::string, std::string> words[] = {{"FRAMES", frames},
                                                       {"SINK", "mmapsink socket-path=" + path},
                                                       {"SRC", "mmapsrc socket-path=" + path}};
  for (const auto& [word, text] : words)
    for (size_t at = 0; (at = line.find(word, at)) != std::string::npos; at += text.size())
      line.replace(at, word.size(), text);
  return line;
}

bool has(const std::string& line, const char* element) {
  return contains(line, std::string("name=") + element);
}

guint64 stat_of(const std::string& line, const char* field) {
  const std::string text = line.substr(line.find(' ', 6) + 1);
  GstStructure* stats = gst_structure_from_string(text.c_str(), nullptr);
  guint64 value = 0;
  fail_unless(stats != nullptr && gst_structure_get_uint64(stats, field, &value), "%s in %s", field,
              text.c_str());
  gst_structure_free(stats);
  return value;
}

}  // namespace test
