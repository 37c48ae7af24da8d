#pragma once
// A step of a run once more, to see where its first value that is not finite comes from.

#include <string>

#include "parallel/communicator.h"

namespace tessera {

struct ReplayOptions {
  std::string run;      ///< folder of the run
  int64_t step = 0;     ///< index of the step, as in metrics.jsonl and anomaly_STEP.json
  int64_t threads = 0;  ///< compute threads of a rank, 0 = cores / ranks
};

/// Collective.  Trains from the checkpoint before the step (or from the start) up to it, in a folder of its own, then runs
/// every micro-batch of the step forward and backward, and prints the parameters that were not finite before, for each
/// micro-batch its loss and the first layer whose output is not finite, and the first such gradient in backward.  Where the
/// run left an anomaly_STEP.json, losses and gradient norms must be what it says, bit by bit.  Returns the exit code:
/// kExitError when they are not.  Throws AgreedError when the run cannot be read, has learned auxiliary routers, or lacks the
/// data.
int run_replay(const ReplayOptions& options, Communicator& world);

}  // namespace tessera
