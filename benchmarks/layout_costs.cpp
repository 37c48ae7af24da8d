#include "benchmarks/layout_costs.h"

#include <algorithm>

namespace tessera::benchmarks {
namespace {

/// Of every rank, the largest.
int64_t most(Communicator& world, int64_t bytes) {
  const double mine[] = {static_cast<double>(bytes)};
  return static_cast<int64_t>(std::ranges::max(all_gather_values(world, mine)));
}

StepTraffic most(Communicator& world, const StepTraffic& traffic) {
  return {most(world, traffic.gather), most(world, traffic.gradients), most(world, traffic.replicas),
          most(world, traffic.rows)};
}

int64_t total(const StepTraffic& traffic) {
  return traffic.gather + traffic.gradients + traffic.replicas + traffic.rows;
}

}  // namespace

LayoutCosts measure_layout(const StepSetting& setting, Communicator& world) {
  Traffic sent;
  const std::unique_ptr<Communicator> counting = counted(world, sent);
  TrainingStep step(setting, *counting);
  sent.clear();
  step.run();
  const StepTraffic measured = by_kind(sent);
  int64_t all = 0, state = 0;
  for (const auto& [purpose, bytes] : sent) all += bytes;
  for (const ShardPiece& piece : step.pieces())
    state += 2 * (piece.value.bytes() + piece.grad.bytes());  // AdamW's moments are as large
  const MemoryStatistics memory = step.memory();

  const ModelConfig& model = step.config().model;
  const Layout layout = step.layout();
  const StepTraffic expected = step_traffic(model, layout, world.rank(), step.leaves());
  const int64_t expected_state = state_bytes(model, layout, world.rank());
  const bool exact = measured == expected && state == expected_state;
  return {layout,
          most(world, int64_t{!exact}) == 0,
          most(world, measured),
          most(world, expected),
          most(world, all - total(measured)),
          most(world, state),
          most(world, expected_state),
          most(world, memory.live_bytes),
          most(world, memory.peak_bytes)};
}

}  // namespace tessera::benchmarks
