// What an mmapsink does, without its GObject: buffers, events and queries of one pad to all readers
// of an endpoint, and what comes back from them.
//
// Owned by the element. Threads: the streaming thread (send_…, propose_allocation), the endpoint's
// thread (on_…), the application's (open … close, stats), the exchange's worker (handle_notice),
// any (caps, query). `mutex_` is never held while the endpoint or the bus is called, or the sender
// for more than interrupting it. A reader that dies is taken off by the endpoint's thread, which
// wakes the streaming thread.
#pragma once

#include <gst/base/gstbasesink.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "elements/counters.h"
#include "elements/exchange.h"
#include "elements/keyframes.h"
#include "elements/patience.h"
#include "elements/payload.h"
#include "elements/postbox.h"
#include "elements/readers.h"
#include "elements/requests.h"
#include "elements/settings.h"
#include "elements/timebase.h"
#include "gst/wire.h"
#include "lib/endpoint.h"
#include "lib/sender.h"

namespace gstmmap {

struct SinkSettings : Settings {
  bool wait_for_connection = false;
  guint max_buffers = 8;
  mmaplink::Leaky leaky = mmaplink::Leaky::none;
  GstClockTime peer_timeout = GST_CLOCK_TIME_NONE;
  std::string remote_messages;
  bool udmabuf = false;
  std::string request;  // see gst/request.h; may change at any time, for the next greeting
};

class Sink final : public mmaplink::EndpointUser {
 public:
  explicit Sink(GstBaseSink* element);

  SinkSettings settings;  // under the object lock; those that matter are copied by start()

  bool open();   // NULL → READY
  void close();  // READY → NULL
  bool start();
  void stop();
  // Nothing waits for readers in between. Any thread, several at a time: a change of state, a
  // flush.
  void unlock();
  void unlock_stop();
  // The stream comes back to this pipeline, where it goes on in its time. Before start().
  void comes_back() { comes_back_ = true; }
  bool is_live() const { return is_live_; }  // the stream, as of its last buffer
  // For who has something else to do while there is no server: nothing waits for one then, and
  // buffers are GST_FLOW_CUSTOM_ERROR. A link that ends is not followed by another before go_on().
  // As a client, before start().
  void hold_off(bool whether);
  // Likewise, where a server has no more to give: hangs up on it.
  void give_up();
  // Whether there is a server that is ready, as soon as there is or at that time. The streaming
  // thread, which goes on with it.
  bool go_on(mmaplink::Deadline until);
  bool has_ready_server() const;  // as a client, started
  bool is_held_off() const { return holds_off_ && held_off_; }
  // PAUSED → PLAYING: the pipeline has a new base time, or clock.
  void base_time_changed() { look_at_time_ = true; }

  GstFlowReturn send_buffer(GstBuffer* buffer);
  // Serialized events. False where the event could not be sent and the stream should end.
  bool send_event(GstEvent* event);
  // Downstream events that are not in order with the data.
  void send_event_at_once(GstEvent* event);
  void flush_start(GstEvent* event);
  void flush_stop(GstEvent* event);
  void propose_allocation(GstQuery* query);
  // Any thread. What all readers take, transfer full. As a client this waits for the server: what
  // the source may deliver is decided there.
  GstCaps* caps(GstCaps* filter);
  // Of the pad: whether the readers could answer.
  bool query(GstQuery* query);
  // Of the element, where its pipeline wants to know.
  bool query_latency(GstQuery* query);
  // Likewise, where nobody upstream does.
  bool query_position(GstQuery* query) const;
  // The pipeline has decided on its latency.
  void set_latency(GstEvent* event);

  GstStructure* stats() const;
  guint num_clients() const { return static_cast<guint>(readers_.count()); }

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
  GstElement* element() const { return GST_ELEMENT(element_); }
  GstPad* pad() const { return GST_BASE_SINK_PAD(element_); }
  bool is_client() const { return active_.role == mmaplink::Role::client; }
  // Which serves one client at a time, with what that one sends.
  bool is_two_way_server() const {
    const auto endpoint = any_endpoint();
    return !is_client() && endpoint && endpoint->is_attached(mmaplink::Side::src);
  }
  bool is_greeting_its_client() const;
  bool is_flushing() const { return GST_PAD_IS_FLUSHING(pad()); }

  void set_sender(std::shared_ptr<mmaplink::Sender> sender);
  // For threads that may find none.
  std::shared_ptr<mmaplink::Sender> any_sender() const;
  std::shared_ptr<mmaplink::Endpoint> any_endpoint() const;
  size_t update_reader(const std::shared_ptr<mmaplink::Link>& link, bool reads);
  bool take_flow(const std::shared_ptr<mmaplink::Link>& link, std::span<const std::byte> bytes);
  bool take_message(mmaplink::Link& link, std::span<const std::byte> bytes);
  bool handle_notice(const std::shared_ptr<mmaplink::Link>& link, Notice kind,
                     std::span<const std::byte> bytes);
  void greet(const std::shared_ptr<mmaplink::Link>& link);
  std::shared_ptr<GstCaps> caps_now() const;
  void new_caps(GstEvent* event);
  void wait_for_other_caps(Reader& reader) const;
  void suit(const Readers::One& reader, const std::shared_ptr<GstCaps>& now);
  void admit(const Readers::One& reader, const std::shared_ptr<GstCaps>& asked_about);
  void start_off(const Readers::One& reader);
  void tell_of(Reader& reader);
  void tell_of_the_end(const mmaplink::Peer& peer);
  void begin(const Readers::One& reader, int tries);
  bool push_upstream(mmaplink::Link& link, GstEvent* event);
  bool may_go_for_all(GstEvent* event);
  void take_latency(Reader& reader, GstEvent* event);
  bool answer_query(const std::shared_ptr<mmaplink::Link>& link, std::span<const std::byte> bytes);

  Readers::List addressees() const;
  GstFlowReturn wait_ready();
  std::optional<GstFlowReturn> is_ready();
  GstFlowReturn sit_out_interruption();
  void forget_other_client();
  bool send_stickies(Reader& reader);
  mmaplink::Sender::Published send_item(Reader& reader, Item kind, std::span<const std::byte> bytes,
                                        mmaplink::Deadline until = mmaplink::Deadline::max());
  mmaplink::Sender::Published send_event_to(Reader& reader, GstEvent* event);
  mmaplink::Limits limits_for(const Reader& reader) const;
  bool has_stopped(Reader& reader, bool others_are_done) const;
  bool wait_for_eos_done(Readers::List open, uint32_t seqnum);
  using Question = std::shared_ptr<GstQuery>;
  static Question own(GstQuery* query) { return {query, gst_query_unref}; }
  struct Answered {
    Readers::One reader;
    Question query;
  };
  using Answers = std::vector<Answered>;
  Answers ask(const Readers::List& readers, const std::function<Question()>& make);
  bool send_question(Reader& reader, GstQuery* query, Exchange::Bytes bytes,
                     mmaplink::Deadline until);
  bool wait_for_reader() const;
  bool query_seeking(GstQuery* query);
  bool has_decided(const Reader& reader) const;
  bool accept_caps(GstQuery* query);
  void ask_then(const Readers::One& reader, GstQuery* query, std::function<void(GstQuery*)> then);
  bool take_answer(Reader& reader, const std::optional<Exchange::Answer>& answer, GstQuery* query);
  GstCaps* readers_caps(GstCaps* filter);
  static bool waits_for_other_caps(Reader& reader);
  void say_does_not_cross(GstEvent* event) const;
  GstFlowReturn send_to(Reader& reader, GstBuffer* buffer, gsize size, bool& dropped);
  void count_sent(Reader& reader, const GstBuffer* buffer, gsize size) const;
  void note_went(Reader& reader, GstClockTime pts) const;
  void ask_for_key_frame(bool with_headers);
  void ask_for_what_is_due(bool is_key_frame);
  void changed();
  void look_at_time();
  void warn_of_missing_side(const mmaplink::Link& link);

  GstBaseSink* const element_;
  SinkSettings active_;  // since start()
  std::shared_ptr<mmaplink::Endpoint> endpoint_;
  std::shared_ptr<mmaplink::Sender> sender_;  // from start() to close(); changed under mutex_
  GstAllocator* allocator_ = nullptr;         // owned, from start() to stop()
  Readers joining_;                           // that the worker has not greeted yet
  Readers readers_;
  Requests requests_;
  Patience patience_;
  Postbox postbox_;
  Exchange exchange_;

  mutable std::mutex mutex_;
  int unlocks_ = 0;    // that have not ended
  bool done_ = false;  // the stream came to its end over there: a hang-up is no surprise
  GstFlowReturn ended_ = GST_FLOW_OK;  // what upstream is told: the peer is gone or wants no more
  std::shared_ptr<GstCaps> caps_;      // of the stream, as soon as they are said

  bool comes_back_ = false;
  std::atomic<bool> is_live_{false};
  bool holds_off_ = false;
  std::atomic<bool> held_off_{true};

  std::atomic<uint64_t> changes_{1};  // of what is_ready() looks at
  std::atomic<bool> look_at_time_{true};
  std::atomic<uint32_t> flushes_{0};
  std::atomic<uint32_t> eos_sent_{GST_SEQNUM_INVALID};  // seqnum of the last
  mmaplink::Allowance messages_{100, 200};              // from a server; the endpoint's thread's
  std::atomic<bool> client_changed_{false};  // of a two-way server, since the last STREAM_START
  std::atomic<GstClockTime> own_latency_{0};
  std::atomic<bool> latency_told_{false};  // to the pipeline, which has not asked since
  std::atomic<GstClockTime> newest_pts_{GST_CLOCK_TIME_NONE};

  // The streaming thread's.
  bool has_preroll_lock_ = false;  // in what it is doing now
  TimeBase time_;
  uint64_t base_time_ = mmaplink::kNoBaseTime;
  KeyFrames key_frames_;
  Payload payload_;
  std::vector<std::weak_ptr<Reader>> ready_readers_;  // as of …
  uint64_t ready_changes_ = 0;                        // … this count of changes_; 0: not ready
  bool all_are_mapped_ = false;                       // and whether these are

  Counters counters_;
};

}  // namespace gstmmap
