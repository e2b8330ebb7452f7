#include "gst/wire.h"

#include <gst/video/video.h>

#include "gst/bytes.h"
#include "gst/gstmmapmemory-private.h"
#include "gst/shells.h"
#include "gst/wire-meta.h"

namespace gstmmap {

using mmaplink::Descriptor;
using mmaplink::FurtherPlace;
using mmaplink::Incoming;
using mmaplink::Place;

// --- notices ----------------------------------------------------------------------------------

template <class T>
static std::vector<std::byte> plain(const T& value) {
  std::vector<std::byte> bytes;
  BytesOut(bytes).put(value);
  return bytes;
}

template <class T>
static std::optional<T> from_plain(std::span<const std::byte> bytes) {
  BytesIn from(bytes);
  const T value = from.get<T>();
  return from.complete() ? std::optional(value) : std::nullopt;
}

std::vector<std::byte> encode(const Flow& flow) { return plain(static_cast<int32_t>(flow.flow)); }
std::vector<std::byte> encode(uint32_t seqnum) { return plain(seqnum); }
std::vector<std::byte> encode(const FlushStart& start) { return plain(start); }
std::vector<std::byte> encode(const FlushStop& stop) { return plain(stop); }

std::optional<uint32_t> decode_seqnum(std::span<const std::byte> bytes) {
  return from_plain<uint32_t>(bytes);
}

std::optional<FlushStart> decode_flush_start(std::span<const std::byte> bytes) {
  return from_plain<FlushStart>(bytes);
}

std::optional<FlushStop> decode_flush_stop(std::span<const std::byte> bytes) {
  return from_plain<FlushStop>(bytes);
}

std::optional<Flow> decode_flow(std::span<const std::byte> bytes) {
  const auto value = from_plain<int32_t>(bytes);
  if (!value || *value > GST_FLOW_OK || *value < GST_FLOW_CUSTOM_ERROR_2) return std::nullopt;
  return Flow{static_cast<GstFlowReturn>(*value)};
}

std::vector<std::byte> with_id(uint32_t id, std::span<const std::byte> bytes) {
  std::vector<std::byte> all;
  BytesOut to(all);
  to.put(id);
  to.bytes(bytes);
  return all;
}

std::optional<WithId> split_id(std::span<const std::byte> bytes) {
  BytesIn from(bytes);
  const auto id = from.get<uint32_t>();
  if (!from.good()) return std::nullopt;
  return WithId{id, from.rest()};
}

// --- buffers ------------------------------------------------------------------------------------

namespace {

// GstMiniObject's own flags and the pool's mark of changed memory mean nothing to another process.
constexpr uint32_t kBufferFlags =
    ~static_cast<uint32_t>(GST_MINI_OBJECT_FLAG_LAST - 1) & ~uint32_t{GST_BUFFER_FLAG_TAG_MEMORY};

}  // namespace

void encode_buffer(GstBuffer* buffer, std::span<const Place> places, std::span<const size_t> sizes,
                   Descriptor& descriptor, std::vector<std::byte>& extra, SameMetas& same) {
  descriptor.kind = static_cast<uint32_t>(Item::buffer);
  descriptor.flags = GST_BUFFER_FLAGS(buffer) & kBufferFlags;
  descriptor.pts = GST_BUFFER_PTS(buffer);
  descriptor.dts = GST_BUFFER_DTS(buffer);
  descriptor.duration = GST_BUFFER_DURATION(buffer);
  descriptor.media_offset = GST_BUFFER_OFFSET(buffer);
  descriptor.media_offset_end = GST_BUFFER_OFFSET_END(buffer);
  if (!places.empty()) {
    descriptor.arena = places[0].arena->number();
    descriptor.offset = places[0].offset;
    descriptor.size = sizes[0];
  }
  if (places.size() != 1)
    same.forget();
  else if (same.look(buffer, sizes[0]))
    return;
  extra.clear();
  BytesOut to(extra);
  const uint64_t more = places.empty() ? 0 : places.size() - 1;
  to.put(more);
  for (size_t i = 1; i < places.size(); ++i)
    to.put(FurtherPlace{places[i].offset, sizes[i], places[i].arena->number(), 0});
  const size_t before = extra.size();
  encode_metas(buffer, extra);
  if (more == 0 && extra.size() == before) extra.clear();
}

namespace {

void take_fields(GstBuffer* buffer, const Descriptor& descriptor) {
  GST_BUFFER_FLAGS(buffer) = descriptor.flags & kBufferFlags;
  GST_BUFFER_PTS(buffer) = descriptor.pts;
  GST_BUFFER_DTS(buffer) = descriptor.dts;
  GST_BUFFER_DURATION(buffer) = descriptor.duration;
  GST_BUFFER_OFFSET(buffer) = descriptor.media_offset;
  GST_BUFFER_OFFSET_END(buffer) = descriptor.media_offset_end;
}

}  // namespace

GstBuffer* decode_buffer(Incoming& item, const std::shared_ptr<mmaplink::ReceiveLane>& lane,
                         Shells& shells) {
  GiveBack give_back(lane, item.descriptor.ticket);
  if (GstBuffer* again = shells.take(item, give_back)) {
    take_fields(again, item.descriptor);
    return again;
  }
  GstBuffer* buffer = gst_buffer_new();
  BytesIn from(item.extra);
  const uint64_t more = item.extra.empty() ? 0 : from.get<uint64_t>();
  bool good = from.good() && more < kMostMemories && (more == 0 || item.memory.arena);
  const auto append = [&](GstMemory* memory) {
    if (memory != nullptr) gst_buffer_append_memory(buffer, memory);
    return memory != nullptr;
  };
  if (good && more == 0) {
    if (item.memory.arena)
      good = append(memory_new_received(std::move(item.memory), std::move(give_back)));
  } else if (good) {
    const auto shared = std::make_shared<GiveBack>(std::move(give_back));
    good = append(memory_new_received(std::move(item.memory), shared));
    for (uint64_t i = 0; good && i < more; ++i) {
      const auto place = from.get<FurtherPlace>();
      auto view = lane->resolve(place.arena, place.offset, place.size);
      good = view && view->arena && place.size > 0;
      good = good && append(memory_new_received(std::move(*view), shared));
    }
  }
  good = good && from.good() && decode_metas(from, buffer);
  take_fields(buffer, item.descriptor);
  if (good)
    shells.keep(buffer, item);
  else
    gst_clear_buffer(&buffer);
  return buffer;
}

}  // namespace gstmmap
