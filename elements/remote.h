// What an mmapremote does, without its GObject: it stands between its two pads and two ways
// through, the far one (an mmapsink and an mmapsrc on one link) and the near one (`fallback`), of
// which the stream takes one at a time.
//
//     sink pad ─┬─ far.in ─ mmapsink ═══ server ═══ mmapsrc ─ far.out ──┬─ src pad
//               └─ near.in ─ fallback ───────────────────── near.out ───┘
//
// To the near way, when the link is lost: by the thread that reads from mmapsrc, which has pushed
// all that came by then. It gives the fallback what has not come back (Pending), while whoever
// feeds us waits. To the far way, when a server is ready: by the thread that feeds us, between two
// frames, after the fallback has been drained. Each encoder begins with a key frame.
//
// Owned by the element, as are the bins inside. `feed_` is held while anything goes into either
// way, and while the way changes. `mutex_` guards flags alone, and is held while nobody is called.
// Without a fallback there is one way, and no lock is taken.
#pragma once

#include <gst/gst.h>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>

#include "elements/pending.h"
#include "lib/futex.h"
#include "lib/result.h"

namespace gstmmap {

class Remote {
 public:
  enum class Way { far, near };

  // `sink` and `src` are pads of the bin.
  Remote(GstBin* bin, GstPad* sink, GstPad* src);
  Remote(const Remote&) = delete;
  Remote& operator=(const Remote&) = delete;
  ~Remote();

  GstElement* far_sink() const { return far_sink_; }  // an mmapsink
  GstElement* far_source() const { return far_source_; }
  Way way() const { return way_; }

  // NULL → READY, with the fallback's description, or none. An error is for the application.
  mmaplink::Status open(const std::string& fallback);
  void close();
  void start();
  // Before the pads are deactivated: nobody waits here any more.
  void stop();

  // The sink pad's.
  GstFlowReturn chain(GstBuffer* buffer);
  bool feed_event(GstEvent* event);
  bool feed_query(GstQuery* query);
  // The src pad's.
  bool send_upstream(GstEvent* event);
  bool query(GstQuery* query);

 private:
  struct Free {
    void operator()(gpointer object) const { gst_object_unref(object); }
  };
  using Pad = std::unique_ptr<GstPad, Free>;
  struct Path {
    Pad in, out;  // our ends: into it, and out of it
  };

  Pad inner_pad(const char* name, Way way, GstPadDirection direction);
  Path& path(Way way) { return way == Way::far ? far_ : near_; }
  Path& path() { return path(way_); }
  Way way_of(const GstPad* out) const { return out == far_.out.get() ? Way::far : Way::near; }
  bool has_fallback() const { return fallback_ != nullptr; }
  void decide();
  bool flushes() const;

  bool feed_flush(GstEvent* event);
  bool end_flush(GstEvent* event, bool is_lost);
  bool flush_behind();
  GstFlowReturn feed_near(GstBuffer* buffer);
  void try_far();
  void go_far();
  void go_near(const std::string& why);
  bool wait_for_near(std::unique_lock<std::recursive_mutex>& feeding);
  bool start_fallback();
  void stop_fallback();
  void drain_fallback();
  void tell_of_change();
  void push_sticky(Path& to, const Pending::Frame* first);
  GstFlowReturn feed_pending();
  void lost(const std::string& why);
  void ended_there();

  GstFlowReturn come(Way from, GstBuffer* buffer);
  bool come_event(Way from, GstEvent* event);
  bool push_event(GstEvent* event);
  bool is_known(GstEvent* event) const;

  GstBin* const bin_;
  GstPad* const sink_;
  GstPad* const src_;
  GstElement* far_sink_;
  GstElement* far_source_;
  GstElement* fallback_ = nullptr;  // the bin's, from open() to close()
  Path far_, near_;

  std::atomic<Way> way_{Way::far};
  std::atomic<bool> decided_{false};  // which way is the first
  std::atomic<bool> far_is_stale_{
      false};  // what is still to come of a link that is lost was flushed
  std::recursive_mutex feed_;
  Pending pending_;
  mmaplink::Deadline far_since_{}, near_until_{};  // the feeder's, and with feed_ the far reader's
  GstFlowReturn near_flow_ = GST_FLOW_OK;          // of what was pending

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool stopped_ = true;
  bool flushing_ = false;
  bool far_waits_ = false;  // what has gone far may have to go near, which is not there yet
  guint32 not_flushed_ = GST_SEQNUM_INVALID;  // a flush that has gone far and not come back
  std::string why_lost_;    // the link that was fed, and all that came over it is delivered
  bool eos_in_ = false;     // has gone in
  bool far_ended_ = false;  // its source has, and its thread does not wait for the feeder any more
  bool draining_ = false;
  bool drained_ = false;
};

}  // namespace gstmmap
