#include "launch/guard.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "data/synthetic.h"
#include "launch/anomaly.h"
#include "launch/metrics.h"
#include "launch/process.h"
#include "launch/replay.h"
#include "launch/run_state.h"
#include "launch/train.h"
#include "parallel/checkpoint_saver.h"
#include "runtime/cpu_engine.h"
#include "tests/data/temporary_folder.h"
#include "tests/support/run_results.h"
#include "tests/support/tiny_run.h"

namespace tessera {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN(),
                 kInfinity = std::numeric_limits<double>::infinity();

TEST(Guard, ObjectsToWhatIsNotFinite) {
  const Guard guard({});
  EXPECT_FALSE(guard.objection(1e300, 1e300));
  EXPECT_EQ(guard.objection(1, kNan), "the gradient norm is nan");
  EXPECT_EQ(guard.objection(1, kInfinity), "the gradient norm is inf");
  EXPECT_EQ(guard.objection(-kInfinity, 1), "the loss is -inf");
}

TEST(Guard, ObjectsToSpikesAboveAFullWindow) {
  Guard guard({.spike = 2, .window = 4});
  for (double loss : {9.0, 3.0, 1.0, 3.0}) {
    EXPECT_FALSE(guard.objection(1e9, 1));
    guard.applied(loss);
  }
  // Mean 4, standard deviation 3: 10 is the most.
  EXPECT_FALSE(guard.objection(10, 1));
  EXPECT_TRUE(guard.objection(10.001, 1));
  guard.applied(1);  // 9 leaves: mean 2, deviation 1
  EXPECT_FALSE(guard.objection(4, 1));
  EXPECT_TRUE(guard.objection(4.001, 1));
  Guard other({.spike = 2, .window = 4});
  other.restore(guard.state());
  EXPECT_TRUE(other.objection(4.001, 1));
  Guard off({});
  for (int step = 0; step < 200; ++step) off.applied(1);
  EXPECT_TRUE(off.state().losses.empty());
  EXPECT_FALSE(off.objection(1e9, 1));
}

TEST(Guard, StopsAtOnceOrAfterSkipsInARow) {
  EXPECT_TRUE(Guard({}).stops());
  Guard guard({.action = "skip", .max_skips = 2});
  guard.skipped();
  EXPECT_FALSE(guard.stops());
  guard.applied(1);
  guard.skipped();
  EXPECT_FALSE(guard.stops());
  guard.skipped();
  EXPECT_TRUE(guard.stops());
}

class GuardedRun : public testing::Test {
 protected:
  void SetUp() override { write_synthetic_dataset(data_, 7); }

  Config config(const std::string& name) const {
    Config config = tiny_run(data_, "2t2i");
    config.out = folder_ / name;
    config.steps = 16;
    config.save_every = 100;
    config.loader.micro_batches = 5;
    return config;
  }
  /// So slow that losses go up and down with their data, and some of them stand out.
  Config spiking(const std::string& name, const std::string& action) const {
    Config spiking = config(name);
    spiking.schedule.peak = spiking.schedule.end = 1e-5f;
    spiking.guard = {.action = action, .max_skips = 10, .spike = 1, .window = 3};
    return spiking;
  }
  static int run(const Config& config, int ranks) {
    int code = -1;
    run_ranks(ranks, [&](Communicator& world) {
      const int mine = train(config, world);
      if (world.rank() == 0) code = mine;
    });
    return code;
  }
  static std::vector<int64_t> skipped_steps(const std::string& out) {
    std::vector<int64_t> steps;
    for (const MetricsLine& line : read_metrics(out + "/metrics.jsonl"))
      if (line.json["skipped"] == 1) steps.push_back(line.json["step"].get<int64_t>());
    return steps;
  }
  /// What replay prints, on so many ranks; it must end with code.
  static std::string replayed(const std::string& out, int64_t step, int ranks, int code) {
    testing::internal::CaptureStdout();
    run_ranks(ranks, [&](Communicator& world) {
      const int mine = run_replay({out, step, 1}, world);
      EXPECT_EQ(mine, world.rank() == 0 ? code : kExitSuccess);
    });
    return testing::internal::GetCapturedStdout();
  }
  static void expect_same_replayed(const std::string& out, int64_t step, int ranks) {
    const FileTree before = file_tree(out);
    const std::string said = replayed(out, step, ranks, kExitSuccess);
    EXPECT_NE(said.find("the same losses and gradient norms, bit by bit"), std::string::npos) << said;
    EXPECT_TRUE(file_tree(out) == before);
  }

  TemporaryFolder folder_;
  const std::string data_ = folder_ / "data";
};

TEST_F(GuardedRun, SkipsTheSameStepsOnAnyRanksAndAfterAResume) {
  Config settings = spiking("one", "skip");
  EXPECT_EQ(run(settings, 1), kExitSuccess);
  const std::string one = settings.out;
  const std::vector<int64_t> skipped = skipped_steps(one);
  ASSERT_FALSE(skipped.empty());
  ASSERT_LT(skipped.size(), 8u);
  for (int64_t step : skipped) EXPECT_TRUE(std::filesystem::exists(anomaly_path(one, step)));
  const auto bits = checkpoint_bits(latest_checkpoint(one).value());

  settings.out = folder_ / "three";
  EXPECT_EQ(run(settings, 3), kExitSuccess);
  EXPECT_EQ(skipped_steps(settings.out), skipped);
  EXPECT_EQ(checkpoint_bits(latest_checkpoint(settings.out).value()), bits);

  settings.out = folder_ / "parts";
  settings.stop_at = skipped[0] + 1;  // the window goes through the checkpoint
  EXPECT_EQ(run(settings, 2), kExitSuccess);
  settings.stop_at = 0;
  EXPECT_EQ(run(settings, 1), kExitSuccess);
  EXPECT_EQ(skipped_steps(settings.out), skipped);
  EXPECT_EQ(checkpoint_bits(latest_checkpoint(settings.out).value()), bits);
}

TEST_F(GuardedRun, AStepThatStoppedTheRunIsReplayedFromTheCheckpointBefore) {
  Config settings = spiking("run", "stop");
  settings.save_every = 3;
  ASSERT_EQ(run(settings, 2), kExitAnomaly);
  const std::vector<int64_t> stopped = skipped_steps(settings.out);
  ASSERT_EQ(stopped.size(), 1u);
  const Json report = read_json(anomaly_path(settings.out, stopped[0]));
  EXPECT_EQ(report["action"], "stopped");
  EXPECT_NE(report["reason"].get<std::string>().find("a spike"), std::string::npos);
  EXPECT_EQ(report["ranks"], 2);
  ASSERT_EQ(report["leaves"].size(), 5u);
  for (int64_t leaf = 0; leaf < 5; ++leaf) {
    const Json& entry = report["leaves"][static_cast<size_t>(leaf)];
    EXPECT_EQ(entry["leaf"], leaf);
    EXPECT_EQ(entry["units"].size(), 3u);
    EXPECT_GT(entry["loss"], 0);
  }
  EXPECT_TRUE(report["nonfinite_gradients"].empty());
  EXPECT_TRUE(report["nonfinite_parameters"].empty());
  for (int ranks : {1, 2}) expect_same_replayed(settings.out, stopped[0], ranks);
  Json other = report;
  other["leaves"][2]["loss"] = 1.5;
  write_json(anomaly_path(settings.out, stopped[0]), other);
  EXPECT_NE(replayed(settings.out, stopped[0], 1, kExitError).find("the loss of micro-batch 2 was 1.5, is "),
            std::string::npos);
}

/// Puts a NaN into one parameter of a checkpoint.
void poison(const std::string& checkpoint, const std::string& name) {
  run_ranks(1, [&](Communicator& world) {
    CpuEngine engine;
    const SavedRun saved = read_saved_run(checkpoint);
    Transformer model(saved.state.config.model);
    const Shards shards = shard(model, Mesh(world), engine.stream(), {}, 1, 1);
    const AdamW optimizer = adamw_over(shards.pieces(), {});
    const CheckpointTensors tensors{shards.pieces(), &optimizer};
    load_checkpoint(checkpoint, tensors, world);
    for (const ShardPiece& piece : tensors.pieces)
      if (piece.parameter->name == name) piece.value.data<float>()[7] = static_cast<float>(kNan);
    save_checkpoint(std::filesystem::path(checkpoint).parent_path(), saved.step, tensors,
                    read_checkpoint_manifest(checkpoint)["state"], world);
  });
}

TEST_F(GuardedRun, NamesWhereAPlantedNanComesFrom) {
  Config settings = config("run");
  settings.stop_at = 4;
  ASSERT_EQ(run(settings, 1), kExitSuccess);
  const std::string name = "blocks.1.attention.wo", checkpoint = latest_checkpoint(settings.out).value();
  poison(checkpoint, name);
  const FileTree before = file_tree(checkpoint);
  settings.stop_at = 0;
  ASSERT_EQ(run(settings, 2), kExitAnomaly);
  EXPECT_EQ(latest_checkpoint(settings.out), checkpoint);
  EXPECT_TRUE(file_tree(checkpoint) == before);
  const Json report = read_json(anomaly_path(settings.out, 4));
  EXPECT_EQ(report["nonfinite_parameters"], Json({name}));
  EXPECT_EQ(report["gradient_norm"], "nan");
  EXPECT_EQ(report["leaves"][0]["loss"], "nan");
  for (int ranks : {1, 2}) expect_same_replayed(settings.out, 4, ranks);
  const std::string said = replayed(settings.out, 4, 1, kExitSuccess);
  EXPECT_TRUE(said.starts_with("not finite before the step: " + name + "\nmicro-batch 0: loss nan\n"))
      << said;
  EXPECT_NE(said.find("the first layer whose output is not finite: blocks.1.attention\n"), std::string::npos)
      << said;
  EXPECT_NE(said.find("the first gradient in backward that is not finite: head.weight\n"), std::string::npos)
      << said;
}

TEST_F(GuardedRun, SkippingEndsWhenNothingElseHappens) {
  Config settings = config("run");
  settings.stop_at = 4;
  ASSERT_EQ(run(settings, 1), kExitSuccess);
  poison(latest_checkpoint(settings.out).value(), "head.weight");
  settings.stop_at = 0;
  settings.guard.action = "skip";
  settings.guard.max_skips = 3;
  ASSERT_EQ(run(settings, 1), kExitAnomaly);
  EXPECT_EQ(skipped_steps(settings.out), (std::vector<int64_t>{4, 5, 6}));
  EXPECT_EQ(read_json(anomaly_path(settings.out, 5))["action"], "skipped");
  EXPECT_EQ(read_json(anomaly_path(settings.out, 6))["action"], "stopped");
}

}  // namespace
}  // namespace tessera
