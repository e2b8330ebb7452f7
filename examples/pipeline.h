// What both examples need: a pipeline that runs to its end, and says in full what goes wrong.
#pragma once

#include <gst/gst.h>

#include <functional>
#include <memory>
#include <string>

namespace example {

template <auto function>
struct Call {
  template <typename T>
  void operator()(T* pointer) const {
    function(pointer);
  }
};

template <typename T, auto function>
using Owned = std::unique_ptr<T, Call<function>>;

using Element = Owned<GstElement, gst_object_unref>;
using Pad = Owned<GstPad, gst_object_unref>;

struct Job {
  std::function<guint64()> frames;  // how many have passed; any thread's counter
  std::function<void()> progress;   // called once a second
  int seconds = 0;                  // to EOS, from the first frame on; 0: the source ends by itself
  int patience = 0;                 // seconds in which no frame passes before it fails; 0: for ever
};

// Null after it has said why.
Element parse(const std::string& description);

// The element of that name, which the description must have.
Element find(const Element& pipeline, const char* name);

// Runs the pipeline until EOS, and returns whether it came to that. SIGINT and SIGTERM ask the
// sources for EOS. Leaves the pipeline in PLAYING: going down may reset what the elements have
// counted.
bool run(const Element& pipeline, const Job& job);

// Ends the process where it takes too long.
void stop(const Element& pipeline);

// One of the counters in the `stats` property of an mmapsink or mmapsrc.
guint64 count_of(const Element& pipeline, const char* name, const char* field);

// Calls `seen` for each buffer that passes the pad, from the streaming thread.
void watch(const Element& pipeline, const char* name, const char* pad,
           std::function<void(GstPad*, GstBuffer*)> seen);

}  // namespace example
