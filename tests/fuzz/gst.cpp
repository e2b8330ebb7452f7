// How a fuzzer of GStreamer's begins: without plugins and their registry, and with an end to all
// that GLib or GStreamer would complain of, since the peer's bytes are not to make them.
#include <gst/gst.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/gst.h"

// Of LeakSanitizer, where there is one, and what it calls for each allocation.
extern "C" __attribute__((weak)) void __lsan_ignore_object(const void*);
extern "C" void __sanitizer_malloc_hook(const volatile void* memory, size_t size);

// GLib's table of quarks grows by that many; the old one stays for good and belongs to nobody.
extern "C" void __sanitizer_malloc_hook(const volatile void* memory, size_t size) {
  constexpr size_t kQuarkTable = 2048 * sizeof(char*);
  if (size > 0 && size % kQuarkTable == 0 && __lsan_ignore_object != nullptr)
    __lsan_ignore_object(const_cast<const void*>(memory));
}

namespace {

constexpr auto kLenient = static_cast<GLogLevelFlags>(G_LOG_FATAL_MASK | G_LOG_LEVEL_CRITICAL);
constexpr auto kStrict = static_cast<GLogLevelFlags>(kLenient | G_LOG_LEVEL_WARNING);

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
  gst_init(nullptr, nullptr);
  // GLib ends a program by a trap, which libFuzzer does not know for a crash.
  std::signal(SIGTRAP, [](int) { std::abort(); });
  g_log_set_always_fatal(kStrict);
  return 0;
}

namespace fuzz {

WarningsAllowed::WarningsAllowed() { g_log_set_always_fatal(kLenient); }
WarningsAllowed::~WarningsAllowed() { g_log_set_always_fatal(kStrict); }

}  // namespace fuzz
