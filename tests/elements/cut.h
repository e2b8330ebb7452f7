// Pipelines that are the same whole and cut in two: what they are, and how they are compared. The
// near half may run in this process or in another.
//
// In all lines @ stands for the directory of the test.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/elements/record.h"

namespace test::cut {

using Lines = std::vector<std::string>;

struct Case {
  const char* name;
  // Elements, or several that stay together. Most pipelines are one chain; more are cut at the
  // same place each, and each cut is a link of its own.
  std::vector<std::vector<std::string>> chains;
  size_t first = 1;  // the first place to cut at, behind that many elements
  // What is done to the far pipeline, or the whole one, once it has prerolled.
  std::function<void(const Pipeline&)> scenario = {};
  Lines films = {};  // pipelines that run before, for the files they write
  // What the chains go to: without it a sink each, end0 and so on; with it these pads of an element
  // "join" in here, and the sinks are in here too.
  std::string tail = {};
  Lines pads = {};
  bool is_live = false;
  bool is_written_anew = false;  // a file in each run, with its date and random numbers
  // What is done to each pipeline before it runs, those for the films too, where it has the elements
  // that are meant.
  std::function<void(const Pipeline&)> prepare = {};
  std::string sink = "fakesink";  // what an end is
  size_t segments = 1;            // that end, where the scenario asks for some
};

const std::vector<Case>& cases();

// The parts of the table.
std::vector<Case> media_cases();
std::vector<Case> text_cases();
std::vector<Case> file_cases();
std::vector<Case> live_cases();

inline constexpr auto kVideo = "videotestsrc num-buffers=20 pattern=ball name=video";
inline constexpr auto kFrames = "video/x-raw,format=I420,width=160,height=120,framerate=25/1";
inline constexpr auto kAudio = "audiotestsrc num-buffers=20";
inline constexpr auto kSamples = "audio/x-raw,rate=48000,channels=2";
// Where the processor has AVX-512, x264 0.164 does not always make the same packets of the same
// frames: without instructions like these it does.
inline constexpr auto kEncoder = "x264enc threads=1 option-string=asm=0 key-int-max=10 bframes=0";
inline constexpr auto kQuickEncoder = "x264enc threads=1 tune=zerolatency";
inline constexpr auto kDecoder = "avdec_h264 max-threads=1";

bool has(const Pipeline& pipeline, const std::string& element);
std::vector<size_t> all_places(const Case& what);
size_t middle_place(const Case& what);
std::string whole_line(const Case& what, const std::string& directory);
std::string near_line(const Case& what, size_t place, const std::string& directory);
std::string far_line(const Case& what, size_t place, const std::string& directory);
// The element behind that place in a server, which the near half is a client of.
std::string server_line(const Case& what, size_t place, const std::string& directory);
std::string client_line(const Case& what, size_t place, const std::string& directory);

// A near half that runs until this is gone, and who starts it.
using Near = std::shared_ptr<void>;
using Start = std::function<Near(size_t place)>;
// Fails the test where the pipeline that is cut at one of the places differs from the whole one.
void check(const Case& what, const std::string& directory, const std::vector<size_t>& places,
           const Start& start);
// Likewise, with the element behind each place in a server; a near half is the server and its
// client.
void check_back(const Case& what, const std::string& directory, const Start& start);

// A test of its own for each case: `function` with the number of it.
struct Tests {
  explicit Tests(TFun function);
};

}  // namespace test::cut
