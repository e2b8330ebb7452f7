#include "gst/tools/metrics.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>

#include "gst/tools/table.h"
#include "lib/socket.h"

namespace mmaptop {

namespace {

using mmaplink::Clock;
using mmaplink::Deadline;
using mmaplink::Fd;
using mmaplink::JsonFields;

constexpr auto kForOneClient = std::chrono::seconds(2);
constexpr size_t kMostRequest = 8192;

struct Metric {
  const char* name = "";
  const char* field = "";
  const char* type = "";
  const char* help = "";
  bool is_time = false;
};
constexpr std::array kMetrics{
    Metric{"buffers_total", "buffers", "counter", "Buffers sent or received."},
    Metric{"bytes_total", "bytes", "counter", "Bytes of these."},
    Metric{"dropped_total", "dropped", "counter", "Buffers that a reader has missed."},
    Metric{"copied_buffers_total", "buffers-copied", "counter", "Buffers that were copied."},
    Metric{"copied_bytes_total", "bytes-copied", "counter", "Bytes of these."},
    Metric{"in_flight", "in-flight", "gauge", "Buffers that wait to be read or are held."},
    Metric{"held", "held", "gauge", "Buffers that the reader holds."},
    Metric{"arenas", "arenas", "gauge", "Pieces of payload memory."},
    Metric{"arena_bytes", "arena-bytes", "gauge", "Bytes of these."},
    Metric{"latency_p50_seconds", "latency-p50", "gauge", "Publish to receive, median.", true},
    Metric{"latency_p99_seconds", "latency-p99", "gauge", "Publish to receive, 99 %.", true},
    Metric{"latency_max_seconds", "latency-max", "gauge", "Publish to receive, the longest.", true},
    Metric{"encode_p50_seconds", "encode-p50", "gauge", "Receive to send back, median.", true},
    Metric{"encode_p99_seconds", "encode-p99", "gauge", "Receive to send back, 99 %.", true},
    Metric{"encode_max_seconds", "encode-max", "gauge", "Receive to send back, the longest.", true},
};

std::string label(const char* name, const std::string& value) {
  std::string text = std::string(name) + "=\"";
  for (const char c : printable(value)) {
    if (c == '"' || c == '\\') text += '\\';
    text += c;
  }
  return text + '"';
}

std::string labels_of(const Server& server, const JsonFields& link) {
  const auto number = [&](const char* name) { return std::to_string(link.number(name)); };
  return '{' + label("path", server.path) + ',' + label("pid", number("pid")) + ',' +
         label("element", link.text("element")) + ',' + label("direction", link.text("direction")) +
         ',' + label("peer_pid", number("peer-pid")) + ',' + label("link", number("link")) + '}';
}

std::string seconds_text(uint64_t ns) {
  std::string below = std::to_string(ns % 1'000'000'000);
  below.insert(0, 9 - below.size(), '0');
  return std::to_string(ns / 1'000'000'000) + '.' + below;
}

mmaplink::Status wait_for(int fd, short events, Deadline until) {
  using std::chrono::milliseconds;
  for (;;) {
    pollfd waits{fd, events, 0};
    const auto left = std::chrono::ceil<milliseconds>(until - Clock::now()).count();
    if (left <= 0) return mmaplink::Error{mmaplink::Failure::timeout, "too slow"};
    if (poll(&waits, 1, static_cast<int>(left)) > 0) return mmaplink::ok();
  }
}

// The first line of a request, as soon as its end has come.
std::string read_request(const Fd& client, Deadline until) {
  std::string request;
  std::array<char, 1024> bytes{};
  while (request.size() < kMostRequest && request.find("\r\n\r\n") == std::string::npos) {
    if (!wait_for(client.get(), POLLIN, until)) return {};
    const ssize_t got = recv(client.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (got <= 0) return {};
    request.append(bytes.data(), static_cast<size_t>(got));
  }
  return request.substr(0, request.find("\r\n"));
}

void write_reply(const Fd& client, std::string_view text, Deadline until) {
  while (!text.empty()) {
    const ssize_t sent = send(client.get(), text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0) {
      text.remove_prefix(static_cast<size_t>(sent));
    } else if (errno != EINTR && (errno != EAGAIN || !wait_for(client.get(), POLLOUT, until))) {
      return;
    }
  }
}

void serve(const Fd& client, Servers& servers, std::chrono::milliseconds patience) {
  const std::string request = read_request(client, Clock::now() + kForOneClient);
  const bool is_good = request.starts_with("GET / ") || request.starts_with("GET /metrics ");
  if (request.empty()) return;
  const std::string body = is_good ? prometheus_text(servers.ask(patience)) : "GET /metrics\n";
  const std::string reply = std::string("HTTP/1.0 ") + (is_good ? "200 OK" : "404 Not Found") +
                            "\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: " +
                            std::to_string(body.size()) + "\r\n\r\n" + body;
  write_reply(client, reply, Clock::now() + kForOneClient);
}

}  // namespace

std::string prometheus_text(const std::vector<Server>& servers) {
  std::string text =
      "# HELP gst_mmap_up Whether the server told its status.\n# TYPE gst_mmap_up gauge\n";
  for (const Server& server : servers)
    text.append("gst_mmap_up{")
        .append(label("path", server.path))
        .append(server.problem.empty() ? "} 1\n" : "} 0\n");
  for (const Metric& metric : kMetrics) {
    const std::string name = std::string("gst_mmap_") + metric.name;
    text.append("# HELP ").append(name).append(" ").append(metric.help);
    text.append("\n# TYPE ").append(name).append(" ").append(metric.type).append("\n");
    for (const Server& server : servers)
      for (const JsonFields& link : server.links) {
        if (!link.has(metric.field)) continue;
        const uint64_t value = link.number(metric.field);
        text.append(name).append(labels_of(server, link)).append(" ");
        text.append(metric.is_time ? seconds_text(value) : std::to_string(value)).append("\n");
      }
  }
  return text;
}

mmaplink::Status serve_metrics(const std::string& path, Servers& servers,
                               std::chrono::milliseconds patience, const Signals& signals) {
  auto listener = mmaplink::Listener::open(path, {});
  if (!listener) return listener.error();
  for (;;) {
    std::array<pollfd, 2> fds{pollfd{listener->fd(), POLLIN, 0}, pollfd{signals.fd(), POLLIN, 0}};
    if (poll(fds.data(), fds.size(), -1) < 0) continue;
    if (fds[1].revents != 0 && is_ended(signals, Clock::now())) return mmaplink::ok();
    auto client = listener->accept();
    if (!client) return client.error();
    if (*client) serve(*client, servers, patience);
  }
}

}  // namespace mmaptop
