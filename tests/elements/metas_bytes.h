// For tests of the bytes of metas: making them, and taking them in.
#pragma once

#include <span>
#include <vector>

#include "gst/wire-meta.h"
#include "gst/wire-structure.h"
#include "tests/elements/support.h"

namespace test {

using Bytes = std::vector<std::byte>;
using BufferRef = Ref<GstBuffer>;

inline constexpr gsize kSize = 4096;

// Whatever GLib and GStreamer complain of ends the test.
struct NoComplaints {
  NoComplaints() {
    g_log_set_always_fatal(
        static_cast<GLogLevelFlags>(G_LOG_FATAL_MASK | G_LOG_LEVEL_CRITICAL | G_LOG_LEVEL_WARNING));
  }
};

// With so much behind it that is not part of it.
inline BufferRef new_buffer(gsize size = kSize, gsize padding = 0) {
  GstAllocationParams params;
  gst_allocation_params_init(&params);
  params.padding = padding;
  BufferRef buffer(gst_buffer_new_allocate(nullptr, size, &params));
  gst_buffer_memset(buffer.get(), 0, 0x5a, size);
  return buffer;
}

inline Bytes encoded(const BufferRef& buffer) {
  Bytes bytes;
  gstmmap::encode_metas(buffer.get(), bytes);
  return bytes;
}

inline bool decodes(std::span<const std::byte> bytes, const BufferRef& buffer) {
  gstmmap::BytesIn from(bytes);
  return gstmmap::decode_metas(from, buffer.get());
}

inline size_t count(const BufferRef& buffer) {
  size_t metas = 0;
  gpointer state = nullptr;
  while (gst_buffer_iterate_meta(buffer.get(), &state)) ++metas;
  return metas;
}

inline constexpr auto kCustom = "GstMmapBytesTest";

inline GstStructure* add_custom(const BufferRef& buffer) {
  static const char* const tags[] = {nullptr};
  if (gst_meta_get_info(kCustom) == nullptr)
    gst_meta_register_custom(kCustom, const_cast<const char**>(tags), nullptr, nullptr, nullptr);
  return gst_custom_meta_get_structure(gst_buffer_add_custom_meta(buffer.get(), kCustom));
}

}  // namespace test
