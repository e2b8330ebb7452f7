#include "gst/gstmmapserver.h"

#include <string>
#include <vector>

#include "gst/server.h"

using gstmmap::ServerSettings;
using mmaplink::Error;
using mmaplink::Failure;
using mmaplink::Status;

namespace {

enum Property : guint {
  PROP_SOCKET_PATHS = 1,
  PROP_MMAP,
  PROP_MAX_CLIENTS,
  PROP_CLIENT_MEMORY,
  PROP_MAX_MEMORY,
  PROP_MAX_PIXEL_RATE,
  PROP_DEFAULT_PROFILE,
  PROP_ISOLATE,
  PROP_PERMS,
  PROP_GROUP,
  PROP_ALLOWED_UIDS,
  PROP_MONITOR,
  PROP_NUM_CLIENTS,
};

enum Signal {
  CLIENT_CONNECTED,
  CONSTRUCT,
  MEDIA_CONSTRUCTED,
  CLIENT_DISCONNECTED,
  ERROR,
  SIGNALS,
};
guint signals[SIGNALS];

GParamSpec* num_clients_spec;

// Twice as much of as many clients as there may be is still a number.
constexpr guint64 kMostMemory = G_MAXUINT64 >> 20;

}  // namespace

struct _GstMmapServerPrivate final : gstmmap::ServerUser {
  explicit _GstMmapServerPrivate(GstMmapServer* of) : object(of), server(*this) {}

  void on_connected(guint client, const mmaplink::Peer& peer, const std::string& profile) override {
    g_object_notify_by_pspec(G_OBJECT(object), num_clients_spec);
    g_signal_emit(object, signals[CLIENT_CONNECTED], 0, client, static_cast<guint>(peer.pid),
                  static_cast<guint>(peer.uid), profile.c_str());
  }
  GstElement* construct(guint client, const std::string& profile) override {
    GstElement* element = nullptr;
    g_signal_emit(object, signals[CONSTRUCT], 0, client, profile.c_str(), &element);
    return element;
  }
  void on_constructed(guint client, GstElement* pipeline) override {
    g_signal_emit(object, signals[MEDIA_CONSTRUCTED], 0, client, pipeline);
  }
  void on_error(guint client, const std::string& text) override {
    g_signal_emit(object, signals[ERROR], 0, client, text.c_str());
  }
  void on_disconnected(guint client, const std::string& why) override {
    g_object_notify_by_pspec(G_OBJECT(object), num_clients_spec);
    g_signal_emit(object, signals[CLIENT_DISCONNECTED], 0, client, why.c_str());
  }

  GstMmapServer* const object;
  gstmmap::Server server;
};

G_DEFINE_TYPE_WITH_PRIVATE(GstMmapServer, gst_mmap_server, G_TYPE_OBJECT)

static gstmmap::Server& server_of(GstMmapServer* self) { return self->priv->server; }

static gboolean tell(const Status& status, GError** error) {
  if (status) return TRUE;
  Error why = status.error();
  why.text[0] = g_ascii_toupper(why.text[0]);
  gchar* text = g_utf8_make_valid(why.text.c_str(), -1);
  g_set_error_literal(
      error, GST_RESOURCE_ERROR,
      why.failure == Failure::settings ? GST_RESOURCE_ERROR_SETTINGS : GST_RESOURCE_ERROR_FAILED,
      text);
  g_free(text);
  return FALSE;
}

static std::string text_of(const GValue* value) {
  const gchar* text = g_value_get_string(value);
  return text != nullptr ? text : "";
}

static void set_text(GValue* value, const std::string& text) {
  g_value_set_string(value, text.empty() ? nullptr : text.c_str());
}

static void set_property(GObject* object, guint id, const GValue* value, GParamSpec* spec) {
  server_of(GST_MMAP_SERVER(object)).with_settings([&](ServerSettings& settings) {
    switch (id) {
      case PROP_SOCKET_PATHS: {
        settings.paths.clear();
        auto** paths = static_cast<gchar**>(g_value_get_boxed(value));
        for (; paths != nullptr && *paths != nullptr; ++paths) settings.paths.emplace_back(*paths);
        break;
      }
      case PROP_MMAP:
        settings.mmap = text_of(value).empty() ? "yes" : text_of(value);
        break;
      case PROP_MAX_CLIENTS:
        settings.max_clients = g_value_get_uint(value);
        break;
      case PROP_CLIENT_MEMORY:
        settings.client_memory = g_value_get_uint64(value);
        break;
      case PROP_MAX_MEMORY:
        settings.max_memory = g_value_get_uint64(value);
        break;
      case PROP_MAX_PIXEL_RATE:
        settings.max_pixel_rate = g_value_get_uint64(value);
        break;
      case PROP_DEFAULT_PROFILE:
        settings.default_profile = text_of(value);
        break;
      case PROP_ISOLATE:
        settings.isolate = g_value_get_boolean(value);
        break;
      case PROP_PERMS:
        settings.perms = g_value_get_uint(value);
        break;
      case PROP_GROUP:
        settings.group = text_of(value);
        break;
      case PROP_ALLOWED_UIDS:
        settings.allowed_uids = text_of(value);
        break;
      case PROP_MONITOR:
        settings.monitor = g_value_get_boolean(value);
        break;
      default:
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, spec);
    }
  });
}

static void get_property(GObject* object, guint id, GValue* value, GParamSpec* spec) {
  auto& server = server_of(GST_MMAP_SERVER(object));
  if (id == PROP_NUM_CLIENTS) return g_value_set_uint(value, server.num_clients());
  server.with_settings([&](const ServerSettings& settings) {
    switch (id) {
      case PROP_SOCKET_PATHS: {
        std::vector<const gchar*> paths;
        paths.reserve(settings.paths.size() + 1);
        for (const auto& path : settings.paths) paths.push_back(path.c_str());
        paths.push_back(nullptr);
        g_value_set_boxed(value, paths.data());
        break;
      }
      case PROP_MMAP:
        return set_text(value, settings.mmap);
      case PROP_MAX_CLIENTS:
        return g_value_set_uint(value, settings.max_clients);
      case PROP_CLIENT_MEMORY:
        return g_value_set_uint64(value, settings.client_memory);
      case PROP_MAX_MEMORY:
        return g_value_set_uint64(value, settings.max_memory);
      case PROP_MAX_PIXEL_RATE:
        return g_value_set_uint64(value, settings.max_pixel_rate);
      case PROP_DEFAULT_PROFILE:
        return set_text(value, settings.default_profile);
      case PROP_ISOLATE:
        return g_value_set_boolean(value, settings.isolate);
      case PROP_PERMS:
        return g_value_set_uint(value, settings.perms);
      case PROP_GROUP:
        return set_text(value, settings.group);
      case PROP_ALLOWED_UIDS:
        return set_text(value, settings.allowed_uids);
      case PROP_MONITOR:
        return g_value_set_boolean(value, settings.monitor);
      default:
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, spec);
    }
  });
}

static void dispose(GObject* object) {
  server_of(GST_MMAP_SERVER(object)).stop();
  G_OBJECT_CLASS(gst_mmap_server_parent_class)->dispose(object);
}

static void finalize(GObject* object) {
  GST_MMAP_SERVER(object)->priv->~_GstMmapServerPrivate();
  G_OBJECT_CLASS(gst_mmap_server_parent_class)->finalize(object);
}

static void gst_mmap_server_init(GstMmapServer* self) {
  self->priv = static_cast<GstMmapServerPrivate*>(gst_mmap_server_get_instance_private(self));
  new (self->priv) GstMmapServerPrivate(self);
}

static void install_properties(GObjectClass* klass) {
  const auto any = static_cast<GParamFlags>(G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS);
  const auto text = [&](guint id, const char* name, const char* nick, const char* blurb,
                        const char* standard) {
    g_object_class_install_property(klass, id,
                                    g_param_spec_string(name, nick, blurb, standard, any));
  };
  const auto number = [&](guint id, const char* name, const char* nick, const char* blurb,
                          guint64 least, guint64 most, guint64 standard) {
    g_object_class_install_property(
        klass, id, g_param_spec_uint64(name, nick, blurb, least, most, standard, any));
  };
  g_object_class_install_property(
      klass, PROP_SOCKET_PATHS,
      g_param_spec_boxed("socket-paths", "Socket paths",
                         "Paths of control sockets, or vsock:CID:PORT, on which clients come (as "
                         "of start; required). One that a service manager has passed is taken",
                         G_TYPE_STRV, any));
  text(PROP_MMAP, "mmap", "Mmap",
       "As of mmapsrc and mmapsink: what may be mapped (for new clients)", "yes");
  g_object_class_install_property(
      klass, PROP_MAX_CLIENTS,
      g_param_spec_uint("max-clients", "Max clients",
                        "Clients at a time; others are refused, and told so", 1,
                        mmaplink::Endpoint::kMostClients, mmaplink::Endpoint::kMostClients, any));
  number(PROP_CLIENT_MEMORY, "client-memory", "Client memory",
         "Bytes of payload memory that each of a new client's two elements here may make", 4096,
         kMostMemory, mmaplink::kDefaultMemory);
  number(PROP_MAX_MEMORY, "max-memory", "Max memory",
         "Bytes for all clients, each reckoned with twice its client-memory; who would be beyond "
         "is refused (0: no limit)",
         0, G_MAXUINT64, 0);
  number(
      PROP_MAX_PIXEL_RATE, "max-pixel-rate", "Max pixel rate",
      "Raw pixels a second of all clients together, width * height * framerate by their caps (60 "
      "where these say no rate); a stream that would go beyond is an error of its client's "
      "(0: no limit)",
      0, G_MAXUINT64, 0);
  text(PROP_DEFAULT_PROFILE, "default-profile", "Default profile",
       "For clients that ask for none (default: the first that was added)", nullptr);
  g_object_class_install_property(
      klass, PROP_ISOLATE,
      g_param_spec_boolean("isolate", "Isolate",
                           "Whether each client's pipeline is in a process of its own (as of "
                           "start); the signals construct and media-constructed are not emitted",
                           FALSE, any));
  g_object_class_install_property(
      klass, PROP_PERMS,
      g_param_spec_uint("perms", "Permissions",
                        "Mode of the sockets, as of chmod(2) (0600 is 384 as a decimal number), "
                        "whatever the umask (as of start)",
                        0, 0777, 0600, any));
  text(PROP_GROUP, "group", "Group",
       "Group of the sockets, a name or a number, whose members may connect (as of start; "
       "default: nobody but the own user and root)",
       nullptr);
  text(PROP_ALLOWED_UIDS, "allowed-uids", "Allowed uids",
       "Who may connect, such as 0,1000 (as of start; default: the own uid, root, and whom perms "
       "and group let in)",
       nullptr);
  g_object_class_install_property(
      klass, PROP_MONITOR,
      g_param_spec_boolean("monitor", "Monitor",
                           "Whether to show who may connect what goes on at all clients, as "
                           "gst-mmap-top asks for it",
                           FALSE, any));
  num_clients_spec = g_param_spec_uint(
      "num-clients", "Number of clients", "That are there now, or about to end", 0, G_MAXUINT, 0,
      static_cast<GParamFlags>(G_PARAM_READABLE | G_PARAM_STATIC_STRINGS));
  g_object_class_install_property(klass, PROP_NUM_CLIENTS, num_clients_spec);
}

static gboolean first_element(GSignalInvocationHint*, GValue* whole, const GValue* one, gpointer) {
  g_value_copy(one, whole);
  return g_value_get_object(one) == nullptr;
}

static void install_signals(GstMmapServerClass* klass) {
  const GType type = G_TYPE_FROM_CLASS(klass);
  const auto install = [&](const char* name, auto... types) {
    return g_signal_new(name, type, G_SIGNAL_RUN_LAST, 0, nullptr, nullptr, nullptr, G_TYPE_NONE,
                        static_cast<guint>(sizeof...(types)), types...);
  };
  /**
   * GstMmapServer::client-connected:
   * @server: who
   * @client: its number, from 1 on, that no other client has meanwhile
   * @pid: of its process, 0 where that is not known
   * @uid: of its user
   * @profile: what it gets
   */
  signals[CLIENT_CONNECTED] =
      install("client-connected", G_TYPE_UINT, G_TYPE_UINT, G_TYPE_UINT, G_TYPE_STRING);
  /**
   * GstMmapServerClass::construct:
   * @server: who
   * @client: a client
   * @profile: what it asked for
   *
   * Returns: (transfer floating) (nullable): as handlers of the signal
   */
  /**
   * GstMmapServer::construct:
   * @server: who
   * @client: a client
   * @profile: what it asked for
   *
   * Returns: (transfer floating) (nullable): an element with pads "sink" and, where anything goes
   *   back to the client, "src"; %NULL: of the profile's launch line
   */
  signals[CONSTRUCT] = g_signal_new(
      "construct", type, G_SIGNAL_RUN_LAST, G_STRUCT_OFFSET(GstMmapServerClass, construct),
      first_element, nullptr, nullptr, GST_TYPE_ELEMENT, 2, G_TYPE_UINT, G_TYPE_STRING);
  /**
   * GstMmapServer::media-constructed:
   * @server: who
   * @client: a client
   * @pipeline: its pipeline, before it starts; the element that was constructed is in it
   */
  signals[MEDIA_CONSTRUCTED] = install("media-constructed", G_TYPE_UINT, GST_TYPE_ELEMENT);
  /**
   * GstMmapServer::client-disconnected:
   * @server: who
   * @client: a client of which client-connected has told
   * @why: for a person
   */
  signals[CLIENT_DISCONNECTED] = install("client-disconnected", G_TYPE_UINT, G_TYPE_STRING);
  /**
   * GstMmapServer::error:
   * @server: who
   * @client: whose pipeline had an error; it is about to end
   * @text: of the error
   */
  signals[ERROR] = install("error", G_TYPE_UINT, G_TYPE_STRING);
}

static void gst_mmap_server_class_init(GstMmapServerClass* klass) {
  auto* object = G_OBJECT_CLASS(klass);
  object->set_property = set_property;
  object->get_property = get_property;
  object->dispose = dispose;
  object->finalize = finalize;
  install_properties(object);
  install_signals(klass);
}

GstMmapServer* gst_mmap_server_new(void) {
  return GST_MMAP_SERVER(g_object_new(GST_TYPE_MMAP_SERVER, nullptr));
}

gboolean gst_mmap_server_add_profile(GstMmapServer* server, const gchar* name, const gchar* launch,
                                     const gchar* allow, GError** error) {
  g_return_val_if_fail(GST_IS_MMAP_SERVER(server) && name != nullptr, FALSE);
  return tell(server_of(server).put_profile(name, launch != nullptr ? launch : "",
                                            allow != nullptr ? allow : ""),
              error);
}

gboolean gst_mmap_server_remove_profile(GstMmapServer* server, const gchar* name) {
  g_return_val_if_fail(GST_IS_MMAP_SERVER(server) && name != nullptr, FALSE);
  return server_of(server).remove_profile(name);
}

gboolean gst_mmap_server_start(GstMmapServer* server, GError** error) {
  g_return_val_if_fail(GST_IS_MMAP_SERVER(server), FALSE);
  return tell(server_of(server).start(), error);
}

void gst_mmap_server_drain(GstMmapServer* server) {
  g_return_if_fail(GST_IS_MMAP_SERVER(server));
  server_of(server).drain();
}

void gst_mmap_server_stop(GstMmapServer* server) {
  g_return_if_fail(GST_IS_MMAP_SERVER(server));
  server_of(server).stop();
}
