#include "benchmarks/step_turns.h"

namespace tessera::benchmarks {

namespace {

constexpr int kTurnsOfAModel = 5;

/// Turns first, first + 1, ..., of models of their own.
void add_turns(const std::vector<StepSetting>& settings, int first, int turns,
               std::vector<TimedSteps>& timed) {
  const std::unique_ptr<Communicator> world = solo_communicator();
  std::vector<std::unique_ptr<TrainingStep>> steps(settings.size());
  const auto next = [&](size_t turn, size_t i) { return (turn + i) % settings.size(); };
  for (size_t i = 0; i < settings.size(); ++i) {
    const size_t now = next(static_cast<size_t>(first / kTurnsOfAModel), i);
    steps[now] = std::make_unique<TrainingStep>(settings[now], *world);
    timed[now].tokens = steps[now]->tokens();
    timed[now].flops = steps[now]->flops();
  }
  for (int turn = first; turn < first + turns; ++turn)
    for (size_t i = 0; i < settings.size(); ++i) {
      const size_t now = next(static_cast<size_t>(turn), i);
      timed[now].seconds.push_back(steps[now]->run());
    }
}

}  // namespace

std::vector<TimedSteps> steps_in_turns(const std::vector<StepSetting>& settings, int turns) {
  std::vector<TimedSteps> timed;
  for (const StepSetting& setting : settings) timed.push_back({setting});
  for (int first = 0; first < turns; first += kTurnsOfAModel)
    add_turns(settings, first, std::min(kTurnsOfAModel, turns - first), timed);
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
