// What the element tests share: a place for sockets with a check for leaks, pipelines with their
// bus, and harnesses for the two elements.
//
// Whatever goes wrong in here fails the running test. Every wait has an end.
#pragma once

#include <gst/check/gstcheck.h>
#include <gst/check/gstharness.h>
#include <gst/video/video.h>

// A macro of check, and a method of <ios>.
#undef fail

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace test {

inline constexpr auto kVideo = "video/x-raw,format=I420,width=64,height=48,framerate=30/1";
inline constexpr gsize kVideoSize = 64 * 48 * 3 / 2;

// A directory for a test's sockets, and a look at what the process has open: descriptors, threads
// and mappings of memfds. Its end fails the test where there is more than at its beginning.
class Scene {
 public:
  Scene();
  Scene(const Scene&) = delete;
  Scene& operator=(const Scene&) = delete;
  ~Scene();

  const std::string& directory() const { return directory_; }
  std::string path(const char* name = "link") const { return directory_ + "/" + name; }
  // "mmapsink socket-path=…", for a launch line; likewise the other.
  std::string sink(const std::string& properties = "") const;
  std::string src(const std::string& properties = "") const;
  // What the process has open now.
  struct Open {
    size_t files = 0, threads = 0, mappings = 0;
    std::string names = {};  // of the files
    friend bool operator==(const Open& a, const Open& b) {
      return a.files == b.files && a.threads == b.threads && a.mappings == b.mappings;
    }
    std::string text() const;
  };
  static Open open_now();

 private:
  std::string directory_;
  Open before_;
};

// How many times slower than usual all is, by CK_TIMEOUT_MULTIPLIER, which check heeds too. What a
// test waits for has that much longer to come.
int slowness();

// Looks again and again until it is so, for at most ten seconds: for what has no signal of its own.
bool becomes(const std::function<bool()>& condition);

struct Unref {
  void operator()(GstBuffer* buffer) const { gst_buffer_unref(buffer); }
  void operator()(GstEvent* event) const { gst_event_unref(event); }
  void operator()(GstMessage* message) const { gst_message_unref(message); }
  void operator()(GstCaps* caps) const { gst_caps_unref(caps); }
  void operator()(GstQuery* query) const { gst_query_unref(query); }
  void operator()(gpointer object) const { gst_object_unref(object); }
};
template <class T>
using Ref = std::unique_ptr<T, Unref>;

// Warnings of our elements that are logged while it lives.
class Warnings {
 public:
  Warnings();
  Warnings(const Warnings&) = delete;
  Warnings& operator=(const Warnings&) = delete;
  ~Warnings();
  bool has(const std::string& text);

 private:
  static void log(GstDebugCategory* category, GstDebugLevel level, const gchar* file,
                  const gchar* function, gint line, GObject* object, GstDebugMessage* message,
                  gpointer self);
  std::mutex mutex_;
  std::string all_;
};

guint64 stat(GstElement* element, const char* field);
std::string text_stat(GstElement* element, const char* field);
std::string text_of(GstMessage* error);

// A launch line. Its end takes it to NULL, and fails the test where an element outlives it.
class Pipeline {
 public:
  explicit Pipeline(const std::string& line);
  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;
  ~Pipeline();

  GstElement* get() const { return pipeline_; }
  GstElement* element(const char* name) const;  // the pipeline keeps it
  GstStateChangeReturn set(GstState state) const;
  void play() const;  // must not fail
  void stop() const;  // to NULL
  // The next message of these types; fails where none comes in ten seconds.
  Ref<GstMessage> wait(GstMessageType types) const;
  void wait_eos() const;  // an error fails the test, with its text
  std::string wait_error() const;
  // Errors that came until now.
  std::vector<std::string> errors() const;

 private:
  GstElement* pipeline_;
  GstBus* bus_;
};

// One of the two elements between the test and the link, with its messages.
class Harness {
 public:
  // `element` a launch line of one element. A sink gets `caps`, and is PLAYING at once; a source
  // waits for play().
  explicit Harness(const std::string& line, const char* caps = kVideo);
  Harness(const Harness&) = delete;
  Harness& operator=(const Harness&) = delete;
  ~Harness();

  GstHarness* get() const { return harness_; }
  GstElement* element() const { return harness_->element; }
  GstBus* bus() const { return bus_; }
  void play() const { gst_harness_play(harness_); }
  void set_caps(const std::string& caps) const;

  // Of a sink. A buffer of our own has its number as offset, and in each byte.
  GstFlowReturn push(GstBuffer* buffer) const { return gst_harness_push(harness_, buffer); }
  GstFlowReturn push_number(guint64 number) const;
  void push_event(GstEvent* event) const;  // must be taken
  // From the pool that the sink proposes, and from its allocator.
  GstBuffer* acquire() const;
  // With that number, which its bytes repeat, as numbered().
  GstBuffer* acquire(guint64 number) const;
  GstBuffer* allocate(gsize size) const;
  Ref<GstQuery> ask_allocation() const;
  void wait_for_clients(guint count) const;

  // Of a source. Fails where none comes.
  Ref<GstBuffer> pull() const;
  guint64 pull_number() const;
  // The next event of that type; those before it are dropped.
  Ref<GstEvent> pull_event(GstEventType type) const;

  // The text of the next error; fails where none comes.
  std::string wait_error() const;
  guint64 stat(const char* field) const { return test::stat(element(), field); }

 private:
  GstHarness* harness_;
  GstBus* bus_;
};

GstBuffer* numbered(guint64 number, gsize size = kVideoSize);
std::string caps_of(GstEvent* event);
bool contains(const std::string& text, const std::string& part);

// Where a memory lies, the same in every process that has it.
struct Lies {
  guint64 inode, offset;
  friend bool operator==(const Lies&, const Lies&) = default;
};
Lies lies(GstMemory* memory);
// Whether what was sent from `there` came without a copy, where directions are mapped.
bool lies_still(const Lies& there, GstMemory* came);

// Tests know themselves; the main() of support.cpp runs each in a process of its own.
struct Registered {
  // `number` is what the function gets.
  Registered(const char* name, TFun function, int number = 0);
};

// A test program that is run with the name of one of these as its first word is that program, for
// tests that take a second process. What goes wrong in it is in its exit status.
struct Program {
  using Main = void (*)(const std::vector<std::string>& words);  // those behind the name
  Program(const char* name, Main main);
};

}  // namespace test

#define TEST(name)                                              \
  static void name##_body();                                    \
  static void name(int) {                                       \
    tcase_fn_start(#name, __FILE__, __LINE__);                  \
    name##_body();                                              \
  }                                                             \
  static const test::Registered name##_registered(#name, name); \
  static void name##_body()
