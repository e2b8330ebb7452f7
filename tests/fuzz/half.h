// The language of half.cpp: a byte for each step, and what belongs to it.
#pragma once

#include <cstdint>

namespace fuzz {

enum class Step : uint8_t {
  // of the peer, into its half
  set_word,     // which (a byte), value (8 bytes)
  move_word,    // which (a byte), by how much (a signed byte)
  set_slot,     // slot (a byte), place in it (2 bytes), value (8 bytes)
  send,         // an Item: a descriptor as it should be, but for what the item says
  read,         // a byte of ReadBits: takes our next descriptor, more or less as it should
  set_receipt,  // a ticket (8 bytes), in its place
  // of ours, as a receiver
  take,
  give_back,
  wait,
  add_arena,     // number (a byte)
  retire_arena,  // number (a byte)
  // of ours, as a sender
  publish,     // a byte of PublishBits
  send_leaky,  // a byte of PublishBits: by the Sender
  withdraw_oldest,
  withdraw_all,
  wait_for_room,
  collect,
  wait_for_memory,
  leave,
  add,  // again
  last = add,
};

inline constexpr uint8_t kWords = 10;  // of a half, in the order of layout.h

struct Item {
  uint8_t arena, extra_from, extra_size, sequence;  // sequence: what is added to the right one
  uint16_t offset, size, extra_offset;
  uint16_t ticket;
};

enum ReadBits : uint8_t {
  kClaims = 1,
  kTakes = 2,
  kReturns = 4,
  kReturnsTwice = 8,
  kSkips = 16,
  kForges = 32,  // another generation
};

enum PublishBits : uint8_t {
  kDroppable = 1,
  kHolds = 2,
  kRepeats = 4,
  kExtra = 8,
  kMuchExtra = 16,  // more than a slot has
  kUpstream = 32,   // which end a leaky queue leaks at
  kShortQueue = 64,
};

}  // namespace fuzz
