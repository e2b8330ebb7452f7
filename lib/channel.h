// One control connection: whole messages out and in, descriptors with them. It never blocks.
//
// send() may be called by any thread: what the socket does not take at once is kept, up to a limit,
// and goes out when the endpoint's thread finds the socket writable. receive() is that thread's.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "lib/fd.h"
#include "lib/message.h"
#include "lib/result.h"

namespace mmaplink {

// Where the bytes of parts go, as they come.
class PartTarget {
 public:
  virtual ~PartTarget() = default;
  // A part of that size begins. An error where none is due, or another size is.
  virtual Status begin_part(size_t size) = 0;
  // Where its next bytes go, never empty before its end; then, how many have come.
  virtual std::span<std::byte> space() = 0;
  virtual Status filled(size_t size) = 0;
  // All that was read at once has been dealt with.
  virtual Status read_all() = 0;
};

class Channel {
 public:
  struct Received {
    Message message;
    Fd fd;  // where carries_fd(message)
  };

  explicit Channel(Fd socket);

  int fd() const { return socket_.get(); }
  const Fd& socket() const { return socket_; }

  // `keep` owns the descriptor until it is sent. A peer that reads nothing is an error in the end.
  Status send(const Message& message, int fd = -1, std::shared_ptr<const void> keep = nullptr);
  // A message of ours and a part of an inline item behind it. To be called only while idle().
  Status send_part(std::vector<std::byte> head, std::span<const std::byte> part,
                   std::shared_ptr<const void> keep);
  // Nothing is kept.
  bool idle() const { return !has_backlog_; }
  // Goes on with what is kept.
  Status flush();
  bool wants_to_write() const { return has_backlog_; }
  // Called, by whichever thread sends, when the socket has not taken everything: somebody must see
  // when it is writable, and flush(). To be set before another thread sends.
  void on_backlog(std::function<void()> call) { on_backlog_ = std::move(call); }
  // Makes that somebody look, without waiting for it. Any thread.
  void call_attention() const {
    if (on_backlog_) on_backlog_();
  }

  // More goes into the socket at once, for those who send much.
  void widen() const;

  // Without one, parts are an error. By the thread that receives; it outlives that.
  void set_part_target(PartTarget* target) { parts_ = target; }

  // Reads what is there. `each` gets the messages in order and returns false to stop. The result
  // is true while the peer is connected, false when it has hung up.
  Result<bool> receive(const std::function<bool(Received)>& each);

  // Ends the connection; the endpoint's thread sees the hang-up. Any thread.
  void shut_down();

 private:
  struct Pending {
    std::vector<std::byte> bytes;
    std::span<const std::byte> part;  // behind them
    size_t sent = 0;                  // of both
    int fd = -1;
    std::shared_ptr<const void> keep;
    size_t size() const { return bytes.size() + part.size(); }
  };

  Status push(Pending item);
  Status flush_locked();
  Status send_pending();
  Result<bool> read_some();  // false: end of file
  Status take_part(std::span<const std::byte> bytes);
  Result<std::optional<Received>> next();

  Fd socket_;
  std::function<void()> on_backlog_;
  mutable std::mutex mutex_;
  std::deque<Pending> pending_;
  size_t pending_bytes_ = 0;
  std::atomic<bool> has_backlog_{false};  // what was sent is not all gone
  std::vector<std::byte> input_;
  size_t input_used_ = 0;  // parsed bytes at its beginning
  std::deque<Fd> input_fds_;
  bool would_block_ = false;
  bool is_empty_ = false;  // by what the last look has found
  PartTarget* parts_ = nullptr;
  size_t part_left_ = 0;  // of the part that has begun
};

}  // namespace mmaplink
