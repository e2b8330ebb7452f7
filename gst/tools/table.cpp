#include "gst/tools/table.h"

#include <algorithm>
#include <array>
#include <cstdio>

namespace mmaptop {

namespace {

using mmaplink::JsonFields;

// What is aligned to the right is a number.
struct Column {
  const char* title = "";
  bool is_number = false;
};
constexpr std::array kColumns{
    Column{"PID", true},    Column{"ELEMENT"},       Column{"DIR"},
    Column{"PEER"},         Column{"MODE"},          Column{"FPS", true},
    Column{"MB/S", true},   Column{"BUFFERS", true}, Column{"DROPPED", true},
    Column{"COPIED", true}, Column{"FLIGHT", true},  Column{"HELD", true},
    Column{"MEMORY", true}, Column{"P50", true},     Column{"P99", true},
    Column{"MAX", true},    Column{"ENCODE", true},  Column{"PATH"},
    Column{"CAPS"},
};

std::string formatted(const char* format, double value) {
  std::array<char, 64> text{};
  snprintf(text.data(), text.size(), format, value);
  return text.data();
}

std::string time_text(uint64_t ns) {
  const auto value = static_cast<double>(ns);
  if (ns == 0) return "-";
  if (ns < 10'000'000) return formatted("%.0fus", value / 1e3);
  if (ns < 10'000'000'000) return formatted("%.0fms", value / 1e6);
  return formatted("%.0fs", value / 1e9);
}

std::string size_text(uint64_t bytes) {
  const auto value = static_cast<double>(bytes);
  if (bytes < 1 << 20) return formatted("%.0fK", value / 1024);
  return formatted("%.0fM", value / (1 << 20));
}

std::string peer_text(const JsonFields& link) {
  if (link.has("peer-place")) return link.text("peer-place");
  const uint64_t pid = link.number("peer-pid");
  return pid == 0 ? "uid " + std::to_string(link.number("peer-uid")) : std::to_string(pid);
}

std::string key_of(const Server& server, const JsonFields& link) {
  std::string key = server.path;
  for (const char* name : {"element", "direction", "peer-place"}) key += '\0' + link.text(name);
  for (const char* name : {"pid", "link", "peer-pid"})
    key += '\0' + std::to_string(link.number(name));
  return key;
}

}  // namespace

std::string printable(const std::string& text) {
  std::string shown;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    // One mark for a character of several bytes.
    if ((static_cast<unsigned char>(c) & 0xc0) == 0x80 && i > 0 && shown.back() == '?') continue;
    shown += c >= ' ' && c <= '~' ? c : '?';
  }
  return shown;
}

Table::Cells Table::cells_of(const Server& server, const JsonFields& link, const Count* before,
                             const Count& now) const {
  std::string fps = "-";
  std::string megabytes = "-";
  if (before != nullptr) {
    const double seconds = static_cast<double>(now.time - before->time) / 1e9;
    fps = formatted("%.1f", static_cast<double>(now.buffers - before->buffers) / seconds);
    megabytes = formatted("%.1f", static_cast<double>(now.bytes - before->bytes) / 1e6 / seconds);
  }
  const auto number = [&](const char* name) { return std::to_string(link.number(name)); };
  return {number("pid"),
          link.text("element"),
          link.text("direction"),
          peer_text(link),
          link.text("mode"),
          fps,
          megabytes,
          number("buffers"),
          number("dropped"),
          number("buffers-copied"),
          number("in-flight"),
          number("held"),
          size_text(link.number("arena-bytes")),
          time_text(link.number("latency-p50")),
          time_text(link.number("latency-p99")),
          time_text(link.number("latency-max")),
          time_text(link.number("encode-p50")),
          server.path,
          link.text("caps")};
}

void Table::read(const std::vector<Server>& servers) {
  std::vector<std::pair<Cells, Line::Kind>> rows;
  std::vector<std::string> remarks;
  std::map<std::string, Count> counts;
  servers_ = 0;
  Cells titles;
  for (const Column& column : kColumns) titles.emplace_back(column.title);
  rows.emplace_back(titles, Line::Kind::title);
  for (const Server& server : servers) {
    if (!server.problem.empty()) {
      remarks.push_back(server.problem);
      continue;
    }
    ++servers_;
    if (server.links.empty()) remarks.push_back(server.path + ": nobody is connected");
    for (const JsonFields& link : server.links) {
      if (link.has("left-out")) {
        remarks.push_back(server.path + ": and " + std::to_string(link.number("left-out")) +
                          " more, which are too many to show");
        continue;
      }
      const std::string key = key_of(server, link);
      const Count now{link.number("time"), link.number("buffers"), link.number("bytes"),
                      link.number("dropped")};
      const auto found = counts_.find(key);
      // Another link may have got the number of one that is gone.
      const bool goes_on = found != counts_.end() && found->second.time < now.time &&
                           found->second.buffers <= now.buffers && found->second.bytes <= now.bytes;
      const Count* before = goes_on ? &found->second : nullptr;
      const bool loses = goes_on && before->dropped < now.dropped;
      rows.emplace_back(cells_of(server, link, before, now),
                        loses ? Line::Kind::losing : Line::Kind::link);
      counts[key] = now;
    }
  }
  counts_ = std::move(counts);
  if (servers.empty()) remarks.emplace_back(kNobody);

  std::array<size_t, kColumns.size()> widths{};
  for (auto& [cells, kind] : rows)
    for (size_t i = 0; i < cells.size(); ++i) {
      cells[i] = printable(cells[i]);
      widths[i] = std::max(widths[i], cells[i].size());
    }
  lines_.clear();
  for (const auto& [cells, kind] : rows) {
    std::string text;
    for (size_t i = 0; i < cells.size(); ++i) {
      const std::string fill(widths[i] - cells[i].size(), ' ');
      text += i > 0 ? "  " : "";
      text += kColumns[i].is_number ? fill + cells[i] : cells[i] + fill;
    }
    text.erase(text.find_last_not_of(' ') + 1);
    lines_.push_back({text, kind});
  }
  for (const std::string& remark : remarks)
    lines_.push_back({printable(remark), Line::Kind::remark});
}

}  // namespace mmaptop
