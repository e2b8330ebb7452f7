// What a pad carries ⇄ what a lane carries: buffers and events as descriptors and bytes.
//
// What comes in was written by a peer: it is checked field by field, strings go through GStreamer's
// own parsers, and whatever does not parse is an error for the caller, never an assertion.
#pragma once

#include <gst/gst.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "lib/receive_lane.h"
#include "lib/send_lane.h"

namespace gstmmap {

// Descriptor::kind
enum class Item : uint32_t { buffer = 1, event = 2 };

// Note::kind, over the control socket
enum class Notice : uint32_t {
  eos_done = 1,  // src → sink: seqnum of an EOS that has gone downstream
  needs = 2,     // src → sink: what downstream of the source wants of the buffers of some caps
  flow = 3,      // src → sink: downstream takes no more, and why
  caps = 4,      // src → sink: what downstream of the source takes
};

// What downstream of a source answered to an ALLOCATION query.
struct Needs {
  uint32_t caps_seqnum = 0;  // of the CAPS event it belongs to
  uint32_t min_buffers = 0;
  uint32_t align = 0;   // a mask, as in GstAllocationParams
  uint32_t prefix = 0;  // bytes
  uint32_t padding = 0;
};

struct Flow {
  GstFlowReturn flow = GST_FLOW_OK;
};

std::vector<std::byte> encode(const Needs& needs);
std::vector<std::byte> encode(const Flow& flow);
std::vector<std::byte> encode(uint32_t seqnum);
std::vector<std::byte> encode(GstCaps* caps);
std::optional<Needs> decode_needs(std::span<const std::byte> bytes);
std::optional<Flow> decode_flow(std::span<const std::byte> bytes);
std::optional<uint32_t> decode_seqnum(std::span<const std::byte> bytes);

// Transfer full; nullptr where the bytes are no caps.
GstCaps* decode_caps(std::span<const std::byte> bytes);

// Serialized downstream events. Nothing for those that do not cross.
std::optional<std::vector<std::byte>> encode_event(GstEvent* event);
// Transfer full; nullptr where the bytes are no event. The group-id of a STREAM_START is the
// sender's: only good for telling groups of one sender apart.
GstEvent* decode_event(std::span<const std::byte> bytes);

// Fills in a buffer's own fields, and where its memories lie. `extra` gets the bytes that go with
// the descriptor: further memories and the metas.
void encode_buffer(GstBuffer* buffer, std::span<const mmaplink::Place> places,
                   std::span<const size_t> sizes, mmaplink::Descriptor& descriptor,
                   std::vector<std::byte>& extra);

// Memories that a buffer may have on the way; one with more is copied into one memory.
inline constexpr size_t kMostMemories = 16;

// Transfer full; nullptr where the item makes no sense.
GstBuffer* decode_buffer(mmaplink::Incoming& item,
                         const std::shared_ptr<mmaplink::ReceiveLane>& lane);

}  // namespace gstmmap
