// Gates on speed.  All of them are ratios of measurements taken in turns on the clock of the thread, so that neither
// the machine nor its other users decide them.

#include <gtest/gtest.h>

#include "benchmarks/loader_race.h"
#include "benchmarks/loop_costs.h"
#include "benchmarks/median.h"
#include "benchmarks/step_race.h"
#include "benchmarks/step_turns.h"
#include "parallel/forwarding.h"
#include "parallel/recorded.h"
#include "runtime/isa.h"
#include "tests/data/temporary_folder.h"

namespace tessera::benchmarks {
namespace {

constexpr double kLeastFraction = 0.55;  // of the rate of the step's matrix products
constexpr double kLeastRead = 0.9;       // of the rate of pread
constexpr double kLeastSpeedup = 1.5;    // of bf16 over f32
constexpr double kMostOverhead = 0.02;   // of a step: loader, metrics, checkpoints and trace together
constexpr double kMost1t1i = 1.03, kMost4t4i = 1.08;  // of dense's time per token

StepSetting small(const char* variant, DType dtype = DType::f32) {
  return {str("cpu_small_", variant), 512, dtype, 1};
}

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

TEST(SpeedFull, UnitsAreReadAtTheRateOfTheirFiles) {
  for (const int64_t length : {512, 4096}) {
    LoaderRace race(length);
    for (int round = 0; round < 7; ++round) race.round();
    std::cout << "units of " << length << " tokens: pread " << race.raw_gigabytes()
              << " GB/s, fractions of it: HDF5 " << race.library_fraction() << ", units "
              << race.read_fraction() << ", whole micro-batches " << race.batch_fraction() << '\n';
    EXPECT_GE(race.read_fraction(), kLeastRead) << length;
    EXPECT_LT(race.library_fraction(), kLeastRead) << length << ": what the gate would refuse";
  }
}

TEST(SpeedFull, Bf16IsFasterWhereTheProcessorMultipliesIt) {
  const double speedup = time_ratio(small("dense"), small("dense", DType::bf16), 7);
  std::cout << "bf16 is " << speedup << " times as fast as f32\n";
  if (detect_isa() < Isa::avx512_bf16) GTEST_SKIP() << "no bf16 products: bf16 falls back to f32 compute";
  EXPECT_GE(speedup, kLeastSpeedup);
}

TEST(SpeedFull, ExpertsTakeLittleMoreTimeThanDenseForTheSameOperations) {
  const std::vector<TimedSteps> timed = steps_in_turns({small("dense"), small("1t1i"), small("4t4i")}, 15);
  const double cost_1t1i = time_ratio(timed[1], timed[0]).median,
               cost_4t4i = time_ratio(timed[2], timed[0]).median;
  std::cout << "time per token over dense: 1t1i " << cost_1t1i << ", 4t4i " << cost_4t4i << '\n';
  for (const TimedSteps& steps : timed)
    EXPECT_NEAR(static_cast<double>(steps.flops) / static_cast<double>(timed[0].flops), 1, 0.02)
        << steps.setting.config;
  EXPECT_LE(cost_1t1i, kMost1t1i);
  EXPECT_LE(cost_4t4i, kMost4t4i);
}

void expect_little_overhead(const char* variant) {
  LoopCosts costs = measure_loop(small(variant), 4);
  std::cout << variant << ": " << 100 * costs.total() << " % of a step\n";
  EXPECT_LT(costs.total(), kMostOverhead);
  costs.save_every = 1;
  EXPECT_GT(costs.total(), kMostOverhead) << "what the gate would refuse";
}
TEST(SpeedFull, LoaderMetricsCheckpointsAndTraceOfDenseTakeLessThanTwoPercent) {
  expect_little_overhead("dense");
}
TEST(SpeedFull, LoaderMetricsCheckpointsAndTraceOf4t4iTakeLessThanTwoPercent) {
  expect_little_overhead("4t4i");
}

/// Adds up the time in its calls and waits, and in those of its parts.
class Timed final : public Forwarding {
 public:
  explicit Timed(Communicator& inner, std::shared_ptr<int64_t> ns = std::make_shared<int64_t>(0))
      : Forwarding(inner), ns_(std::move(ns)) {}
  int64_t take_ns() { return std::exchange(*ns_, 0); }

  std::unique_ptr<Communicator> split(int color, int key) override {
    parts_.push_back(inner_.split(color, key));
    return std::make_unique<Timed>(*parts_.back(), ns_);
  }
  Pending<Tensor> all_gather(Tensor part, Tensor whole, Stream after) override {
    return timed(whole, [&] { return inner_.all_gather(std::move(part), whole, after); });
  }
  Pending<Tensor> all_to_all(Tensor send, std::span<const int64_t> send_counts, Tensor receive,
                             std::span<const int64_t> receive_counts, Stream after) override {
    return timed(receive, [&] {
      return inner_.all_to_all(std::move(send), send_counts, receive, receive_counts, after);
    });
  }
  void about(const std::string& purpose) override {
    const int64_t begin = Trace::now_ns();
    inner_.about(purpose);
    *ns_ += Trace::now_ns() - begin;
  }

 private:
  template <class Call>
  Pending<Tensor> timed(Tensor result, const Call& call) {
    const int64_t begin = Trace::now_ns();
    auto pending = std::make_shared<Pending<Tensor>>(call());
    *ns_ += Trace::now_ns() - begin;
    return {std::move(result), [this, pending](Stream consumer) {
              const int64_t waits = Trace::now_ns();
              (void)std::move(*pending).wait(consumer);
              *ns_ += Trace::now_ns() - waits;
            }};
  }

  std::vector<std::unique_ptr<Communicator>> parts_;
  std::shared_ptr<int64_t> ns_;
};

/// The hard case: a step so short that its collectives weigh the most.  The cost is taken where it arises, between a clock
/// above the recording and one below it, since steps themselves differ by more than a percent.
TEST(SpeedFull, RecordingTakesLessThanAPercentOfATinyStep) {
  const TemporaryFolder folder;
  run_ranks(1, [&](Communicator& world) {
    FlightRecorder recorder(0, 1, 4096, 1);
    recorder.persist(folder / "rank.ring");
    Timed below(world);
    const std::unique_ptr<Communicator> watched = recorded(below, recorder, "world");
    Timed above(*watched);
    TrainingStep step({"cpu_tiny_dense", 128, DType::f32, 1}, above);
    above.take_ns();
    below.take_ns();
    std::vector<double> shares, seconds;
    const uint64_t before = recorder.written();
    constexpr int kSteps = 301;
    for (int turn = 0; turn < kSteps; ++turn) {
      const int64_t begin = Trace::now_ns();
      recorder.step(turn);
      for (int phase = 0; phase <= static_cast<int>(FlightPhase::report); ++phase)
        recorder.phase(FlightPhase(phase));
      const int64_t loop_ns = Trace::now_ns() - begin;
      seconds.push_back(step.run());
      shares.push_back(1e-9 * static_cast<double>(loop_ns + above.take_ns() - below.take_ns()) /
                       seconds.back());
    }
    std::cout << (recorder.written() - before) / kSteps << " records in a step of " << 1e3 * median(seconds)
              << " ms take " << 100 * median(shares) << " % of it\n";
    EXPECT_LT(median(shares), 0.01);
  });
}

}  // namespace
}  // namespace tessera::benchmarks
