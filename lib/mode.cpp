#include "lib/mode.h"

namespace mmaplink {

namespace {

bool is_mapped(Wish client, Wish server) {
  if (client == Wish::path || server == Wish::path) return false;
  if (client == Wish::no || server == Wish::no) return false;
  if (client == Wish::far || server == Wish::far) return false;
  return client != Wish::if_asked || server == Wish::must;
}

// Of one direction: what we wish, and what the other side does.
Mode mode_of(Role role, Wish ours, Wish theirs) {
  const Wish client = role == Role::client ? ours : theirs;
  const Wish server = role == Role::client ? theirs : ours;
  if (is_mapped(client, server)) return {true, "both sides let it be"};
  if (ours == Wish::path && theirs == Wish::path) return {false, "both sides name a file", true};
  if (ours == Wish::path) return {false, "mmap is a path here, and none at the peer"};
  if (theirs == Wish::path) return {false, "mmap is a path at the peer, and none here"};
  if (ours == Wish::far || theirs == Wish::far)
    return {false, "no descriptor goes over this kind of socket"};
  if (ours == Wish::no) return {false, "mmap is set to that here"};
  if (theirs == Wish::no) return {false, "mmap is set to that at the peer"};
  return {false, "with mmap=auto a client is read from only by a server with mmap=yes"};
}

}  // namespace

Result<Wishes> parse_mode(std::string_view word, Role role) {
  // A client that is not told otherwise lets others read from its memory only where they are made
  // for that.
  if (word == "auto") return Wishes{role == Role::client ? Wish::if_asked : Wish::may, Wish::may};
  if (word == "yes" || word == "both") return Wishes{Wish::must, Wish::must};
  if (word == "read") return Wishes{Wish::no, Wish::must};
  if (word == "write") return Wishes{Wish::must, Wish::no};
  if (word == "no") return Wishes{Wish::no, Wish::no};
  if (word.starts_with('/')) return Wishes{Wish::path, Wish::path};
  return Error{Failure::settings,
               "the value in mmap=" + std::string(word) +
                   " is none of: auto, yes, both, no, read, write, or an absolute path"};
}

Result<Wishes> far_wishes(Wishes own, Role role) {
  if (own.send == Wish::path) return own;
  if (role == Role::client && (own.send == Wish::must || own.receive == Wish::must))
    return Error{
        Failure::settings,
        "nothing can be mapped as mmap asks for here: no descriptor goes over this kind of "
        "socket; set mmap to the path of a file that both sides have, or to auto"};
  return Wishes{Wish::far, Wish::far};
}

Mapped decide(Wishes client, Wishes server) {
  return {is_mapped(client.send, server.receive), is_mapped(client.receive, server.send),
          client.send == Wish::path && server.send == Wish::path};
}

Modes modes_of(Role role, Wishes own, Wishes peers) {
  return {mode_of(role, own.send, peers.receive), mode_of(role, own.receive, peers.send)};
}

Status check_musts(Wishes client, Wishes server) {
  if (client.send == Wish::path && server.send != Wish::path)
    return Error{Failure::settings,
                 "the server has no file to be mapped: set mmap to its path there, too"};
  const Mapped mapped = decide(client, server);
  const bool send_missing = client.send == Wish::must && !mapped.to_server;
  const bool receive_missing = client.receive == Wish::must && !mapped.to_client;
  if (!send_missing && !receive_missing) return ok();
  const char* what = send_missing && receive_missing ? "what this client sends or receives"
                     : send_missing                  ? "what this client sends"
                                                     : "what this client receives";
  return Error{Failure::settings, std::string("the server does not let ") + what +
                                      " be mapped, which mmap asks for here; set mmap=yes there, "
                                      "or mmap=auto here"};
}

}  // namespace mmaplink
