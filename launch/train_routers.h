#pragma once
// `tessera train-routers`: auxiliary routers for a trained model, so that it routes causally.
//
// A run of its own goes on from the source's latest checkpoint, at the next sample: the model keeps its values, auxiliary
// routers (layers/auxiliary_router.h) learn by binary cross-entropy what expert choice does in each micro-batch.  At its end it
// is evaluated: loss by both causal ways to route, and accuracy, precision and recall of each router.
//
// Source: MoMa (arXiv 2407.21770), 2.4 and A.2.

#include <string>
#include <vector>

#include "launch/config.h"
#include "parallel/communicator.h"

namespace tessera {

struct TrainRoutersOptions {
  std::string source;  ///< run folder; its latest checkpoint is used
  /// key=value on top of the source's config: out at least.  Unless they say otherwise, steps are a tenth more than the source
  /// has done, with a linear schedule that warms up over a fifth of them.
  std::vector<std::string> overrides;
};

/// The config of the run.  Throws Error when the source holds no checkpoint or has no router to imitate, or a setting is wrong.
Config routers_config(const TrainRoutersOptions& options);

/// Collective.  config: of routers_config(), the same on all ranks.  Goes on where it stopped when config.out holds a
/// checkpoint.  Returns the exit code.  Throws AgreedError as in training.
int train_routers(const TrainRoutersOptions& options, const Config& config, Communicator& world);

}  // namespace tessera
