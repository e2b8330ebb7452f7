// What gst-mmap-server is told, by its command line and a file: names and values, the same in both.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "lib/result.h"

struct Profile {
  std::string name;
  std::string launch;
  std::string allow;  // of a profile of its own; else the server's
};

struct Options {
  std::vector<std::string> paths;
  std::vector<Profile> profiles;  // the first is the default
  std::string default_profile;
  std::string allow;
  std::string mmap = "yes";
  uint32_t max_clients = 1024;
  uint64_t client_memory = uint64_t{1} << 30;
  uint64_t max_memory = 0;
  uint64_t max_pixel_rate = 0;
  bool isolate = false;
  bool monitor = false;
  uint32_t perms = 0600;
  std::string group;
  std::string allowed_uids;
  uint32_t idle_timeout = 0;  // seconds; 0: none
  uint32_t drain_timeout = 10;
};

// A command line that has been looked at: --help and --version have been answered, then.
struct CommandLine {
  std::vector<std::pair<std::string, std::string>> settings;  // in their order
  std::string config;                                         // a file, or empty
  std::string launch;
  bool is_answered = false;
};

mmaplink::Result<CommandLine> parse_command_line(int argc, char** argv);
// The file's, if there is one, and then the command line's.
mmaplink::Result<Options> read_options(const CommandLine& line);
