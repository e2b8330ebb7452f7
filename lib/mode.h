// How a direction of a link is carried: mapped, or inline in the control socket. The words of the
// property `mmap`, what a side wishes by them, and what comes of two sides' wishes.
//
// The client asks and the server allows, each direction on its own. Both work out the outcome for
// themselves, so that either can say why it is as it is.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "lib/result.h"

namespace mmaplink {

// About one direction.
enum class Wish : uint32_t {
  no,        // inline
  if_asked,  // mapped where the other side wishes it for certain
  may,       // mapped where the other side lets us
  must,      // as a client mapped or nothing; as a server announced to clients
  path,      // of both directions or none: in a file that both sides open
  far,       // inline: no descriptor can be handed over
  last = far,
};

struct Wishes {
  Wish send = Wish::may;
  Wish receive = Wish::may;
  friend bool operator==(Wishes, Wishes) = default;
};

enum class Role { server, client };

// auto, yes, both, no, read, write, or an absolute path. Failure::settings for any other, naming
// them.
Result<Wishes> parse_mode(std::string_view word, Role role);

// The same, on a socket that no descriptor goes over. Failure::settings where one is to be mapped
// in any case.
Result<Wishes> far_wishes(Wishes own, Role role);

// What comes of it: by a true direction is mapped.
struct Mapped {
  bool to_server = true;
  bool to_client = true;
  bool in_file = false;  // both
  bool any() const { return to_server || to_client; }
  friend bool operator==(Mapped, Mapped) = default;
};
Mapped decide(Wishes client, Wishes server);

// Of one direction, as one of its sides sees it, for a person.
struct Mode {
  bool mapped = true;
  std::string why;
  bool in_file = false;
};
// Of a link, as one of its sides sees them.
struct Modes {
  Mode send;
  Mode receive;
  bool any_mapped() const { return send.mapped || receive.mapped; }
  bool in_file() const { return send.in_file; }
};
Modes modes_of(Role role, Wishes own, Wishes peers);

// Where a client must have what it has not got: what is missing. Failure::settings.
Status check_musts(Wishes client, Wishes server);

}  // namespace mmaplink
