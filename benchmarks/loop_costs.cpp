#include "benchmarks/loop_costs.h"

#include <time.h>

#include "benchmarks/stepped_training.h"
#include "launch/metrics.h"
#include "launch/trace_file.h"

namespace tessera::benchmarks {
namespace {

constexpr int64_t kSteps = 4;  ///< of a round; one save has the time of so many

Cost operator-(const Cost& a, const Cost& b) { return {a.wall - b.wall, a.processor - b.processor}; }
Cost operator+(const Cost& a, const Cost& b) { return {a.wall + b.wall, a.processor + b.processor}; }
Cost now() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return {1e-9 * static_cast<double>(Trace::now_ns()),
          static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec)};
}

template <class Work>
Cost cost_of(const Work& work) {
  const Cost begin = now();
  work();
  return now() - begin;
}

Cost median_of(const std::vector<Cost>& costs) {
  std::vector<double> wall, processor;
  for (const Cost& cost : costs) {
    wall.push_back(cost.wall);
    processor.push_back(cost.processor);
  }
  return {median(wall), median(processor)};
}

Quartiles processor_ratio(const std::vector<Cost>& of, const std::vector<Cost>& over) {
  std::vector<double> ratios;
  for (size_t i = 0; i < of.size(); ++i) ratios.push_back(of[i].processor / over[i].processor);
  return quartiles_of(ratios);
}

double seconds_of_a_record() {
  constexpr int kRecords = 1 << 18;
  Trace trace;
  trace.start();
  const Cost cost = cost_of([&] {
    for (int i = 0; i < kRecords; ++i) const TraceRange range(trace, "range");
  });
  return cost.processor / kRecords;
}

constexpr const char* kRanges[] = {"wait_for_batch", "read_batch", "count_statistics", "write_metrics"};

/// Ranges and records of a step.
void read_ranges(const std::string& run, LoopCosts& costs) {
  const TraceFile trace = read_trace(trace_path(run, 0));
  std::map<std::string_view, std::vector<double>> seconds;
  std::vector<double> counts;
  std::map<std::string_view, double> sums;
  double count = 0;
  for (const RecordedRange& range : trace.ranges) {
    sums[range.name] += 1e-9 * static_cast<double>(range.end_ns - range.begin_ns);
    ++count;
    if (range.name != "step") continue;  // it ends after what is inside
    if (range.begin_ns >= trace.complete_from_ns()) {
      for (const char* name : kRanges) seconds[name].push_back(sums[name]);
      counts.push_back(count);
    }
    sums.clear();
    count = 0;
  }
  for (const char* name : kRanges) costs.ranges[name] = median(seconds[name]);
  costs.records = median(counts);
}

double median_in_metrics(const std::string& run, const char* key) {
  std::vector<double> values;
  for (const MetricsLine& line : read_metrics(run + "/metrics.jsonl"))
    if (line.json[key].is_number()) values.push_back(line.json[key].get<double>());
  return median(values);
}

}  // namespace

double LoopCosts::total() const {
  double sum = trace_share() + save_share();
  for (const char* name : kRanges) sum += share(name);
  return sum;
}

LoopCosts measure_loop(const StepSetting& setting, int rounds) {
  const TemporaryFolder folder;
  write_dataset_for(setting, folder / "tokens");
  const auto training = [&](const char* name, bool traced, bool saves) {
    Config config = config_of(setting);
    config.data = folder / "tokens";
    config.out = folder / name;
    config.threads = setting.threads;
    config.trace = traced;
    config.stop_at = kSteps * (rounds + 1);
    config.save_every = saves ? kSteps : config.steps;
    return config;
  };
  SteppedTraining loop(training("loop", false, false)), traced(training("traced", true, false)),
      saving(training("saving", true, true));
  LoopCosts costs;
  costs.save_every = config_of(setting).save_every;
  with_training_step(setting, [&](TrainingStep& step) {
    for (SteppedTraining* start : {&loop, &traced, &saving}) start->run(kSteps);
    const std::array<std::function<void()>, 3> works{[&] { step.run(); }, [&] { loop.run(1); },
                                                     [&] { traced.run(1); }};
    std::array<std::vector<Cost>, 3> steps;
    std::vector<Cost> saves;
    for (int round = 0; round < rounds; ++round) {
      Cost of_traced;
      for (size_t turn = 0; turn < kSteps; ++turn)
        for (size_t i = 0; i < works.size(); ++i) {
          const size_t now = (turn + i) % works.size();  // nobody always comes first
          steps[now].push_back(cost_of(works[now]));
          if (now + 1 == works.size()) of_traced = of_traced + steps[now].back();
        }
      saves.push_back(cost_of([&] { saving.run(kSteps); }) - of_traced);
    }
    costs.step = median_of(steps[0]);
    costs.traced_step = median_of(steps[2]);
    costs.over_step = processor_ratio(steps[1], steps[0]);
    costs.traced_over_step = processor_ratio(steps[2], steps[0]);
    costs.record_seconds = seconds_of_a_record();
    costs.save = median_of(saves);
  });
  for (SteppedTraining* end : {&loop, &traced, &saving}) end->finish();
  read_ranges(traced.config().out, costs);
  costs.held_seconds = median_in_metrics(saving.config().out, "save_held_seconds");
  costs.save_seconds = median_in_metrics(saving.config().out, "save_seconds");
  return costs;
}

}  // namespace tessera::benchmarks
