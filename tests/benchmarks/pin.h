// Keeps the calling thread on one processor. Where the scheduler puts source and sink, together or
// apart, changes the cost of an unpaced frame more than anything else does.
#pragma once

namespace bench {

inline constexpr int kAnyCpu = -1;

// True for kAnyCpu, too, which changes nothing.
bool pin_this_thread(int cpu);

}  // namespace bench
