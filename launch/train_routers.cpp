#include "launch/train_routers.h"

#include <algorithm>

#include "launch/engines.h"
#include "launch/evaluate.h"
#include "launch/process.h"
#include "launch/train.h"
#include "launch/upcycle.h"
#include "parallel/checkpoint.h"

namespace tessera {
namespace {

constexpr int64_t kShare = 10;  ///< one step for so many of the source

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

int train_routers(const TrainRoutersOptions& options, Communicator& world) {
  Config config;
  agree(world, [&] {
    const std::optional<std::string> checkpoint = latest_checkpoint(options.source);
    TESSERA_CHECK(checkpoint, options.source, ": holds no checkpoint to train routers for");
    const SavedRun saved = read_saved_run(*checkpoint);
    TESSERA_CHECK(saved.state.config.model.routes_by_rank(), options.source,
                  ": the model has no router that sees later tokens: it is causal already");
    const UpcycleOptions upcycling = upcycling_of(options, saved);
    config = upcycled_config(saved, upcycling);
    if (world.rank() == 0 && !latest_checkpoint(config.out)) upcycle(upcycling, *solo_communicator());
  });
  require_same(world, "the resolved config", flat_settings(to_json(config)));
  if (!device_usable(world, config.device)) return kExitUsage;
  if (const int code = train(config, world)) return code;
  return run_evaluate(
      {.run = config.out, .data = "", .units = 0, .threads = config.threads, .device = config.device}, world);
}

}  // namespace tessera
