// The properties that mmapsink and mmapsrc have in common, and what they share besides: how an
// element finds the one it shares a link with, and how an error reaches the bus.
#pragma once

#include <gst/gst.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "lib/endpoint.h"
#include "lib/result.h"

GType gst_mmap_role_get_type(void);
GType gst_mmap_on_disconnect_get_type(void);
GType gst_mmap_huge_pages_get_type(void);

namespace gstmmap {

enum class OnDisconnect { automatic, none, eos, error };

// Guarded by its element's object lock. Where the elements meet (path, role) is read from NULL to
// READY, all else from READY to PAUSED.
struct Settings {
  std::optional<std::string> socket_path;
  int fd = -1;                                         // in place of it
  std::shared_ptr<const mmaplink::GivenSocket> given;  // that is, from READY on
  mmaplink::Role role{};                               // its element says
  std::string mmap = "auto";
  guint64 max_memory = mmaplink::kDefaultMemory;
  mmaplink::HugePages huge_pages = mmaplink::HugePages::no;
  GstClockTime connection_timeout = GST_CLOCK_TIME_NONE;
  GstClockTime query_timeout = GST_SECOND;
  OnDisconnect on_disconnect = OnDisconnect::automatic;
  guint perms = 0600;
  std::string group;         // "": as the system gives it
  std::string allowed_uids;  // "": own and root
  guint max_clients = mmaplink::Endpoint::kMostClients;
  bool monitor = false;

  OnDisconnect resolved_on_disconnect() const;
  // Where the elements meet, for a person.
  std::string place() const;
};

enum CommonProperty : guint {
  PROP_SOCKET_PATH = 1,
  PROP_ROLE,
  PROP_MMAP,
  PROP_MAX_MEMORY,
  PROP_HUGE_PAGES,
  PROP_CONNECTION_TIMEOUT,
  PROP_ON_DISCONNECT,
  PROP_QUERY_TIMEOUT,
  PROP_PERMS,
  PROP_GROUP,
  PROP_ALLOWED_UIDS,
  PROP_FD,
  PROP_STATS,
  PROP_MONITOR,
  PROP_FIRST_OWN,
};

// Those that make sense for one that only connects, and all.
void install_client_properties(GObjectClass* klass);
void install_common_properties(GObjectClass* klass, mmaplink::Role role);
// Installs client-connected and client-disconnected (pid, uid).
void install_signals(GType type);

// False where the property is not a common one.
bool set_common_property(Settings& settings, guint id, const GValue* value);
bool get_common_property(const Settings& settings, guint id, GValue* value);

// Whether it is a word that property takes.
mmaplink::Status check_mmap(const std::string& word);
// The file that `mmap` names, or nothing.
std::string file_of(const Settings& settings);
// What must be right before the element can go to READY, and to PAUSED.
mmaplink::Status check_settings(const Settings& settings);
// From NULL to READY: takes the socket that `fd` says.
mmaplink::Status take_socket(Settings& settings);

// By an element that goes to PAUSED: what has been set since it went to READY.
template <class All>
mmaplink::Status read_again(GstElement* element, const All& settings, All& active) {
  GST_OBJECT_LOCK(element);
  All now = settings;
  GST_OBJECT_UNLOCK(element);
  now.socket_path = active.socket_path;
  now.fd = active.fd;
  now.given = active.given;
  now.role = active.role;
  active = std::move(now);
  return check_settings(active);
}

// Where `self` meets its partner (an element of type `partner` with the same path and role): the
// bin they are both in, else the pipeline, else the process.
mmaplink::Endpoint::Key endpoint_key(GstElement* self, const Settings& settings, GType partner);
mmaplink::Result<mmaplink::Endpoint::Options> endpoint_options(const Settings& settings);

// Nothing for GST_CLOCK_TIME_NONE, and what is as good as that.
std::optional<std::chrono::nanoseconds> timeout_of(GstClockTime time);

// Whether it is one of these names, separated by commas.
bool is_listed(std::string_view names, std::string_view name);

// A link ended without the peer having said goodbye: an element message `mmap-peer-lost` with pid,
// uid, reason, and buffers-reclaimed, those that it held.
GstMessage* peer_lost_new(GstElement* element, const mmaplink::Peer& peer,
                          const std::string& reason, guint64 reclaimed);
// Of somebody who was not let in, to the log; as a client that tries again, to the bus.
void tell_refused(GstElement* element, const Settings& active, const mmaplink::Error& why);
void post_error(GstElement* element, const mmaplink::Error& error);
void emit_client_signal(GstElement* element, const char* signal, const mmaplink::Peer& peer);

}  // namespace gstmmap
