// How a fuzzer of GStreamer's begins: without plugins and their registry, and with an end to all
// that GLib or GStreamer would complain of, since the peer's bytes are not to make them.
#include <gst/gst.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"

// Of AddressSanitizer, where there is one.
extern "C" __attribute__((weak)) int __sanitizer_install_malloc_and_free_hooks(
    void (*malloc_hook)(const volatile void*, size_t), void (*free_hook)(const volatile void*));
extern "C" __attribute__((weak)) void __lsan_ignore_object(const void*);

namespace {

// GLib's table of quarks grows by that many, and the old one is kept for good, by nobody.
constexpr size_t kQuarkTable = 2048 * sizeof(char*);

void ignore_quark_tables(const volatile void* memory, size_t size) {
  if (size >= kQuarkTable && size % kQuarkTable == 0)
    __lsan_ignore_object(const_cast<const void*>(memory));
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char*** argv) {
  // Has to be there when GLib begins: memory of its own hides what is wrong with it.
  if (g_getenv("G_SLICE") == nullptr) {
    g_setenv("G_SLICE", "always-malloc", TRUE);
    execv("/proc/self/exe", *argv);
  }
  g_setenv("GST_REGISTRY_DISABLE", "yes", TRUE);
  g_setenv("GST_PLUGIN_SYSTEM_PATH_1_0", "", TRUE);
  g_setenv("GST_PLUGIN_PATH_1_0", "", TRUE);
  if (__sanitizer_install_malloc_and_free_hooks != nullptr && __lsan_ignore_object != nullptr)
    __sanitizer_install_malloc_and_free_hooks(ignore_quark_tables, [](const volatile void*) {});
  gst_init(nullptr, nullptr);
  g_log_set_always_fatal(
      static_cast<GLogLevelFlags>(G_LOG_FATAL_MASK | G_LOG_LEVEL_CRITICAL | G_LOG_LEVEL_WARNING));
  return 0;
}
