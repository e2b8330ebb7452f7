#include "gst/server.h"

#include <algorithm>
#include <utility>

#include "lib/json_line.h"
#include "lib/status.h"
#include "lib/system.h"

#define GST_CAT_DEFAULT server_category()

using mmaplink::Access;
using mmaplink::Clock;
using mmaplink::Error;
using mmaplink::Failure;
using mmaplink::Reception;
using mmaplink::Result;
using mmaplink::Status;

namespace gstmmap {

namespace {

constexpr size_t kMostAnswers = 8;                       // at a time, to who asks for the status
constexpr auto kToSay = std::chrono::milliseconds(250);  // for workers; who asks waits for longer
constexpr auto kToBeRead = std::chrono::milliseconds(1000);  // for an answer

Result<Access> access_of(const ServerSettings& settings) {
  Access access;
  access.mode = settings.perms;
  if (!settings.group.empty()) {
    auto group = mmaplink::group_named(settings.group);
    if (!group) return group.error();
    access.group = *group;
  }
  if (!settings.allowed_uids.empty()) {
    auto uids = mmaplink::parse_uids(settings.allowed_uids);
    if (!uids) return uids.error();
    access.uids = *uids;
  }
  return access;
}

void log_refused(const Error& why) { GST_WARNING("not let in: %s", why.text.c_str()); }

}  // namespace

// --- profiles -----------------------------------------------------------------------------------

Status Server::put_profile(const std::string& name, const std::string& launch,
                           const std::string& allow) {
  const std::string of = "profile '" + name + "': ";
  if (auto good = gstmmap::check(Request{name, {}}); !good || name.empty())
    return Error{Failure::settings, of + "a name that no client could ask for"};
  auto rules = parse_rules(allow);
  if (!rules) return Error{Failure::settings, of + rules.error().text};
  if (!launch.empty()) {
    auto element = Media::parse(launch);
    if (!element) return Error{Failure::settings, of + element.error().text};
    gst_object_ref_sink(*element);
    const auto good = check_rules(*rules, *element);
    gst_object_unref(*element);
    if (!good) return Error{Failure::settings, of + good.error().text};
  }
  Profile made{name, launch, std::move(*rules)};
  const std::lock_guard lock(mutex_);
  const auto found = std::find_if(profiles_.begin(), profiles_.end(),
                                  [&](const Profile& one) { return one.name == name; });
  if (found != profiles_.end())
    *found = std::move(made);
  else
    profiles_.push_back(std::move(made));
  return mmaplink::ok();
}

bool Server::remove_profile(const std::string& name) {
  const std::lock_guard lock(mutex_);
  return std::erase_if(profiles_, [&](const Profile& one) { return one.name == name; }) > 0;
}

// --- start and end ------------------------------------------------------------------------------

Status Server::check() const {
  const std::lock_guard lock(mutex_);
  if (settings_.paths.empty()) return Error{Failure::settings, "no socket-path is set"};
  if (profiles_.empty()) return Error{Failure::settings, "there is no profile to serve"};
  if (auto mode = mmaplink::parse_mode(settings_.mmap, mmaplink::Role::server); !mode)
    return mode.error();
  const auto nothing = [](const Profile& one) { return one.launch.empty(); };
  if (const auto found = std::find_if(profiles_.begin(), profiles_.end(), nothing);
      settings_.isolate && found != profiles_.end())
    return Error{Failure::settings, "profile '" + found->name +
                                        "' has no launch line, which a worker needs (isolate)"};
  return mmaplink::ok();
}

Status Server::start() {
  const std::lock_guard change(change_mutex_);
  if (reception_) return Error{Failure::busy, "this server has started already"};
  if (auto good = check(); !good) return good;
  auto opened = open();
  if (!opened) close();
  return opened;
}

Status Server::open() {
  const ServerSettings settings = with_settings([&](const ServerSettings& now) {
    isolates_ = now.isolate;
    draining_ = false;
    return now;
  });
  auto access = access_of(settings);
  if (!access) return access.error();
  context_ = g_main_context_new();
  loop_ = g_main_loop_new(context_, FALSE);
  auto thread = mmaplink::sys::thread([this] { g_main_loop_run(loop_); });
  if (!thread) return thread.error();
  thread_ = std::move(*thread);
  // As many as there are clients: one that hangs in its elements holds up nobody.
  pool_ = g_thread_pool_new([](gpointer, gpointer self) { static_cast<Server*>(self)->work(); },
                            this, -1, FALSE, nullptr);
  reception_ = std::make_unique<Reception>();
  return reception_->start(
      settings.paths, *access,
      {[this](Reception::Caller caller) { welcome(std::move(caller)); },
       [this](Reception::Caller caller) { be_asked(std::move(caller)); }, log_refused});
}

void Server::close() {
  if (reception_) reception_->stop();
  {
    std::unique_lock lock(mutex_);
    std::vector<guint> ids;
    for (const auto& [id, client] : clients_) ids.push_back(id);
    lock.unlock();
    for (const guint id : ids) finish(id, "the server was stopped");
    lock.lock();
    left_.wait(lock, [this] { return clients_.empty(); });
  }
  reception_.reset();
  if (pool_ != nullptr) g_thread_pool_free(std::exchange(pool_, nullptr), FALSE, TRUE);
  if (thread_.joinable()) {
    // A loop that does not run yet would not see that it is to quit.
    g_main_context_invoke(
        context_,
        [](gpointer loop) -> gboolean {
          g_main_loop_quit(static_cast<GMainLoop*>(loop));
          return G_SOURCE_REMOVE;
        },
        loop_);
    thread_.join();
  }
  if (loop_ != nullptr) g_main_loop_unref(std::exchange(loop_, nullptr));
  if (context_ != nullptr) g_main_context_unref(std::exchange(context_, nullptr));
}

void Server::drain() {
  const std::lock_guard change(change_mutex_);
  if (!reception_) return;
  reception_->stop();
  std::vector<One> all;
  {
    const std::lock_guard lock(mutex_);
    draining_ = true;
    for (const auto& [id, client] : clients_) all.push_back(client);
  }
  for (const One& client : all) push(&Server::drain_one, client);
}

void Server::stop() {
  const std::lock_guard change(change_mutex_);
  if (reception_) close();
}

guint Server::num_clients() const {
  const std::lock_guard lock(mutex_);
  return static_cast<guint>(clients_.size());
}

// --- who comes ----------------------------------------------------------------------------------

// By the reception's thread.
void Server::welcome(Reception::Caller caller) {
  auto client = admit(caller);
  if (client) return push(&Server::begin, *client);
  GST_WARNING("not let in: %s on %s: %s", name_and_uid(caller.peer).c_str(), caller.path.c_str(),
              client.error().text.c_str());
  Reception::refuse(std::move(caller.socket), client.error().text);
}

Result<Server::One> Server::admit(Reception::Caller& caller) {
  auto request = parse_request(caller.request);
  if (!request) return request.error();
  const std::lock_guard lock(mutex_);
  const std::string& name = request->profile.empty() ? settings_.default_profile : request->profile;
  const auto found = std::find_if(profiles_.begin(), profiles_.end(), [&](const Profile& one) {
    return name.empty() || one.name == name;
  });
  if (found == profiles_.end()) {
    std::string text = "there is no profile " + shortened(name) + " here; there are: ";
    for (const auto& one : profiles_) text += (&one == &profiles_.front() ? "" : ", ") + one.name;
    return Error{Failure::settings, text};
  }
  if (clients_.size() >= settings_.max_clients)
    return Error{Failure::limit, "serving as many clients as it may, max-clients=" +
                                     std::to_string(settings_.max_clients)};
  guint64 memory = 2 * settings_.client_memory;
  for (const auto& [id, client] : clients_) memory += 2 * client->plan.memory;
  if (settings_.max_memory != 0 && memory > settings_.max_memory)
    return Error{Failure::limit,
                 "serving as many clients as max-memory=" + std::to_string(settings_.max_memory) +
                     " has room for, where each is reckoned with " +
                     std::to_string(2 * settings_.client_memory) + " bytes"};
  auto client = std::make_shared<Client>();
  do ++last_id_;
  while (last_id_ == 0 || clients_.contains(last_id_));
  client->id = last_id_;
  client->peer = caller.peer;
  client->path = caller.path;
  client->profile = found->name;
  client->plan = {found->launch, found->rules, std::move(request->params), settings_.mmap,
                  settings_.client_memory};
  client->socket = std::move(caller.socket);
  clients_.emplace(client->id, client);
  return client;
}

void Server::push(Task task) {
  {
    // Not as the pool's data: how that is handed over ThreadSanitizer does not see.
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
  }
  // Where the system has no thread for it, it waits for one that is there.
  g_thread_pool_push(pool_, this, nullptr);
}

// By a thread of the pool, once for each push.
void Server::work() {
  Task task;
  {
    const std::lock_guard lock(mutex_);
    task = std::move(tasks_.front());
    tasks_.pop_front();
  }
  task();
}

void Server::push(void (Server::*call)(const One&), const One& client) {
  push([this, call, client] { (this->*call)(client); });
}

// --- who looks ----------------------------------------------------------------------------------

// Why not, or nothing; then it is one more of those that are answered.
std::string Server::may_ask() {
  const std::lock_guard lock(mutex_);
  if (!settings_.monitor)
    return "this server does not show its status: set monitor=true there, or start gst-mmap-server "
           "with --monitor";
  if (answering_ >= kMostAnswers || !asks_.take(Clock::now()))
    return "the status was asked for more than " +
           std::to_string(mmaplink::Endpoint::kStatusPerSecond) + " times a second";
  ++answering_;
  return "";
}

// By the reception's thread.
void Server::be_asked(Reception::Caller caller) {
  if (const std::string no = may_ask(); !no.empty())
    return Reception::refuse(std::move(caller.socket), no);
  push([this, socket = std::make_shared<mmaplink::Fd>(std::move(caller.socket))] {
    const auto lines = status();
    if (auto told = mmaplink::answer_status(std::move(*socket), lines, Clock::now() + kToBeRead);
        !told)
      GST_INFO("the status was not read: %s", told.error().text.c_str());
    const std::lock_guard lock(mutex_);
    --answering_;
  });
}

// Of all clients that say it in time.
mmaplink::StatusLines Server::status() {
  struct Gathering {
    std::mutex mutex;
    std::condition_variable changed;
    size_t missing = 0;
    mmaplink::StatusLines lines;
  };
  std::vector<One> all;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, client] : clients_) all.push_back(client);
  }
  const auto gathering = std::make_shared<Gathering>();
  gathering->missing = all.size();
  for (const One& client : all) {
    const auto add = [gathering, client](const mmaplink::StatusLines& lines) {
      const std::lock_guard lock(gathering->mutex);
      for (const auto& line : lines) {
        // A worker's are not trusted more than its client.
        auto fields = mmaplink::JsonFields::parse(line);
        if (!fields) continue;
        fields->set("path", client->path);
        fields->set("client", uint64_t{client->id});
        fields->set("profile", client->profile);
        gathering->lines.push_back(fields->line());
      }
      --gathering->missing;
      gathering->changed.notify_all();
    };
    // One that begins or ends just now may take its time, and has nothing to tell.
    const std::unique_lock work(client->work, std::try_to_lock);
    if (work && client->session)
      client->session->ask_status(add);
    else
      add({});
  }
  std::unique_lock lock(gathering->mutex);
  gathering->changed.wait_for(lock, kToSay, [&] { return gathering->missing == 0; });
  return gathering->lines;
}

// --- tasks of the pool --------------------------------------------------------------------------

Session::Events Server::events_for(const One& client) {
  const guint id = client->id;
  Session::Events events;
  events.on_error = [this, id](const std::string& text) {
    user_.on_error(id, text);
    finish(id, text);
  };
  events.on_gone = [this, id](const std::string& why) { finish(id, why); };
  events.may_have = [this, id](guint64 rate) { return may_have(id, rate); };
  events.construct = [this, id, profile = client->profile] { return user_.construct(id, profile); };
  events.constructed = [this, id](GstElement* pipeline) { user_.on_constructed(id, pipeline); };
  return events;
}

void Server::begin(const One& client) {
  const std::lock_guard work(client->work);
  {
    const std::lock_guard lock(mutex_);
    if (client->ends) return;
  }
  client->is_told = true;
  GST_INFO("client %u: %s, profile '%s'", client->id, name_and_uid(client->peer).c_str(),
           client->profile.c_str());
  user_.on_connected(client->id, client->peer, client->profile);
  client->session = isolates_ ? make_isolated_session(context_, events_for(client))
                              : make_session(context_, events_for(client));
  if (auto begun = client->session->begin(client->plan, client->socket); !begun) {
    if (client->socket) Reception::refuse(std::move(client->socket), begun.error().text);
    user_.on_error(client->id, begun.error().text);
    return finish(client->id, begun.error().text);
  }
  std::unique_lock lock(mutex_);
  const bool drains = draining_;
  lock.unlock();
  if (drains) client->session->drain();
}

void Server::drain_one(const One& client) {
  const std::lock_guard work(client->work);
  if (client->session) client->session->drain();
}

void Server::end(const One& client) {
  {
    const std::lock_guard work(client->work);
    if (client->session) client->session->end();
    client->session.reset();
    if (client->socket) Reception::refuse(std::move(client->socket), client->why);
  }
  GST_INFO("client %u: %s", client->id, client->why.c_str());
  {
    const std::lock_guard lock(mutex_);
    clients_.erase(client->id);
    left_.notify_all();
  }
  if (client->is_told) user_.on_disconnected(client->id, client->why);
}

void Server::finish(guint id, const std::string& why) {
  One client;
  {
    const std::lock_guard lock(mutex_);
    const auto found = clients_.find(id);
    if (found == clients_.end() || std::exchange(found->second->ends, true)) return;
    client = found->second;
    client->why = why;
  }
  push(&Server::end, client);
}

std::string Server::may_have(guint id, guint64 rate) {
  const std::lock_guard lock(mutex_);
  const auto found = clients_.find(id);
  if (found == clients_.end()) return "";
  guint64 left = settings_.max_pixel_rate;
  for (const auto& [other, client] : clients_)
    if (other != id) left -= std::min(left, client->rate);
  if (settings_.max_pixel_rate != 0 && rate > left)
    return "this server has no room for " + std::to_string(rate) +
           " raw pixels a second: max-pixel-rate=" + std::to_string(settings_.max_pixel_rate) +
           ", of which " + std::to_string(left) + " are left";
  found->second->rate = rate;
  return "";
}

}  // namespace gstmmap
