// What an mmapsrc does, without its GObject: what comes out of a lane onto one pad.
//
// Owned by the element. Threads: the pad's task (loop), the endpoint's thread (on_…), the
// application's (open … close, set_playing, request_eos, stats). `mutex_` guards the links; it is
// never held while the endpoint, the pad or the bus is called. When the peer dies its link stays
// until the task has taken what it had published.
#pragma once

#include <gst/gst.h>
#include <gst/video/video.h>

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>

#include "elements/counters.h"
#include "elements/settings.h"
#include "gst/wire.h"
#include "lib/endpoint.h"

namespace gstmmap {

struct SourceSettings : Settings {
  bool is_live = true;
  gint num_buffers = -1;
  bool do_timestamp = false;
};

class Source final : public mmaplink::EndpointUser {
 public:
  Source(GstElement* element, GstPad* pad);

  SourceSettings settings;  // under the object lock; copied by open()

  bool open();   // NULL → READY
  void close();  // READY → NULL
  bool start();
  void stop();
  bool is_live() const { return active_.is_live; }
  void set_playing(bool playing);
  void set_flushing(bool flushing);
  // As gst-launch-1.0 -e asks for it.
  void request_eos();
  // Downstream may take other caps than before.
  void reconfigure();

  void loop();  // one turn of the pad's task
  GstStructure* stats() const;

  void on_connected(const std::shared_ptr<mmaplink::Link>& link) override;
  void on_lanes(const std::shared_ptr<mmaplink::Link>& link) override;
  void on_note(const std::shared_ptr<mmaplink::Link>& link, const mmaplink::Note& note) override;
  void on_disconnected(const std::shared_ptr<mmaplink::Link>& link,
                       const mmaplink::Error& why) override;
  void on_waiting() override;
  void on_failed(const mmaplink::Error& why) override;

 private:
  struct Connection {
    std::shared_ptr<mmaplink::Link> link;
    std::optional<mmaplink::Error> lost;  // why, once it is
  };

  bool turn();
  bool look_around(uint32_t seen);
  void sleep(uint32_t seen);
  std::shared_ptr<mmaplink::Link> pick();
  mmaplink::Error why_lost() const;
  void finish(const mmaplink::Error& why);
  bool handle(mmaplink::Incoming& item);
  bool handle_event(const mmaplink::Incoming& item);
  bool handle_buffer(mmaplink::Incoming& item);
  void break_off(const std::string& why);
  void announce_caps();
  void ask_needs(GstCaps* caps, uint32_t seqnum);
  GstBuffer* tighten(GstBuffer* buffer);
  void set_time(const mmaplink::Descriptor& descriptor);
  std::optional<GstClockTime> running_time() const;
  void push_eos(GstEvent* event);
  void tell_flow(GstFlowReturn flow);
  void ended(GstFlowReturn flow);
  void pause() { gst_pad_pause_task(pad_); }
  bool eos_is_due();

  GstElement* const element_;
  GstPad* const pad_;
  SourceSettings active_;  // since open()
  std::shared_ptr<mmaplink::Endpoint> endpoint_;
  mmaplink::Kick kick_;
  std::atomic<bool> playing_{false}, flushing_{false}, failed_{false}, eos_wanted_{false};
  std::atomic<bool> caps_changed_{false}, own_base_time_changed_{false};

  mutable std::mutex mutex_;
  std::deque<Connection> connections_;

  // The task's.
  std::shared_ptr<mmaplink::Link> current_;
  mmaplink::Incoming item_;
  bool delivered_ = false;  // anything, over the current link
  uint32_t handled_ = 0;    // the kick that was looked into last
  std::optional<mmaplink::Deadline> pending_since_;
  std::optional<mmaplink::Deadline> eos_since_;  // that is wanted, and nothing has come
  uint64_t buffers_at_eos_ = 0;
  GstSegment segment_;
  GstVideoInfo* video_ = nullptr;  // owned; of the caps, where they are raw video
  bool takes_video_meta_ = false;  // downstream does
  bool time_is_set_ = false;       // for a stream that is not live
  uint64_t base_time_ = mmaplink::kNoBaseTime;
  std::optional<uint32_t> group_there_;
  guint group_here_ = 0;
  gint64 left_ = -1;  // of num-buffers

  Counters counters_;
};

}  // namespace gstmmap
