#include "gst/tools/notify.h"

#include <glib.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstddef>

#include "lib/fd.h"
#include "lib/system.h"

void notify(const std::string& lines) {
  const gchar* name = g_getenv("NOTIFY_SOCKET");
  if (name == nullptr) return;
  const std::string path = name;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() < 2 || path.size() >= sizeof address.sun_path) return;
  path.copy(address.sun_path, path.size());
  if (address.sun_path[0] == '@') address.sun_path[0] = '\0';  // a name of no file
  const mmaplink::Fd socket(mmaplink::sys::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC));
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
  if (!socket || sendto(socket.get(), lines.data(), lines.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
                        reinterpret_cast<const sockaddr*>(&address), size) < 0)
    g_warning("NOTIFY_SOCKET=%s is not to be written to", name);
}
