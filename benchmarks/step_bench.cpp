// Training steps of shipped configs.
//   step/...                 in turns with the matrix products of the same shapes
//     fraction               the ledger's operations per second of the step over the products' rate
//     matrix_peak_fraction   the same over the processor's multiply-add peak, measured in this process
//   bf16_over_f32/...        ratio of the speeds of the same step, in turns

#include <benchmark/benchmark.h>

#include <utility>

#include "benchmarks/machine_limits.h"
#include "benchmarks/median.h"
#include "benchmarks/step_race.h"
#include "benchmarks/step_turns.h"
#include "runtime/isa.h"

namespace tessera::benchmarks {
namespace {

constexpr int kRounds = 3, kPairs = 5;

void race(benchmark::State& state, const StepSetting& setting) {
  with_training_step(setting, [&](TrainingStep& step) {
    StepRace contest(step);
    for (auto _ : state) state.SetIterationTime(contest.round());
    state.counters["step_gflops"] = contest.step_gflops();
    state.counters["gemm_gflops"] = contest.gemm_gflops();
    state.counters["fraction"] = contest.fraction();
    state.counters["matrix_peak_fraction"] = contest.step_gflops() / peak_gflops(setting.threads);
    state.counters["tokens_per_second"] =
        1e9 * contest.step_gflops() * static_cast<double>(step.tokens()) / static_cast<double>(step.flops());
  });
}

void bf16_over_f32(benchmark::State& state, const StepSetting& setting) {
  StepSetting f32 = setting;
  f32.compute = DType::f32;
  double speedup = 0;
  for (auto _ : state) speedup = time_ratio(f32, setting, kPairs);
  state.counters["bf16_over_f32"] = speedup;
  if (detect_isa() < Isa::avx512_bf16) state.SetLabel("no bf16 products: bf16 falls back to f32 compute");
}

using Run = void (*)(benchmark::State&, const StepSetting&);

benchmark::internal::Benchmark* add(const char* what, Run run, const StepSetting& setting, DType dtype) {
  const std::string name = str(what, "/", setting.config, "/", dtype, "/threads:", setting.threads);
  return benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) { run(state, setting); })
      ->Unit(benchmark::kMillisecond);
}

const int registered = [] {
  for (const int threads : thread_counts()) {
    for (const DType dtype : {DType::f32, DType::bf16})
      for (const auto& [config, length] :
           {std::pair{"cpu_tiny_dense", 128}, std::pair{"cpu_small_dense", 512},
            std::pair{"cpu_small_1t1i", 512}, std::pair{"cpu_small_4t4i", 512}}) {
        const StepSetting setting{config, length, dtype, threads};
        add("step", race, setting, dtype)->UseManualTime()->Iterations(kRounds);
      }
    add("bf16_over_f32", bf16_over_f32, {"cpu_small_dense", 512, DType::bf16, threads}, DType::bf16)
        ->Iterations(1);
  }
  return 0;
}();

}  // namespace
}  // namespace tessera::benchmarks
