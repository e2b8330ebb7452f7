// What servers said, in Prometheus' text exposition format (version 0.0.4), and a socket that
// serves it.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "gst/tools/servers.h"
#include "gst/tools/terminal.h"
#include "lib/result.h"

namespace mmaptop {

std::string prometheus_text(const std::vector<Server>& servers);

// By HTTP/1.0 on a Unix socket, mode 0600, one client after the other, each with a bound for its
// time and its words; each asks the servers anew. Until a signal ends it.
mmaplink::Status serve_metrics(const std::string& path, Servers& servers,
                               std::chrono::milliseconds patience, const Signals& signals);

}  // namespace mmaptop
