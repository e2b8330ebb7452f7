// What benchsink does with each frame: read its stamp, check, take the time.

#pragma once

#include <cstddef>
#include <cstdint>

#include "latencies.h"
#include "sequence_check.h"
#include "stamp.h"

namespace bench {

class FrameReader {
 public:
  // Takes all memory that reading will need.
  void prepare() { sequence_.expect(kMostFrames); }

  void read(const void* frame, std::size_t size, std::uint64_t arrived_ns, bool touch);
  // One whose stamp is not in it.
  void arrived(const Stamp& stamp, std::uint64_t arrived_ns);

  // Of one that may come in pieces, and then arrives with the last: each of these, before that.
  void began(const Stamp& stamp, std::uint64_t arrived_ns);

  // The last one has come.
  bool ended() const { return ended_; }
  std::uint64_t frames() const { return frames_; }
  // Frames after the first counted one, which is the zero of the time.
  std::uint64_t counted() const { return counted_; }
  double counted_seconds() const;
  // Without a stamp that can be right, or with a pattern that is not.
  std::uint64_t damaged() const { return damaged_ + sequence_.impossible(); }
  const SequenceCheck& sequence() const { return sequence_; }
  const Latencies& latencies() const { return latencies_; }
  const Latencies& first_pieces() const { return first_pieces_; }

 private:
  SequenceCheck sequence_;
  Latencies latencies_;
  Latencies first_pieces_;
  std::uint32_t last_begun_ = ~std::uint32_t{0};
  bool ended_ = false;
  std::uint64_t frames_ = 0;
  std::uint64_t counted_ = 0;
  std::uint64_t damaged_ = 0;
  std::uint64_t first_counted_ns_ = 0;
  std::uint64_t last_counted_ns_ = 0;
};

}  // namespace bench
