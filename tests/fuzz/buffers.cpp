// A buffer out of a lane: its fields, memories and metas, gstmmap::decode_buffer().
//
// A Shape says where its first memory lies; the rest are the bytes that go with the descriptor.
#include <gst/audio/audio.h>
#include <gst/video/video.h>

#include <algorithm>
#include <vector>

#include "gst/shells.h"
#include "gst/wire-meta.h"
#include "gst/wire.h"
#include "lib/link.h"
#include "tests/fuzz/buffers.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/gst.h"
#include "tests/fuzz/guarded.h"

namespace {

using fuzz::check;
using fuzz::must;
using mmaplink::ExtraFrom;
using mmaplink::Half;
using mmaplink::ReceiveLane;
using Buffer = fuzz::Own<GstBuffer>;
using Out = std::vector<std::byte>;

constexpr uint32_t kExtraArena = 3;
constexpr size_t kExtraSize = 1 << 20;
constexpr uint64_t kTicket = 5;

// A sender and its receiver. The sender's half and arenas are ours to write.
class Lane {
 public:
  Lane() {
    add_arena(1, fuzz::kArenaSize);
    add_arena(2, fuzz::kSmallArenaSize);
    extra_ = add_arena(kExtraArena, kExtraSize);
  }

  Buffer decode(const fuzz::Shape& shape, fuzz::Bytes extra) {
    forge(shape, extra);
    const auto took = must(lane_->take(item_));
    check(took == ReceiveLane::Take::item, "what is forged here is an item");
    ++sent_;
    return Buffer(gstmmap::decode_buffer(item_, lane_, *shells_));
  }
  void check_all_came_back() {
    check(own().receipt_head == sent_, "each descriptor is given back once");
  }

 private:
  Half& own() { return *reinterpret_cast<Half*>(own_->map.data()); }
  Half& peer() { return *reinterpret_cast<Half*>(peer_->map.data()); }

  std::shared_ptr<mmaplink::SealedMemory> add_arena(uint32_t number, size_t size) {
    auto memory =
        std::make_shared<mmaplink::SealedMemory>(must(mmaplink::make_sealed("mmap-fuzz", size)));
    must(lane_->add_arena(number, mmaplink::Fd(dup(memory->fd.get())), memory->map.size()));
    return memory;
  }

  void forge(const fuzz::Shape& shape, fuzz::Bytes extra) {
    const uint64_t head = peer().head;
    mmaplink::Slot& slot = peer().slots[head % mmaplink::kSlots];
    mmaplink::Descriptor& out = slot.descriptor;
    out = {};
    out.sequence = head + 1;
    out.first = head + 1;
    out.ticket = kTicket;
    out.flags = shape.flags;
    out.arena = 1;
    out.offset = shape.offset % fuzz::kArenaSize;
    out.size = std::min<uint64_t>(shape.size, fuzz::kArenaSize - out.offset);
    out.pts = shape.pts;
    out.dts = ~shape.pts;
    out.extra_size = static_cast<uint32_t>(std::min(extra.size(), kExtraSize));
    const bool in_slot = extra.size() <= mmaplink::kSlotExtra;
    out.extra_from = static_cast<uint32_t>(in_slot ? ExtraFrom::slot : ExtraFrom::block);
    out.extra_arena = kExtraArena;
    std::copy_n(extra.data(), out.extra_size, in_slot ? slot.extra.data() : extra_->map.data());
    peer().head = head + 1;
  }

  const std::shared_ptr<mmaplink::SealedMemory> own_ = must(mmaplink::Link::make_half());
  const std::shared_ptr<mmaplink::SealedMemory> peer_ = must(mmaplink::Link::make_half());
  const std::shared_ptr<ReceiveLane> lane_ = std::make_shared<ReceiveLane>(
      own_, std::make_shared<const mmaplink::Mapping>(
                must(mmaplink::map_sealed(peer_->fd, peer_->map.size()))));
  std::shared_ptr<mmaplink::SealedMemory> extra_;
  mmaplink::Incoming item_;
  const std::shared_ptr<gstmmap::Shells> shells_ = std::make_shared<gstmmap::Shells>();
  uint64_t sent_ = 0;
};

// Rows in the middle are as far off as those before them.
bool worth_reading(gint row, gint rows) { return row < 64 || row >= rows - 64; }

void read_video(GstBuffer* buffer, const GstVideoMeta* meta) {
  GstVideoInfo info;
  GstVideoFrame frame;
  if (!gst_video_info_set_format(&info, meta->format, meta->width, meta->height) ||
      !gst_video_frame_map_id(&frame, &info, buffer, meta->id, GST_MAP_READ))
    return;
  const GstVideoFormatInfo* format = frame.info.finfo;
  // Of up to 64 bits each; and some formats are unpacked by several at once.
  const fuzz::Guarded line((meta->width + 64) * sizeof(guint64));
  for (gint y = 0; format->unpack_func != nullptr && y < frame.info.height; ++y)
    if (worth_reading(y, frame.info.height))
      format->unpack_func(format, GST_VIDEO_PACK_FLAG_NONE, line.data(), frame.data,
                          frame.info.stride, 0, y, frame.info.width);
  gst_video_frame_unmap(&frame);
}

void read_audio(GstBuffer* buffer, const GstAudioMeta* meta) {
  GstAudioBuffer audio;
  if (!gst_audio_buffer_map(&audio, &meta->info, buffer, GST_MAP_READ)) return;
  volatile guint8 sum = 0;
  for (gint plane = 0; plane < audio.n_planes; ++plane) {
    const auto* data = static_cast<const guint8*>(audio.planes[plane]);
    for (gsize i = 0; i < GST_AUDIO_BUFFER_PLANE_SIZE(&audio); ++i)
      sum = static_cast<guint8>(sum + data[i]);
  }
  gst_audio_buffer_unmap(&audio);
}

// All that the metas say is there.
void read_metas(GstBuffer* buffer) {
  gpointer state = nullptr;
  while (GstMeta* meta = gst_buffer_iterate_meta(buffer, &state)) {
    if (meta->info->api == GST_VIDEO_META_API_TYPE)
      read_video(buffer, reinterpret_cast<GstVideoMeta*>(meta));
    else if (meta->info->api == GST_AUDIO_META_API_TYPE)
      read_audio(buffer, reinterpret_cast<GstAudioMeta*>(meta));
  }
}

// In one memory, whose end can't be read over.
void read_all(GstBuffer* buffer) {
  const fuzz::Guarded memory(gst_buffer_get_size(buffer));
  const Buffer copy(gst_buffer_new_wrapped_full(GST_MEMORY_FLAG_READONLY, memory.data(),
                                                memory.size(), 0, memory.size(), nullptr, nullptr));
  gst_buffer_extract(buffer, 0, memory.data(), memory.size());
  gst_buffer_copy_into(copy.get(), buffer, GST_BUFFER_COPY_META, 0, static_cast<gsize>(-1));
  read_metas(copy.get());
}

Out metas_of(GstBuffer* buffer) {
  Out bytes;
  gstmmap::encode_metas(buffer, bytes);
  return bytes;
}

// What stands in front of the metas: further memories.
size_t memories_size(fuzz::Bytes extra) {
  uint64_t more = 0;
  std::memcpy(&more, extra.data(), std::min(extra.size(), sizeof more));
  return sizeof more + more * 24;
}

void there_and_back(Lane& lane, const fuzz::Shape& shape, fuzz::Bytes extra) {
  const Buffer buffer = lane.decode(shape, extra);
  if (!buffer) return;
  check(GST_BUFFER_PTS(buffer.get()) == shape.pts && GST_BUFFER_DTS(buffer.get()) == ~shape.pts,
        "its times are as they were");
  read_all(buffer.get());
  if (extra.empty()) return;
  const Out metas = metas_of(buffer.get());
  Out sent(extra.begin(), extra.begin() + static_cast<std::ptrdiff_t>(memories_size(extra)));
  sent.insert(sent.end(), metas.begin(), metas.end());
  const Buffer again = lane.decode(shape, sent);
  check(again != nullptr, "a buffer that came can go on");
  check(metas_of(again.get()) == metas, "as it was");
  check(gst_buffer_n_memory(again.get()) == gst_buffer_n_memory(buffer.get()) &&
            GST_BUFFER_FLAGS(again.get()) == GST_BUFFER_FLAGS(buffer.get()),
        "with its memories and flags");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static auto& lane = *new Lane;
  static const bool registered = [] {
    const gchar* tags[] = {nullptr};
    return gst_meta_register_custom(fuzz::kCustomMeta, tags, nullptr, nullptr, nullptr) != nullptr;
  }();
  check(registered, "a custom meta");
  fuzz::Input input(data, size);
  const auto shape = input.get<fuzz::Shape>();
  there_and_back(lane, shape, input.rest());
  lane.check_all_came_back();
  return 0;
}
