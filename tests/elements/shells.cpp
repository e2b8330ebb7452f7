// Received buffers that are used again (gst/shells.h): each is as it was sent, whatever downstream
// has done to the one before, and what is idle keeps nothing.
#include "gst/shells.h"

#include <atomic>
#include <thread>

#include "gst/wire-meta.h"
#include "gst/wire.h"
#include "lib/local_lane.h"
#include "lib/send_lane.h"
#include "tests/elements/support.h"

namespace {

using BufferRef = test::Ref<GstBuffer>;
using mmaplink::Block;
using mmaplink::Place;
using mmaplink::ReceiveLane;

constexpr gsize kSize = 64 * 64;

BufferRef plain(gsize size = kSize) {
  return BufferRef(gst_buffer_new_allocate(nullptr, size, nullptr));
}

BufferRef video(guint width = 64) {
  auto buffer = plain();
  gst_buffer_add_video_meta(buffer.get(), GST_VIDEO_FRAME_FLAG_NONE, GST_VIDEO_FORMAT_GRAY8, width,
                            32);
  return buffer;
}

guint metas_of(const BufferRef& buffer) {
  guint count = 0;
  gpointer state = nullptr;
  while (gst_buffer_iterate_meta(buffer.get(), &state)) ++count;
  return count;
}

guint width_of(const BufferRef& buffer) {
  const GstVideoMeta* meta = gst_buffer_get_video_meta(buffer.get());
  return meta != nullptr ? meta->width : 0;
}

// Both ends of a lane, and a receiver's shells.
class Ends {
 public:
  // What comes of a buffer like that over there, whose first byte is `mark`.
  BufferRef pass(const BufferRef& like, guint8 mark = 0) {
    const gsize size = gst_buffer_get_size(like.get());
    auto block = store_->allocate(size, 64);
    fail_unless(block);
    block->data()[0] = std::byte{mark};
    const auto& arena = block->arena();
    if (!in->knows(arena->number())) {
      auto fd = arena->fd().duplicate();
      fail_unless(fd && in->add_arena(arena->number(), std::move(*fd), arena->size()));
    }
    mmaplink::Outgoing out;
    const std::array places{Place{arena, block->offset()}};
    const std::array sizes{size};
    GST_BUFFER_PTS(like.get()) = ++pts_;
    encode_buffer(like.get(), places, sizes, out.descriptor, extra_, same_);
    out.extra = extra_;
    out.droppable = out.may_repeat = true;
    out.hold = mmaplink::Hold(new Block(std::move(*block)),
                              [](void* held) { delete static_cast<Block*>(held); });
    auto room = out_.publish(out, mmaplink::kSlots);
    fail_unless(room && *room == mmaplink::SendLane::Room::yes);
    auto took = in->take(item_);
    fail_unless(took && *took == ReceiveLane::Take::item);
    BufferRef buffer(gstmmap::decode_buffer(item_, in, *shells));
    fail_unless(buffer != nullptr);
    fail_unless_equals_uint64(GST_BUFFER_PTS(buffer.get()), pts_);
    fail_unless_equals_int(GST_BUFFER_FLAGS(buffer.get()), GST_BUFFER_FLAGS(like.get()));
    fail_unless_equals_int(gst_buffer_n_memory(buffer.get()), 1);
    fail_unless(gst_buffer_is_writable(buffer.get()));
    GstMapInfo map;
    fail_unless(gst_buffer_map(buffer.get(), &map, GST_MAP_READ));
    fail_unless(map.size == size && map.data[0] == mark);
    gst_buffer_unmap(buffer.get(), &map);
    fail_unless_equals_int(metas_of(buffer), metas_of(like));
    fail_unless_equals_int(width_of(buffer), width_of(like));
    return buffer;
  }
  // Items that downstream has.
  size_t held() {
    std::vector<mmaplink::Held> freed;
    fail_unless(out_.drain(freed));
    freed.clear();
    return out_.held();
  }
  // Whether it comes in the same buffer as the one before, and goes.
  bool comes_in_the_same(const BufferRef& like, guint8 mark) {
    const gconstpointer before = std::exchange(last_, nullptr);
    const BufferRef buffer = pass(like, mark);
    last_ = buffer.get();
    return last_ == before;
  }

  std::shared_ptr<gstmmap::Shells> shells = std::make_shared<gstmmap::Shells>();
  const std::shared_ptr<mmaplink::ArenaStore> store_ =
      std::make_shared<mmaplink::ArenaStore>(64 << 20);
  std::shared_ptr<ReceiveLane> in;

  Ends() : Ends(*mmaplink::LocalLane::make()) {}

 private:
  explicit Ends(mmaplink::LocalLane local)
      : in(std::make_shared<ReceiveLane>(local.receiver, local.sender_map())),
        local_(std::move(local)),
        out_(local_.sender_half(), local_.receiver_half()) {}

  const mmaplink::LocalLane local_;
  mmaplink::SendLane out_;
  mmaplink::Incoming item_;
  gstmmap::SameMetas same_;
  std::vector<std::byte> extra_;
  GstClockTime pts_ = 0;
  gconstpointer last_ = nullptr;
};

}  // namespace

TEST(a_frame_like_the_one_before_is_the_same_buffer) {
  Ends ends;
  for (const auto& like : {video(), plain()}) {
    ends.comes_in_the_same(like, 1);
    for (guint8 mark = 2; mark < 100; ++mark) fail_unless(ends.comes_in_the_same(like, mark));
  }
  // What has no metas may be of any size.
  ends.comes_in_the_same(plain(100), 1);
  fail_unless(ends.comes_in_the_same(plain(3000), 2));
  fail_unless_equals_int(ends.held(), 0);
}

TEST(what_is_still_held_is_not_used_again) {
  Ends ends;
  const auto held = ends.pass(video(), 1);
  fail_if(ends.pass(video(), 2) == held);
  GstMemory* memory = gst_buffer_get_memory(held.get(), 0);
  BufferRef other = ends.pass(video(), 3);
  GstMemory* part = gst_memory_share(gst_buffer_peek_memory(other.get(), 0), 0, 10);
  BufferRef copied = ends.pass(video(), 4);
  const BufferRef copy(gst_buffer_copy(copied.get()));
  other.reset();
  copied.reset();
  for (guint8 mark = 10; mark < 60; ++mark) ends.pass(video(), mark);
  fail_unless_equals_int(ends.held(), 3);
  const std::array<std::pair<GstMemory*, guint8>, 3> all{
      {{memory, 1}, {part, 3}, {gst_buffer_peek_memory(copy.get(), 0), 4}}};
  for (const auto& [one, mark] : all) {
    GstMapInfo map;
    fail_unless(gst_memory_map(one, &map, GST_MAP_READ));
    fail_unless_equals_int(map.data[0], mark);
    gst_memory_unmap(one, &map);
  }
  gst_memory_unref(memory);
  gst_memory_unref(part);
}

// Each pass() looks whether the next is as it should be.
TEST(what_downstream_has_changed_is_not_seen_again) {
  Ends ends;
  const auto like = video();
  const auto after = [&](const std::function<void(GstBuffer*)>& change) {
    BufferRef buffer = ends.pass(like);
    change(buffer.get());
    buffer.reset();
    fail_unless_equals_int(ends.held(), 0);
    ends.pass(like);
  };
  after([](GstBuffer* buffer) { gst_buffer_get_video_meta(buffer)->width = 7; });
  after([](GstBuffer* buffer) { gst_buffer_add_video_crop_meta(buffer); });
  after([](GstBuffer* buffer) {
    gst_buffer_remove_meta(buffer, &gst_buffer_get_video_meta(buffer)->meta);
  });
  after([](GstBuffer* buffer) {
    gst_buffer_remove_meta(buffer, &gst_buffer_get_video_meta(buffer)->meta);
    gst_buffer_add_video_meta(buffer, GST_VIDEO_FRAME_FLAG_NONE, GST_VIDEO_FORMAT_GRAY8, 16, 16);
  });
  after([](GstBuffer* buffer) { gst_buffer_resize(buffer, 10, 20); });
  after([](GstBuffer* buffer) { gst_buffer_remove_all_memory(buffer); });
  after([](GstBuffer* buffer) {
    gst_buffer_replace_all_memory(buffer, gst_allocator_alloc(nullptr, 50, nullptr));
  });
  after([](GstBuffer* buffer) {
    gst_buffer_append_memory(buffer, gst_allocator_alloc(nullptr, 50, nullptr));
  });
  after([](GstBuffer* buffer) { GST_BUFFER_FLAG_SET(buffer, GST_BUFFER_FLAG_CORRUPTED); });
  after([](GstBuffer* buffer) { GST_BUFFER_DURATION(buffer) = 77; });
}

// In a buffer of somebody else, and then in two.
TEST(memory_that_went_into_another_buffer_is_given_back_once) {
  Ends ends;
  BufferRef mine(gst_buffer_new());
  {
    const BufferRef came = ends.pass(video(), 1);
    gst_buffer_append_memory(mine.get(), gst_buffer_get_memory(came.get(), 0));
  }
  fail_unless_equals_int(ends.held(), 1);
  ends.pass(video(), 2);
  mine.reset();
  fail_unless_equals_int(ends.held(), 0);
}

TEST(what_somebody_attached_goes_with_its_frame) {
  Ends ends;
  static int gone;
  gone = 0;
  const GQuark quark = g_quark_from_static_string("shells-test");
  for (const bool is_weak : {false, true}) {
    const BufferRef buffer = ends.pass(video());
    if (is_weak)
      gst_mini_object_weak_ref(
          GST_MINI_OBJECT(buffer.get()), [](gpointer, GstMiniObject*) { ++gone; }, nullptr);
    else
      gst_mini_object_set_qdata(GST_MINI_OBJECT(buffer.get()), quark, &gone,
                                [](gpointer) { ++gone; });
  }
  fail_unless_equals_int(gone, 2);
  // Of the memory, too.
  for (int i = 0; i < 2; ++i) {
    const BufferRef buffer = ends.pass(video());
    gst_mini_object_weak_ref(
        GST_MINI_OBJECT(gst_buffer_peek_memory(buffer.get(), 0)),
        [](gpointer, GstMiniObject*) { ++gone; }, nullptr);
  }
  fail_unless_equals_int(gone, 4);
  fail_unless_equals_int(ends.held(), 0);
}

TEST(other_metas_and_sizes_have_buffers_of_their_own) {
  Ends ends;
  for (int i = 0; i < 20; ++i) {
    ends.pass(video(64));
    ends.pass(video(32));
    ends.pass(plain());
    const auto cropped = video();
    gst_buffer_add_video_crop_meta(cropped.get());
    ends.pass(cropped);
    const auto larger = plain(2 * kSize);
    gst_buffer_add_video_meta(larger.get(), GST_VIDEO_FRAME_FLAG_NONE, GST_VIDEO_FORMAT_GRAY8, 64,
                              32);
    ends.pass(larger);
  }
  fail_unless_equals_int(ends.held(), 0);
}

TEST(what_is_idle_keeps_nothing_of_the_peer) {
  Ends ends;
  BufferRef buffer = ends.pass(video());
  const auto number = gst_mmap_memory_get_fd(gst_buffer_peek_memory(buffer.get(), 0));
  fail_unless(number >= 0);
  const std::weak_ptr<ReceiveLane> lane = ends.in;
  buffer.reset();
  fail_unless_equals_int(ends.held(), 0);
  ends.in.reset();
  fail_unless(lane.expired());
}

TEST(buffers_outlive_their_receiver) {
  BufferRef one, other;
  {
    Ends ends;
    one = ends.pass(video(), 1);
    other = ends.pass(video(), 2);
    ends.pass(video(), 3);  // idle
  }
  GstMapInfo map;
  fail_unless(gst_buffer_map(one.get(), &map, GST_MAP_READ));
  fail_unless_equals_int(map.data[0], 1);
  gst_buffer_unmap(one.get(), &map);
  one.reset();
  other.reset();
}

TEST(they_come_back_on_any_thread) {
  Ends ends;
  constexpr int kThreads = 3;
  constexpr int kFrames = 3000;
  std::array<std::atomic<GstBuffer*>, kThreads> handed{};
  std::atomic<bool> done{false};
  std::vector<std::thread> threads;
  for (auto& place : handed)
    threads.emplace_back([&place, &done] {
      while (!done) {
        if (GstBuffer* buffer = place.exchange(nullptr)) gst_buffer_unref(buffer);
        std::this_thread::yield();
      }
    });
  const auto like = video();
  for (int i = 0; i < kFrames; ++i) {
    GstBuffer* buffer = ends.pass(like, static_cast<guint8>(i)).release();
    if (GstBuffer* before = handed[static_cast<size_t>(i) % kThreads].exchange(buffer))
      gst_buffer_unref(before);
    std::ignore = ends.held();
  }
  done = true;
  for (auto& thread : threads) thread.join();
  for (auto& place : handed)
    if (GstBuffer* buffer = place.exchange(nullptr)) gst_buffer_unref(buffer);
  fail_unless_equals_int(ends.held(), 0);
}
