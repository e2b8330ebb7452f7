// The code of the receiver's end of a lane itself, with a schedule at each step.
#include "lib/receive_lane.cpp"

#include "tests/lib/schedule.h"

namespace mmaplink {

template class BasicReceiveLane<test::ScheduledWords>;

}  // namespace mmaplink
