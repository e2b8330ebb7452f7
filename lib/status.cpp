#include "lib/status.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

#include "lib/channel.h"
#include "lib/json_line.h"
#include "lib/layout.h"
#include "lib/socket.h"

namespace mmaplink {

namespace {

constexpr size_t kMostPartText = kMaxMessage - kMessageHeader - sizeof(uint32_t);

// Failure::timeout where that does not become so until then.
Status wait_for(int fd, short events, Deadline until) {
  using std::chrono::milliseconds;
  pollfd waits{fd, events, 0};
  for (;;) {
    const auto left = std::chrono::ceil<milliseconds>(until - Clock::now()).count();
    constexpr int64_t kLongest = 60'000;
    const int got = poll(&waits, 1, static_cast<int>(std::clamp<int64_t>(left, 0, kLongest)));
    if (got > 0) return ok();
    if (got < 0 && errno != EINTR) return system_error(errno, "waiting for the peer");
    if (until <= Clock::now()) return Error{Failure::timeout, "no answer in time"};
  }
}

// Whatever a text of several lines would be taken for.
std::string whole(std::string line) {
  std::replace(line.begin(), line.end(), '\n', ' ');
  return line + '\n';
}

StatusLines split(std::string_view text) {
  StatusLines lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    if (end > 0) lines.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

// What comes in answer.
class Answer {
 public:
  // False when nothing more is to be read.
  bool take(const Message& message) {
    if (const auto* refuse = std::get_if<Refuse>(&message))
      return end(Error{Failure::refused, refuse->text});
    const auto* part = std::get_if<StatusPart>(&message);
    if (part == nullptr) return end(Error{Failure::protocol, "it answers something else"});
    text_ += part->text;
    if (text_.size() > kMostStatus) return end(Error{Failure::protocol, "it says too much"});
    return part->last ? end(ok()) : true;
  }
  const std::optional<Status>& ended() const { return ended_; }
  StatusLines lines() const { return split(text_); }

 private:
  bool end(Status how) {
    ended_ = std::move(how);
    return false;
  }
  std::string text_;
  std::optional<Status> ended_;
};

Result<StatusLines> ask(Channel& channel, Deadline until) {
  if (auto sent = channel.send(StatusAsk{kVersion}); !sent) return sent.error();
  Answer answer;
  for (;;) {
    if (auto there = wait_for(channel.fd(), POLLIN, until); !there) return there.error();
    auto open =
        channel.receive([&](const Channel::Received& got) { return answer.take(got.message); });
    if (answer.ended()) break;
    if (!open) return open.error();
    if (!*open) return Error{Failure::gone, "it hung up without an answer"};
    // One that goes on sending is not read for ever.
    if (until <= Clock::now()) return Error{Failure::timeout, "no answer in time"};
  }
  if (!*answer.ended()) return answer.ended()->error();
  return answer.lines();
}

}  // namespace

Status check_status_version(uint32_t version) {
  if (version == kVersion) return ok();
  return Error{Failure::refused, "this server speaks version " + std::to_string(kVersion) +
                                     " of the link, who asks for its status version " +
                                     std::to_string(version) + ": take both of one release"};
}

std::vector<Message> status_parts(const StatusLines& lines) {
  constexpr size_t kLeftOut = 64;  // bytes for that line
  std::string text;
  size_t told = 0;
  for (; told < lines.size(); ++told) {
    const std::string line = whole(lines[told]);
    if (text.size() + line.size() > kMostStatus - kLeftOut) break;
    text += line;
  }
  if (told < lines.size()) text += whole(JsonLine().number("left-out", lines.size() - told).line());
  std::vector<Message> parts;
  size_t at = 0;
  do {
    const size_t size = std::min(kMostPartText, text.size() - at);
    parts.emplace_back(StatusPart{at + size == text.size(), text.substr(at, size)});
    at += size;
  } while (at < text.size());
  return parts;
}

Status answer_status(Fd socket, const StatusLines& lines, Deadline until) {
  Channel channel(std::move(socket));
  // Unread, the question would turn the end of our answer into a connection that was reset.
  if (auto read = channel.receive([](const Channel::Received&) { return true; }); !read) {
    // More than the question, which makes no sense; it is answered all the same.
  }
  for (const Message& part : status_parts(lines))
    if (auto sent = channel.send(part); !sent) return sent;
  while (!channel.idle()) {
    if (auto there = wait_for(channel.fd(), POLLOUT, until); !there) return there;
    if (auto sent = channel.flush(); !sent) return sent;
  }
  channel.shut_down();
  return ok();
}

Result<StatusLines> ask_status(const std::string& path, Deadline until) {
  auto socket = connect_to(path);
  if (!socket) return socket.error();
  const auto with_path = [&](const Error& why) {
    return Error{why.failure, path + ": " + why.text};
  };
  if (!is_connected(*socket)) {
    if (auto there = wait_for(socket->get(), POLLOUT, until); !there)
      return with_path(there.error());
    if (auto there = connection_of(*socket, path); !there) return there.error();
  }
  Channel channel(std::move(*socket));
  auto lines = ask(channel, until);
  if (!lines) return with_path(lines.error());
  return lines;
}

}  // namespace mmaplink
