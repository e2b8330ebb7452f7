#include "gst/tools/servers.h"

#include <glib.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <system_error>
#include <thread>

#include "lib/status.h"
#include "lib/system.h"
#include "lib/vsock.h"

namespace mmaptop {

namespace {

using mmaplink::Failure;

constexpr size_t kMostFound = 1024;  // sockets
constexpr size_t kMostThreads = 16;

std::vector<std::string> usual_places() {
  std::vector<std::string> places{"/run", "/tmp"};
  if (const char* own = g_getenv("XDG_RUNTIME_DIR"); own != nullptr && *own == '/')
    places.emplace_back(own);
  return places;
}

bool is_directory(const std::string& path) {
  struct stat st {};
  return stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode);
}

}  // namespace

Servers::Servers(std::vector<std::string> places)
    : places_(std::move(places)), are_usual_(places_.empty()) {
  if (are_usual_) places_ = usual_places();
}

// A directory's sockets, and those of its directories.
void Servers::look_into(const std::string& directory, int depth, std::vector<Asked>& found) const {
  std::error_code wrong;
  using Entries = std::filesystem::directory_iterator;
  for (Entries at(directory, wrong); !wrong && at != Entries(); at.increment(wrong)) {
    if (found.size() >= kMostFound) return;
    const std::string path = at->path();
    struct stat st {};
    if (lstat(path.c_str(), &st) != 0) continue;
    if (S_ISDIR(st.st_mode) && depth > 0) look_into(path, depth - 1, found);
    const File file{st.st_dev, st.st_ino, static_cast<uint64_t>(st.st_ctim.tv_sec),
                    static_cast<uint64_t>(st.st_ctim.tv_nsec)};
    if (S_ISSOCK(st.st_mode) && !others_.contains(file)) found.push_back({{path}, false, file});
  }
}

std::vector<Servers::Asked> Servers::find() const {
  std::vector<Asked> found;
  for (const std::string& place : places_) {
    if (!mmaplink::is_vsock(place) && (are_usual_ || is_directory(place)))
      look_into(place, 1, found);
    else
      found.push_back({{place}, true});
  }
  // One that is named is so wherever else it was found.
  std::sort(found.begin(), found.end(), [](const Asked& a, const Asked& b) {
    const int order = a.server.path.compare(b.server.path);
    return order != 0 ? order < 0 : a.was_named && !b.was_named;
  });
  const auto same = [](const Asked& a, const Asked& b) { return a.server.path == b.server.path; };
  found.erase(std::unique(found.begin(), found.end(), same), found.end());
  return found;
}

void Servers::ask(Asked& asked, std::chrono::milliseconds patience) {
  auto lines = mmaplink::ask_status(asked.server.path, mmaplink::Clock::now() + patience);
  if (!lines) {
    asked.server.problem = lines.error().text;
    const Failure why = lines.error().failure;
    asked.is_ours = why != Failure::protocol && why != Failure::gone;
    return;
  }
  asked.is_ours = true;
  for (const std::string& line : *lines)
    if (auto fields = mmaplink::JsonFields::parse(line))
      asked.server.links.push_back(std::move(*fields));
}

std::vector<Server> Servers::ask(std::chrono::milliseconds patience) {
  auto all = find();
  std::atomic<size_t> next{0};
  const auto work = [&] {
    for (size_t i = next++; i < all.size(); i = next++) ask(all[i], patience);
  };
  std::vector<std::thread> helpers;
  while (helpers.size() + 1 < std::min(kMostThreads, all.size())) {
    auto helper = mmaplink::sys::thread(work);
    if (!helper) break;  // it takes longer
    helpers.push_back(std::move(*helper));
  }
  work();
  for (std::thread& helper : helpers) helper.join();
  std::vector<Server> servers;
  for (Asked& asked : all) {
    if (!asked.was_named && !asked.is_ours) others_.insert(asked.file);
    if (asked.was_named || asked.server.problem.empty()) servers.push_back(std::move(asked.server));
  }
  return servers;
}

}  // namespace mmaptop
