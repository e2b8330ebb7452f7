// What an endpoint's two sides wish to have mapped, together, and what becomes of links that were
// made for something else. With the endpoint's mutex, or before it is started.
#include <algorithm>

#include "lib/endpoint.h"

namespace mmaplink {

// What a link is made for where that side is not there (yet): mmap=auto.
Endpoint::User Endpoint::nobody(Side which) const {
  User user;
  if (which == Side::sink && key_.role == Role::client) user.wish = Wish::if_asked;
  return user;
}

// Whether a client's link is there that was made for another wish.
bool Endpoint::has_settled_otherwise(Side which, Wish wish) const {
  const std::lock_guard lock(mutex_);
  return std::any_of(connections_.begin(), connections_.end(), [&](const auto& one) {
    const Wishes& made_for = one.second.wishes;
    const Wish made = which == Side::sink ? made_for.send : made_for.receive;
    // A file is for both sides, whichever names it.
    return made != wish && made != Wish::far && (made != Wish::path || wish == Wish::path);
  });
}

const std::string& Endpoint::file() const {
  return side(Side::sink).file.empty() ? side(Side::src).file : side(Side::sink).file;
}

Wishes Endpoint::wishes() const {
  if (!file().empty()) return {Wish::path, Wish::path};
  return {side(Side::sink).wish, side(Side::src).wish};
}

// A server's: links that map what is not to be mapped any more.
void Endpoint::end_links_that_map(Side which) {
  for (const auto& [fd, connection] : connections_) {
    if (!connection.link) continue;
    const Modes& modes = connection.link->modes();
    if ((which == Side::sink ? modes.send : modes.receive).mapped)
      connection.link->hang_up("the server does not let that be mapped any more");
  }
}

void Endpoint::end_links_without_file() {
  for (const auto& [fd, connection] : connections_)
    if (connection.link && !connection.link->region())
      connection.link->hang_up("the server has a file for what it lets be mapped now");
}

// A file is for both directions: the other element of the link names it, too, or nothing.
Status Endpoint::suits(Side which, Wish wish, const std::string& file) const {
  const User& other = side(which == Side::sink ? Side::src : Side::sink);
  if (other.user == nullptr) return ok();
  if (file.empty() ? other.file.empty() || wish != Wish::no
                   : file == other.file || (other.file.empty() && other.wish != Wish::no))
    return ok();
  return Error{Failure::settings,
               "mmap=" + (file.empty() ? other.file : file) +
                   " at one element of this link is for both: set mmap to that, to auto or to yes "
                   "at the other one"};
}

}  // namespace mmaplink
