#include "elements/groups.h"

#include <map>
#include <mutex>
#include <utility>

namespace gstmmap {

std::shared_ptr<const Group> group_of(pid_t peer, guint there) {
  const auto make = [&] {
    return std::make_shared<const Group>(Group{peer, there, gst_util_group_id_next()});
  };
  if (peer <= 0) return make();
  // Never destroyed: threads may still use it when the process ends.
  static auto& mutex = *new std::mutex;
  static auto& all = *new std::map<std::pair<pid_t, guint>, std::weak_ptr<const Group>>;
  const std::lock_guard lock(mutex);
  std::erase_if(all, [](const auto& one) { return one.second.expired(); });
  auto& kept = all[{peer, there}];
  auto group = kept.lock();
  if (!group) kept = group = make();
  return group;
}

}  // namespace gstmmap
