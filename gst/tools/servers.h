// Which servers there are, and what they say of themselves. What they say is a stranger's.
//
// One thread asks; others of its own help it, and have ended when it returns.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <set>
#include <string>
#include <utility>
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

  // In the order of their paths. Takes twice `patience` at the most, as a rule.
  std::vector<Server> ask(std::chrono::milliseconds patience);

 private:
  struct Asked {
    Server server;
    bool was_named = false;
    std::pair<dev_t, ino_t> file = {};
    bool is_ours = false;  // of this protocol, whatever it said
  };
  void look_into(const std::string& directory, int depth, std::vector<Asked>& found) const;
  std::vector<Asked> find() const;
  static void ask(Asked& asked, std::chrono::milliseconds patience);

  std::vector<std::string> places_;
  const bool are_usual_;
  std::set<std::pair<dev_t, ino_t>> others_;  // that speak something else, and are left alone
};

}  // namespace mmaptop
