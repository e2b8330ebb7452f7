#include "lib/access.h"

#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <string_view>
#include <system_error>

#include "lib/socket.h"

namespace mmaplink {

namespace {

bool has(const std::vector<uid_t>& uids, uid_t uid) {
  return std::find(uids.begin(), uids.end(), uid) != uids.end();
}

bool is_own_or_root(uid_t uid) { return uid == geteuid() || uid == 0; }

// 2^32 - 1 is no id: chown(2) takes it for "as it is".
std::optional<uint32_t> parse_id(std::string_view text) {
  uint32_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc{} || end != text.data() + text.size() || id == ~uint32_t{0})
    return std::nullopt;
  return id;
}

}  // namespace

std::string name_of(const Peer& peer) {
  if (!peer.place.empty()) return peer.place;
  return peer.pid != 0 ? "process " + std::to_string(peer.pid) : "a process of another namespace";
}

std::string name_and_uid(const Peer& peer) {
  if (!peer.place.empty()) return name_of(peer);
  return name_of(peer) + " (uid " + std::to_string(peer.uid) + ")";
}

Access merged(const Access& one, const Access& other) {
  Access both{one.mode | other.mode, one.group ? one.group : other.group,
              one.uids ? one.uids : other.uids};
  if (one.uids && other.uids)
    both.uids->insert(both.uids->end(), other.uids->begin(), other.uids->end());
  return both;
}

Status may_connect(const Access& access, const Peer& client) {
  if (!client.place.empty() && !access.uids) return ok();  // nothing is known of its user
  // Without a list the mode of the socket decides, as far as it is open to others at all.
  const bool may = access.uids ? has(*access.uids, client.uid)
                               : is_own_or_root(client.uid) || (access.whole_mode() & 077) != 0;
  if (may) return ok();
  return Error{Failure::refused, "uid " + std::to_string(client.uid) +
                                     " may not connect: allowed-uids of the server has " +
                                     (access.uids ? "no such uid" : "its own uid and root only")};
}

Status may_serve(const Access& access, const Peer& server, const std::string& path) {
  if (!server.place.empty() && !access.uids) return ok();
  if (access.uids ? has(*access.uids, server.uid) : is_own_or_root(server.uid)) return ok();
  struct stat st {};
  const std::string directory = directory_of(path);
  if (!access.uids && stat(directory.c_str(), &st) == 0 && (st.st_mode & S_IWOTH) == 0) return ok();
  return Error{Failure::permission, "the server on " + path + " runs as uid " +
                                        std::to_string(server.uid) +
                                        ", which is not trusted: add it to allowed-uids"};
}

Result<gid_t> group_named(const std::string& name) {
  if (const auto id = parse_id(name)) return gid_t{*id};
  group entry{};
  group* found = nullptr;
  std::vector<char> buffer(1024);
  constexpr size_t kMostBuffer = 1 << 20;
  int code = ERANGE;
  while ((code = getgrnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found)) ==
             ERANGE &&
         buffer.size() < kMostBuffer)
    buffer.resize(buffer.size() * 2);
  if (found != nullptr) return found->gr_gid;
  return Error{Failure::settings,
               "there is no group " + name +
                   (code != 0 ? ": " + std::generic_category().message(code) : "")};
}

Result<std::vector<uid_t>> parse_uids(const std::string& text) {
  std::vector<uid_t> uids;
  std::string_view rest = text;
  for (;;) {
    const size_t comma = rest.find(',');
    const auto id = parse_id(rest.substr(0, comma));
    if (!id)
      return Error{Failure::settings,
                   "allowed-uids=" + text + " is no list of numbers such as 0,1000"};
    uids.push_back(*id);
    if (comma == std::string_view::npos) return uids;
    rest.remove_prefix(comma + 1);
  }
}

}  // namespace mmaplink
