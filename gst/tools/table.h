// What servers said, as rows of text for a person: each cell printable, whatever a server says.
//
// Owned by whoever shows it, and used by that thread alone. It keeps the reading before for rates.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "gst/tools/servers.h"

namespace mmaptop {

// Of ASCII: a terminal takes other bytes for orders.
std::string printable(const std::string& text);

inline constexpr auto kNobody = "no server here shows its status: set monitor=true on one";

class Table {
 public:
  struct Line {
    std::string text;
    enum class Kind { title, link, losing, remark } kind = Kind::link;
  };
  // Takes a reading in place of the one before.
  void read(const std::vector<Server>& servers);
  // The title first.
  const std::vector<Line>& lines() const { return lines_; }
  size_t links() const { return counts_.size(); }
  size_t servers() const { return servers_; }

 private:
  struct Count {
    uint64_t time = 0;  // ns, by the server's clock
    uint64_t buffers = 0;
    uint64_t bytes = 0;
    uint64_t dropped = 0;
  };
  using Cells = std::vector<std::string>;
  Cells cells_of(const Server& server, const mmaplink::JsonFields& link, const Count* before,
                 const Count& now) const;

  std::map<std::string, Count> counts_;  // by link and direction
  std::vector<Line> lines_;
  size_t servers_ = 0;
};

}  // namespace mmaptop
