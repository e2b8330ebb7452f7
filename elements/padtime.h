// Keeps running time on both sides the same instant of CLOCK_MONOTONIC, by a pad's offset: segments
// and timestamps stay as they are.
//
// Owned by a source, used by its streaming thread.
#pragma once

#include <gst/gst.h>

#include <optional>

#include "elements/timebase.h"
#include "lib/layout.h"

namespace gstmmap {

class PadTime {
 public:
  PadTime(GstElement* element, GstPad* pad) : element_(element), pad_(pad) {}

  // Another sender, or another pipeline clock here.
  void forget();
  // Before a segment is pushed. There is no running time in bytes, and the offset of a pad would
  // move them.
  void begin(const GstSegment& segment);
  // Before what is at `at` of that segment is pushed. What is not live over there has no instant:
  // the first is taken to be due now.
  void apply(uint64_t base_time, GstClockTime at, const GstSegment& segment);
  // Of this pipeline, now.
  std::optional<GstClockTime> running_time() const;

 private:
  void set(gint64 offset);

  GstElement* const element_;
  GstPad* const pad_;
  TimeBase own_;
  bool is_set_ = false;
  uint64_t there_ = mmaplink::kNoBaseTime;
};

}  // namespace gstmmap
