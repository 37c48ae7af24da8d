// Gates on speed.  All of them are ratios of measurements taken in turns on the clock of the thread, so that neither
// the machine nor its other users decide them.

#include <gtest/gtest.h>

#include "benchmarks/median.h"
#include "benchmarks/step_race.h"
#include "parallel/recorded.h"
#include "runtime/isa.h"
#include "tests/data/temporary_folder.h"

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

/// One of two communicators at a time, so that the same step runs over both.
struct Either final : Communicator {
  Either(Communicator& one, Communicator& other) : choice(&one), alternative(&other) {}
  int rank() const override { return choice->rank(); }
  int size() const override { return choice->size(); }
  std::unique_ptr<Communicator> split(int color, int key) override { return choice->split(color, key); }
  Pending<Tensor> all_gather(Tensor part, Tensor whole, Stream after) override {
    return choice->all_gather(std::move(part), std::move(whole), after);
  }
  Pending<Tensor> all_to_all(Tensor send, std::span<const int64_t> send_counts, Tensor receive,
                             std::span<const int64_t> receive_counts, Stream after) override {
    return choice->all_to_all(std::move(send), send_counts, std::move(receive), receive_counts, after);
  }
  void broadcast(Tensor data, int root) override { choice->broadcast(std::move(data), root); }
  void barrier() override { choice->barrier(); }
  void about(const std::string& purpose) override { choice->about(purpose); }

  Communicator *choice, *alternative;
};

/// The hard case: a step so short that its collectives weigh the most.
TEST(SpeedFull, RecordingTakesLessThanAPercentOfATinyStep) {
  constexpr int kPairs = 1001;
  const TemporaryFolder folder;
  run_ranks(1, [&](Communicator& world) {
    FlightRecorder recorder(0, 1, 4096, 1);
    recorder.persist(folder / "rank.ring");
    const std::unique_ptr<Communicator> watched = recorded(world, recorder, "world");
    Either ranks(*watched, world);
    TrainingStep step({"cpu_tiny_dense", 128, DType::f32, 1}, ranks);
    std::vector<double> ratios, plain;
    const uint64_t before = recorder.written();
    for (int pair = 0; pair < kPairs; ++pair) {
      std::map<Communicator*, double> seconds;
      for (int turn = 0; turn < 2; ++turn) {
        seconds[ranks.choice] = step.run();
        if (turn == 0) std::swap(ranks.choice, ranks.alternative);  // who begins changes with every pair
      }
      ratios.push_back(seconds[watched.get()] / seconds[&world]);
      plain.push_back(seconds[&world]);
    }
    const double overhead = median(ratios) - 1;
    std::cout << (recorder.written() - before) / kPairs << " records in a step of " << 1e3 * median(plain)
              << " ms, overhead " << 100 * overhead << " %\n";
    EXPECT_LT(overhead, 0.01);
  });
}

}  // namespace
}  // namespace tessera::benchmarks
