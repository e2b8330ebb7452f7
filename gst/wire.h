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

class SameMetas;
class Shells;

// Descriptor::kind: what is in order with the buffers.
enum class Item : uint32_t {
  buffer = 1,
  event = 2,
  query = 3,       // an id and a question, answered by a notice
  flush_stop = 4,  // a FlushStop
};

// Note::kind, over the control socket: what is in no order with the buffers.
enum class Notice : uint32_t {
  joined = 0,       // never sent: what a sink tells itself of a new reader
  eos_done = 1,     // src → sink: seqnum of an EOS that has gone downstream
  flow = 2,         // src → sink: downstream takes no more, and why
  event = 3,        // an event that nobody waits for
  event_asked = 4,  // an id and an event; the answer says whether it was handled
  query = 5,        // an id and a question
  answer = 6,       // an id, whether it went well, and what there is to say
  flush_start = 7,  // sink → src: a FlushStart
  message = 8,      // src → sink: one of the server's pipeline
  wants = 9,        // sink → src: names of element messages that it would like to get
  latency = 10,     // sink → src: upstream's latency is another now
  flushes = 11,     // src → sink: an id; the answer is the number of the newest flush
};

struct Flow {
  GstFlowReturn flow = GST_FLOW_OK;
};

// A flush has a number, counted up by its sink: its start goes past the lane, its end comes in
// order with what follows.
struct FlushStart {
  uint32_t number = 0;
  uint32_t seqnum = 0;
};
struct FlushStop {
  uint32_t number = 0;
  uint32_t seqnum = 0;
  uint32_t reset_time = 0;
};

std::vector<std::byte> encode(const Flow& flow);
std::vector<std::byte> encode(uint32_t seqnum);
std::vector<std::byte> encode(const FlushStart& start);
std::vector<std::byte> encode(const FlushStop& stop);
std::optional<Flow> decode_flow(std::span<const std::byte> bytes);
std::optional<uint32_t> decode_seqnum(std::span<const std::byte> bytes);
std::optional<FlushStart> decode_flush_start(std::span<const std::byte> bytes);
std::optional<FlushStop> decode_flush_stop(std::span<const std::byte> bytes);

// A question's id in front of its bytes.
std::vector<std::byte> with_id(uint32_t id, std::span<const std::byte> bytes);
struct WithId {
  uint32_t id = 0;
  std::span<const std::byte> bytes;
};
std::optional<WithId> split_id(std::span<const std::byte> bytes);

// Nothing for an event that can't cross.
std::optional<std::vector<std::byte>> encode_event(GstEvent* event);
// Transfer full; nullptr where the bytes are no event. The group-id of a STREAM_START is the
// sender's: only good for telling groups of one sender apart.
GstEvent* decode_event(std::span<const std::byte> bytes);

// What a query asks, and what was answered. Nothing for a query that can't cross.
std::optional<std::vector<std::byte>> encode_question(GstQuery* query);
GstQuery* decode_question(std::span<const std::byte> bytes);  // transfer full, or nullptr
std::optional<std::vector<std::byte>> encode_answer(GstQuery* query);
// Puts an answer into the query that it belongs to. False where it makes no sense; the query may
// have a part of it then.
bool decode_answer(std::span<const std::byte> bytes, GstQuery* query);

// An ERROR, WARNING or element message. Nothing for others.
std::optional<std::vector<std::byte>> encode_message(GstMessage* message);
// As of an element here, naming the one over there. Transfer full, or nullptr.
GstMessage* decode_message(std::span<const std::byte> bytes, GstObject* source, int pid);

// Fills in a buffer's own fields, and where its memories lie. `extra` gets the bytes that go with
// the descriptor: further memories and the metas. It has those of the buffer before, as `same` knows.
void encode_buffer(GstBuffer* buffer, std::span<const mmaplink::Place> places,
                   std::span<const size_t> sizes, mmaplink::Descriptor& descriptor,
                   std::vector<std::byte>& extra, SameMetas& same);

// Memories that a buffer may have on the way; one with more is copied into one memory.
inline constexpr size_t kMostMemories = 1 + mmaplink::kMostFurther;

// One of the `shells`, or one for them later. Transfer full; nullptr where the item makes no sense.
GstBuffer* decode_buffer(mmaplink::Incoming& item,
                         const std::shared_ptr<mmaplink::ReceiveLane>& lane, Shells& shells);

}  // namespace gstmmap
