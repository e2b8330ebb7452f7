#include "lib/channel.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace mmaplink {

namespace {

constexpr size_t kMostPending = 4 << 20;  // bytes kept for a peer that does not read
constexpr size_t kMostFds = 16;           // per recvmsg
constexpr size_t kReadSize = 16 << 10;
constexpr int kMostReads =
    16;  // at once: a peer that floods us must not have the thread for itself

Error wrong(const char* text) { return Error{Failure::protocol, text}; }

}  // namespace

Channel::Channel(Fd socket) : socket_(std::move(socket)) {}

Status Channel::send(const Message& message, int fd, std::shared_ptr<const void> keep) {
  Pending item{build(message), 0, fd, std::move(keep)};
  if (item.bytes.size() > kMaxMessage)
    return Error{Failure::settings, "a control message of " + std::to_string(item.bytes.size()) +
                                        " bytes is too large to send"};
  const std::lock_guard lock(mutex_);
  if (pending_bytes_ + item.bytes.size() > kMostPending)
    return Error{Failure::gone, "the peer does not read its control messages"};
  const bool had_backlog = !pending_.empty();
  pending_bytes_ += item.bytes.size();
  pending_.push_back(std::move(item));
  auto sent = flush_locked();
  if (!had_backlog && !pending_.empty() && on_backlog_) on_backlog_();
  return sent;
}

Status Channel::flush() {
  const std::lock_guard lock(mutex_);
  return flush_locked();
}

bool Channel::wants_to_write() const {
  const std::lock_guard lock(mutex_);
  return !pending_.empty();
}

Status Channel::flush_locked() {
  while (!pending_.empty()) {
    Pending& item = pending_.front();
    iovec part{item.bytes.data() + item.sent, item.bytes.size() - item.sent};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    if (item.fd >= 0 && item.sent == 0) {
      header.msg_control = control.data();
      header.msg_controllen = control.size();
      cmsghdr* rights = CMSG_FIRSTHDR(&header);
      rights->cmsg_level = SOL_SOCKET;
      rights->cmsg_type = SCM_RIGHTS;
      rights->cmsg_len = CMSG_LEN(sizeof(int));
      std::memcpy(CMSG_DATA(rights), &item.fd, sizeof(int));
    }
    const ssize_t sent = sendmsg(socket_.get(), &header, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) return ok();
      // The reading side finds the hang-up and says so, after what the peer still sent.
      if (errno == EPIPE || errno == ECONNRESET) {
        pending_.clear();
        pending_bytes_ = 0;
        return ok();
      }
      return system_error(errno, "sending to the peer");
    }
    item.sent += static_cast<size_t>(sent);
    if (item.sent < item.bytes.size()) continue;
    pending_bytes_ -= item.bytes.size();
    pending_.pop_front();
  }
  return ok();
}

Result<bool> Channel::read_some() {
  if (input_used_ > 0) {
    input_.erase(input_.begin(), input_.begin() + static_cast<ptrdiff_t>(input_used_));
    input_used_ = 0;
  }
  const size_t had = input_.size();
  input_.resize(had + kReadSize);
  iovec part{input_.data() + had, kReadSize};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kMostFds)> control{};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  ssize_t got;
  do got = recvmsg(socket_.get(), &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  while (got < 0 && errno == EINTR);
  const int code = errno;
  input_.resize(had + static_cast<size_t>(std::max<ssize_t>(got, 0)));
  would_block_ = got < 0 && (code == EAGAIN || code == EWOULDBLOCK);
  if (would_block_) return true;
  if (got < 0 && code == ECONNRESET) return false;
  if (got < 0) return system_error(code, "reading from the peer");

  for (cmsghdr* part_of = CMSG_FIRSTHDR(&header); part_of != nullptr;
       part_of = CMSG_NXTHDR(&header, part_of)) {
    if (part_of->cmsg_level != SOL_SOCKET || part_of->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (part_of->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(part_of) + i * sizeof(int), sizeof fd);
      input_fds_.emplace_back(fd);  // owned from here, whatever comes next
    }
  }
  if ((header.msg_flags & MSG_CTRUNC) != 0)
    return Error{Failure::no_space,
                 "descriptors from the peer were lost: too many at once, or the limit of open "
                 "files is reached (ulimit -n)"};
  return got > 0;
}

Result<std::optional<Channel::Received>> Channel::next() {
  const auto rest = std::span<const std::byte>(input_).subspan(input_used_);
  auto size = message_size(rest);
  if (!size) return size.error();
  if (!*size || **size > rest.size()) return std::optional<Received>();
  auto message = parse(rest.first(**size));
  if (!message) return message.error();
  input_used_ += **size;
  Received received{std::move(*message), Fd()};
  if (carries_fd(received.message)) {
    if (input_fds_.empty()) return wrong("a control message came without its descriptor");
    received.fd = std::move(input_fds_.front());
    input_fds_.pop_front();
  }
  return std::optional<Received>(std::move(received));
}

Result<bool> Channel::receive(const std::function<bool(Received)>& each) {
  for (int reads = 0; reads < kMostReads; ++reads) {
    auto open = read_some();
    if (!open) return open.error();
    for (;;) {
      auto message = next();
      if (!message) return message.error();
      if (!*message) break;
      if (!each(std::move(**message))) return true;
    }
    // A descriptor comes with the first byte of its message: what is left is of one that has begun.
    if (input_fds_.size() > (input_used_ < input_.size() ? 1 : 0))
      return wrong("the peer sent descriptors nobody asked for");
    if (!*open) return false;
    if (would_block_) return true;
  }
  return true;  // the socket stays readable: there is another turn
}

void Channel::shut_down() { shutdown(socket_.get(), SHUT_RDWR); }

}  // namespace mmaplink
