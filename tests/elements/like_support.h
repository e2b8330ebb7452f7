// For the tests after other elements' suites (docs): what comes to a pad, sources of
// several kinds, and pipelines that such a source is cut in.
#pragma once

#include <condition_variable>
#include <mutex>

#include "tests/elements/support.h"

namespace test {

// What came to a pad, in order, with those parts that the tests look at.
class Seen {
 public:
  struct Item {
    std::shared_ptr<GstEvent> event;  // of an event; else nullptr
    GstQueryType query = GST_QUERY_UNKNOWN;
    GstClockTime pts = GST_CLOCK_TIME_NONE;  // of a buffer
    bool is_buffer() const { return !event && query == GST_QUERY_UNKNOWN; }
    bool is(GstEventType type) const { return event && GST_EVENT_TYPE(event.get()) == type; }
  };
  using Items = std::vector<Item>;

  Seen(GstElement* element, const char* pad);
  Seen(const Seen&) = delete;
  Seen& operator=(const Seen&) = delete;
  ~Seen();

  // False where it is not so within ten seconds.
  bool becomes(const std::function<bool(const Items&)>& condition) const;
  // The next ones from now on; fail where none come.
  void wait_buffers(size_t count) const;
  void wait_buffer_near(GstClockTime pts) const;
  std::shared_ptr<GstEvent> wait_event(
      GstEventType type,
      const std::function<bool(GstEvent*)>& is_it = [](GstEvent*) { return true; }) const;
  Items items() const;
  void clear();

 private:
  struct State {
    mutable std::mutex mutex;
    mutable std::condition_variable changed;
    Items items;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
  GstPad* pad_;
  gulong probe_;
};

// Where streams come from, and into how many pipelines they go.
struct Kind {
  const char* name;
  bool live = false;
  int streams = 1;
  bool split = false;  // a pipeline of its own for each of them
};
inline constexpr Kind kTest{"test"}, kWav{"wav"}, kTs{"ts", false, 2},
    kTsSplit{"ts", false, 2, true}, kBoth{"both", false, 2}, kBothSplit{"both", false, 2, true},
    kLive{"live", true}, kLiveBoth{"live both", true, 2},
    kLiveBothSplit{"live both", true, 2, true};
inline constexpr Kind kAllKinds[] = {kTest, kWav, kTs, kTsSplit, kLive, kLiveBoth, kLiveBothSplit};
// How long a file of these lasts, roughly.
inline constexpr GstClockTime kFileDuration = 6500 * GST_MSECOND;
// Of a position that a demuxer or a key frame rounds.
inline constexpr GstClockTime kNear = GST_SECOND / 2;

// A sender and what reads from it: `source ! mmapsink` for each stream, and `mmapsrc ! fakesink`.
struct Linked {
  struct Options {
    std::string source;  // properties of each test source
    std::string sink;    // of each mmapsink
    std::string src;     // of each mmapsrc
    std::string middle;  // elements in front of each fakesink: "queue !"
    bool sync = true;    // of each fakesink, where the source is not live
    bool wait = true;    // for the readers
  };
  Linked(const Scene& scene, const Kind& of, const Options& options);
  Linked(const Scene& scene, const Kind& of) : Linked(scene, of, Options{}) {}

  // All play, and buffers have come to each end.
  void play() const;
  void play_readers() const;
  void wait_buffers(size_t count) const;  // at each end
  void fail_if_errors() const;
  GstElement* sink(int stream) const;  // mmapsink
  GstElement* from(int stream) const;  // the test source
  GstElement* end(int stream) const;   // fakesink
  const Pipeline& reader_of(int stream) const { return *readers[kind.split ? stream : 0]; }

  const Kind kind;
  std::unique_ptr<Pipeline> sender;
  std::vector<std::unique_ptr<Pipeline>> readers;
  std::vector<std::unique_ptr<Seen>> ends;  // what comes to the fakesinks
};

// As seen by the pipeline, after an asynchronous change of state too.
void reaches(const Pipeline& pipeline, GstState state);
// Takes the element `name` out and puts those of a launch line in its place, named likewise.
void swap_source(const Pipeline& pipeline, const std::string& name, const std::string& line);
Ref<GstCaps> caps_at(GstElement* element, const char* pad);

}  // namespace test
