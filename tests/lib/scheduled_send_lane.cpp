// The code of the sender's end of a lane itself, with a schedule at each step.
#include "lib/send_lane.cpp"

#include "tests/lib/schedule.h"

namespace mmaplink {

template class BasicSendLane<test::ScheduledWords>;

}  // namespace mmaplink
