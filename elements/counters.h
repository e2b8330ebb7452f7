// What an element counts, and the `stats` it makes of that.
#pragma once

#include <gst/gst.h>

#include <atomic>
#include <optional>
#include <string>

#include "lib/mode.h"

namespace gstmmap {

// Written by the streaming thread, looked at by any.
struct Counters {
  std::atomic<guint64> buffers{0}, bytes{0}, buffers_copied{0}, bytes_copied{0}, dropped{0};

  static void add(std::atomic<guint64>& counter, guint64 value) {
    counter.store(counter.load(std::memory_order_relaxed) + value, std::memory_order_relaxed);
  }
  void reset() { buffers = bytes = buffers_copied = bytes_copied = dropped = 0; }
};

// As `stats` and the log name it.
inline const char* word_of(const mmaplink::Mode& mode) {
  return mode.in_file ? "path" : mode.mapped ? "mmap" : "inline";
}

// How things are now.
struct Standing {
  guint64 in_flight = 0;
  guint64 arenas = 0;
  guint64 arena_bytes = 0;
  guint64 hugetlb_bytes = 0;  // of them
  guint64 thp_bytes = 0;
  guint64 peers = 0;
  guint64 latency_p50 = 0;  // ns, publish to receive
  guint64 latency_p99 = 0;
  // Of the newest link; none without one.
  std::optional<mmaplink::Mode> mode;
};

// `direction`: "send" or "receive". Transfer full.
inline GstStructure* stats_new(const char* name, const char* direction, const Counters& counters,
                               const Standing& now) {
  GstStructure* stats = gst_structure_new(
      name, "buffers", G_TYPE_UINT64, counters.buffers.load(), "bytes", G_TYPE_UINT64,
      counters.bytes.load(), "buffers-copied", G_TYPE_UINT64, counters.buffers_copied.load(),
      "bytes-copied", G_TYPE_UINT64, counters.bytes_copied.load(), "dropped", G_TYPE_UINT64,
      counters.dropped.load(), "in-flight", G_TYPE_UINT64, now.in_flight, "arenas", G_TYPE_UINT64,
      now.arenas, "arena-bytes", G_TYPE_UINT64, now.arena_bytes, "hugetlb-bytes", G_TYPE_UINT64,
      now.hugetlb_bytes, "thp-bytes", G_TYPE_UINT64, now.thp_bytes, "peers", G_TYPE_UINT64,
      now.peers, "latency-p50", G_TYPE_UINT64, now.latency_p50, "latency-p99", G_TYPE_UINT64,
      now.latency_p99, nullptr);
  if (now.mode) {
    const std::string field = std::string("mode-") + direction;
    gst_structure_set(stats, field.c_str(), G_TYPE_STRING, word_of(*now.mode),
                      (field + "-because").c_str(), G_TYPE_STRING, now.mode->why.c_str(), nullptr);
  }
  return stats;
}

}  // namespace gstmmap
