// What goes on at a server, told to whoever may connect: lines of text, one for each direction of
// each link. What is in them is for the layers above; elements make JSON of it (json_line.h).
//
//     who asks                                 server
//       ── STATUS_ASK ────────────────────────▶       in place of HELLO
//       ◀──────────────────── STATUS_PART, … ──       the last one says so, and hang-up
//                                                     (or REFUSE: a text, and hang-up)
#pragma once

#include <string>
#include <vector>

#include "lib/fd.h"
#include "lib/futex.h"
#include "lib/message.h"
#include "lib/result.h"

namespace mmaplink {

using StatusLines = std::vector<std::string>;

// Of an answer, with the ends of its lines. What is more is left out, and how many lines that are
// is said by one more, "left-out".
inline constexpr size_t kMostStatus = 1 << 20;

// The same link version at both ends, or Failure::refused.
Status check_status_version(uint32_t version);
std::vector<Message> status_parts(const StatusLines& lines);

// For a server that has seen the question on that socket, where it may still lie: sends the answer
// and hangs up. Waits for the peer to read it, at most until then.
Status answer_status(Fd socket, const StatusLines& lines, Deadline until);

// Asks the server on that path. Failure::refused with its reason; protocol where it is none of
// ours, or talks nonsense; timeout, gone and not_found. The lines are a stranger's.
Result<StatusLines> ask_status(const std::string& path, Deadline until);

}  // namespace mmaplink
