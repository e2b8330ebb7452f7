// What a service manager is told: sd_notify(3), without its library.
#pragma once

#include <string>

// Lines such as "READY=1". Without $NOTIFY_SOCKET, or with one that nobody reads, nothing happens.
void notify(const std::string& lines);
