// Gates on speed.  All of them are ratios of measurements taken in turns on the clock of the thread, so that neither
// the machine nor its other users decide them.

#include <gtest/gtest.h>

#include "benchmarks/step_race.h"
#include "runtime/isa.h"

namespace tessera::benchmarks {
namespace {

constexpr double kLeastFraction = 0.55;  // of the rate of the step's matrix products
constexpr double kLeastSpeedup = 1.5;    // of bf16 over f32, with AMX

double fraction_of_step(const char* config, int rounds) {
  double fraction = 0;
  with_training_step({config, 512, DType::f32, 1}, [&](TrainingStep& step) {
    StepRace race(step);
    for (int round = 0; round < rounds; ++round) race.round();
    fraction = race.fraction();
    std::cout << config << ": " << race.step_gflops() << " of " << race.gemm_gflops() << " GFLOP/s, fraction "
              << fraction << '\n';
  });
  return fraction;
}

TEST(Speed, AStepKeepsUpWithItsMatrixProducts) {
  EXPECT_GE(fraction_of_step("cpu_small_dense", 3), kLeastFraction);
}

TEST(SpeedFull, StepsKeepUpWithTheirMatrixProducts) {
  for (const char* config : {"cpu_small_dense", "cpu_small_1t1i", "cpu_small_4t4i"})
    EXPECT_GE(fraction_of_step(config, 7), kLeastFraction) << config;
}

TEST(SpeedFull, AStepThatWorksTwiceFallsBehind) {
  with_training_step({"cpu_small_dense", 512, DType::f32, 1}, [&](TrainingStep& step) {
    StepRace race(step);
    for (int round = 0; round < 5; ++round) race.round([&] { return step.run() + step.run(); });
    EXPECT_LT(race.fraction(), kLeastFraction);
  });
}

TEST(SpeedFull, Bf16IsFasterWithMatrixUnits) {
  const double speedup = bf16_speedup("cpu_small_dense", 512, 1, 7);
  if (detect_isa() < Isa::amx)
    GTEST_SKIP() << "no AMX: bf16 falls back to f32 compute, " << speedup << " times as fast as f32 here";
  EXPECT_GE(speedup, kLeastSpeedup);
}

}  // namespace
}  // namespace tessera::benchmarks
