#include "elements/settings.h"

#include <array>
#include <cctype>

#include "elements/top.h"
#include "lib/vsock.h"

using mmaplink::Endpoint;
using mmaplink::Error;
using mmaplink::Failure;
using mmaplink::HugePages;
using mmaplink::Role;
using mmaplink::Status;

GType gst_mmap_role_get_type(void) {
  static const GEnumValue values[] = {
      {static_cast<gint>(Role::server), "Listens on socket-path", "server"},
      {static_cast<gint>(Role::client), "Connects to socket-path", "client"},
      {0, nullptr, nullptr}};
  static const GType type = g_enum_register_static("GstMmapRole", values);
  return type;
}

GType gst_mmap_on_disconnect_get_type(void) {
  using gstmmap::OnDisconnect;
  static const GEnumValue values[] = {
      {static_cast<gint>(OnDisconnect::automatic), "none for a server, error for a client", "auto"},
      {static_cast<gint>(OnDisconnect::none), "Wait for the next peer", "none"},
      {static_cast<gint>(OnDisconnect::eos), "End the stream", "eos"},
      {static_cast<gint>(OnDisconnect::error), "Post an error", "error"},
      {0, nullptr, nullptr}};
  static const GType type = g_enum_register_static("GstMmapOnDisconnect", values);
  return type;
}

GType gst_mmap_huge_pages_get_type(void) {
  static const GEnumValue values[] = {
      {static_cast<gint>(HugePages::no), "None", "no"},
      {static_cast<gint>(HugePages::tries), "For what fills half of one, where there are any",
       "try"},
      {static_cast<gint>(HugePages::require), "For all, or an error", "require"},
      {0, nullptr, nullptr}};
  static const GType type = g_enum_register_static("GstMmapHugePages", values);
  return type;
}

namespace gstmmap {

OnDisconnect Settings::resolved_on_disconnect() const {
  if (on_disconnect != OnDisconnect::automatic) return on_disconnect;
  if (fd >= 0) return OnDisconnect::error;  // nobody else will ever come
  return role == Role::server ? OnDisconnect::none : OnDisconnect::error;
}

std::string Settings::place() const {
  return fd >= 0 ? "descriptor " + std::to_string(fd) : socket_path.value_or("");
}

void install_client_properties(GObjectClass* klass) {
  const auto fixed = static_cast<GParamFlags>(G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS |
                                              GST_PARAM_MUTABLE_READY);
  // Where the elements meet is decided from NULL to READY.
  const auto place = static_cast<GParamFlags>(G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS);
  g_object_class_install_property(
      klass, PROP_SOCKET_PATH,
      g_param_spec_string("socket-path", "Socket path",
                          "Path of the control socket, where both processes meet (at most 107 "
                          "bytes), or vsock:CID:PORT, between a virtual machine and its host (to "
                          "be set in NULL; required, but for fd)",
                          nullptr, place));
  g_object_class_install_property(
      klass, PROP_MMAP,
      g_param_spec_string("mmap", "Mmap",
                          "What is mapped; the rest goes through the socket. auto: what a server "
                          "lets be; of what a client sends only by a server with yes. yes, both: "
                          "as a client all, or an error. read: what is received; write: what is "
                          "sent; no: nothing. An absolute path: all, in a file there that both "
                          "sides open by a path of their own, or in one made in that directory",
                          "auto", fixed));
  g_object_class_install_property(
      klass, PROP_MAX_MEMORY,
      g_param_spec_uint64("max-memory", "Max memory",
                          "Bytes of payload memory this side may make (a source makes none while "
                          "its peer's memory is mapped)",
                          4096, G_MAXUINT64, mmaplink::kDefaultMemory, fixed));
  g_object_class_install_property(
      klass, PROP_HUGE_PAGES,
      g_param_spec_enum("huge-pages", "Huge pages",
                        "Whether payload memory that this side makes lies in huge pages, those of "
                        "hugetlbfs or else transparent ones; stats say which it got",
                        gst_mmap_huge_pages_get_type(), static_cast<gint>(HugePages::no), fixed));
  g_object_class_install_property(
      klass, PROP_CONNECTION_TIMEOUT,
      g_param_spec_uint64("connection-timeout", "Connection timeout",
                          "Nanoseconds without a peer before an error (default: wait for ever)", 0,
                          G_MAXUINT64, GST_CLOCK_TIME_NONE, fixed));
  g_object_class_install_property(
      klass, PROP_ON_DISCONNECT,
      g_param_spec_enum("on-disconnect", "On disconnect",
                        "What to do when the peer is gone without having sent EOS (with fd, auto "
                        "is error)",
                        gst_mmap_on_disconnect_get_type(),
                        static_cast<gint>(OnDisconnect::automatic), fixed));
  g_object_class_install_property(
      klass, PROP_QUERY_TIMEOUT,
      g_param_spec_uint64("query-timeout", "Query timeout",
                          "Nanoseconds for the peer to answer a query, or an event whose result "
                          "matters, such as a seek; then it has failed",
                          0, GST_SECOND * 3600, GST_SECOND, fixed));
  g_object_class_install_property(
      klass, PROP_ALLOWED_UIDS,
      g_param_spec_string("allowed-uids", "Allowed uids",
                          "Who may be at the other end, such as 0,1000 (default: the own uid and "
                          "root; for a server also whom perms and group let in, for a client also "
                          "whoever serves in a directory that is not open to all)",
                          nullptr, fixed));
  g_object_class_install_property(
      klass, PROP_STATS,
      g_param_spec_boxed(
          "stats", "Statistics",
          "Since the start: buffers, bytes, buffers-copied, bytes-copied, dropped; "
          "now: in-flight, arenas, arena-bytes, of these hugetlb-bytes and thp-bytes "
          "in huge pages (transparent ones of a peer are not known), peers; "
          "latency-p50 and latency-p99 (ns, publish to receive)",
          GST_TYPE_STRUCTURE, static_cast<GParamFlags>(G_PARAM_READABLE | G_PARAM_STATIC_STRINGS)));
}

void install_common_properties(GObjectClass* klass, Role role) {
  const auto fixed = static_cast<GParamFlags>(G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS |
                                              GST_PARAM_MUTABLE_READY);
  // Where the elements meet is decided from NULL to READY.
  const auto place = static_cast<GParamFlags>(G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS);
  g_object_class_install_property(
      klass, PROP_ROLE,
      g_param_spec_enum("role", "Role",
                        "Who listens and who connects, whichever way the data goes. An mmapsink "
                        "and an mmapsrc with the same socket-path and role share one link (to be "
                        "set in NULL)",
                        gst_mmap_role_get_type(), static_cast<gint>(role), place));
  g_object_class_install_property(
      klass, PROP_PERMS,
      g_param_spec_uint("perms", "Permissions",
                        "As a server: mode of the socket, as of chmod(2) (0600 is 384 as a decimal "
                        "number), whatever the umask",
                        0, 0777, 0600, fixed));
  g_object_class_install_property(
      klass, PROP_GROUP,
      g_param_spec_string("group", "Group",
                          "As a server: group of the socket, a name or a number, whose members may "
                          "connect (default: nobody but the own user and root)",
                          nullptr, fixed));
  g_object_class_install_property(
      klass, PROP_FD,
      g_param_spec_int("fd", "Descriptor",
                       "A connected stream socket in place of socket-path, such as one end of "
                       "socketpair(2), for one link; it is duplicated from NULL to READY and stays "
                       "the application's (default: none; to be set in NULL)",
                       -1, G_MAXINT, -1, place));
  g_object_class_install_property(
      klass, PROP_MONITOR,
      g_param_spec_boolean("monitor", "Monitor",
                           "As a server: whether who may connect may also see what goes on, with "
                           "gst-mmap-top; set on one element of the socket-path it is for both",
                           FALSE, fixed));
  install_client_properties(klass);
}

void install_signals(GType type) {
  for (const char* name : {"client-connected", "client-disconnected"})
    g_signal_new(name, type, G_SIGNAL_RUN_LAST, 0, nullptr, nullptr, nullptr, G_TYPE_NONE, 2,
                 G_TYPE_UINT, G_TYPE_UINT);
}

static std::string text_of(const GValue* value) {
  const gchar* text = g_value_get_string(value);
  return text != nullptr ? text : "";
}

static void set_text(GValue* value, const std::string& text) {
  g_value_set_string(value, text.empty() ? nullptr : text.c_str());
}

bool set_common_property(Settings& settings, guint id, const GValue* value) {
  switch (id) {
    case PROP_SOCKET_PATH:
      settings.socket_path.reset();
      if (const gchar* path = g_value_get_string(value)) settings.socket_path = path;
      return true;
    case PROP_FD:
      settings.fd = g_value_get_int(value);
      return true;
    case PROP_ROLE:
      settings.role = static_cast<Role>(g_value_get_enum(value));
      return true;
    case PROP_MMAP:
      settings.mmap = g_value_get_string(value) ? g_value_get_string(value) : "auto";
      return true;
    case PROP_MAX_MEMORY:
      settings.max_memory = g_value_get_uint64(value);
      return true;
    case PROP_HUGE_PAGES:
      settings.huge_pages = static_cast<HugePages>(g_value_get_enum(value));
      return true;
    case PROP_CONNECTION_TIMEOUT:
      settings.connection_timeout = g_value_get_uint64(value);
      return true;
    case PROP_QUERY_TIMEOUT:
      settings.query_timeout = g_value_get_uint64(value);
      return true;
    case PROP_ON_DISCONNECT:
      settings.on_disconnect = static_cast<OnDisconnect>(g_value_get_enum(value));
      return true;
    case PROP_PERMS:
      settings.perms = g_value_get_uint(value);
      return true;
    case PROP_GROUP:
      settings.group = text_of(value);
      return true;
    case PROP_ALLOWED_UIDS:
      settings.allowed_uids = text_of(value);
      return true;
    case PROP_MONITOR:
      settings.monitor = g_value_get_boolean(value);
      return true;
    default:
      return false;
  }
}

bool get_common_property(const Settings& settings, guint id, GValue* value) {
  switch (id) {
    case PROP_SOCKET_PATH:
      g_value_set_string(value, settings.socket_path ? settings.socket_path->c_str() : nullptr);
      return true;
    case PROP_FD:
      g_value_set_int(value, settings.fd);
      return true;
    case PROP_ROLE:
      g_value_set_enum(value, static_cast<gint>(settings.role));
      return true;
    case PROP_MMAP:
      g_value_set_string(value, settings.mmap.c_str());
      return true;
    case PROP_MAX_MEMORY:
      g_value_set_uint64(value, settings.max_memory);
      return true;
    case PROP_HUGE_PAGES:
      g_value_set_enum(value, static_cast<gint>(settings.huge_pages));
      return true;
    case PROP_CONNECTION_TIMEOUT:
      g_value_set_uint64(value, settings.connection_timeout);
      return true;
    case PROP_QUERY_TIMEOUT:
      g_value_set_uint64(value, settings.query_timeout);
      return true;
    case PROP_ON_DISCONNECT:
      g_value_set_enum(value, static_cast<gint>(settings.on_disconnect));
      return true;
    case PROP_PERMS:
      g_value_set_uint(value, settings.perms);
      return true;
    case PROP_GROUP:
      set_text(value, settings.group);
      return true;
    case PROP_ALLOWED_UIDS:
      set_text(value, settings.allowed_uids);
      return true;
    case PROP_MONITOR:
      g_value_set_boolean(value, settings.monitor);
      return true;
    default:
      return false;
  }
}

std::string file_of(const Settings& settings) {
  return settings.mmap.starts_with('/') ? settings.mmap : std::string();
}

Status check_mmap(const std::string& word) {
  auto wishes = mmaplink::parse_mode(word, Role::client);
  if (!wishes) return wishes.error();
  return wishes->send == mmaplink::Wish::path ? mmaplink::check_region_path(word) : mmaplink::ok();
}

Status check_settings(const Settings& settings) {
  const bool has_path = settings.socket_path && !settings.socket_path->empty();
  if (has_path && settings.fd >= 0)
    return Error{Failure::settings, "both socket-path and fd are set: there is one place to meet"};
  if (!has_path && settings.fd < 0)
    return Error{Failure::settings,
                 "no socket-path is set: give both processes the same path, such as "
                 "socket-path=/tmp/camera"};
  if (auto good = check_mmap(settings.mmap); !good) return good;
  if (auto options = endpoint_options(settings); !options) return options.error();
  if (!has_path) return mmaplink::ok();
  if (mmaplink::is_vsock(*settings.socket_path) &&
      !(settings.group.empty() && settings.allowed_uids.empty()))
    return Error{Failure::settings,
                 "a vsock knows no users: group and allowed-uids are nothing to "
                 "socket-path=" +
                     *settings.socket_path};
  return mmaplink::check_socket_path(*settings.socket_path);
}

Status take_socket(Settings& settings) {
  settings.given.reset();
  if (settings.fd < 0) return mmaplink::ok();
  auto given = mmaplink::given_socket(settings.fd);
  if (!given) return given.error();
  settings.given = std::move(*given);
  return mmaplink::ok();
}

static bool matches(GstElement* element, GType type, const Settings& settings) {
  if (!G_TYPE_CHECK_INSTANCE_TYPE(element, type)) return false;
  if (!settings.socket_path) return false;
  gchar* path = nullptr;
  gint role = 0;
  g_object_get(element, "socket-path", &path, "role", &role, nullptr);
  const bool same =
      path != nullptr && *settings.socket_path == path && role == static_cast<gint>(settings.role);
  g_free(path);
  return same;
}

static bool has_partner(GstIterator* iterator, GType type, const Settings& settings) {
  struct Search {
    GType type;
    const Settings& settings;
  } search{type, settings};
  GValue found = G_VALUE_INIT;
  // 0 means: this is the one.
  const auto compare = [](gconstpointer item, gconstpointer data) -> gint {
    const auto* wanted = static_cast<const Search*>(data);
    auto* element = GST_ELEMENT(g_value_get_object(static_cast<const GValue*>(item)));
    return matches(element, wanted->type, wanted->settings) ? 0 : 1;
  };
  const bool any = gst_iterator_find_custom(iterator, compare, &found, &search);
  if (any) g_value_unset(&found);
  gst_iterator_free(iterator);
  return any;
}

Endpoint::Key endpoint_key(GstElement* self, const Settings& settings, GType partner) {
  Endpoint::Key key{settings.place(), settings.role, nullptr, settings.given};
  if (settings.role == Role::server || settings.given) return key;
  GstObject* bin = gst_object_get_parent(GST_OBJECT(self));
  if (bin == nullptr) return key;
  if (GST_IS_BIN(bin) && has_partner(gst_bin_iterate_elements(GST_BIN(bin)), partner, settings)) {
    key.group = bin;
  } else {
    gst_object_unref(bin);
    bin = GST_OBJECT(top_of(self));
    if (GST_IS_BIN(bin) && has_partner(gst_bin_iterate_recurse(GST_BIN(bin)), partner, settings))
      key.group = bin;
  }
  // Only compared, never followed: the elements that have it are inside.
  gst_object_unref(bin);
  return key;
}

mmaplink::Result<Endpoint::Options> endpoint_options(const Settings& settings) {
  Endpoint::Options options;
  options.access.mode = settings.perms;
  options.max_clients = settings.max_clients;
  if (!settings.group.empty()) {
    auto group = mmaplink::group_named(settings.group);
    if (!group) return group.error();
    options.access.group = *group;
  }
  if (!settings.allowed_uids.empty()) {
    auto uids = mmaplink::parse_uids(settings.allowed_uids);
    if (!uids) return uids.error();
    options.access.uids = *uids;
  }
  options.reconnect = settings.resolved_on_disconnect() == OnDisconnect::none;
  options.monitor = settings.monitor;
  options.connection_timeout = timeout_of(settings.connection_timeout);
  return options;
}

static GstResourceError code_of(Failure failure) {
  switch (failure) {
    case Failure::settings:
      return GST_RESOURCE_ERROR_SETTINGS;
    case Failure::not_found:
    case Failure::timeout:
      return GST_RESOURCE_ERROR_NOT_FOUND;
    case Failure::busy:
    case Failure::refused:
      return GST_RESOURCE_ERROR_BUSY;
    case Failure::permission:
      return GST_RESOURCE_ERROR_NOT_AUTHORIZED;
    case Failure::no_space:
    case Failure::limit:
      return GST_RESOURCE_ERROR_NO_SPACE_LEFT;
    case Failure::protocol:
    case Failure::gone:
      return GST_RESOURCE_ERROR_READ;
    case Failure::system:
      break;
  }
  return GST_RESOURCE_ERROR_FAILED;
}

void tell_refused(GstElement* element, const Settings& active, const Error& why) {
  GST_WARNING_OBJECT(element, "not let in: %s", why.text.c_str());
  if (active.role == Role::client)
    GST_ELEMENT_WARNING(element, RESOURCE, BUSY, ("%s. Trying again.", why.text.c_str()),
                        (nullptr));
}

void post_error(GstElement* element, const Error& error) {
  std::string text = error.text + ".";
  text[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[0])));
  // A path or a property's word may be no UTF-8, which the text of a message has to be.
  gst_element_message_full(element, GST_MESSAGE_ERROR, GST_RESOURCE_ERROR, code_of(error.failure),
                           g_utf8_make_valid(text.c_str(), -1), nullptr, __FILE__, GST_FUNCTION,
                           __LINE__);
}

std::optional<std::chrono::nanoseconds> timeout_of(GstClockTime time) {
  if (time >= static_cast<guint64>(G_MAXINT64)) return std::nullopt;
  return std::chrono::nanoseconds(time);
}

bool is_listed(std::string_view names, std::string_view name) {
  for (;;) {
    const size_t end = names.find(',');
    if (names.substr(0, end) == name) return true;
    if (end == std::string_view::npos) return false;
    names.remove_prefix(end + 1);
  }
}

GstMessage* peer_lost_new(GstElement* element, const mmaplink::Peer& peer,
                          const std::string& reason, guint64 reclaimed) {
  return gst_message_new_element(
      GST_OBJECT(element),
      gst_structure_new("mmap-peer-lost", "pid", G_TYPE_UINT, static_cast<guint>(peer.pid), "uid",
                        G_TYPE_UINT, static_cast<guint>(peer.uid), "reason", G_TYPE_STRING,
                        reason.c_str(), "buffers-reclaimed", G_TYPE_UINT64, reclaimed, nullptr));
}

void emit_client_signal(GstElement* element, const char* signal, const mmaplink::Peer& peer) {
  g_signal_emit_by_name(element, signal, static_cast<guint>(peer.pid),
                        static_cast<guint>(peer.uid));
}

}  // namespace gstmmap
