// Readers that come while an encoder plays to a fan-out: what they decode is what was encoded, from
// the first picture on, and all who come at once have the encoder make one key frame.
//
// It encodes without loss, so that each picture can be compared, and makes no key frame by itself.
#include <gst/video/video.h>

#include <atomic>
#include <map>
#include <mutex>

#include "tests/elements/like_support.h"

using test::Pipeline;
using test::Scene;

namespace {

// The timestamp that x264enc gives to its first packet, so that those of decoding are not negative.
constexpr GstClockTime kFirst = 1000 * 3600 * GST_SECOND;

std::string content(GstBuffer* buffer) {
  std::string bytes(gst_buffer_get_size(buffer), '\0');
  gst_buffer_extract(buffer, 0, bytes.data(), bytes.size());
  return bytes;
}

test::Ref<GstPad> pad_of(const Pipeline& pipeline, const char* element, const char* name) {
  return test::Ref<GstPad>(gst_element_get_static_pad(pipeline.element(element), name));
}

// The buffers that come by a pad, by their time since the first that was encoded.
class Pictures {
 public:
  Pictures(const Pipeline& pipeline, const char* element, const char* pad) {
    gst_pad_add_probe(
        pad_of(pipeline, element, pad).get(), GST_PAD_PROBE_TYPE_BUFFER,
        [](GstPad*, GstPadProbeInfo* info, gpointer data) {
          GstBuffer* buffer = GST_PAD_PROBE_INFO_BUFFER(info);
          const GstClockTime pts = GST_BUFFER_PTS(buffer);
          auto& self = *static_cast<Pictures*>(data);
          const std::lock_guard lock(self.mutex_);
          if (self.all_.empty()) {
            self.begins_with_key_frame_ =
                !GST_BUFFER_FLAG_IS_SET(buffer, GST_BUFFER_FLAG_DELTA_UNIT);
            self.zero_ = pts >= kFirst ? kFirst : pts;
          }
          self.all_[pts - self.zero_] = content(buffer);
          return GST_PAD_PROBE_OK;
        },
        this, nullptr);
  }
  std::map<GstClockTime, std::string> get() const {
    const std::lock_guard lock(mutex_);
    return all_;
  }
  bool begins_with_key_frame() const {
    const std::lock_guard lock(mutex_);
    return begins_with_key_frame_;
  }
  void wait(size_t count) const {
    fail_unless(test::becomes([&] { return get().size() >= count; }), "%zu", get().size());
  }
  void wait_more() const { wait(get().size() + 3); }

 private:
  mutable std::mutex mutex_;
  std::map<GstClockTime, std::string> all_;
  bool begins_with_key_frame_ = false;
  GstClockTime zero_ = 0;
};

// A server whose pictures can be held up on their way into the encoder.
class Server {
 public:
  Server(const Scene& scene, const std::string& format)
      : pipeline_(
            "videotestsrc is-live=true pattern=ball ! "
            "video/x-raw,format=I420,width=64,height=48,framerate=100/1 ! "
            "taginject tags=title=late ! x264enc name=encoder threads=1 "
            "tune=zerolatency pass=quant quantizer=0 key-int-max=1000000 "
            "option-string=scenecut=0 ! video/x-h264,stream-format=" +
            format + " ! " + scene.sink("name=sink")),
        pictures_(pipeline_, "encoder", "sink"),
        into_(pad_of(pipeline_, "encoder", "sink")) {
    gst_pad_add_probe(
        pad_of(pipeline_, "encoder", "src").get(), GST_PAD_PROBE_TYPE_EVENT_UPSTREAM,
        [](GstPad*, GstPadProbeInfo* info, gpointer wanted) {
          if (gst_video_event_is_force_key_unit(GST_PAD_PROBE_INFO_EVENT(info)))
            ++*static_cast<std::atomic<int>*>(wanted);
          return GST_PAD_PROBE_OK;
        },
        &wanted_, nullptr);
    pipeline_.play();
    // The key frame that a stream begins with is gone when they come.
    pictures_.wait_more();
  }

  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  ~Server() { pipeline_.stop(); }

  void hold() {
    blocked_ = false;
    probe_ = gst_pad_add_probe(
        into_.get(), GST_PAD_PROBE_TYPE_BLOCK_DOWNSTREAM,
        [](GstPad*, GstPadProbeInfo*, gpointer blocked) {
          *static_cast<std::atomic<bool>*>(blocked) = true;
          return GST_PAD_PROBE_OK;
        },
        &blocked_, nullptr);
    fail_unless(test::becomes([&] { return blocked_.load(); }));
  }
  void go_on() const { gst_pad_remove_probe(into_.get(), probe_); }
  void wait_for_readers(guint count) const {
    guint clients = 0;
    fail_unless(test::becomes([&] {
      g_object_get(pipeline_.element("sink"), "num-clients", &clients, nullptr);
      return clients == count;
    }));
  }
  const Pictures& pictures() const { return pictures_; }
  int key_frames_wanted() const { return wanted_; }
  void fail_if_errors() const { fail_unless(pipeline_.errors().empty()); }

 private:
  const Pipeline pipeline_;
  const Pictures pictures_;
  const test::Ref<GstPad> into_;
  std::atomic<int> wanted_{0};
  std::atomic<bool> blocked_{false};
  gulong probe_ = 0;
};

class Joiner {
 public:
  explicit Joiner(const Scene& scene)
      : pipeline_(scene.src("name=src ! identity name=packets ! avdec_h264 name=decoder "
                            "max-threads=1 ! fakesink async=false")),
        events_(pipeline_.element("packets"), "sink"),
        packets_(pipeline_, "packets", "sink"),
        decoded_(pipeline_, "decoder", "src") {
    pipeline_.play();
  }

  Joiner(const Joiner&) = delete;
  Joiner& operator=(const Joiner&) = delete;
  ~Joiner() { pipeline_.stop(); }

  void check(const Server& server) const {
    decoded_.wait_more();
    fail_unless(packets_.begins_with_key_frame());
    for (const auto type :
         {GST_EVENT_STREAM_START, GST_EVENT_CAPS, GST_EVENT_SEGMENT, GST_EVENT_TAG})
      fail_unless(has_before_data(type), "no %s", gst_event_type_get_name(type));
    const auto decoded = decoded_.get();
    const auto sent = server.pictures().get();
    const auto packets = packets_.get();
    fail_unless_equals_uint64(decoded.begin()->first, packets.begin()->first);
    auto packet = packets.begin();
    for (const auto& [pts, picture] : decoded) {
      fail_unless_equals_uint64(pts, packet->first);
      fail_unless(sent.contains(pts) && sent.at(pts) == picture,
                  "another picture at %" GST_TIME_FORMAT, GST_TIME_ARGS(pts));
      ++packet;
    }
    fail_unless(pipeline_.errors().empty());
  }

 private:
  bool has_before_data(GstEventType type) const {
    for (const auto& item : events_.items()) {
      if (item.is_buffer()) return false;
      if (item.is(type)) return true;
    }
    return false;
  }

  const Pipeline pipeline_;
  const test::Seen events_;
  const Pictures packets_, decoded_;
};

void join(const std::string& format) {
  const Scene scene;
  Server server(scene, format);
  std::vector<std::unique_ptr<Joiner>> joiners;
  for (int wanted = 1; wanted <= 3; ++wanted) {
    // All at once: none is a reader long enough to be served alone.
    server.hold();
    for (int i = 0; i < 3; ++i) joiners.push_back(std::make_unique<Joiner>(scene));
    server.wait_for_readers(static_cast<guint>(joiners.size()));
    server.go_on();
    for (const auto& joiner : joiners) joiner->check(server);
    fail_unless_equals_int(server.key_frames_wanted(), wanted);
  }
  server.fail_if_errors();
}

}  // namespace

// Its headers are in each key frame.
TEST(readers_of_an_encoder_come_late) { join("byte-stream"); }

// And here in the caps.
TEST(readers_of_an_encoder_with_headers_in_the_caps_come_late) { join("avc"); }
