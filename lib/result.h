// What a call that can fail returns: a value, or an Error that a person can read.
//
// The library throws nothing of its own: its callers are C callbacks of GStreamer.
#pragma once

#include <cstring>
#include <string>
#include <utility>
#include <variant>

namespace mmaplink {

enum class Failure {
  settings,    // a property makes no sense
  not_found,   // a path or its directory is not there
  busy,        // somebody else has it
  permission,  // not allowed
  no_space,    // memory, descriptors or disk are used up
  limit,       // a limit that a property sets is reached
  protocol,    // the peer sent what it must not send
  gone,        // the peer hung up
  timeout,     // nobody came in time
  refused,     // the peer said no, and why
  system,      // anything else the kernel said
};

struct Error {
  Failure failure = Failure::system;
  std::string text;
};

// "what: strerror(errno)", with the failure that fits the errno.
Error system_error(int code, std::string what);

template <class T>
class [[nodiscard]] Result {
 public:
  // cppcheck-suppress noExplicitConstructor ; what a function returns becomes one
  Result(T value) : content_(std::move(value)) {}
  // cppcheck-suppress noExplicitConstructor
  Result(Error error) : content_(std::move(error)) {}

  explicit operator bool() const { return std::holds_alternative<T>(content_); }
  T& operator*() { return std::get<T>(content_); }
  T* operator->() { return &std::get<T>(content_); }
  const Error& error() const { return std::get<Error>(content_); }

 private:
  std::variant<T, Error> content_;
};

using Status = Result<std::monostate>;
inline Status ok() { return std::monostate{}; }

}  // namespace mmaplink
