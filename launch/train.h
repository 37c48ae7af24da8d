#pragma once
// The training loop.

#include "launch/config.h"
#include "parallel/communicator.h"

namespace tessera {

/// Trains on every rank of world until the run's last step, from its latest checkpoint if there is one.  Collective.
/// Returns the exit code of the program (launch/process.h).  Throws Error on bad input.
int train(const Config& config, Communicator& world);
/// The same on ranks that flight records already.
int train_recorded(const Config& config, Communicator& world, Flight& flight);

}  // namespace tessera
