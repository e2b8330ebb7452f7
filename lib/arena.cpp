#include "lib/arena.h"

#include <algorithm>
#include <string>

#include "lib/layout.h"

namespace mmaplink {

namespace {

constexpr size_t kChunk = 4 << 20;        // an arena of small blocks
constexpr size_t kSmall = kChunk / 4;     // what is small
constexpr size_t kLargeArena = 32 << 20;  // about this much for frames of one size …
constexpr size_t kMostSlots = 16;         // … but not more of them than this
// A retired one may still be known to a peer when the next is announced.
constexpr size_t kMost = kMostArenas - kMostForeignArenas - 32;
constexpr size_t kLeastAlign = 64;  // a cache line, and what AVX-512 loads want

size_t align_up(size_t value, size_t align) { return (value + align - 1) & ~(align - 1); }

std::atomic<uint32_t> next_number{1};

}  // namespace

Block& Block::operator=(Block&& other) noexcept {
  std::swap(store_, other.store_);
  std::swap(arena_, other.arena_);
  std::swap(offset_, other.offset_);
  std::swap(size_, other.size_);
  return *this;
}

Block::~Block() {
  if (store_) store_->release(*arena_, offset_);
}

uint32_t ArenaStore::new_number() { return next_number.fetch_add(1); }

Result<Block> ArenaStore::allocate(size_t size, size_t align) {
  align = std::max(align, kLeastAlign);
  if (align > page_size())
    return Error{Failure::settings, "alignment of " + std::to_string(align) + " bytes"};
  // Arenas are whole pages.
  if (std::max<size_t>(size, 1) > (max_memory_ & ~(page() - 1)))
    return Error{Failure::settings, std::to_string(size) + " bytes " +
                                        (huge_ == HugePages::require ? "in huge pages " : "") +
                                        "are more than max-memory=" + std::to_string(max_memory_)};
  for (bool again = false;; again = true) {
    Arenas retired;
    auto got = [&] {
      const std::lock_guard lock(mutex_);
      return size <= kSmall ? allocate_small(std::max<size_t>(size, 1), align, retired)
                            : allocate_large(size, retired);
    }();
    // Only then there is room in a file where they lay.
    announce(retired);
    if (got || got.error().failure != Failure::limit || retired.empty() || again) return got;
  }
}

Block ArenaStore::cut(const std::shared_ptr<Arena>& arena, uint64_t offset, size_t size) {
  ++arena->live;
  return Block(shared_from_this(), arena, offset, size);
}

Result<Block> ArenaStore::allocate_small(size_t size, size_t align, Arenas& retired) {
  const auto fits = [&](const Arena& arena) {
    return align_up(arena.used, align) + size <= arena.size();
  };
  if (!chunk_ || !fits(*chunk_)) {
    // Another chunk that has come back whole, or a new one.
    const auto empty = std::find_if(arenas_.begin(), arenas_.end(), [&](const auto& arena) {
      return arena->stride == 0 && arena->live == 0 && fits(*arena);
    });
    if (empty != arenas_.end()) {
      chunk_ = *empty;
    } else {
      // The more there is, the larger the pieces, since their number is limited.
      // And of little memory small ones: a chunk starts anew when all of it is back, and somebody
      // always holds a block of the last.
      const uint64_t all = fits_region(size) ? region_->capacity() : max_memory_;
      const size_t least = std::min<uint64_t>(kChunk, std::min(all, max_memory_) / 4);
      const size_t chunk = round_to_page(std::max<size_t>({size, least, bytes_ / 64}));
      const size_t left_whole = left(size) & ~(page_size() - 1);
      auto made = add_arena(std::clamp(left_whole, round_to_page(size), chunk), retired);
      if (!made) return made.error();
      chunk_ = *made;
    }
  }
  const size_t offset = align_up(chunk_->used, align);
  chunk_->used = offset + size;
  return cut(chunk_, offset, size);
}

Result<Block> ArenaStore::allocate_large(size_t size, Arenas& retired) {
  const size_t stride = round_to_page(size);
  last_stride_ = stride;
  for (const auto& arena : arenas_) {
    if (arena->stride != stride) continue;
    if (!arena->free_slots.empty()) {
      const uint64_t offset = arena->free_slots.back();
      arena->free_slots.pop_back();
      return cut(arena, offset, size);
    }
    if ((arena->used + 1) * stride <= arena->size())
      return cut(arena, arena->used++ * stride, size);
  }
  retire_empty(stride, retired);
  const size_t piece = std::max<size_t>(kLargeArena, bytes_ / 64);
  const size_t wanted = std::clamp<size_t>(piece / stride, 1, kMostSlots);
  auto made = add_arena(std::clamp<size_t>(left(size) / stride, 1, wanted) * stride, retired);
  if (!made) return made.error();
  (*made)->stride = stride;
  (*made)->used = 1;
  return cut(*made, 0, size);
}

// For more arenas, of which one is to have a block of `size`.
uint64_t ArenaStore::left(size_t size) const {
  const uint64_t left = bytes_ < max_memory_ ? (max_memory_ - bytes_) & ~(page() - 1) : 0;
  return fits_region(size) ? std::min<uint64_t>(left, region_->room()) : left;
}

Result<SealedMemory> ArenaStore::make_memory(size_t size, HugePages huge) const {
  if (!fits_region(size)) return make_sealed("mmap-arena", size, huge);
  if (huge_ == HugePages::require && region_->pages() != Pages::hugetlb)
    return Error{Failure::settings, "huge-pages=require, and the path mmap=" + region_->path() +
                                        " is not on hugetlbfs: give one that is, such as a "
                                        "directory in /dev/hugepages"};
  return region_->allocate(size);
}

Result<std::shared_ptr<Arena>> ArenaStore::add_arena(size_t size, Arenas& retired) {
  HugePages huge = fits_region(size) ? HugePages::no : huge_;
  const auto over = [&] { return bytes_ + round_up(size, huge) > max_memory_; };
  const auto full = [&] {
    return over() || arenas_.size() >= kMost || (fits_region(size) && region_->room() < size);
  };
  if (full()) retire_empty(0, retired);
  // What huge pages take more may be too much.
  if (huge == HugePages::tries && over()) huge = HugePages::no;
  if (arenas_.size() >= kMost)
    return Error{Failure::limit,
                 "the memory is in as many pieces as a peer takes, " + std::to_string(kMost)};
  if (over())
    return Error{Failure::limit,
                 "the limit max-memory=" + std::to_string(max_memory_) + " is used up"};
  auto memory = make_memory(size, huge);
  if (!memory) return memory.error();
  auto arena = std::make_shared<Arena>(new_number(), std::move(*memory));
  arenas_.push_back(arena);
  bytes_ += arena->size();
  return arena;
}

// Drops every arena without blocks, but those of slots of `but_stride` bytes and the chunk in use.
void ArenaStore::retire_empty(size_t but_stride, Arenas& retired) {
  const auto kept = std::partition(arenas_.begin(), arenas_.end(), [&](const auto& arena) {
    const bool spared =
        arena->stride == 0 ? arena == chunk_ && but_stride != 0 : arena->stride == but_stride;
    return arena->live > 0 || spared;
  });
  drop(kept, retired);
}

void ArenaStore::drop(Arenas::iterator from, Arenas& retired) {
  for (auto it = from; it != arenas_.end(); ++it) {
    bytes_ -= (*it)->size();
    if (*it == chunk_) chunk_.reset();
    retired.push_back(std::move(*it));
  }
  arenas_.erase(from, arenas_.end());
}

void ArenaStore::release(Arena& arena, uint64_t offset) {
  Arenas retired;
  std::function<void()> freed;
  {
    const std::lock_guard lock(mutex_);
    freed = on_freed_;
    --arena.live;
    if (arena.is_over()) {
      if (arena.live == 0) bytes_ -= arena.size();
    } else if (arena.stride != 0) {
      arena.free_slots.push_back(offset);
    }
    if (arena.live == 0 && !arena.is_over()) {
      if (arena.stride == 0) arena.used = 0;
      // Keep one that is about to be wanted again: of the newest frame size, or a chunk.
      const bool wanted = arena.stride == 0 || arena.stride == last_stride_;
      const auto same = std::count_if(arenas_.begin(), arenas_.end(), [&](const auto& other) {
        return other->live == 0 && other->stride == arena.stride;
      });
      if (!wanted || same > 1) {
        const auto it = std::find_if(arenas_.begin(), arenas_.end(),
                                     [&](const auto& other) { return other.get() == &arena; });
        if (it != arenas_.end() && *it != chunk_) {
          bytes_ -= arena.size();
          retired.push_back(std::move(*it));
          arenas_.erase(it);
        }
      }
    }
  }
  announce(retired);
  if (freed) freed();
}

void ArenaStore::announce(const Arenas& retired) {
  if (retired.empty()) return;
  std::function<void(uint32_t)> call;
  {
    const std::lock_guard lock(mutex_);
    call = on_retired_;
  }
  if (!call) return;
  for (const auto& arena : retired) call(arena->number());
}

void ArenaStore::no_longer_wants(size_t size) {
  Arenas retired;
  {
    const std::lock_guard lock(mutex_);
    if (last_stride_ != round_to_page(size)) return;
    last_stride_ = 0;
    const auto kept = std::partition(arenas_.begin(), arenas_.end(), [](const auto& arena) {
      return arena->live > 0 || arena->stride == 0;
    });
    drop(kept, retired);
  }
  announce(retired);
}

void ArenaStore::use(std::shared_ptr<PathRegion> region) {
  {
    const std::lock_guard lock(mutex_);
    if (region_ == region) return;
    if (region_) region_->end();
    region_ = std::move(region);
  }
  start_anew();
}

std::shared_ptr<PathRegion> ArenaStore::region() const {
  const std::lock_guard lock(mutex_);
  return region_;
}

void ArenaStore::start_anew() {
  Arenas retired;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& arena : arenas_) {
      arena->over_.store(true, std::memory_order_release);
      // The others count until their last block is back.
      if (arena->live == 0) bytes_ -= arena->size();
    }
    retired.swap(arenas_);
    chunk_.reset();
    last_stride_ = 0;
  }
  announce(retired);
}

std::optional<Place> ArenaStore::find(const void* data, size_t size) const {
  const auto* start = static_cast<const std::byte*>(data);
  const std::lock_guard lock(mutex_);
  for (const auto& arena : arenas_) {
    if (start < arena->data() || start >= arena->data() + arena->size()) continue;
    const auto offset = static_cast<size_t>(start - arena->data());
    if (size > arena->size() - offset) continue;
    return Place{arena, offset};
  }
  return std::nullopt;
}

std::optional<std::string> ArenaStore::small_file() const {
  const std::lock_guard lock(mutex_);
  if (!region_ || region_->capacity() >= max_memory_) return std::nullopt;
  return "our half of " + region_->path() + ", " + std::to_string(region_->capacity()) + " bytes,";
}

ArenaStore::Usage ArenaStore::usage() const {
  const std::lock_guard lock(mutex_);
  Usage now{arenas_.size(), bytes_, 0, 0};
  for (const auto& arena : arenas_) {
    if (arena->pages() == Pages::hugetlb) now.hugetlb += arena->size();
    if (arena->pages() == Pages::transparent) now.transparent += arena->size();
  }
  return now;
}

void ArenaStore::on_retired(std::function<void(uint32_t)> call) {
  const std::lock_guard lock(mutex_);
  on_retired_ = std::move(call);
}

void ArenaStore::on_freed(std::function<void()> call) {
  const std::lock_guard lock(mutex_);
  on_freed_ = std::move(call);
}

}  // namespace mmaplink
