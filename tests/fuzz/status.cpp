// What a server says of itself, line by line: mmaplink::JsonFields, and gst-mmap-top's table of it.
#include <algorithm>

#include "gst/tools/table.h"
#include "tests/fuzz/fuzz.h"

namespace {

void check_line(std::string_view line, mmaptop::Server& server) {
  auto fields = mmaplink::JsonFields::parse(line);
  if (!fields) return;
  const auto again = mmaplink::JsonFields::parse(fields->line());
  fuzz::check(again && again->line() == fields->line(), "what was read can be read again");
  server.links.push_back(std::move(*fields));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view left(reinterpret_cast<const char*>(data), size);
  std::vector<mmaptop::Server> servers{{"/run/link"}, {"", {}, std::string(left)}};
  while (!left.empty()) {
    const size_t end = std::min(left.find('\n'), left.size());
    check_line(left.substr(0, end), servers[0]);
    left.remove_prefix(std::min(end + 1, left.size()));
  }
  mmaptop::Table table;
  table.read(servers);
  for (mmaplink::JsonFields& link : servers[0].links) link = *mmaplink::JsonFields::parse("{}");
  table.read(servers);
  for (const auto& line : table.lines())
    fuzz::check(std::all_of(line.text.begin(), line.text.end(),
                            [](char c) { return c >= ' ' && c <= '~'; }),
                "a terminal can show it");
  return 0;
}
