// Payload memory of a sender: arenas (sealed memory, announced to a peer once by number) and the
// blocks in them.
//
// Everything that decides about a block is private to the owner; peers see payload bytes only.
// Small blocks are cut one after the other from a chunk that starts anew when all of its blocks
// are back, so mixed sizes leave no holes behind. Large blocks live in an arena with slots of one
// size. An arena whose last block is back is retired, but for one that is about to be wanted again.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "lib/path_region.h"
#include "lib/result.h"
#include "lib/sealed.h"

namespace mmaplink {

class ArenaStore;
struct PeerArena;

inline constexpr uint64_t kDefaultMemory = 1 << 30;  // bytes of a store

class Arena {
 public:
  Arena(uint32_t number, SealedMemory memory)
      : number_(number), memory_(std::move(memory)), dmabuf_size_(0) {}
  // A dmabuf, which is not mapped here.
  Arena(uint32_t number, Fd dmabuf, uint64_t size)
      : number_(number), memory_{std::move(dmabuf), Mapping()}, dmabuf_size_(size) {}

  // A peer's, which is there as long as anything lies in it.
  Arena(uint32_t number, const std::shared_ptr<const PeerArena>& of, Mapping borrowed)
      : number_(number), memory_{Fd(), std::move(borrowed)}, dmabuf_size_(0), origin_(of) {}

  uint32_t number() const { return number_; }  // never used twice in one process
  bool is_dmabuf() const { return dmabuf_size_ > 0; }
  size_t size() const { return is_dmabuf() ? dmabuf_size_ : memory_.map.size(); }
  Pages pages() const { return memory_.map.pages(); }
  const Fd& fd() const { return memory_.fd; }  // none of a peer's
  std::shared_ptr<const PeerArena> origin() const { return origin_.lock(); }
  std::byte* data() const { return memory_.map.data(); }
  // Of a stream that is over: nothing that lies here is sent any more.
  bool is_over() const { return over_.load(std::memory_order_acquire); }  // pairs with start_anew()

 private:
  friend class ArenaStore;
  const uint32_t number_;
  const SealedMemory memory_;
  const uint64_t dmabuf_size_;
  const std::weak_ptr<const PeerArena> origin_;
  std::atomic<bool> over_{false};
  // Guarded by the store's mutex.
  size_t live = 0;    // blocks handed out
  size_t stride = 0;  // of a slot; 0: a chunk
  size_t used = 0;    // a chunk's bytes cut so far, or slots ever used
  std::vector<uint64_t> free_slots;
};

// A piece of an arena; returned to the store with its object, from any thread. Keeps the store.
class Block {
 public:
  Block(std::shared_ptr<ArenaStore> store, std::shared_ptr<Arena> arena, uint64_t offset,
        size_t size)
      : store_(std::move(store)), arena_(std::move(arena)), offset_(offset), size_(size) {}
  Block(Block&&) noexcept = default;
  Block& operator=(Block&& other) noexcept;
  ~Block();

  const std::shared_ptr<Arena>& arena() const { return arena_; }
  uint64_t offset() const { return offset_; }
  size_t size() const { return size_; }
  std::byte* data() const { return arena_->data() + offset_; }

 private:
  std::shared_ptr<ArenaStore> store_;
  std::shared_ptr<Arena> arena_;
  uint64_t offset_;
  size_t size_;
};

// Where memory lies in an arena.
struct Place {
  std::shared_ptr<Arena> arena;
  uint64_t offset;
  std::shared_ptr<const void> use = {};  // of memory that the sender has not made: while it is sent
};

class ArenaStore : public std::enable_shared_from_this<ArenaStore> {
 public:
  struct Usage {
    size_t arenas;
    uint64_t bytes;
    uint64_t hugetlb;      // of them, in such pages
    uint64_t transparent;  // likewise
  };

  // Of an arena; never twice in one process.
  static uint32_t new_number();

  explicit ArenaStore(uint64_t max_memory, HugePages huge = HugePages::no)
      : max_memory_(max_memory), huge_(huge) {}

  // `align` a power of two up to the page size. Failure::limit while max_memory is used up,
  // Failure::settings where `size` can never fit, Failure::no_space where the system has no more.
  // Any thread.
  Result<Block> allocate(size_t size, size_t align);

  // For memory that an element wrapped: what lies in our arenas need not be copied.
  std::optional<Place> find(const void* data, size_t size) const;

  // Blocks of this size have had their time: nothing is kept for them once they are back.
  void no_longer_wants(size_t size);

  // New arenas lie in our half of that file from here on, what does not fit in none of it; or in
  // sealed memory again. Those there are have had their time.
  void use(std::shared_ptr<PathRegion> region);
  std::shared_ptr<PathRegion> region() const;

  // Another stream begins, which is not for those who know the arenas there are: it gets new ones.
  void start_anew();

  Usage usage() const;
  // Our half of a file, for a person, where that is less than max-memory.
  std::optional<std::string> small_file() const;
  uint64_t max_memory() const { return max_memory_; }

  // Called without a lock held, by whichever thread returned the last block.
  void on_retired(std::function<void(uint32_t number)> call);
  // Called, likewise, after blocks came back.
  void on_freed(std::function<void()> call);

 private:
  friend class Block;
  using Arenas = std::vector<std::shared_ptr<Arena>>;

  void release(Arena& arena, uint64_t offset);
  Block cut(const std::shared_ptr<Arena>& arena, uint64_t offset, size_t size);
  Result<Block> allocate_small(size_t size, size_t align, Arenas& retired);
  Result<Block> allocate_large(size_t size, Arenas& retired);
  Result<std::shared_ptr<Arena>> add_arena(size_t size, Arenas& retired);
  void retire_empty(size_t but_stride, Arenas& retired);
  void drop(Arenas::iterator from, Arenas& retired);
  void announce(const Arenas& retired);
  // What is larger than our half of a file lies elsewhere.
  bool fits_region(size_t size) const { return region_ && size <= region_->capacity(); }
  uint64_t left(size_t size) const;
  // For arenas that have to be of huge ones.
  size_t page() const { return huge_ == HugePages::require ? huge_page_size() : page_size(); }
  Result<SealedMemory> make_memory(size_t size, HugePages huge) const;

  const uint64_t max_memory_;
  const HugePages huge_;
  mutable std::mutex mutex_;
  Arenas arenas_;
  std::shared_ptr<Arena> chunk_;  // being cut from
  uint64_t bytes_ = 0;
  std::shared_ptr<PathRegion> region_;
  size_t last_stride_ = 0;  // what large blocks are wanted in now
  std::function<void(uint32_t)> on_retired_;
  std::function<void()> on_freed_;
};

}  // namespace mmaplink
