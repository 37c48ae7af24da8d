#pragma once
// Steps of several settings in turns, so that all of them meet the machine in the same state.

#include <vector>

#include "benchmarks/median.h"
#include "benchmarks/training_step.h"

namespace tessera::benchmarks {

/// The steps of one setting.
struct TimedSteps {
  StepSetting setting;
  int64_t tokens = 0, flops = 0;  ///< of a step
  std::vector<double> seconds{};  ///< by turn
};

/// A step of every setting in each turn, which starts with another one each time.  All models are in memory at once, and made anew
/// after five turns: where a model lies in memory alone is worth some percent of its steps.
std::vector<TimedSteps> steps_in_turns(const std::vector<StepSetting>& settings, int turns);

/// Time per token of one over that of the other in the same turn.
Quartiles time_ratio(const TimedSteps& of, const TimedSteps& over);
/// The median of turns of the two alone.
double time_ratio(const StepSetting& of, const StepSetting& over, int turns);

}  // namespace tessera::benchmarks
