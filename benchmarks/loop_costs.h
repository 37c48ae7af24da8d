#pragma once
// What a training costs beside its steps: loader, metrics, flight recorder, trace and checkpoints.

#include "benchmarks/median.h"
#include "benchmarks/training_step.h"

namespace tessera::benchmarks {

struct Cost {
  double wall = 0;       ///< seconds
  double processor = 0;  ///< seconds of all threads of the process
};

/// Of tessera train's own loop.  Parts are taken where they arise, since steps themselves differ by more than the parts.
struct LoopCosts {
  Cost step;         ///< of a TrainingStep
  Cost traced_step;  ///< of the loop's, with trace
  /// Seconds of a step on the wall by range of the trace: "wait_for_batch", "count_statistics", "write_metrics", and
  /// "read_batch" on the loader's own thread.
  std::map<std::string, double> ranges{};
  double records = 0, record_seconds = 0;     ///< of the trace, in a step; of each
  Cost save;                                  ///< what a checkpoint adds
  double held_seconds = 0, save_seconds = 0;  ///< on the wall: training waits for a save; it is published
  int64_t save_every = 0;                     ///< steps, of the config
  /// The whole by another way: processor time of the loop's steps over that of a TrainingStep in the same turn.
  Quartiles over_step, traced_over_step;

  double share(const std::string& range) const { return ranges.at(range) / traced_step.wall; }  ///< of a step
  double trace_share() const { return records * record_seconds / step.processor; }
  double save_share() const { return save.processor / (static_cast<double>(save_every) * step.processor); }
  double total() const;  ///< all of them
};

/// Medians over rounds of four steps by each of a TrainingStep, the loop, the loop with trace, and the loop with trace and one save.
LoopCosts measure_loop(const StepSetting& setting, int rounds);

}  // namespace tessera::benchmarks
