/* GstMmapServer: a server on one or several socket-paths that gives each client a pipeline and a
 * link of its own, made from a launch line or by the application.
 *
 * Clients are mmapremote, or an mmapsink and an mmapsrc with role=client and the same socket-path.
 * Signals are emitted by threads of the server's own, several at a time; no handler may stop the
 * server or wait for who does. All functions may be called by any thread.
 */
#pragma once

#include "mmap-prelude.h"

G_BEGIN_DECLS

#define GST_TYPE_MMAP_SERVER (gst_mmap_server_get_type())
#define GST_MMAP_SERVER(obj) \
  (G_TYPE_CHECK_INSTANCE_CAST((obj), GST_TYPE_MMAP_SERVER, GstMmapServer))
#define GST_MMAP_SERVER_CLASS(klass) \
  (G_TYPE_CHECK_CLASS_CAST((klass), GST_TYPE_MMAP_SERVER, GstMmapServerClass))
#define GST_IS_MMAP_SERVER(obj) (G_TYPE_CHECK_INSTANCE_TYPE((obj), GST_TYPE_MMAP_SERVER))
#define GST_MMAP_SERVER_GET_CLASS(obj) \
  (G_TYPE_INSTANCE_GET_CLASS((obj), GST_TYPE_MMAP_SERVER, GstMmapServerClass))

typedef struct _GstMmapServer GstMmapServer;
typedef struct _GstMmapServerClass GstMmapServerClass;
typedef struct _GstMmapServerPrivate GstMmapServerPrivate;

struct _GstMmapServer {
  GObject parent;
  /*< private >*/
  GstMmapServerPrivate* priv;
};

/**
 * GstMmapServerClass:
 * @construct: the class handler of the signal #GstMmapServer::construct; that of GstMmapServer
 *   returns %NULL
 */
struct _GstMmapServerClass {
  GObjectClass parent_class;

  GstElement* (*construct)(GstMmapServer* server, guint client, const gchar* profile);

  /*< private >*/
  gpointer reserved[4];
};

GST_MMAP_API GType gst_mmap_server_get_type(void);

/**
 * gst_mmap_server_new:
 *
 * Returns: (transfer full): a server that has neither paths nor profiles yet.
 */
GST_MMAP_API GstMmapServer* gst_mmap_server_new(void);

/**
 * gst_mmap_server_add_profile:
 * @server: a #GstMmapServer
 * @name: what clients ask for; the first that was added is for those that ask for none, unless the
 *   property `default-profile` says otherwise
 * @launch: (nullable): a launch description of elements that have a sink pad, and a src pad where
 *   anything goes back to the client, such as "x264enc tune=zerolatency"; %NULL where the signal
 *   `construct` makes the element
 * @allow: (nullable): what clients may set, such as "bitrate=500..8000,x264enc.tune,speed-preset=
 *   fast|medium": a property of the first element that has it, or of one by its name or its
 *   factory's; any value, numbers of a range, or one of several words
 * @error: where to say why not
 *
 * Adds a profile, or gives another meaning to one of that name; clients that are there keep what
 * they have.
 *
 * Returns: whether @launch and @allow make sense.
 */
GST_MMAP_API gboolean gst_mmap_server_add_profile(GstMmapServer* server, const gchar* name,
                                                  const gchar* launch, const gchar* allow,
                                                  GError** error);

/**
 * gst_mmap_server_remove_profile:
 * @server: a #GstMmapServer
 * @name: a profile
 *
 * Clients that have it keep it.
 *
 * Returns: whether there was one of that name.
 */
GST_MMAP_API gboolean gst_mmap_server_remove_profile(GstMmapServer* server, const gchar* name);

/**
 * gst_mmap_server_start:
 * @server: a #GstMmapServer
 * @error: where to say why not
 *
 * Listens on all paths, or on none.
 *
 * Returns: whether it does.
 */
GST_MMAP_API gboolean gst_mmap_server_start(GstMmapServer* server, GError** error);

/**
 * gst_mmap_server_drain:
 * @server: a #GstMmapServer
 *
 * Nobody is let in any more, and each client's stream comes to its end: the client gets EOS behind
 * its last frame. Does not wait; `num-clients` is 0 when all have gone. For how long to wait, and
 * to stop the server then, is the application's.
 */
GST_MMAP_API void gst_mmap_server_drain(GstMmapServer* server);

/**
 * gst_mmap_server_stop:
 * @server: a #GstMmapServer
 *
 * Hangs up on all clients, waits until their pipelines are in %GST_STATE_NULL, and removes the
 * sockets. The server can be started again. The last unref does the same; but an application that has
 * handlers of its signals calls this first. Not to be called by such a handler: the threads that emit
 * them are waited for.
 */
GST_MMAP_API void gst_mmap_server_stop(GstMmapServer* server);

G_END_DECLS
