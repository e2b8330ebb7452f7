#include "lib/foreign_arenas.h"

#include <fcntl.h>

#include <algorithm>
#include <utility>

#include "lib/dmabuf.h"
#include "lib/layout.h"

namespace mmaplink {

namespace {

// A quarter of what a peer takes at all.
constexpr uint64_t kMostBytes = uint64_t{16} << 30;
// Of what elements have, that nobody reads at the moment, as of a pool that goes round.
constexpr size_t kMostIdle = 32;
constexpr uint64_t kSweepEvery = 64;  // uses

// The mapping is another's, who is there as long as anything lies in it.
Mapping borrowed(const Mapping& map) {
  return {map.data(), map.size(), std::shared_ptr<const void>(std::shared_ptr<void>(), map.data())};
}

bool lies_within(const Arena& arena, uint64_t offset, size_t size) {
  return size <= arena.size() && offset <= arena.size() - size;
}

}  // namespace

Place ForeignArenas::place(Known& known, uint64_t offset) {
  known.used_last = ++uses_;
  Place found{known.arena, offset, known.use};
  if (uses_ % kSweepEvery == 0) sweep();  // `known` may lie elsewhere then
  return found;
}

std::optional<Place> ForeignArenas::find(const View& view, uint64_t offset) {
  const auto same = [&](const Known& known) {
    return !known.origin.owner_before(view.arena) && !view.arena.owner_before(known.origin);
  };
  const auto found = std::find_if(known_.begin(), known_.end(), same);
  if (found != known_.end()) return place(*found, offset);
  if (!view.arena->fd || view.arena->is_dmabuf()) return std::nullopt;
  Known made;
  made.origin = view.arena;
  made.arena =
      std::make_shared<Arena>(ArenaStore::new_number(), view.arena, borrowed(view.arena->map));
  return add(std::move(made), offset);
}

ForeignArenas::Known* ForeignArenas::find_inode(const struct stat& st) {
  const auto found = std::find_if(known_.begin(), known_.end(), [&](const Known& known) {
    return known.inode == st.st_ino && known.device == st.st_dev;
  });
  return found != known_.end() ? &*found : nullptr;
}

template <class Make>
std::optional<Place> ForeignArenas::find(int fd, uint64_t offset, size_t size, Make make) {
  struct stat st {};
  if (fstat(fd, &st) != 0) return std::nullopt;
  if (Known* known = find_inode(st)) {
    if (!lies_within(*known->arena, offset, size)) return std::nullopt;
    return place(*known, offset);
  }
  Known made;
  made.device = st.st_dev;
  made.inode = st.st_ino;
  made.arena = make(st);
  if (!made.arena || !lies_within(*made.arena, offset, size)) return std::nullopt;
  return add(std::move(made), offset);
}

std::optional<Place> ForeignArenas::find(int fd, uint64_t offset, size_t size) {
  return find(fd, offset, size, [fd](const struct stat& st) -> std::shared_ptr<Arena> {
    // Most are not sealed: asked for each frame of these, and nothing else.
    if (st.st_size <= 0 || fcntl(fd, F_GET_SEALS) <= 0) return nullptr;
    Fd own(fcntl(fd, F_DUPFD_CLOEXEC, 0));
    auto map = map_sealed(own, static_cast<size_t>(st.st_size));
    if (!map) return nullptr;
    return std::make_shared<Arena>(ArenaStore::new_number(),
                                   SealedMemory{std::move(own), std::move(*map)});
  });
}

std::optional<Place> ForeignArenas::find_dmabuf(int fd, uint64_t offset, size_t size) {
  return find(fd, offset, size, [fd](const struct stat&) -> std::shared_ptr<Arena> {
    auto whole = dmabuf_size(fd);
    Fd own(fcntl(fd, F_DUPFD_CLOEXEC, 0));
    if (!whole || !own) return nullptr;
    return std::make_shared<Arena>(ArenaStore::new_number(), std::move(own), *whole);
  });
}

std::optional<Place> ForeignArenas::add(Known made, uint64_t offset) {
  sweep();
  const size_t size = made.arena->size();
  if (known_.size() >= kMostForeignArenas || size > kMostBytes - bytes_) return std::nullopt;
  made.use = std::make_shared<char>();
  bytes_ += size;
  known_.push_back(std::move(made));
  return place(known_.back(), offset);
}

template <class Which>
void ForeignArenas::retire(Which which) {
  const auto kept = std::stable_partition(known_.begin(), known_.end(), [&](const Known& known) {
    return !is_idle(known) || !which(known);
  });
  std::vector<Known> gone(std::make_move_iterator(kept), std::make_move_iterator(known_.end()));
  known_.erase(kept, known_.end());
  for (const Known& known : gone) {
    bytes_ -= known.arena->size();
    on_retired_(known.arena->number());
  }
}

void ForeignArenas::sweep() {
  retire([](const Known& known) { return !is_of_an_element(known) && known.origin.expired(); });
  std::vector<uint64_t> idle;
  for (const Known& known : known_)
    if (is_of_an_element(known) && is_idle(known)) idle.push_back(known.used_last);
  if (idle.size() <= kMostIdle) return;
  std::sort(idle.begin(), idle.end());
  const uint64_t oldest_kept = idle[idle.size() - kMostIdle];
  retire(
      [&](const Known& known) { return is_of_an_element(known) && known.used_last < oldest_kept; });
}

void ForeignArenas::forget() {
  retire([](const Known&) { return true; });
}

}  // namespace mmaplink
