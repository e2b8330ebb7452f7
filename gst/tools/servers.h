// Which servers there are, and what they say of themselves. What they say is a stranger's.
//
// One thread asks; others of its own help it, and have ended when it returns.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "lib/json_line.h"
#include "lib/result.h"

namespace mmaptop {

struct Server {
  std::string path;
  std::vector<mmaplink::JsonFields> links = {};  // a direction each
  std::string problem = {};                      // why nothing is known of it
};

class Servers {
 public:
  // Paths of sockets and directories; of none, the usual directories. Of a directory what answers
  // is of interest, of a path why it does not, too.
  explicit Servers(std::vector<std::string> places);

  // In the order of their paths. Takes `patience` for each 16 that are silent.
  std::vector<Server> ask(std::chrono::milliseconds patience);

 private:
  // Device, inode, and when that was changed: inodes are used again.
  using File = std::array<uint64_t, 4>;
  struct Asked {
    Server server;
    bool was_named = false;
    File file = {};
    bool is_ours = false;  // of this protocol, whatever it said
  };
  void look_into(const std::string& directory, int depth, std::vector<Asked>& found) const;
  std::vector<Asked> find() const;
  static void ask(Asked& asked, std::chrono::milliseconds patience);

  std::vector<std::string> places_;
  const bool are_usual_;
  std::set<File> others_;  // that speak something else, and are left alone
};

}  // namespace mmaptop
