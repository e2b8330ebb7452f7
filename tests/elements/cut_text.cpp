// Text, subtitles and captions, alone and over video, whole and cut.
#include "tests/elements/cut.h"

namespace test::cut {

namespace {

constexpr auto kText =
    "dataurisrc uri=\"data:application/x-subtitle,"
    "1%0A00:00:00,100%20-->%2000:00:00,300%0AFirst%0A%0A"
    "2%0A00:00:00,400%20-->%2000:00:00,700%0ASecond%0Aline%0A%0A\"";
// Pairs of bytes that differ from frame to frame.
constexpr auto kPairs =
    "fakesrc num-buffers=20 sizetype=fixed sizemax=2 filltype=pattern-span datarate=60 format=time";
constexpr auto kCaptions = "closedcaption/x-cea-608,format=raw,field=0,framerate=30/1";

std::string captioned(const std::string& video, const std::string& captions) {
  return "videotestsrc num-buffers=20 ! video/x-raw,framerate=30/1," + video +
         " ! cccombiner name=both " + kPairs + " ! " + kCaptions +
         " ! ccconverter ! closedcaption/" + captions + " ! both.caption both.";
}

}  // namespace

std::vector<Case> text_cases() {
  const auto captions_708 = captioned("format=I420,width=64,height=48", "x-cea-708,format=cc_data");
  return {
      {.name = "subtitles", .chains = {{kText, "subparse", "identity"}}},
      {.name = "text_over_video",
       .chains = {{kVideo, kFrames, "textoverlay text=over", "timeoverlay"}}},
      // Each over a link of its own.
      {.name = "subtitles_over_video",
       .chains = {{kVideo, kFrames, "identity"}, {kText, "subparse"}},
       .tail = "textoverlay name=join ! fakesink name=end0",
       .pads = {"video_sink", "text_sink"}},
      {.name = "captions",
       .chains = {{kPairs, kCaptions, "ccconverter", "closedcaption/x-cea-708,format=cc_data",
                   "ccconverter", "closedcaption/x-cea-608,format=s334-1a"}}},
      // In the stream from the encoder on, and beside the frames again behind the parser.
      {.name = "captions_in_h264",
       .chains = {{captions_708, "x264enc threads=1 option-string=asm=0", "h264parse", kDecoder,
                   "ccextractor remove-caption-meta=true"}}},
      {.name = "captions_taken_out",
       .chains = {{captions_708, "identity"}},
       .tail = "ccextractor name=join join.src ! queue ! fakesink name=end0 "
               "join.caption ! queue ! fakesink name=end1",
       .pads = {"sink"}},
      // Behind the pads of what takes them out, each over a link of its own.
      {.name = "captions_over_a_link_of_their_own",
       .chains = {{captions_708 + " ! ccextractor name=split split.src", "queue"},
                  {"split.caption", "queue"}}},
      {.name = "captions_in_line_21",
       .chains = {{captioned("format=UYVY,width=720,height=525,interlace-mode=interleaved",
                             "x-cea-608,format=s334-1a"),
                   "line21encoder", "line21decoder"}}},
  };
}

}  // namespace test::cut
