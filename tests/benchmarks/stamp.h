// What benchsrc writes into a frame and benchsink reads back: a stamp in the
// first 16 bytes and, only when asked, a pattern in all the rest.
//
// Both ends run on one host, so byte order and clock are the same.

#pragma once

#include <cstddef>
#include <cstdint>

namespace bench {

// Only the source knows when start-up is over and which frame is the last one: a run is as long as
// its time, not as its number of frames. So each frame says it.
enum StampFlag : std::uint32_t {
  kCounted = 1,
  kLast = 2,
};

struct Stamp {
  std::uint32_t sequence;
  std::uint32_t flags;
  std::uint64_t pushed_ns;  // CLOCK_MONOTONIC

  bool has(StampFlag flag) const { return (flags & flag) != 0; }
};
static_assert(sizeof(Stamp) == 16);

// Marks and slots for that many are made beforehand; no run is longer.
inline constexpr std::uint32_t kMostFrames = 1u << 23;

std::uint64_t monotonic_ns();
void sleep_until(std::uint64_t deadline_ns);

void write_stamp(void* frame, const Stamp& stamp);
Stamp read_stamp(const void* frame);

// The pattern depends on the sequence number: a frame that is overwritten
// while somebody still reads it shows up as damaged.
void write_pattern(void* frame, std::size_t size, std::uint64_t sequence);
bool pattern_intact(const void* frame, std::size_t size, std::uint64_t sequence);

}  // namespace bench
