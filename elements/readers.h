// Who reads from a sink, and what each of them has said.
//
// Owned by a sink. Any thread looks, the endpoint's adds and removes; a reader itself is shared
// with whoever is sending to it, and its fields are for any thread where nothing else is said.
#pragma once

#include <gst/gst.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "elements/counters.h"
#include "lib/link.h"

namespace gstmmap {

struct Reader {
  explicit Reader(std::shared_ptr<mmaplink::Link> of) : link(std::move(of)) {}

  const std::shared_ptr<mmaplink::Link> link;
  std::atomic<uint32_t> eos_done{0};  // seqnum of the last EOS that went through; 0: none
  std::atomic<bool> silent{false};   // it has left a question without an answer
  std::atomic<uint64_t> latency{0};  // ns: its pipeline's
  // To the application: it is told by the worker first, and of the end by the endpoint's thread.
  enum class Known { no, is_being_told, yes, has_gone };
  std::atomic<Known> known{Known::no};
  std::atomic<bool> suits{true};     // what it takes is asked for, and decides
  std::atomic<bool> decides{false};  // it was asked before upstream chose
  // For other caps than those it does not take: monotonic ns; 0: no more.
  std::atomic<uint64_t> waits_until{0};
  // Those of whoever has the pad's stream lock; any may look at the first.
  std::atomic<bool> has_stickies{false};
  Counters counters;        // of what it was sent
  bool has_begun = false;   // with a buffer that does not depend on others
  bool has_missed = false;  // the buffers before the next one
  // What its progress was when it was passed over, since it did not read and others do.
  std::optional<uint64_t> passed_at;
  mmaplink::Stall eos_stall;

  bool is_passed_over() const { return passed_at == link->send_lane().progress(); }
};

class Readers {
 public:
  using One = std::shared_ptr<Reader>;
  using List = std::vector<One>;

  List all() const {
    const std::lock_guard lock(mutex_);
    return list_;
  }
  size_t count() const {
    const std::lock_guard lock(mutex_);
    return list_.size();
  }
  One find(const mmaplink::Link& link) const {
    const std::lock_guard lock(mutex_);
    const auto found = place(link);
    return found != list_.end() ? *found : nullptr;
  }
  // False where it is there, or was not.
  bool add(const std::shared_ptr<mmaplink::Link>& link) {
    return add(std::make_shared<Reader>(link));
  }
  bool add(One reader) {
    const std::lock_guard lock(mutex_);
    if (place(*reader->link) != list_.end()) return false;
    list_.push_back(std::move(reader));
    return true;
  }
  bool remove(const mmaplink::Link& link) {
    const std::lock_guard lock(mutex_);
    const auto found = place(link);
    if (found == list_.end()) return false;
    list_.erase(found);
    return true;
  }
  void clear() {
    const std::lock_guard lock(mutex_);
    list_.clear();
  }

 private:
  List::const_iterator place(const mmaplink::Link& link) const {
    return std::find_if(list_.begin(), list_.end(),
                        [&](const One& reader) { return reader->link.get() == &link; });
  }

  mutable std::mutex mutex_;
  List list_;
};

}  // namespace gstmmap
