#pragma once
// A communicator that delivers as late as it may.

#include <memory>

#include "parallel/communicator.h"

namespace tessera {

/// Until wait() what will arrive reads as NaN (bytes 0xff).  wait() throws Error when the send buffer has been written meanwhile.
/// For tensors on cpu.
std::unique_ptr<Communicator> late(std::unique_ptr<Communicator> inner);

}  // namespace tessera
