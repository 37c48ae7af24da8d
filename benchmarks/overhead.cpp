// What a training costs beside its steps, on one thread and on all cores: overhead FOLDER [CONFIG ...]
//
// Loader, statistics, metrics, trace and checkpoints of tessera train's own loop (benchmarks/loop_costs.h), each as a share of a step.
// The loop in turns with bare steps shows the whole once more, with the noise of steps.
//
// FOLDER gets overhead.jsonl, a line for each config and number of threads.
#include <filesystem>
#include <iostream>

#include "benchmarks/loop_costs.h"
#include "benchmarks/machine_limits.h"
#include "launch/append_file.h"
#include "launch/format.h"

namespace tessera::benchmarks {
namespace {

constexpr int kRounds = 8;
constexpr int64_t kLength = 512;

Json json_of(const Cost& cost) { return {{"wall", cost.wall}, {"processor", cost.processor}}; }
Json json_of(const Quartiles& ratio) {
  return {{"median", ratio.median}, {"lower", ratio.lower}, {"upper", ratio.upper}};
}

Json json_of(const StepSetting& setting, const LoopCosts& costs) {
  return {{"step", setting.config},
          {"threads", setting.threads},
          {"total", costs.total()},
          {"trace", costs.trace_share()},
          {"save", costs.save_share()},
          {"ranges_seconds", costs.ranges},
          {"trace_records", costs.records},
          {"record_seconds", costs.record_seconds},
          {"step_seconds", json_of(costs.step)},
          {"traced_step_seconds", json_of(costs.traced_step)},
          {"save_seconds", json_of(costs.save)},
          {"save_held_seconds", costs.held_seconds},
          {"save_until_published_seconds", costs.save_seconds},
          {"save_every", costs.save_every},
          {"loop_over_step", json_of(costs.over_step)},
          {"traced_loop_over_step", json_of(costs.traced_over_step)}};
}

std::string text_of(const StepSetting& setting, const LoopCosts& costs) {
  const auto milliseconds = [](double seconds) { return format_fixed(1e3 * seconds, 3); };
  std::vector<std::vector<std::string>> rows{
      {str(setting.config, ", threads: ", setting.threads), "ms", "% of a step"}};
  const auto add = [&](const std::string& name, double share) {
    rows.push_back({name, milliseconds(share * costs.step.processor), format_fixed(100 * share, 3)});
  };
  add("wait for the loader", costs.share("wait_for_batch"));
  add("the loader's own thread", costs.share("read_batch"));
  add("statistics", costs.share("count_statistics"));
  add("metrics", costs.share("write_metrics"));
  add(str("trace, ", format_fixed(costs.records, 0), " records"), costs.trace_share());
  add(str("a save every ", costs.save_every, " steps"), costs.save_share());
  add("all together", costs.total());
  const auto text = [](const Quartiles& ratio) {
    return str(format_fixed(ratio.median, 3), " (", format_fixed(ratio.lower, 3), "-",
               format_fixed(ratio.upper, 3), ")");
  };
  return str(format_table(rows), "  step ", milliseconds(costs.step.processor),
             " ms of processor time; a save ", milliseconds(costs.save.processor), " ms, holds training for ",
             milliseconds(costs.held_seconds), " ms, is published after ", milliseconds(costs.save_seconds),
             " ms\n  in turns with bare steps: loop ", text(costs.over_step), ", with trace ",
             text(costs.traced_over_step), "\n");
}

int run(const std::string& folder, std::vector<std::string> configs) {
  if (configs.empty()) configs = {"cpu_small_dense", "cpu_small_4t4i"};
  std::filesystem::create_directories(folder);
  const std::string path = folder + "/overhead.jsonl";
  std::filesystem::remove(path);
  AppendFile lines(path);
  std::string tables;
  for (const std::string& config : configs)
    for (const int threads : thread_counts()) {
      const StepSetting setting{config, kLength, DType::f32, threads};
      const LoopCosts costs = measure_loop(setting, kRounds);
      lines.append(json_of(setting, costs).dump() + "\n");
      tables += text_of(setting, costs) + "\n";
    }
  std::cout << tables << "in full: " << path << "\n";
  return 0;
}

}  // namespace
}  // namespace tessera::benchmarks

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: overhead FOLDER [CONFIG ...]\n";
    return 2;
  }
  try {
    return tessera::benchmarks::run(argv[1], {argv + 2, argv + argc});
  } catch (const std::exception& error) {
    std::cerr << "overhead: " << error.what() << "\n";
    return 2;
  }
}
