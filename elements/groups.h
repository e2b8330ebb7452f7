// Which streams belong together. Each process numbers its groups for itself; a group of a peer is
// one group here, over however many links its streams come.
#pragma once

#include <gst/gst.h>
#include <sys/types.h>

#include <memory>

namespace gstmmap {

// Lives as long as a stream of it.
struct Group {
  pid_t peer;
  guint there, here;
};

// Any thread. A peer without a pid, in another pid namespace, has groups for one link alone.
std::shared_ptr<const Group> group_of(pid_t peer, guint there);

}  // namespace gstmmap
