// A client of a server, from its greeting to its end: here, or in a worker.
//
// begin(), drain() and end() by threads that may wait, one at a time; the pipeline's elements may
// take as long as they like. Events by any thread; none begins after end() has returned.
#pragma once

#include <gst/gst.h>

#include <functional>
#include <memory>
#include <string>

#include "gst/media.h"
#include "lib/fd.h"
#include "lib/result.h"
#include "lib/status.h"

namespace gstmmap {

class Session {
 public:
  struct Events {
    // Its pipeline said so; it is to be ended.
    std::function<void(const std::string&)> on_error;
    // Nothing more comes of it: it is to be ended.
    std::function<void(const std::string& why)> on_gone;
    Media::MayHave may_have;
    // In this process only: an element in place of the launch line, or nullptr; and a look at what
    // came of it.
    std::function<GstElement*()> construct;
    std::function<void(GstElement*)> constructed;
  };
  virtual ~Session() = default;
  // An error leaves the socket, by which the client can be refused, or it is gone.
  virtual mmaplink::Status begin(const Media::Plan& plan, mmaplink::Fd& socket) = 0;
  // The stream is to end, and on_gone to follow.
  virtual void drain() = 0;
  // What goes on, at once or later, or never: by a thread of ours.
  using OnStatus = std::function<void(const mmaplink::StatusLines&)>;
  virtual void ask_status(OnStatus told) = 0;
  virtual void end() = 0;
};

// Its events come from `context`.
std::shared_ptr<Session> make_session(GMainContext* context, Session::Events events);
std::shared_ptr<Session> make_isolated_session(GMainContext* context, Session::Events events);

}  // namespace gstmmap
