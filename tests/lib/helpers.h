// What the tests of lib/ share: a runner that finds leaked descriptors, mappings and threads, waits
// with a deadline, and the two ends of a lane or of a link in one process.
#pragma once

#include <glib.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "lib/link.h"

namespace mmaplink::test {

// --- running ----------------------------------------------------------------------------------

struct Case {
  const char* path;
  void (*run)();
};
// Runs each case, and fails one after which there are other descriptors, memfd mappings or threads
// than before it.
int run_all(int argc, char** argv, std::initializer_list<Case> cases);

// True once `condition` is; false when it has not become so for longer than anything here takes.
bool eventually(const std::function<bool()>& condition);

// Whether a thread of this process sleeps in the kernel, as one does that is blocked.
bool sleeps(pid_t thread);

// Runs `body` in a forked child: true where it returned true. The child sees a copy of the process
// without its other threads.
bool in_child(const std::function<bool()>& body);

// Open descriptors of this process, each with what it is.
std::vector<std::string> open_fds();
size_t memfd_mappings();
size_t threads();

// Whether an error is of that kind and its text has this in it.
bool says(const Error& error, Failure failure, const std::string& part);
template <class T>
bool fails(const Result<T>& result, Failure failure, const std::string& part) {
  if (result) {
    g_test_message("did not fail; expected: %s", part.c_str());
    return false;
  }
  return says(result.error(), failure, part);
}

// The value of a call that must work, as every call here that prepares something.
template <class T>
T must(Result<T> result) {
  if (!result) g_error("%s", result.error().text.c_str());
  return std::move(*result);
}
inline void must(Status status) {
  if (!status) g_error("%s", status.error().text.c_str());
}

// A directory in /tmp, gone with all that is in it.
class TempDir {
 public:
  TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir();
  std::string path(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

struct SocketPair {
  SocketPair();
  Fd a;
  Fd b;
};

// The same numbers in every run.
class Random {
 public:
  explicit Random(uint64_t seed = 1) : state_(seed * 0x9e3779b97f4a7c15) {}
  uint32_t below(uint32_t end) {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return static_cast<uint32_t>((state_ >> 16) % end);
  }
  bool one_in(uint32_t count) { return below(count) == 0; }

 private:
  uint64_t state_;
};

// --- lanes ------------------------------------------------------------------------------------

std::span<const std::byte> as_bytes(const std::string& text);
std::string as_text(std::span<const std::byte> bytes);

// Adds one to `released` when it goes.
Hold counting_hold(std::atomic<int>& released);

// What may be left out, and what must arrive. `mark` comes out as the descriptor's pts.
Outgoing frame(uint64_t mark);
Outgoing event(uint64_t mark);

// Publishes: false where there was no room. Any error fails the test.
bool put(SendLane& lane, Outgoing item, size_t max_queued = kSlots);

// A sender and a receiver in one process. Both halves are writable here, for tests that are a peer
// with bad manners.
class Lane {
 public:
  enum class Maps {
    one,  // each half mapped once, as one process sees both ends
    two,  // the peer's half is the read-only mapping that another process would have
  };
  explicit Lane(Maps maps = Maps::one);
  ~Lane();

  Half& sender_half() { return *reinterpret_cast<Half*>(sender_memory_->map.data()); }
  Half& receiver_half() { return *reinterpret_cast<Half*>(receiver_memory_->map.data()); }
  SendLane& out() { return *out_; }
  ReceiveLane& in() { return *in_; }
  const std::shared_ptr<ReceiveLane>& shared_in() { return in_; }

  // The last item taken.
  Incoming item;
  ReceiveLane::Take take() { return must(in_->take(item)); }
  // The marks of all that can be taken now; each ticket is given back.
  std::vector<uint64_t> take_all();
  // Reads the receipts: how many holds came out.
  size_t drain();

 private:
  std::shared_ptr<SealedMemory> sender_memory_;
  std::shared_ptr<SealedMemory> receiver_memory_;
  std::shared_ptr<const Mapping> sender_map_;
  std::shared_ptr<const Mapping> receiver_map_;
  std::unique_ptr<SendLane> out_;
  std::shared_ptr<ReceiveLane> in_;
};

// An arena as a peer announces it.
void announce(ReceiveLane& to, const Arena& arena);

// --- links ------------------------------------------------------------------------------------

// Two links that are each other's peer, without endpoints: pump() does what their threads would.
class LinkPair {
 public:
  LinkPair();
  Link& a() { return *a_; }
  Link& b() { return *b_; }
  const std::shared_ptr<Link>& shared_a() { return a_; }
  const std::shared_ptr<Link>& shared_b() { return b_; }

  // What b writes as a receiver, for tests in which it has bad manners, or is slow.
  Half& half_of_b() { return *reinterpret_cast<Half*>(half_b_->map.data()); }

  // Reads both control sockets. Arenas go to the lanes; what else comes is kept below.
  void pump();
  std::vector<Message> to_a;
  std::vector<Message> to_b;
  bool a_open = true;  // the peer has not hung up
  bool b_open = true;

 private:
  std::shared_ptr<SealedMemory> half_b_ = must(Link::make_half());
  std::shared_ptr<Link> a_;
  std::shared_ptr<Link> b_;
};

}  // namespace mmaplink::test
