#pragma once
// A communicator that leaves a record of what it does.

#include <memory>
#include <string>

#include "parallel/communicator.h"
#include "runtime/flight_recorder.h"

namespace tessera {

/// Every collective of inner, and of the groups split off it, is recorded when it is entered and when its result is
/// there, and so is being in the call or waiting for the result: that is what a hang looks like.  A
/// purpose given by about() holds until the next one or until the recorder's next phase.  name tells groups that are not
/// split off each other apart; it must be the same on all ranks.  inner and recorder must outlive what is returned.  One
/// thread per recorder.
std::unique_ptr<Communicator> recorded(Communicator& inner, FlightRecorder& recorder,
                                       const std::string& name);

}  // namespace tessera
