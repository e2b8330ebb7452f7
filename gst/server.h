// What a GstMmapServer does, without its GObject: who may come, how many, and what each gets.
//
// Owned by the object. Threads: start(), drain(), stop() and the settings by the application's;
// callers come by the reception's thread; tasks of a pool begin and end clients, each of which may
// take its time without holding up another; buses and workers are watched by a thread of its own.
// `mutex_` is never held while any of them is waited for, or the application called.
#pragma once

#include <gst/gst.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "gst/request.h"
#include "gst/rules.h"
#include "gst/session.h"
#include "lib/endpoint.h"
#include "lib/reception.h"

namespace gstmmap {

// Any thread but the one that stops the server; several at a time.
class ServerUser {
 public:
  virtual ~ServerUser() = default;
  virtual void on_connected(guint client, const mmaplink::Peer& peer,
                            const std::string& profile) = 0;
  // In place of the launch line, or nullptr.
  virtual GstElement* construct(guint client, const std::string& profile) = 0;
  virtual void on_constructed(guint client, GstElement* pipeline) = 0;
  virtual void on_error(guint client, const std::string& text) = 0;
  virtual void on_disconnected(guint client, const std::string& why) = 0;
};

struct ServerSettings {
  std::vector<std::string> paths;  // these as of start()
  guint perms = 0600;
  std::string group;
  std::string allowed_uids;
  bool isolate = false;
  std::string mmap = "yes";  // all others as of when a client comes
  bool monitor = false;
  guint max_clients = mmaplink::Endpoint::kMostClients;
  guint64 client_memory = mmaplink::kDefaultMemory;  // of each of its two elements here
  guint64 max_memory = 0;                            // of all; 0: no limit
  guint64 max_pixel_rate = 0;                        // likewise
  std::string default_profile;                       // empty: the first
};

class Server {
 public:
  explicit Server(ServerUser& user) : user_(user) {}
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  ~Server() { stop(); }

  // Under the lock.
  template <class Call>
  auto with_settings(Call call) {
    const std::lock_guard lock(mutex_);
    return call(settings_);
  }
  // A new one, or another meaning for one that is there; clients that have it keep it as it was.
  mmaplink::Status put_profile(const std::string& name, const std::string& launch,
                               const std::string& allow);
  bool remove_profile(const std::string& name);

  mmaplink::Status start();
  void drain();
  void stop();
  guint num_clients() const;

 private:
  struct Profile {
    std::string name;
    std::string launch;
    Rules rules;
  };
  struct Client {
    guint id = 0;
    mmaplink::Peer peer;
    std::string path;  // where it came to
    std::string profile;
    Media::Plan plan;
    std::mutex work;  // one task at a time; these under it
    mmaplink::Fd socket;
    std::shared_ptr<Session> session;
    bool is_told = false;
    guint64 rate = 0;  // these under the server's
    bool ends = false;
    std::string why;
  };
  using One = std::shared_ptr<Client>;
  using Task = std::function<void()>;

  mmaplink::Status check() const;
  mmaplink::Status open();
  void close();
  void welcome(mmaplink::Reception::Caller caller);
  mmaplink::Result<One> admit(mmaplink::Reception::Caller& caller);
  void push(Task task);
  void work();
  void push(void (Server::*call)(const One&), const One& client);
  std::string may_ask();
  void be_asked(mmaplink::Reception::Caller caller);
  mmaplink::StatusLines status();
  void begin(const One& client);
  void drain_one(const One& client);
  void end(const One& client);
  void finish(guint id, const std::string& why);
  std::string may_have(guint id, guint64 rate);
  Session::Events events_for(const One& client);

  ServerUser& user_;
  std::mutex change_mutex_;  // one start(), drain() or stop() at a time; before mutex_
  std::unique_ptr<mmaplink::Reception> reception_;
  GThreadPool* pool_ = nullptr;
  GMainContext* context_ = nullptr;
  GMainLoop* loop_ = nullptr;
  std::thread thread_;

  mutable std::mutex mutex_;
  std::condition_variable left_;
  ServerSettings settings_;
  std::vector<Profile> profiles_;
  std::map<guint, One> clients_;
  std::deque<Task> tasks_;
  guint last_id_ = 0;
  bool isolates_ = false;  // since start()
  bool draining_ = false;
  mmaplink::Allowance asks_{mmaplink::Endpoint::kStatusPerSecond,
                            2 * mmaplink::Endpoint::kStatusPerSecond};
  size_t answering_ = 0;
};

}  // namespace gstmmap
