#include "tests/processes/serving.h"

#include <filesystem>
#include <fstream>

#include "lib/channel.h"
#include "lib/layout.h"

namespace test {

std::string server_program() { return SERVER_PROGRAM; }

Process::Words server_words(const Stage& stage, const Process::Words& options,
                            const Process::Words& variables) {
  Process::Words words{"env"};
  words.insert(words.end(), variables.begin(), variables.end());
  words.insert(words.end(), {SERVER_PROGRAM, "--socket-path=" + stage.path()});
  words.insert(words.end(), options.begin(), options.end());
  return words;
}

mmaplink::Fd connect(const std::string& path) {
  mmaplink::Fd socket;
  fail_unless(becomes([&] {
    auto connected = mmaplink::connect_to(path);
    if (connected) socket = std::move(*connected);
    return static_cast<bool>(socket);
  }));
  return socket;
}

Asking::Asking(const std::string& path, const std::string& request) : socket_(connect(path)) {
  mmaplink::Channel channel(std::move(*socket_.duplicate()));
  mmaplink::Hello hello{mmaplink::kVersion, {true, true}, {}, 0, request};
  hello.wishes = {mmaplink::Wish::no, mmaplink::Wish::no};
  fail_unless(static_cast<bool>(channel.send(hello)));
}

std::string Asking::refusal() {
  mmaplink::Channel channel(std::move(*socket_.duplicate()));
  std::string text;
  fail_unless(becomes([&] {
    auto open = channel.receive([&](const mmaplink::Channel::Received& received) {
      const auto* refuse = std::get_if<mmaplink::Refuse>(&received.message);
      fail_unless(refuse != nullptr, "it got a link");
      text = refuse->text;
      return true;
    });
    return !open || !*open;
  }));
  return text;
}

std::vector<std::string> children_of(const std::string& pid) {
  std::vector<std::string> all;
  std::error_code gone;
  for (const auto& task : std::filesystem::directory_iterator("/proc/" + pid + "/task", gone)) {
    std::ifstream file(task.path() / "children");
    for (std::string child; file >> child;) all.push_back(child);
  }
  return all;
}

static size_t entries(const std::string& directory) {
  std::error_code gone;
  size_t count = 0;
  for (const auto& one : std::filesystem::directory_iterator(directory, gone))
    count += !one.path().empty();
  return count;
}

size_t open_files(const std::string& pid) { return entries("/proc/" + pid + "/fd"); }
size_t threads(const std::string& pid) { return entries("/proc/" + pid + "/task"); }

size_t resident_kib(const std::string& pid) {
  std::ifstream file("/proc/" + pid + "/status");
  for (std::string word; file >> word;) {
    size_t size = 0;
    if (word == "VmRSS:" && file >> size) return size;
  }
  return 0;
}

std::string client_of(const Stage& stage, const std::string& frames,
                      const std::string& properties) {
  return frames + " ! " + stage.sink("role=client " + properties) + " " + stage.src(properties) +
         " ! fakesink name=out async=false";
}

void check_same(const Process::Words& wanted, const Process::Words& came) {
  for (size_t i = 0; i < std::min(wanted.size(), came.size()); ++i)
    fail_unless(wanted[i] == came[i], "packet %zu is\n%s, not\n%s", i, came[i].c_str(),
                wanted[i].c_str());
  fail_unless_equals_int(came.size(), wanted.size());
}

}  // namespace test
