// Frames without padding, for a downstream that does not know GstVideoMeta.
//
// Owned by a source, used by its streaming thread.
#pragma once

#include <gst/video/video.h>

#include <memory>

namespace gstmmap {

class Tighten {
 public:
  void set_caps(GstCaps* caps);
  void set_downstream_knows_video_meta(bool knows) { knows_ = knows; }
  // The same buffer where it has no padding or may keep it, else a copy. Takes `buffer`.
  GstBuffer* apply(GstBuffer* buffer) const;

 private:
  struct Free {
    void operator()(GstVideoInfo* info) const { gst_video_info_free(info); }
  };
  std::unique_ptr<GstVideoInfo, Free> video_;  // of the caps, where they are raw video
  bool knows_ = false;
};

}  // namespace gstmmap
