// What nothing that carries frames does without: a reader that sleeps and is woken for each, by a
// futex and nothing else. The reader is a thread of this process or another process, since to
// switch to the one costs more than to the other, and how much more differs from machine to
// machine.

#pragma once

#include <cstdint>

#include "json_line.h"

namespace bench {

struct WakeSettings {
  bool other_process = false;
  std::uint64_t fps = 60;
  std::uint64_t frames = 180;  // that count
};

// Adds to the line what a source and a sink would report. False, with nothing added, where a thread
// or a process could not be made.
bool wake(const WakeSettings& settings, JsonLine& line);

}  // namespace bench
