// Writing and reading of stamp and pattern; see stamp.h.

#include "stamp.h"

#include <cerrno>
#include <cstring>
#include <ctime>

namespace bench {

namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;

// An odd multiplier: every sequence number has a word of its own, and no two
// neighbours share most of their bits.
std::uint64_t pattern_word(std::uint64_t sequence) { return (sequence + 1) * 0x9E3779B97F4A7C15u; }

}  // namespace

std::uint64_t monotonic_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * kSecond + static_cast<std::uint64_t>(now.tv_nsec);
}

void sleep_until(std::uint64_t deadline_ns) {
  timespec deadline{};
  deadline.tv_sec = static_cast<time_t>(deadline_ns / kSecond);
  deadline.tv_nsec = static_cast<long>(deadline_ns % kSecond);
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &deadline, nullptr) == EINTR) {
  }
}

void write_stamp(void* frame, const Stamp& stamp) { std::memcpy(frame, &stamp, sizeof stamp); }

Stamp read_stamp(const void* frame) {
  Stamp stamp{};
  std::memcpy(&stamp, frame, sizeof stamp);
  return stamp;
}

void write_pattern(void* frame, std::size_t size, std::uint64_t sequence) {
  const std::uint64_t word = pattern_word(sequence);
  auto* at = static_cast<unsigned char*>(frame) + sizeof(Stamp);
  std::size_t left = size - sizeof(Stamp);
  for (; left >= sizeof word; at += sizeof word, left -= sizeof word)
    std::memcpy(at, &word, sizeof word);
  std::memcpy(at, &word, left);
}

bool pattern_intact(const void* frame, std::size_t size, std::uint64_t sequence) {
  const std::uint64_t word = pattern_word(sequence);
  const auto* at = static_cast<const unsigned char*>(frame) + sizeof(Stamp);
  std::size_t left = size - sizeof(Stamp);
  // No early return: the reader is to read every byte, as an encoder would.
  std::uint64_t difference = 0;
  for (; left >= sizeof word; at += sizeof word, left -= sizeof word) {
    std::uint64_t found = 0;
    std::memcpy(&found, at, sizeof found);
    difference |= found ^ word;
  }
  return std::memcmp(at, &word, left) == 0 && difference == 0;
}

}  // namespace bench
