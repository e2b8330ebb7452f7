// Who may meet at a control socket: its mode and group, which the kernel checks, and the uid at the
// other end, which we check (unix(7), SO_PEERCRED). Never the pid.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "lib/result.h"

namespace mmaplink {

struct Peer {
  pid_t pid = 0;  // 0 where it is in another pid namespace; never decides who may what
  uid_t uid = 0;
  std::string place = {};  // of one on another machine, which has neither: "vsock CID 3"
};
// As uid of such a one.
inline constexpr uid_t kNoUid = static_cast<uid_t>(-1);
std::string name_of(const Peer& peer);
std::string name_and_uid(const Peer& peer);

struct Access {
  mode_t mode = 0600;          // of a server's socket
  std::optional<gid_t> group;  // of it, too; the group may connect then, whatever the mode says
  // At the other end. Nothing: our own uid and root; for a server also whom the socket lets in, for
  // a client also whose directory it is.
  std::optional<std::vector<uid_t>> uids;

  mode_t whole_mode() const { return group ? mode | 0060 : mode; }
};

// What is asked for by either of two elements that share an endpoint.
Access merged(const Access& one, const Access& other);

Status may_connect(const Access& access, const Peer& client);
// `path` is where the server listens: in a directory where anybody may put a socket (/tmp) it has
// to be our own, root's, or one of `uids`.
Status may_serve(const Access& access, const Peer& server, const std::string& path);

// A name or a number. Failure::settings where there is none such.
Result<gid_t> group_named(const std::string& name);
// Numbers separated by commas, such as "1000,33".
Result<std::vector<uid_t>> parse_uids(const std::string& text);

}  // namespace mmaplink
