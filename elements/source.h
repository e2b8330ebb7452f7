// What an mmapsrc does, without its GObject: what comes out of a lane onto one pad.
//
// Owned by the element. Threads: the pad's task (loop), the endpoint's thread (on_…), the
// application's (open … close, set_playing, request_eos, stats), the exchange's worker
// (handle_notice), any (query, send_upstream). `mutex_` guards the links; it is never held while
// the endpoint, the pad or the bus is called. When the peer dies its link stays until the task has
// taken what it had published.
#pragma once

#include <gst/gst.h>

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "elements/buswatch.h"
#include "elements/counters.h"
#include "elements/exchange.h"
#include "elements/flushgate.h"
#include "elements/groups.h"
#include "elements/padtime.h"
#include "elements/postbox.h"
#include "elements/settings.h"
#include "elements/stickies.h"
#include "elements/streamorder.h"
#include "elements/tighten.h"
#include "gst/shells.h"
#include "gst/wire.h"
#include "lib/endpoint.h"

namespace gstmmap {

struct SourceSettings : Settings {
  bool is_live = true;
  gint num_buffers = -1;
  bool do_timestamp = false;
  GstClockTime busy_poll = 0;
};

class Source final : public mmaplink::EndpointUser {
 public:
  Source(GstElement* element, GstPad* pad);

  SourceSettings settings;  // under the object lock; copied by open() and start()

  bool open();   // NULL → READY
  void close();  // READY → NULL
  bool start();
  void stop();
  bool is_live() const { return active_.is_live; }
  // The pad is active: the task begins, or goes on after EOS.
  bool start_task();
  void set_playing(bool playing);
  void set_flushing(bool flushing);
  // Whether running time is that of the sender's instants, where it has such, though we are not
  // live. Before start().
  void maps_time(std::function<bool()> whether) { maps_time_ = std::move(whether); }
  // Told in place of on-disconnect by the streaming thread, when all that came over a link is
  // delivered. Before start().
  void on_lost(std::function<void(const mmaplink::Error&)> tell) { on_lost_ = std::move(tell); }
  // As gst-launch-1.0 -e asks for it.
  void request_eos();
  // Of the pad: whether the far upstream could answer.
  bool query(GstQuery* query);
  // Takes the event.
  bool send_upstream(GstEvent* event);
  // Any thread. Until what its sender has flushed so far is flushed here; or query-timeout.
  void wait_for_flush();

  void loop();  // one turn of the pad's task
  GstStructure* stats() const;

  void on_connected(const std::shared_ptr<mmaplink::Link>& link) override;
  void on_lanes(const std::shared_ptr<mmaplink::Link>& link) override;
  void on_note(const std::shared_ptr<mmaplink::Link>& link, const mmaplink::Note& note) override;
  void on_disconnected(const std::shared_ptr<mmaplink::Link>& link,
                       const mmaplink::Error& why) override;
  void on_waiting() override;
  void on_refused(const mmaplink::Error& why) override;
  void on_failed(const mmaplink::Error& why) override;
  void on_status(mmaplink::StatusLines& lines) override;

 private:
  bool attach();
  void detach();
  struct Connection {
    std::shared_ptr<mmaplink::Link> link;
    std::optional<mmaplink::Error> lost;  // why, once it is
    bool is_read = false;                 // the task has it, or had it
    std::shared_ptr<Counters> counters = std::make_shared<Counters>();
  };

  bool turn();
  bool look_around(uint32_t seen);
  void sleep(uint32_t seen);
  std::shared_ptr<mmaplink::Link> pick();
  void count(std::atomic<guint64> Counters::*which, guint64 value);
  std::shared_ptr<mmaplink::Link> sending_link() const;
  std::optional<mmaplink::Error> why_lost() const;
  void finish(const mmaplink::Error& why);
  bool handle(mmaplink::Incoming& item);
  bool handle_event(const mmaplink::Incoming& item);
  bool handle_caps(GstEvent* event);
  bool has_segment_without_caps() const;
  void note_came(GstClockTime pts);
  void take_caps(GstCaps* caps);
  bool handle_query(const mmaplink::Incoming& item);
  bool handle_flush_stop(const mmaplink::Incoming& item);
  bool handle_buffer(mmaplink::Incoming& item);
  bool has_senders_time(bool has_instants) const {
    return active_.is_live || (has_instants && maps_time_ && maps_time_());
  }
  void keep_time(uint64_t base_time, GstClockTime at);
  void keep_while_flushing(GstEvent* event);
  void break_off(const std::string& why);
  bool handle_notice(const std::shared_ptr<mmaplink::Link>& link, Notice kind,
                     std::span<const std::byte> bytes);
  bool answer_query(const std::shared_ptr<mmaplink::Link>& link, std::span<const std::byte> bytes,
                    bool serialized);
  void see_message(GstMessage* message);
  bool ask(GstQuery* query);
  GstEvent* with_own_group(GstEvent* event);
  void push_sink_message(GstEvent* event);
  void push_eos(GstEvent* event);
  void tell_flow(GstFlowReturn flow);
  void ended(GstFlowReturn flow);
  void pause() { gst_pad_pause_task(pad_); }
  bool eos_is_due();

  GstElement* const element_;
  GstPad* const pad_;
  SourceSettings active_;  // since open(), and start()
  std::shared_ptr<mmaplink::Endpoint> endpoint_;
  mmaplink::Kick kick_;
  Postbox postbox_;
  Exchange exchange_;
  BusWatch bus_watch_;
  std::atomic<bool> playing_{false}, flushing_{false}, failed_{false}, eos_wanted_{false};
  std::atomic<bool> own_base_time_changed_{false};
  std::atomic<bool> latency_told_{false};  // to our pipeline, which has not asked since
  // Why nothing more is read, for good: a flush does not begin anew.
  std::atomic<GstFlowReturn> ended_here_{GST_FLOW_OK};
  FlushGate flush_;
  std::atomic<std::thread::id> task_;

  mutable std::mutex mutex_;
  std::deque<Connection> connections_;
  std::string wanted_messages_;  // names, as the client lists them

  std::function<bool()> maps_time_;
  std::function<void(const mmaplink::Error&)> on_lost_;

  // The task's.
  std::shared_ptr<mmaplink::Link> current_;
  std::shared_ptr<Counters> current_counters_ = std::make_shared<Counters>();  // of that link
  mmaplink::Incoming item_;
  const std::shared_ptr<Shells> shells_ = std::make_shared<Shells>();
  bool delivered_ = false;  // anything, over the current link
  StreamOrder order_;       // of the current link
  Stickies stickies_;
  uint32_t handled_ = 0;  // the kick that was looked into last
  std::optional<mmaplink::Deadline> pending_since_;
  std::optional<mmaplink::Deadline> eos_since_;  // that is wanted, and nothing has come
  uint64_t buffers_at_eos_ = 0;
  GstSegment segment_{};
  Tighten tighten_;
  bool is_parsed_ = true;  // by these caps, or without any
  PadTime time_;
  std::shared_ptr<const Group> group_;  // of the stream
  gint64 left_ = -1;                    // of num-buffers

  Counters counters_;
};

}  // namespace gstmmap
