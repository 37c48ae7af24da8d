#pragma once
// One clock for all ranks: monotonic clocks of different machines start anywhere and run at rates that differ.

#include <functional>

#include "parallel/communicator.h"
#include "runtime/trace.h"

namespace tessera {

/// How this rank's clock stands beside rank 0's, from the shortest of some exchanges with it, rank by rank: what rank 0 reads
/// between asking and answering belongs to the middle.  Collective.  A second point later gives the drift.
/// Source: Cristian, Probabilistic clock synchronization, 1989.
ClockPoint compare_clocks(Communicator& world, const std::function<int64_t()>& now_ns = Trace::now_ns);

}  // namespace tessera
