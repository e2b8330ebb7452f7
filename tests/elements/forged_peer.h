// A peer that is no element: it speaks the handshake, and then does whatever a test wants. Its own
// half, its arenas and its end of the control socket are all writable.
//
// And what must be so whatever it did: it is hung up on, nothing of it is left, and nobody else
// notices. Used by the test's own thread.
#pragma once

#include <fcntl.h>

#include <vector>

#include "lib/channel.h"
#include "lib/layout.h"
#include "lib/receive_lane.h"
#include "lib/sealed.h"
#include "lib/socket.h"
#include "tests/elements/support.h"

namespace test {

// In Note::kind: for the sink over there, not for the source.
inline constexpr uint32_t kForSink = 0x100;
inline constexpr mmaplink::Lanes kReads{false, true};
inline constexpr mmaplink::Lanes kSends{true, false};
// As a server of encoders has it, so that all is mapped.
inline constexpr mmaplink::Wishes kMapsAll{mmaplink::Wish::must, mmaplink::Wish::must};

class ForgedPeer {
 public:
  explicit ForgedPeer(const std::string& path);  // a client
  explicit ForgedPeer(mmaplink::Fd socket);      // what a ForgedServer has accepted
  ForgedPeer(const ForgedPeer&) = delete;
  ForgedPeer& operator=(const ForgedPeer&) = delete;

  // The whole handshake, as a client or as a server.
  void greet_server(mmaplink::Lanes lanes);
  void greet_client(mmaplink::Lanes lanes);
  // As a reader whose sink has a good one already; declines what it is asked meanwhile.
  void join(const Harness& sink);
  // What it has been asked and has not declined yet. To decline says no to all of them: how many
  // there were.
  std::vector<const mmaplink::Note*> questions() const;
  int decline();

  mmaplink::Half& own() { return *reinterpret_cast<mmaplink::Half*>(half_.map.data()); }
  const mmaplink::Fd& own_fd() const { return half_.fd; }
  const mmaplink::Half& theirs() const {
    return *reinterpret_cast<const mmaplink::Half*>(theirs_.data());
  }

  // False where the other side has hung up.
  bool send(const mmaplink::Message& message, const std::vector<int>& fds = {});
  bool send_bytes(std::span<const std::byte> bytes, const std::vector<int>& fds = {});
  void note(uint32_t kind, std::vector<std::byte> bytes);

  // As a sender. An arena that was announced, with all of its pages writable.
  std::byte* announce(uint32_t number, size_t size);
  // Into the next slot, with the right sequence unless it has one of its own.
  void publish(mmaplink::Descriptor descriptor, std::span<const std::byte> extra = {});
  void publish_event(GstEvent* event);  // takes it
  // Stream-start, caps and segment, then arena 1 of two frames.
  std::byte* begin_stream(const char* caps = kVideo);
  // A frame in arena 1: its number in each byte, as those of a Harness.
  void publish_number(uint64_t number);

  // Closes the connection, and keeps its memory.
  void hang_up() { channel_.shut_down(); }

  // As a receiver: the receipt as it is.
  void give_back(uint64_t ticket);

  // Reads what has come: false once the other side has hung up.
  bool look();
  // What came since, oldest first.
  std::vector<mmaplink::Message> messages;
  std::vector<mmaplink::Fd> fds;  // of the messages that carry one
  // Of the REFUSE that came last; empty where there was none.
  std::string refusal() const;
  // Until the hang-up, which must come: its refusal.
  std::string wait_hang_up();

 private:
  template <class Greeting>
  void wait_greeting();

  mmaplink::SealedMemory half_;
  mmaplink::Mapping theirs_;
  mmaplink::Channel channel_;
  std::vector<mmaplink::SealedMemory> arenas_;
  size_t declined_ = 0;  // of messages
  bool open_ = true;
};

// Where clients are accepted by hand.
class ForgedServer {
 public:
  explicit ForgedServer(const std::string& path);
  mmaplink::Fd accept();

 private:
  mmaplink::Listener listener_;
};

// A sink with a good reader, frame after frame in lock step: none may be missing or spoilt.
class Play {
 public:
  explicit Play(const Scene& scene, const std::string& properties = "");
  void step();
  // Frames go on until it is so; at most some thousand.
  bool until(const std::function<bool()>& condition);

  // One peer after the other does its worst, and is a reader first where it `joins`. It is hung up
  // on with these words, all that it held is free, and the good reader goes on.
  void attack(const char* name, bool joins, const std::function<void(ForgedPeer&)>& does,
              const std::string& refusal);
  // The same, where any words do.
  void attack(const char* name, bool joins, const std::function<void(ForgedPeer&)>& does);

  Harness sink, reader;

 private:
  void run(const char* name, bool joins, const std::function<void(ForgedPeer&)>& does,
           const std::string* refusal);
  const std::string path_;
  guint64 next_ = 0;
};

// A source that is a server, and a peer that sends to it: a stream has begun.
class Feed {
 public:
  explicit Feed(const Scene& scene);

  Harness source;
  ForgedPeer peer;
  std::byte* arena = nullptr;  // number 1, the peer's
};

// What a sender does to a source, once as its client and once as its server. The peer is hung up on
// with these words. A server goes on, and a good client's frames come; a client has one error.
void attack_source(const char* name, const std::function<void(ForgedPeer&)>& does,
                   const std::string& refusal);
void attack_source(const char* name, const std::function<void(ForgedPeer&)>& does);

// A memfd with these seals, of which the first `backed` bytes are there.
mmaplink::Fd memfd(size_t size, int seals, size_t backed);
inline constexpr int kAllSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;

// The value of a call that must work.
template <class T>
T must(mmaplink::Result<T> result) {
  fail_unless(static_cast<bool>(result), "%s", result ? "" : result.error().text.c_str());
  return std::move(*result);
}

}  // namespace test
