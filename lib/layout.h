// What lies where in a half: the memory of a link that one side writes and the other maps
// read-only. Only structs, offsets and limits; no logic. Changing anything here changes kVersion.
//
// Each index is counted up for ever and lives on a cache line of its own, or on one with words of
// the same writer and the same reader. Numbers are in the host's byte order: both sides are
// processes of one host, and the handshake checks it.
//
//   as a sender a side writes     head, revoked, writer_wants, receipts_waiting, slots
//   as a receiver a side writes   claimed, taken, reader_waiting, receipt_head, receipts, latency
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace mmaplink {

inline constexpr uint32_t kMagic = 0x6d6d6170;  // "mmap" read as a big-endian number
inline constexpr uint32_t kVersion = 6;

inline constexpr uint64_t kSlots = 512;           // descriptors a ring holds
inline constexpr uint64_t kReceipts = 16384;      // receipts not yet read, at the most
inline constexpr uint64_t kRows = kReceipts / 2;  // descriptors a peer may hold unreturned
inline constexpr size_t kSlotSize = 512;
inline constexpr size_t kMostArenas = 512;         // that a peer may announce: a descriptor each
inline constexpr size_t kMostForeignArenas = 128;  // of these, memory that the sender has not made
inline constexpr size_t kCacheLine = 64;

static_assert(std::atomic<uint64_t>::is_always_lock_free, "indices are shared between processes");

// The sender's data is not tied to CLOCK_MONOTONIC: it is not live, or has another clock.
inline constexpr uint64_t kNoBaseTime = ~uint64_t{0};
// Likewise, of a stream that comes back: running time is to stay as it is.
inline constexpr uint64_t kKeepsTime = kNoBaseTime - 1;

// Where the bytes that belong to a descriptor are.
enum class ExtraFrom : uint32_t {
  block = 0,
  slot = 1,
  before = 2,  // the same as those of the item before, which must have had some
};

// One thing that crosses, in order with all others of its lane. A descriptor is plain data that
// the receiver copies out and validates before it uses any of it.
struct Descriptor {
  uint64_t sequence = 0;  // index in the lane + 1: tells a slot that has been written over
  uint64_t first = 0;     // its sequence when it was published first, if it was withdrawn since
  uint64_t ticket = 0;    // what the receipt repeats; 0: nothing to give back
  uint32_t kind = 0;      // for the layer above
  uint32_t flags = 0;     // for the layer above
  // the payload memory: a block of an arena (size 0: none)
  uint32_t arena = 0;
  uint32_t extra_arena = 0;
  uint64_t offset = 0;
  uint64_t size = 0;
  // bytes that belong to the descriptor: in the slot, or in a block where they do not fit
  uint64_t extra_offset = 0;
  uint32_t extra_size = 0;
  uint32_t extra_from = 0;  // an ExtraFrom
  // GstBuffer's own fields, bit for bit
  uint64_t pts = 0;
  uint64_t dts = 0;
  uint64_t duration = 0;
  uint64_t media_offset = 0;
  uint64_t media_offset_end = 0;
  // CLOCK_MONOTONIC in ns: when it was published, and what running time 0 is at the sender
  uint64_t published = 0;
  uint64_t base_time = kNoBaseTime;
};

// An item that has memory and extra bytes may have further memories: the bytes begin with how many,
// a number of 64 bits, and as many of these.
struct FurtherPlace {
  uint64_t offset = 0;
  uint64_t size = 0;
  uint32_t arena = 0;
  uint32_t zero = 0;
};
inline constexpr uint64_t kMostFurther = 15;
static_assert(sizeof(FurtherPlace) == 24);

inline constexpr size_t kSlotExtra = kSlotSize - sizeof(Descriptor);

struct alignas(kCacheLine) Slot {
  Descriptor descriptor;
  std::array<std::byte, kSlotExtra> extra;
};

struct Half {
  alignas(kCacheLine) std::atomic<uint64_t> head;     // descriptors published
  alignas(kCacheLine) std::atomic<uint64_t> revoked;  // those below are withdrawn if not claimed
  alignas(kCacheLine) std::atomic<uint64_t> claimed;  // of the peer's: those below are being read
  std::atomic<uint64_t> taken;                        // of the peer's: slots below are free again
  alignas(kCacheLine) std::atomic<uint64_t> receipt_head;    // receipts written
  alignas(kCacheLine) std::atomic<uint64_t> reader_waiting;  // != 0: wake me on head >= this
  alignas(kCacheLine) std::atomic<uint64_t> writer_wants;    // != 0: wake me on claimed >= this
  alignas(
      kCacheLine) std::atomic<uint64_t> receipts_waiting;  // != 0: wake me on receipt_head >= this
  alignas(kCacheLine) std::atomic<uint64_t> latency_p50;   // ns, for the sender's stats only
  std::atomic<uint64_t> latency_p99;
  alignas(kCacheLine) std::array<std::atomic<uint64_t>, kReceipts> receipts;
  std::array<Slot, kSlots> slots;
};

static_assert(sizeof(Descriptor) == 128 && std::is_trivially_copyable_v<Descriptor>);
static_assert(sizeof(Descriptor) % sizeof(uint64_t) == 0 && kSlotExtra % sizeof(uint64_t) == 0);
static_assert(sizeof(Slot) == kSlotSize);
static_assert(std::is_standard_layout_v<Half>);
static_assert(offsetof(Half, receipts) == 8 * kCacheLine);
static_assert(offsetof(Half, slots) == offsetof(Half, receipts) + kReceipts * sizeof(uint64_t));

}  // namespace mmaplink
