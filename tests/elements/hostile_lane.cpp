// A lane with a hostile peer at its other end: descriptors out of any range, indices that run
// backwards or too far, receipts for what was never sent, twice, or for another peer.
#include <cstring>
#include <future>
#include <limits>

#include "gst/wire.h"
#include "lib/ticket.h"
#include "tests/elements/forged_peer.h"

using gstmmap::Item;
using mmaplink::Descriptor;
using mmaplink::ExtraFrom;
using mmaplink::kReceipts;
using mmaplink::kSlots;
using test::Feed;
using test::ForgedPeer;
using test::Harness;
using test::kSends;
using test::Play;
using test::Scene;

namespace {

constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();
constexpr uint64_t kArena = 64 << 10;

constexpr auto kOutside = "a descriptor points outside of its arena";
constexpr auto kBytes = "a descriptor's bytes are too many, or none of their kind";
constexpr auto kWriteIndex = "the peer's write index left the ring";
constexpr auto kReadIndex = "the peer's read index left the ring";
constexpr auto kReceiptRing = "the peer's receipts left their ring";
constexpr auto kNotHeld = "the peer gave back what it does not hold";
constexpr auto kNoBuffer = "a buffer that makes no sense";

// A good frame in arena 1.
Descriptor frame() {
  Descriptor descriptor;
  descriptor.kind = static_cast<uint32_t>(Item::buffer);
  descriptor.extra_from = static_cast<uint32_t>(ExtraFrom::slot);
  descriptor.arena = 1;
  descriptor.size = test::kVideoSize;
  return descriptor;
}

// Of a stream that is well so far, with a frame that has come.
struct Forged {
  const char* name;
  void (*edit)(Descriptor&);
  const char* refusal;
};

template <class T>
void put(std::vector<std::byte>& bytes, T number) {
  const auto* first = reinterpret_cast<const std::byte*>(&number);
  bytes.insert(bytes.end(), first, first + sizeof number);
}

// What a buffer has besides its first memory: places of further ones.
struct Places {
  uint64_t count;
  uint64_t offset, size;
  uint32_t arena;
};

}  // namespace

TEST(fields_of_descriptors_are_checked) {
  const Forged all[] = {
      {"kind 0", [](Descriptor& d) { d.kind = 0; }, "a descriptor of an unknown kind"},
      {"kind 5", [](Descriptor& d) { d.kind = 5; }, "a descriptor of an unknown kind"},
      {"last kind", [](Descriptor& d) { d.kind = ~0u; }, "a descriptor of an unknown kind"},
      {"sequence behind", [](Descriptor& d) { d.sequence = 4; }, "a descriptor is out of sequence"},
      {"sequence ahead", [](Descriptor& d) { d.sequence = 6; }, "a descriptor is out of sequence"},
      {"last sequence", [](Descriptor& d) { d.sequence = kMost; },
       "a descriptor is out of sequence"},
      {"published first later", [](Descriptor& d) { d.first = 6; },
       "a descriptor is out of sequence"},
      {"one too long", [](Descriptor& d) { d.size = kArena + 1; }, kOutside},
      {"longest", [](Descriptor& d) { d.size = kMost; }, kOutside},
      {"last byte outside", [](Descriptor& d) { d.offset = kArena - d.size + 1; }, kOutside},
      {"behind its arena", [](Descriptor& d) { d.offset = kArena; }, kOutside},
      {"sum wraps", [](Descriptor& d) { d.offset = kMost - d.size + 1; }, kOutside},
      {"sum wraps to one", [](Descriptor& d) { d.offset = kMost - d.size + 2; }, kOutside},
      {"negative", [](Descriptor& d) { d.offset = uint64_t{1} << 63; }, kOutside},
      {"both largest", [](Descriptor& d) { d.offset = d.size = kMost; }, kOutside},
      {"bytes of no kind", [](Descriptor& d) { d.extra_from = 3; }, kBytes},
      {"bytes of the last kind", [](Descriptor& d) { d.extra_from = ~0u; }, kBytes},
      {"bytes beyond the slot", [](Descriptor& d) { d.extra_size = mmaplink::kSlotExtra + 1; },
       kBytes},
      {"most bytes in the slot", [](Descriptor& d) { d.extra_size = ~0u; }, kBytes},
      {"bytes of before, of another size",
       [](Descriptor& d) {
         d.extra_from = static_cast<uint32_t>(ExtraFrom::before);
         d.extra_size = 300;
       },
       kBytes},
      {"a block too large",
       [](Descriptor& d) {
         d.extra_from = static_cast<uint32_t>(ExtraFrom::block);
         d.extra_arena = 1;
         d.extra_size = (16 << 20) + 1;
       },
       kBytes},
      {"a block outside",
       [](Descriptor& d) {
         d.extra_from = static_cast<uint32_t>(ExtraFrom::block);
         d.extra_arena = 1;
         d.extra_offset = kArena - 7;
         d.extra_size = 8;
       },
       kOutside},
      {"a block that wraps",
       [](Descriptor& d) {
         d.extra_from = static_cast<uint32_t>(ExtraFrom::block);
         d.extra_arena = 1;
         d.extra_offset = kMost - 3;
         d.extra_size = 8;
       },
       kOutside},
  };
  for (const Forged& forged : all)
    test::attack_source(
        forged.name,
        [&](ForgedPeer& peer) {
          peer.begin_stream();
          peer.publish_number(0);
          Descriptor descriptor = frame();
          forged.edit(descriptor);
          peer.publish(descriptor);
        },
        forged.refusal);
}

TEST(places_of_further_memories_are_checked) {
  const struct {
    const char* name;
    Places places;
  } all[] = {
      {"more than there may be", {16, 0, 8, 1}},
      {"more than there are", {2, 0, 8, 1}},
      {"most", {kMost, 0, 8, 1}},
      {"of no size", {1, 0, 0, 1}},
      {"outside", {1, kArena, 1, 1}},
      {"last byte outside", {1, kArena - 7, 8, 1}},
      {"sum wraps", {1, kMost - 3, 8, 1}},
      {"of an unknown arena", {1, 0, 8, 2}},
  };
  for (const auto& one : all)
    test::attack_source(
        one.name,
        [&](ForgedPeer& peer) {
          peer.begin_stream();
          std::vector<std::byte> bytes;
          put(bytes, one.places.count);
          put(bytes, one.places.offset);
          put(bytes, one.places.size);
          put(bytes, one.places.arena);
          put(bytes, uint32_t{0});
          peer.publish(frame(), bytes);
        },
        kNoBuffer);
}

// Waited for, but not for ever.
TEST(an_arena_that_never_comes_ends_the_link) {
  test::attack_source(
      "an unknown arena",
      [](ForgedPeer& peer) {
        peer.begin_stream();
        Descriptor descriptor = frame();
        descriptor.arena = 77;
        peer.publish(descriptor);
      },
      "a descriptor names an arena that was never announced");
}

TEST(write_indices_are_checked) {
  // So that it is known what comes before the lie.
  const auto begin = [](ForgedPeer& peer) {
    peer.begin_stream();
    fail_unless(test::becomes([&] { return peer.theirs().taken == peer.own().head; }));
  };
  for (const uint64_t ahead : {kSlots + 1, uint64_t{1} << 32, uint64_t{1} << 63, kMost}) {
    test::attack_source(
        "write index",
        [&](ForgedPeer& peer) {
          begin(peer);
          peer.own().head += ahead;
          mmaplink::wake(mmaplink::low_word(peer.own().head), true);
        },
        kWriteIndex);
    test::attack_source(
        "write index with a withdrawal that does not explain it",
        [&](ForgedPeer& peer) {
          begin(peer);
          peer.own().revoked = 2;
          peer.own().head += ahead;
          mmaplink::wake(mmaplink::low_word(peer.own().head), true);
        },
        kWriteIndex);
  }
}

// What follows a mistake is not read any more, also while nobody has seen the hang-up yet.
TEST(nothing_comes_after_a_mistake) {
  const Scene scene;
  // Holds the thread that would see it.
  std::promise<void> over;
  auto held = over.get_future().share();
  const Harness source(scene.src("role=server"));
  g_signal_connect_swapped(source.element(), "client-connected",
                           G_CALLBACK(+[](std::shared_future<void>* until) { until->wait(); }),
                           &held);
  source.play();
  ForgedPeer peer(scene.path());
  peer.greet_server(kSends);
  Descriptor empty = frame();
  empty.size = 0;
  peer.begin_stream();
  empty.media_offset = 1;
  peer.publish(empty);
  Descriptor mistake = empty;
  mistake.kind = 9;
  peer.publish(mistake);
  // Another stream, which would be right.
  peer.begin_stream();
  for (empty.media_offset = 2; empty.media_offset < 100; ++empty.media_offset) peer.publish(empty);
  fail_unless_equals_uint64(GST_BUFFER_OFFSET(source.pull().get()), 1);
  fail_unless(test::becomes([&] { return source.stat("peers") == 0; }));
  over.set_value();
  peer.wait_hang_up();
  const Harness good(scene.sink("role=client"));
  good.push_number(200);
  fail_unless_equals_uint64(source.pull_number(), 200);
}

namespace {

// As each frame passes there is one more: the ring never runs dry.
GstPadProbeReturn one_more(GstPad*, GstPadProbeInfo* info, gpointer peer) {
  if (GST_BUFFER_OFFSET(GST_PAD_PROBE_INFO_BUFFER(info)) == 0)
    static_cast<ForgedPeer*>(peer)->publish(frame());
  return GST_PAD_PROBE_OK;
}

}  // namespace

// Its memory is still there: it could keep its reader to itself for ever.
TEST(nothing_comes_from_a_peer_that_is_gone) {
  const Scene scene;
  Feed feed(scene);
  GstPad* pad = gst_element_get_static_pad(feed.source.element(), "src");
  gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_BUFFER, one_more, &feed.peer, nullptr);
  gst_object_unref(pad);
  feed.peer.publish(frame());
  for (int i = 0; i < 10; ++i) feed.source.pull();
  feed.peer.hang_up();
  const Harness good(scene.sink("role=client"));
  good.push_number(200);
  // Behind all that had come until then, however much that is.
  fail_unless(test::becomes([&] {
    while (test::Ref<GstBuffer> buffer{gst_harness_try_pull(feed.source.get())})
      if (GST_BUFFER_OFFSET(buffer.get()) == 200) return true;
    return false;
  }));
}

// Whatever does not decide about memory may be anything, and is a matter of that stream alone.
TEST(times_flags_and_tickets_may_be_anything) {
  const Scene scene;
  Feed feed(scene);
  for (const uint64_t value : {uint64_t{0}, uint64_t{1}, uint64_t{1} << 63, kMost - 1, kMost}) {
    for (uint64_t Descriptor::*field :
         {&Descriptor::pts, &Descriptor::dts, &Descriptor::duration, &Descriptor::media_offset,
          &Descriptor::media_offset_end, &Descriptor::published, &Descriptor::base_time,
          &Descriptor::ticket}) {
      Descriptor descriptor = frame();
      descriptor.*field = value;
      descriptor.flags = static_cast<uint32_t>(value);
      feed.peer.publish(descriptor);
      fail_unless_equals_uint64(gst_buffer_get_size(feed.source.pull().get()), test::kVideoSize);
    }
  }
  fail_unless(feed.peer.look());
}

TEST(read_indices_are_checked) {
  const Scene scene;
  Play play(scene, "max-buffers=4");
  const struct {
    const char* name;
    void (*lie)(ForgedPeer&);
  } all[] = {
      {"claims too much", [](ForgedPeer& peer) { peer.own().claimed = 1 << 20; }},
      {"claims the most", [](ForgedPeer& peer) { peer.own().claimed = kMost; }},
      {"has taken what it did not claim", [](ForgedPeer& peer) { peer.own().taken = 1; }},
      {"has taken the most", [](ForgedPeer& peer) { peer.own().taken = kMost; }},
      {"both the same, too far",
       [](ForgedPeer& peer) { peer.own().claimed = peer.own().taken = uint64_t{1} << 63; }},
  };
  for (const auto& [name, lie] : all) play.attack(name, true, lie, kReadIndex);
  play.attack(
      "runs backwards", true,
      [&](ForgedPeer& peer) {
        play.step();
        peer.own().claimed = peer.own().taken = peer.theirs().head.load();
        for (int i = 0; i < 6; ++i) play.step();  // which is looked at
        peer.own().claimed = peer.own().taken = 1;
      },
      kReadIndex);
}

TEST(receipts_are_checked) {
  const Scene scene;
  Play play(scene);
  const struct {
    const char* name;
    void (*lie)(ForgedPeer&);
    const char* refusal;
  } all[] = {
      {"for nothing", [](ForgedPeer& peer) { peer.give_back(0); }, kNotHeld},
      {"for what was never sent",
       [](ForgedPeer& peer) { peer.give_back(mmaplink::make_ticket(5, 1)); }, kNotHeld},
      {"for a row that never was",
       [](ForgedPeer& peer) { peer.give_back(mmaplink::make_ticket(~0u, 1)); }, kNotHeld},
      {"for the next use of a row",
       [](ForgedPeer& peer) { peer.give_back(mmaplink::make_ticket(0, 1000)); }, kNotHeld},
      {"more than there is room for",
       [](ForgedPeer& peer) { peer.own().receipt_head = kReceipts + 1; }, kReceiptRing},
      {"the most", [](ForgedPeer& peer) { peer.own().receipt_head = kMost; }, kReceiptRing},
  };
  for (const auto& [name, lie, refusal] : all) play.attack(name, true, lie, refusal);

  const auto ticket_of_frame = [&](ForgedPeer& peer) {
    play.step();
    // The last: what it has to know first may have come just before.
    const uint64_t at = peer.theirs().head - 1;
    return peer.theirs().slots[at % kSlots].descriptor.ticket;
  };
  const auto read_all = [](ForgedPeer& peer) {
    peer.own().claimed = peer.own().taken = peer.theirs().head.load();
  };
  play.attack(
      "twice", true,
      [&](ForgedPeer& peer) {
        const uint64_t ticket = ticket_of_frame(peer);
        read_all(peer);
        peer.give_back(ticket);
        peer.give_back(ticket);
      },
      kNotHeld);
  play.attack(
      "backwards", true,
      [&](ForgedPeer& peer) {
        const uint64_t ticket = ticket_of_frame(peer);
        read_all(peer);
        peer.give_back(ticket);
        // Without frames, which this peer would hold in turn.
        fail_unless(test::becomes([&] { return play.sink.stat("in-flight") == 0; }));
        peer.own().receipt_head = 0;
      },
      kReceiptRing);
  // What another peer holds stays with it, though this one names it rightly.
  ForgedPeer other(scene.path());
  other.join(play.sink);
  std::vector<uint64_t> held;
  for (int i = 0; i < 40; ++i) {
    held.push_back(ticket_of_frame(other));
    read_all(other);
  }
  {
    ForgedPeer thief(scene.path());
    thief.join(play.sink);
    const guint64 before = play.sink.stat("in-flight");
    thief.give_back(held.back());
    fail_unless(play.until([&] { return !thief.look(); }));
    fail_unless(thief.refusal() == kNotHeld);
    fail_unless(play.sink.stat("in-flight") >= before);
  }
  for (const uint64_t ticket : held) other.give_back(ticket);
  for (int i = 0; i < 20; ++i) play.step();
  fail_unless(other.look(), "the one who holds them: %s", other.refusal().c_str());
}

// A half that is written over at random, at any time. Whatever comes of it, it is one peer's.
TEST(halves_scribbled_over_harm_nobody) {
  const Scene scene;
  Play play(scene);
  GRand* random = g_rand_new_with_seed(1);
  for (int round = 0; round < 60; ++round) {
    fail_unless(play.until([&] { return play.sink.stat("peers") == 1; }));
    ForgedPeer peer(scene.path());
    peer.join(play.sink);
    auto* words = reinterpret_cast<std::atomic<uint64_t>*>(&peer.own());
    for (int i = 0; i < 60 && peer.look(); ++i) {
      // Its indices and first receipts, mostly with what could be.
      for (int j = 0; j < 4; ++j) {
        const auto at = static_cast<size_t>(g_rand_int_range(random, 16, 80));
        const uint64_t could_be =
            peer.theirs().head + static_cast<uint64_t>(g_rand_int(random) % 3);
        words[at] = g_rand_boolean(random) ? could_be : g_rand_int(random);
      }
      play.step();
    }
  }
  g_rand_free(random);
  fail_unless(play.until([&] { return play.sink.stat("peers") == 1; }));
  fail_unless(play.until([&] { return play.sink.stat("in-flight") == 0; }));
}

TEST(descriptors_scribbled_over_end_the_link) {
  const Scene scene;
  const Harness source(scene.src("role=server"));
  source.play();
  GRand* random = g_rand_new_with_seed(2);
  for (int round = 0; round < 60; ++round) {
    ForgedPeer peer(scene.path());
    peer.greet_server(kSends);
    peer.begin_stream();
    for (int i = 0; i < 100 && peer.look(); ++i) {
      Descriptor descriptor = frame();
      descriptor.offset = static_cast<uint64_t>(i);
      auto* words = reinterpret_cast<uint64_t*>(&descriptor);
      if (i > 5) words[g_rand_int_range(random, 1, sizeof descriptor / 8)] = g_rand_int(random) % 9;
      peer.publish(descriptor);
      // While it is being read.
      auto* slot =
          reinterpret_cast<uint64_t*>(&peer.own().slots[g_rand_int(random) % 4].descriptor);
      for (int j = 0; j < 5; ++j) slot[g_rand_int_range(random, 0, 15)] = g_rand_int(random) % 9;
    }
    while (GstBuffer* buffer = gst_harness_try_pull(source.get())) gst_buffer_unref(buffer);
  }
  g_rand_free(random);
  fail_unless(test::becomes([&] { return source.stat("peers") == 0; }));
  const Harness good(scene.sink("role=client"));
  good.push_number(9);
  // What those had sent may come before it; none of theirs has a number above 8.
  for (;;) {
    const auto buffer = source.pull();
    if (GST_BUFFER_OFFSET(buffer.get()) != 9) continue;
    const std::vector<guint8> nines(test::kVideoSize, 9);
    fail_unless_equals_int(gst_buffer_get_size(buffer.get()), nines.size());
    fail_unless_equals_int(gst_buffer_memcmp(buffer.get(), 0, nines.data(), nines.size()), 0);
    break;
  }
}
