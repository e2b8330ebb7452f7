// See pin.h.

#include "pin.h"

#include <sched.h>

namespace bench {

bool pin_this_thread(int cpu) {
  if (cpu == kAnyCpu) return true;
  if (cpu < 0 || cpu >= CPU_SETSIZE) return false;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<unsigned>(cpu), &set);
  return sched_setaffinity(0, sizeof set, &set) == 0;
}

}  // namespace bench
