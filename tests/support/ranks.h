#pragma once
// What every communicator must do, whichever way its ranks exchange data.

#include "parallel/communicator.h"

namespace tessera {

/// Google Test expectations on all collectives of world.  Called by every rank.
void expect_communicator(Communicator& world);

/// More bytes in one piece than an int can count, from rank 0 to the last rank.
void expect_long_messages(Communicator& world);

}  // namespace tessera
