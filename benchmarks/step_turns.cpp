#include "benchmarks/step_turns.h"

namespace tessera::benchmarks {

std::vector<TimedSteps> steps_in_turns(const std::vector<StepSetting>& settings, int turns) {
  const std::unique_ptr<Communicator> world = solo_communicator();
  std::vector<std::unique_ptr<TrainingStep>> steps;
  std::vector<TimedSteps> timed;
  for (const StepSetting& setting : settings) {
    const TrainingStep& step = *steps.emplace_back(std::make_unique<TrainingStep>(setting, *world));
    timed.push_back({setting, step.tokens(), step.flops()});
  }
  for (size_t turn = 0; turn < static_cast<size_t>(turns); ++turn)
    for (size_t i = 0; i < steps.size(); ++i) {
      const size_t now = (turn + i) % steps.size();
      timed[now].seconds.push_back(steps[now]->run());
    }
  return timed;
}

Quartiles time_ratio(const TimedSteps& of, const TimedSteps& over) {
  const double tokens = static_cast<double>(over.tokens) / static_cast<double>(of.tokens);
  std::vector<double> ratios;
  for (size_t turn = 0; turn < of.seconds.size(); ++turn)
    ratios.push_back(of.seconds[turn] / over.seconds[turn] * tokens);
  return quartiles_of(ratios);
}

double time_ratio(const StepSetting& of, const StepSetting& over, int turns) {
  const std::vector<TimedSteps> timed = steps_in_turns({of, over}, turns);
  return time_ratio(timed[0], timed[1]).median;
}

}  // namespace tessera::benchmarks
