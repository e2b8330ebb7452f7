// Memory that others have made, as arenas of a sender: what came over another link, sealed memory
// that an element has, and dmabufs. It is announced to readers as our own is, and crosses as it is.
//
// Owned by its sender. Threads: the streaming thread's. What lies in it is kept by whoever has it.
// Of what came over a link nothing is kept here; of an element's memory a descriptor and, if it is
// sealed, a mapping, until others are used more. A peer can do nothing to it that it can't
// do to memory of its own; what an element has is checked as a peer's memory is.
#pragma once

#include <sys/stat.h>

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "lib/arena.h"
#include "lib/receive_lane.h"

namespace mmaplink {

class ForeignArenas {
 public:
  // Told of each that is no arena any more.
  explicit ForeignArenas(std::function<void(uint32_t number)> on_retired)
      : on_retired_(std::move(on_retired)) {}

  // Nothing where it can't be handed on, and is to be copied: of a view there is no descriptor, or
  // of memory not all seals, as its peer would find (sealed.h); or there are too many.
  std::optional<Place> find(const View& view, uint64_t offset);
  std::optional<Place> find(int fd, uint64_t offset, size_t size);
  // Of a dmabuf: for readers that are handed descriptors.
  std::optional<Place> find_dmabuf(int fd, uint64_t offset, size_t size);

  // Another stream begins: what nobody reads now is not kept for it.
  void forget();
  size_t count() const { return known_.size(); }

 private:
  struct Known {
    std::weak_ptr<const PeerArena> origin;  // of what came over a link
    dev_t device = 0;                       // of what an element has
    ino_t inode = 0;
    std::shared_ptr<Arena> arena;
    std::shared_ptr<const void> use;  // what lies in it has this, too
    uint64_t used_last = 0;
  };
  static bool is_idle(const Known& known) { return known.use.use_count() == 1; }
  static bool is_of_an_element(const Known& known) { return known.inode != 0; }
  Place place(Known& known, uint64_t offset);
  Known* find_inode(const struct stat& st);
  template <class Make>
  std::optional<Place> find(int fd, uint64_t offset, size_t size, Make make);
  std::optional<Place> add(Known made, uint64_t offset);
  void sweep();
  template <class Which>
  void retire(Which which);

  const std::function<void(uint32_t)> on_retired_;
  std::vector<Known> known_;
  uint64_t bytes_ = 0;
  uint64_t uses_ = 0;
};

}  // namespace mmaplink
