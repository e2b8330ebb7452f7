#include <cstdio>
#include <cstdlib>

#include "tests/fuzz/fuzz.h"

// Defaults of the sanitizers, where there are any; their variables in the environment come on top.
extern "C" const char* __asan_default_options();
extern "C" const char* __ubsan_default_options();
extern "C" const char* __asan_default_options() {
  return "detect_leaks=1:halt_on_error=1:quarantine_size_mb=32:allocator_may_return_null=0";
}
extern "C" const char* __ubsan_default_options() { return "halt_on_error=1:print_stacktrace=1"; }

namespace fuzz {

void check(bool so, const char* what) {
  if (so) return;
  std::fprintf(stderr, "not so: %s\n", what);
  std::abort();
}

}  // namespace fuzz
