#include "lib/channel.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <tuple>
#include <utility>

#include "lib/sealed.h"
#include "lib/socket.h"

namespace mmaplink {

namespace {

constexpr size_t kMostPending = 4 << 20;  // bytes kept for a peer that does not read
constexpr size_t kMostFds = 16;           // per recvmsg
constexpr int kSendBuffer = 1 << 20;
constexpr size_t kReadSize = 16 << 10;
constexpr int kMostReads =
    16;  // at once: a peer that floods us must not have the thread for itself

Error wrong(const char* text) { return Error{Failure::protocol, text}; }

// Has what is missing faulted in (bus_errors.h), if only as zeros.
void touch(std::span<const std::byte> bytes) {
  const size_t page = page_size();
  for (size_t at = 0; at < bytes.size(); at += page)
    std::ignore = *const_cast<const volatile std::byte*>(bytes.data() + at);
  if (!bytes.empty()) std::ignore = *const_cast<const volatile std::byte*>(&bytes.back());
}

}  // namespace

Channel::Channel(Fd socket) : socket_(std::move(socket)) {}

// Of the sender of a Unix socket, up to net.core.wmem_max. Those of other families see to it
// themselves, unless told otherwise.
void Channel::widen() const {
  if (!passes_descriptors(socket_)) return;
  setsockopt(socket_.get(), SOL_SOCKET, SO_SNDBUF, &kSendBuffer, sizeof kSendBuffer);
}

Status Channel::send(const Message& message, int fd, std::shared_ptr<const void> keep) {
  Pending item{build(message), {}, 0, fd, std::move(keep)};
  if (item.bytes.size() > kMaxMessage)
    return Error{Failure::settings, "a control message of " + std::to_string(item.bytes.size()) +
                                        " bytes is too large to send"};
  return push(std::move(item));
}

Status Channel::send_part(std::vector<std::byte> head, std::span<const std::byte> part,
                          std::shared_ptr<const void> keep) {
  return push(Pending{std::move(head), part, 0, -1, std::move(keep)});
}

Status Channel::push(Pending item) {
  const std::lock_guard lock(mutex_);
  if (pending_bytes_ + item.size() > kMostPending)
    return Error{Failure::gone, "the peer does not read its control messages"};
  const bool had_backlog = has_backlog_;
  pending_bytes_ += item.size();
  pending_.push_back(std::move(item));
  auto sent = flush_locked();
  // One that is there is waited for; one that is gone lets inline items go on.
  if (had_backlog != has_backlog_ && on_backlog_) on_backlog_();
  return sent;
}

// Who sends just now is not waited for: what it leaves behind it tells of.
Status Channel::flush() {
  if (!has_backlog_) return ok();
  const std::lock_guard lock(mutex_);
  return flush_locked();
}

Status Channel::flush_locked() {
  auto sent = send_pending();
  has_backlog_ = !pending_.empty();
  return sent;
}

Status Channel::send_pending() {
  bool touched = false;
  while (!pending_.empty()) {
    Pending& item = pending_.front();
    const size_t of_head = std::min(item.sent, item.bytes.size());
    const auto part = item.part.subspan(item.sent - of_head);
    std::array<iovec, 2> pieces{iovec{item.bytes.data() + of_head, item.bytes.size() - of_head},
                                // sendmsg() only reads it
                                iovec{const_cast<std::byte*>(part.data()), part.size()}};
    msghdr header{};
    header.msg_iov = pieces.data();
    header.msg_iovlen = pieces.size();
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
      // Of a file that another peer has cut short: the kernel does not ask our handler.
      if (errno == EFAULT && !std::exchange(touched, true)) {
        touch(part);
        continue;
      }
      // The reading side finds the hang-up and says so, after what the peer still sent.
      if (errno == EPIPE || errno == ECONNRESET) {
        pending_.clear();
        pending_bytes_ = 0;
        return ok();
      }
      return system_error(errno, "sending to the peer");
    }
    item.sent += static_cast<size_t>(sent);
    if (item.sent < item.size()) continue;
    pending_bytes_ -= item.size();
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
  // What is left of a part goes where it belongs; there is nothing else to parse then.
  const auto space = part_left_ > 0 ? parts_->space() : std::span<std::byte>();
  const size_t direct = std::min(space.size(), part_left_);
  std::array<iovec, 2> pieces{iovec{space.data(), direct},
                              iovec{input_.data() + had, direct < part_left_ ? 0 : kReadSize}};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kMostFds)> control{};
  msghdr header{};
  header.msg_iov = pieces.data();
  header.msg_iovlen = pieces.size();
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  ssize_t got;
  do got = recvmsg(socket_.get(), &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  while (got < 0 && errno == EINTR);
  const int code = errno;
  const auto bytes = static_cast<size_t>(std::max<ssize_t>(got, 0));
  // Where descriptors came along the kernel may have stopped behind them.
  is_empty_ =
      got > 0 && bytes < pieces[0].iov_len + pieces[1].iov_len && CMSG_FIRSTHDR(&header) == nullptr;
  const size_t of_part = std::min(bytes, direct);
  input_.resize(had + bytes - of_part);
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
  if (of_part > 0) {
    part_left_ -= of_part;
    if (auto took = parts_->filled(of_part); !took) return took.error();
  }
  return got > 0;
}

// What of a part has been read already.
Status Channel::take_part(std::span<const std::byte> bytes) {
  while (part_left_ > 0 && !bytes.empty()) {
    const auto space = parts_->space();
    const size_t size = std::min({space.size(), part_left_, bytes.size()});
    if (size == 0) return wrong("a part has no place to go to");
    std::memcpy(space.data(), bytes.data(), size);
    bytes = bytes.subspan(size);
    input_used_ += size;
    part_left_ -= size;
    if (auto took = parts_->filled(size); !took) return took;
  }
  return ok();
}

Result<std::optional<Channel::Received>> Channel::next() {
  std::span<const std::byte> rest;
  std::optional<size_t> size;
  for (;;) {
    if (auto took = take_part(std::span<const std::byte>(input_).subspan(input_used_)); !took)
      return took.error();
    rest = std::span<const std::byte>(input_).subspan(input_used_);
    auto whole = message_size(rest);
    if (!whole) return whole.error();
    size = *whole;
    if (!size || !is_part(rest)) break;
    if (parts_ == nullptr) return wrong("a part of what is mapped");
    part_left_ = *size - kMessageHeader;
    input_used_ += kMessageHeader;
    if (auto begun = parts_->begin_part(part_left_); !begun) return begun.error();
  }
  if (!size || *size > rest.size()) return std::optional<Received>();
  auto message = parse(rest.first(*size));
  if (!message) return message.error();
  input_used_ += *size;
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
    if (parts_ != nullptr)
      if (auto took = parts_->read_all(); !took) return took.error();
    // A descriptor comes with the first byte of its message: what is left is of one that has begun.
    if (input_fds_.size() > (input_used_ < input_.size() ? 1 : 0))
      return wrong("the peer sent descriptors nobody asked for");
    if (!*open) return false;
    // Where much comes, a look that finds nothing is spared: what came meanwhile is another turn.
    if (would_block_ || (parts_ != nullptr && is_empty_)) return true;
  }
  return true;  // the socket stays readable: there is another turn
}

void Channel::shut_down() { shutdown(socket_.get(), SHUT_RDWR); }

}  // namespace mmaplink
