#include "launch/train_routers.h"

#include <algorithm>

#include "launch/evaluate.h"
#include "launch/train.h"
#include "launch/upcycle.h"
#include "parallel/agree.h"
#include "parallel/checkpoint.h"

namespace tessera {
namespace {

constexpr int64_t kShare = 10;  ///< one step for so many of the source

SavedRun read_source(const TrainRoutersOptions& options) {
  const std::optional<std::string> checkpoint = latest_checkpoint(options.source);
  TESSERA_CHECK(checkpoint, options.source, ": holds no checkpoint to train routers for");
  return read_saved_run(*checkpoint);
}

/// Auxiliary routers are what upcycling adds here.
UpcycleOptions upcycling_of(const TrainRoutersOptions& options, const SavedRun& saved) {
  const int64_t steps = std::max<int64_t>(saved.step / kShare, 1);
  UpcycleOptions upcycling{.source = options.source,
                           .overrides = {str("steps=", saved.step + steps), "stop_at=0",
                                         "schedule.kind=linear", str("schedule.warmup=", steps / 5)}};
  upcycling.overrides.insert(upcycling.overrides.end(), options.overrides.begin(), options.overrides.end());
  upcycling.overrides.insert(upcycling.overrides.end(),
                             {"model.auxiliary_routers=true", "trained=auxiliary_routers"});
  return upcycling;
}

}  // namespace

Config routers_config(const TrainRoutersOptions& options) {
  const SavedRun saved = read_source(options);
  TESSERA_CHECK(saved.state.config.model.routes_by_rank(), options.source,
                ": the model has no router that sees later tokens: it is causal already");
  return upcycled_config(saved, upcycling_of(options, saved));
}

int train_routers(const TrainRoutersOptions& options, const Config& config, Communicator& world) {
  agree(world, [&] {
    if (world.rank() == 0 && !latest_checkpoint(config.out))
      upcycle(upcycling_of(options, read_source(options)), *solo_communicator());
  });
  if (const int code = train(config, world)) return code;
  return run_evaluate(
      {.run = config.out, .data = "", .units = 0, .threads = config.threads, .device = config.device}, world);
}

}  // namespace tessera
