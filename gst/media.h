// One client's pipeline on a server: mmapsrc ! what the profile says ! mmapsink, on one socket.
//
// In the server's process or in a worker's. Threads: make() … stop() by one at a time, and they may
// take as long as the elements do; on_event by the thread of the context; may_have by the streaming
// thread, which waits for the answer.
#pragma once

#include <gst/gst.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "gst/rules.h"
#include "lib/allowance.h"
#include "lib/arena.h"
#include "lib/fd.h"
#include "lib/status.h"

namespace gstmmap {

// Of the log.
GstDebugCategory* server_category();

class Media : public std::enable_shared_from_this<Media> {
 public:
  struct Plan {
    std::string launch;  // its elements' description; not needed with an element
    Rules rules;
    Params params;
    std::string mmap = "yes";
    guint64 memory = mmaplink::kDefaultMemory;  // that each of our two elements may make
  };
  enum class Event { error, ended, left };  // with its text; EOS; the client has gone
  using OnEvent = std::function<void(Event, const std::string&)>;
  // Raw pixels a second that the client wants; why it may not have them, or nothing.
  using MayHave = std::function<std::string(guint64)>;

  // What comes of a launch line, floating. Failure::settings with the parser's own words.
  static mmaplink::Result<GstElement*> parse(const std::string& launch);
  // On that socket, which is prepare()'s to take. Takes `element`, floating, where there is one in
  // place of a description.
  static mmaplink::Result<std::shared_ptr<Media>> make(const Plan& plan, const mmaplink::Fd& socket,
                                                       GstElement* element, MayHave may_have);
  Media(const Media&) = delete;
  Media& operator=(const Media&) = delete;
  ~Media();

  GstElement* pipeline() const { return pipeline_; }
  // Until the greeting is answered the client can be refused, with the socket that is given back.
  mmaplink::Status prepare(mmaplink::Fd& socket);
  mmaplink::Status play();
  // From play() on, in that context. At most one `left`, and nothing after stop() but what is being
  // told just then.
  void watch(GMainContext* context, OnEvent on_event);
  // The stream ends here: `ended` follows once all of it has gone to the client.
  void drain();
  void stop();
  // Of its link, as of lib/status.h. Any thread.
  mmaplink::StatusLines status() const;

 private:
  Media() = default;
  mmaplink::Status put_together(const Plan& plan, int fd);
  mmaplink::Status why(const char* what);
  void see(GstMessage* message);
  GstPadProbeReturn look_at(GstEvent* event);
  bool take_caps(GstEvent* event);
  void take_params(GstEvent* event);

  ino_t socket_ = 0;  // its inode
  GstElement* pipeline_ = nullptr;
  GstElement* source_ = nullptr;  // the pipeline has it, as the next
  GstElement* inner_ = nullptr;
  bool goes_back_ = true;  // to the client
  Rules rules_;
  MayHave may_have_;
  bool refused_ = false;  // its stream; the streaming thread's
  OnEvent on_event_;
  GSource* bus_source_ = nullptr;
  mmaplink::Allowance changes_{20, 40};  // of parameters; by mmapsrc's worker
  std::atomic<bool> at_end_{false};      // of the stream
  bool left_ = false;                    // the context's
};

}  // namespace gstmmap
