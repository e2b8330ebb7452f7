// After ipcpipeline's cases of seeks: flushing, in PAUSED, of a segment, at random, backwards. Each
// comes from the sender's side, as there, and from the reader's, too.
#include <random>

#include "tests/elements/like_support.h"

using test::Kind;
using test::Linked;
using test::Pipeline;
using test::Scene;
using test::Seen;

namespace {

bool is_demuxed(const Kind& kind) { return std::string(kind.name) == "ts"; }

// A demuxer of transport streams lands about anywhere in so short a file, but for its beginning. A
// live source waits for the instant that it is told to play.
GstClockTime target_in(const Kind& kind) {
  if (kind.live) return GST_SECOND / 5;
  return is_demuxed(kind) ? 0 : 2 * GST_SECOND;
}

GstEvent* new_seek(GstClockTime start, GstClockTime stop = GST_CLOCK_TIME_NONE, int flags = 0) {
  return gst_event_new_seek(
      1.0, GST_FORMAT_TIME, static_cast<GstSeekFlags>(GST_SEEK_FLAG_FLUSH | flags),
      GST_SEEK_TYPE_SET, static_cast<gint64>(start), GST_SEEK_TYPE_SET, static_cast<gint64>(stop));
}

enum class From { sender, readers };
constexpr From kBothSides[] = {From::sender, From::readers};

// Takes a function that makes an event. Where the streams of one demuxer go to several pipelines,
// one of these seeks for all: the others flush for it, and pads that flush take nothing.
void seek(const Linked& linked, From from, const std::function<GstEvent*()>& event) {
  const auto send = [&](GstElement* element) {
    fail_unless(gst_element_send_event(element, event()), "%s: %s can't seek", linked.kind.name,
                GST_OBJECT_NAME(element));
  };
  if (from == From::sender) return send(linked.sender->get());
  if (is_demuxed(linked.kind) && linked.kind.split) return send(linked.end(0));
  for (const auto& reader : linked.readers) send(reader->get());
}

void seek(const Linked& linked, From from, GstClockTime start,
          GstClockTime stop = GST_CLOCK_TIME_NONE, int flags = 0) {
  seek(linked, from, [&] { return new_seek(start, stop, flags); });
}

// A flush, its end, a segment, and then what was sought, or of a live source what comes after.
bool has_landed(const Kind& kind, const Seen::Items& items, GstClockTime target) {
  int step = 0;
  for (const auto& item : items) {
    if (item.is(GST_EVENT_FLUSH_START)) {
      step = 1;
    } else if (step == 1 && item.is(GST_EVENT_FLUSH_STOP)) {
      step = 2;
    } else if (step == 2 && item.is(GST_EVENT_SEGMENT)) {
      step = 3;
    } else if (step == 3 && item.is_buffer() && GST_CLOCK_TIME_IS_VALID(item.pts)) {
      return item.pts + test::kNear >= target && (kind.live || item.pts <= target + test::kNear);
    }
  }
  return false;
}

void wait_landed(const Linked& linked, GstClockTime target) {
  for (size_t i = 0; i < linked.ends.size(); ++i)
    fail_unless(linked.ends[i]->becomes([&](const Seen::Items& items) {
      return has_landed(linked.kind, items, target);
    }),
                "%s: end %zu did not land", linked.kind.name, i);
}

void clear(const Linked& linked) {
  for (const auto& seen : linked.ends) seen->clear();
}

void check_flushing(const Kind& kind, bool in_paused) {
  const Scene scene;
  const Linked linked(scene, kind);
  linked.play();
  if (in_paused) {
    test::reaches(*linked.sender, GST_STATE_PAUSED);
    for (const auto& reader : linked.readers) test::reaches(*reader, GST_STATE_PAUSED);
  }
  for (const From from : kBothSides) {
    const GstClockTime target = target_in(kind) * (from == From::sender ? 1 : 2);
    clear(linked);
    seek(linked, from, target);
    wait_landed(linked, target);
  }
  if (in_paused) {
    test::reaches(*linked.sender, GST_STATE_PLAYING);
    for (const auto& reader : linked.readers) test::reaches(*reader, GST_STATE_PLAYING);
  }
  linked.wait_buffers(2);
  linked.fail_if_errors();
}

// To the end of the segment, which both sides hear of.
void check_segment(const Kind& kind) {
  const Scene scene;
  const Linked linked(scene, kind);
  linked.play();
  for (const From from : kBothSides) {
    clear(linked);
    const GstClockTime target = target_in(kind);
    // What a live source makes first lies behind its start, the further the slower all is.
    const GstClockTime stop = target + test::slowness() * GST_SECOND / 5;
    seek(linked, from, target, stop, GST_SEEK_FLAG_SEGMENT);
    wait_landed(linked, target);
    for (const auto& seen : linked.ends) seen->wait_event(GST_EVENT_SEGMENT_DONE);
    for (const auto& reader : linked.readers) reader->wait(GST_MESSAGE_SEGMENT_DONE);
    linked.sender->wait(GST_MESSAGE_SEGMENT_DONE);
  }
  for (const auto& seen : linked.ends)
    for (const auto& item : seen->items()) fail_if(item.is(GST_EVENT_EOS));
  linked.fail_if_errors();
}

// The other side may seek when the flush of the first is over there: pads that flush take nothing.
void wait_flushed(const Linked& linked, guint32 seqnum) {
  for (const auto& seen : linked.ends)
    seen->wait_event(GST_EVENT_FLUSH_STOP,
                     [&](GstEvent* event) { return gst_event_get_seqnum(event) == seqnum; });
}

void check_at_random(const Kind& kind, int count) {
  const Scene scene;
  const Linked linked(scene, kind);
  linked.play();
  std::mt19937 random(4711);
  // A live source gives nothing in PAUSED, and a demuxer of transport streams knows no segments.
  for (int i = 0; i < count; ++i) {
    const GstClockTime to = random() % (kind.live ? 300 : 3000) * GST_MSECOND;
    const From from = random() % 2 == 0 ? From::sender : From::readers;
    const auto what = random() % 3;
    const GstState state = what == 0 && !kind.live ? GST_STATE_PAUSED : GST_STATE_PLAYING;
    for (const auto& reader : linked.readers)
      fail_unless(reader->set(state) != GST_STATE_CHANGE_FAILURE);
    const bool segment = what == 1 && !is_demuxed(kind);
    guint32 seqnum = GST_SEQNUM_INVALID;
    clear(linked);
    seek(linked, from, [&] {
      GstEvent* event =
          segment ? new_seek(to, to + 5 * GST_SECOND, GST_SEEK_FLAG_SEGMENT) : new_seek(to);
      seqnum = gst_event_get_seqnum(event);
      return event;
    });
    if (from == From::sender || is_demuxed(kind)) wait_flushed(linked, seqnum);
  }
  for (const auto& reader : linked.readers) test::reaches(*reader, GST_STATE_PLAYING);
  clear(linked);
  seek(linked, From::sender, target_in(kind));
  wait_landed(linked, target_in(kind));
  linked.wait_buffers(2);
  linked.fail_if_errors();
}

// Without a flush: what was sent before is still played, and then it goes back.
void check_backwards(const Kind& kind) {
  const Scene scene;
  Linked::Options options;
  options.sync = false;
  const Linked linked(scene, kind, options);
  linked.play();
  clear(linked);
  seek(linked, From::sender, [] {
    return gst_event_new_seek(-0.5, GST_FORMAT_TIME, GST_SEEK_FLAG_NONE, GST_SEEK_TYPE_SET, 0,
                              GST_SEEK_TYPE_SET, 3 * GST_SECOND);
  });
  linked.sender->wait_eos();
  for (const auto& reader : linked.readers) reader->wait_eos();
  for (const auto& seen : linked.ends) {
    bool backwards = false;
    GstClockTime last = GST_CLOCK_TIME_NONE;
    size_t buffers = 0;
    for (const auto& item : seen->items()) {
      if (item.is(GST_EVENT_SEGMENT)) {
        const GstSegment* segment = nullptr;
        gst_event_parse_segment(item.event.get(), &segment);
        backwards = segment->rate == -0.5;
      } else if (item.is_buffer() && backwards) {
        fail_unless(buffers > 0 || item.pts > 2 * GST_SECOND);
        fail_unless(buffers == 0 || item.pts < last);
        last = item.pts;
        ++buffers;
      }
    }
    fail_unless(buffers > 50 && last < GST_SECOND / 10,
                "%zu buffers, the last at %" GST_TIME_FORMAT, buffers, GST_TIME_ARGS(last));
  }
  linked.fail_if_errors();
}

}  // namespace

TEST(flushing_seek) {
  for (const Kind& kind : test::kAllKinds) check_flushing(kind, false);
}

TEST(flushing_seek_in_pause) {
  for (const Kind& kind : {test::kTest, test::kWav, test::kTs, test::kTsSplit})
    check_flushing(kind, true);
}

TEST(segment_seek) {
  for (const Kind& kind :
       {test::kTest, test::kWav, test::kLive, test::kLiveBoth, test::kLiveBothSplit})
    check_segment(kind);
}

TEST(seeks_at_random) {
  for (const Kind& kind : test::kAllKinds) check_at_random(kind, 60);
}

TEST(reverse_playback) {
  for (const Kind& kind : {test::kTest, test::kBoth, test::kBothSplit}) check_backwards(kind);
}
