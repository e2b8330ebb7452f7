// Runs a program that may make the system calls of a list and no others, for good, and its children
// with it: a seccomp filter as a sandbox has one.
//
//   allow-only [--kill] [--without CALL]... LIST COMMAND [ARGUMENT]...
//
//   LIST             a file with a name on each line; what follows a # is not heeded
//   --kill           another call ends the process (SIGSYS); else it fails, with EPERM
//   --without CALL   which is on the list, and is not allowed all the same
//
// Sockets may be AF_UNIX only. Memory may not be writable and executable, nor become executable, as
// with systemd's MemoryDenyWriteExecute=.
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <fstream>
#include <memory>
#include <string>
#include <system_error>
#include <type_traits>
#include <vector>

namespace {

constexpr int kWrongUse = 2;
constexpr int kCannot = 126;  // what a shell exits with where it can't run a program

struct Wishes {
  bool kill = false;
  std::vector<std::string> without;
  std::string list;
  char** command = nullptr;
};

struct Release {
  void operator()(void* filter) const { seccomp_release(filter); }
};
using Filter = std::unique_ptr<std::remove_pointer_t<scmp_filter_ctx>, Release>;

// False where it is used wrongly.
bool read_arguments(char** argument, Wishes& wishes) {
  for (; *argument != nullptr && **argument == '-'; ++argument) {
    const std::string option = *argument;
    if (option == "--kill") {
      wishes.kill = true;
    } else if (option == "--without" && argument[1] != nullptr) {
      wishes.without.emplace_back(*++argument);
    } else {
      return false;
    }
  }
  if (argument[0] == nullptr || argument[1] == nullptr) return false;
  wishes.list = argument[0];
  wishes.command = argument + 1;
  return true;
}

// Empty where there is nothing to read.
std::vector<std::string> read_list(const std::string& path) {
  std::vector<std::string> names;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    line.erase(std::min(line.find('#'), line.size()));
    const size_t first = line.find_first_not_of(" \t");
    if (first == std::string::npos) continue;
    names.push_back(line.substr(first, line.find_last_not_of(" \t") + 1 - first));
  }
  return names;
}

// Those of a call's arguments that all have to be so for it to be allowed.
using Conditions = std::vector<scmp_arg_cmp>;

scmp_arg_cmp bits_of(unsigned argument, int mask, int bits) {
  return {argument, SCMP_CMP_MASKED_EQ, static_cast<scmp_datum_t>(mask),
          static_cast<scmp_datum_t>(bits)};
}

// One of these has to hold.
std::vector<Conditions> conditions_of(const std::string& name) {
  constexpr unsigned kProtection = 2;
  constexpr int kBoth = PROT_WRITE | PROT_EXEC;
  if (name == "socket" || name == "socketpair") return {{{0, SCMP_CMP_EQ, AF_UNIX, 0}}};
  if (name == "mmap")
    return {{bits_of(kProtection, PROT_EXEC, 0)}, {bits_of(kProtection, kBoth, PROT_EXEC)}};
  if (name == "mprotect") return {{bits_of(kProtection, PROT_EXEC, 0)}};
  return {{}};
}

// 0, or what is wrong, as an error number.
int allow(const Filter& filter, const std::string& name) {
  const int call = seccomp_syscall_resolve_name(name.c_str());
  if (call == __NR_SCMP_ERROR) return ENOSYS;
  for (const Conditions& all : conditions_of(name)) {
    const int code = seccomp_rule_add_array(filter.get(), SCMP_ACT_ALLOW, call,
                                            static_cast<unsigned>(all.size()), all.data());
    if (code != 0) return -code;
  }
  return 0;
}

int complain(const std::string& what, int code) {
  std::fprintf(stderr, "allow-only: %s: %s\n", what.c_str(),
               std::generic_category().message(code).c_str());
  return kCannot;
}

int run(const Wishes& wishes) {
  std::vector<std::string> names = read_list(wishes.list);
  if (names.empty()) return complain("no calls are listed in " + wishes.list, ENOENT);
  for (const std::string& name : wishes.without)
    if (std::erase(names, name) == 0) return complain(name + " in " + wishes.list, ENOENT);

  const Filter filter(seccomp_init(wishes.kill ? SCMP_ACT_KILL_PROCESS : SCMP_ACT_ERRNO(EPERM)));
  if (!filter) return complain("a filter", ENOMEM);
  for (const std::string& name : names)
    if (const int code = allow(filter, name); code != 0) return complain("allowing " + name, code);
  // It sets no_new_privs too.
  if (const int code = seccomp_load(filter.get()); code != 0)
    return complain("installing the filter", -code);
  execvp(wishes.command[0], wishes.command);
  return complain(wishes.command[0], errno);
}

}  // namespace

int main(int, char** argv) {
  Wishes wishes;
  if (!read_arguments(argv + 1, wishes)) {
    std::fputs("usage: allow-only [--kill] [--without CALL]... LIST COMMAND [ARGUMENT]...\n",
               stderr);
    return kWrongUse;
  }
  return run(wishes);
}
