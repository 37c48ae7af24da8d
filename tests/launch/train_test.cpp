#include "launch/train.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "data/synthetic.h"
#include "launch/run_state.h"
#include "parallel/checkpoint.h"
#include "tests/support/images_alone.h"
#include "tests/support/run_results.h"
#include "tests/support/tiny_run.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

class TrainTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("tessera_train_" + std::to_string(::getpid()) + "_" +
                                           testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    write_synthetic_dataset((folder_ / "data").string(), 7);
  }
  void TearDown() override { fs::remove_all(folder_); }

  Config config(const std::string& feed_forward) const {
    Config config = tiny_run((folder_ / "data").string(), feed_forward);
    config.steps = 12;
    config.save_every = 100;
    config.loader.micro_batches = 5;  // not a multiple of 2, 3 or 4 ranks
    return config;
  }

  /// Trains and returns the folder of the last checkpoint.
  std::string run(Config config, const std::string& name, int ranks) const {
    config.out = (folder_ / name).string();
    run_ranks(ranks, [&](Communicator& world) { EXPECT_EQ(train(config, world), 0); });
    return latest_checkpoint(config.out).value();
  }

  fs::path folder_;
};

TEST_F(TrainTest, LossFalls) {
  Config settings = config("2t2i");
  settings.steps = 60;
  run(settings, "one", 1);
  const std::vector<double> loss = losses(folder_ / "one");
  ASSERT_EQ(loss.size(), 60u);
  EXPECT_LT(loss.back(), loss.front() - 0.5);
}

TEST_F(TrainTest, RanksAndThreadsGiveTheSameBits) {
  for (const char* compute : {"f32", "bf16"}) {
    Config settings = config("2t2i");
    settings.compute = compute;
    const std::string base = std::string(compute) + "_";
    const auto expected = checkpoint_bits(run(settings, base + "1", 1));
    ASSERT_FALSE(expected.empty());
    for (int ranks : {2, 3, 4}) {
      const std::string name = base + std::to_string(ranks);
      EXPECT_EQ(checkpoint_bits(run(settings, name, ranks)), expected) << ranks << " ranks, " << compute;
      EXPECT_EQ(losses(folder_ / name), losses(folder_ / (base + "1"))) << ranks << " ranks, " << compute;
    }
    settings.threads = 2;
    EXPECT_EQ(checkpoint_bits(run(settings, base + "threads", 1)), expected) << "2 threads, " << compute;
    settings.reshard_after_forward = true;
    EXPECT_EQ(checkpoint_bits(run(settings, base + "reshard", 2)), expected) << "resharded, " << compute;
  }
}

TEST_F(TrainTest, RoutersWithDepthNoiseAndSharedExpertsGiveTheSameBits) {
  Config settings = config("2t2i+shared");
  settings.model.depth_capacity = {0.5, 1};
  settings.model.router_noise = true;
  const auto thresholds = [](const std::string& checkpoint) {
    Thresholds learned = read_saved_run(checkpoint).state.thresholds;
    return to_json(learned);
  };
  const std::string one = run(settings, "1", 1);
  EXPECT_GT(read_saved_run(one).state.thresholds.at("0/depth"), 0);
  for (int ranks : {2, 3}) {
    const std::string name = std::to_string(ranks), checkpoint = run(settings, name, ranks);
    EXPECT_EQ(checkpoint_bits(checkpoint), checkpoint_bits(one)) << ranks << " ranks";
    EXPECT_EQ(thresholds(checkpoint), thresholds(one)) << ranks << " ranks";
    EXPECT_EQ(losses(folder_ / name), losses(folder_ / "1")) << ranks << " ranks";
  }
  Config half = settings;
  half.stop_at = 5;
  run(half, "parts", 3);
  const std::string resumed = run(settings, "parts", 2);
  EXPECT_EQ(checkpoint_bits(resumed), checkpoint_bits(one));
  EXPECT_EQ(thresholds(resumed), thresholds(one));
  settings.model.router_noise = false;
  EXPECT_NE(losses(folder_ / "1"), (run(settings, "quiet", 1), losses(folder_ / "quiet")));
}

TEST_F(TrainTest, ResumeOnOtherRanksEqualsARunThatNeverStopped) {
  for (const char* feed_forward : {"1t1i", "moe_4x"}) {
    Config settings = config(feed_forward);
    const std::string base = feed_forward;
    const auto expected = checkpoint_bits(run(settings, base + "_whole", 1));
    Config half = settings;
    half.stop_at = 5;
    run(half, base + "_parts", 3);
    EXPECT_EQ(checkpoint_bits(run(settings, base + "_parts", 2)), expected);
    EXPECT_EQ(losses(folder_ / (base + "_parts")), losses(folder_ / (base + "_whole")));
  }
}

/// A mesh of ranks and how they work.
struct Layout {
  int ranks;
  MeshConfig mesh{};
  bool reshard = false;
  std::vector<std::string> recompute{};

  Config of(Config config) const {
    config.mesh = mesh;
    config.reshard_after_forward = reshard;
    config.recompute = recompute;
    return config;
  }
  std::string name() const {
    std::string name = str(ranks, "_", mesh.replicate, "_", mesh.expert, reshard ? "_reshard" : "");
    for (const std::string& part : recompute) name += "_" + part;
    return name;
  }
};

const Layout kTwoReplicas{.ranks = 4, .mesh = {.replicate = 2, .expert = 2}, .reshard = true};
const Layout kThreeReplicas{.ranks = 3, .mesh = {.replicate = 3}, .recompute = {"attention"}};
const Layout kEightRanks{.ranks = 8, .mesh = {.replicate = 2, .expert = 2}, .recompute = {"blocks"}};
const Layout kExpertsOfFour{
    .ranks = 4, .mesh = {.expert = 4}, .reshard = true, .recompute = {"attention", "experts"}};
const Layout kExpertsOfTwo{.ranks = 4, .mesh = {.expert = 2}};
const Layout kShards{.ranks = 3, .reshard = true, .recompute = {"blocks"}};

/// What every layout must leave alike: parameters and moments, and all that the metrics say but times and memory.
class MeshTest : public TrainTest {
 protected:
  /// Sizes that no rank count divides; nine micro-batches, so that some ranks have one more than others, or none.
  Config uneven() const {
    Config config = TrainTest::config("4t4i");
    config.model.feed_forward = {"4t4i", "4t2i+shared"};
    config.model.width = 24;
    config.model.hidden = 37;
    config.loader.micro_batches = 9;
    config.loader.mixed_units = 1;
    config.steps = 3;
    return config;
  }

  struct Left {
    std::map<std::string, std::vector<float>> bits;
    std::vector<Json> metrics;
    Json thresholds;
    friend bool operator==(const Left&, const Left&) = default;
  };
  Left left(const std::string& name, const std::string& checkpoint) const {
    Thresholds thresholds = read_saved_run(checkpoint).state.thresholds;
    return {checkpoint_bits(checkpoint), metrics_without_times(folder_ / name), to_json(thresholds)};
  }

  static void expect_same(const Left& one, const Left& other, const std::string& what) {
    EXPECT_TRUE(one.bits == other.bits) << what;
    EXPECT_EQ(one.metrics, other.metrics) << what;
    EXPECT_EQ(one.thresholds, other.thresholds) << what;
  }

  /// Every layout gives what one rank gives.
  void verify(const std::string& name, const Config& settings, const std::vector<Layout>& layouts) const {
    const std::string alone = name + "_alone";
    const Left one = left(alone, run(settings, alone, 1));
    ASSERT_EQ(std::ssize(one.metrics), settings.steps);
    for (const Layout& layout : layouts) {
      const std::string other = name + "_" + layout.name();
      expect_same(one, left(other, run(layout.of(settings), other, layout.ranks)), other);
    }
  }
};

TEST_F(MeshTest, EveryMeshGivesTheSameBits) {
  verify("uneven", uneven(),
         {kShards, kTwoReplicas, kThreeReplicas, kExpertsOfFour, kExpertsOfTwo, kEightRanks});
}

TEST_F(MeshTest, FewMicroBatchesGiveTheSameBits) {
  Config settings = uneven();
  settings.loader.micro_batches = 4;  // one per rank
  verify("one_round", settings, {kTwoReplicas, kExpertsOfFour});
  settings.loader.micro_batches = 6;  // three per replica of two ranks: both have one that is idle
  verify("idle", settings, {kTwoReplicas});
}

TEST_F(MeshTest, OneModalityGivesTheSameBits) {
  Config settings = uneven();
  settings.loader.mixed_units = 0;
  settings.loader.text_units = 2;
  verify("text", settings, {kTwoReplicas, kExpertsOfFour});
  settings.data = (folder_ / "images").string();
  write_images_alone(settings.data);
  settings.loader.mixed_units = 2;
  settings.loader.text_units = 0;
  verify("images", settings, {kTwoReplicas, kExpertsOfFour});
}

TEST_F(MeshTest, Bf16WithDepthAndNoiseGivesTheSameBits) {
  Config settings = uneven();
  settings.compute = "bf16";
  settings.model.depth_capacity = {0.5, 1};
  settings.model.router_noise = true;
  settings.model.auxiliary_routers = true;
  verify("depth", settings, {kTwoReplicas, kExpertsOfFour, kThreeReplicas});
  settings.trained = "auxiliary_routers";
  verify("routers", settings, {kEightRanks});
}

TEST_F(MeshTest, PoolsOfASequenceGiveTheSameBits) {
  Config settings = uneven();
  settings.model.feed_forward = {"moe_8x", "4t4i"};
  settings.model.routing_pool = "sequence";
  verify("sequence", settings, {kExpertsOfFour, kTwoReplicas});
}

TEST_F(MeshTest, ARunGoesOnUnderAnyOtherMesh) {
  const Config settings = uneven();
  const Left one = left("whole", run(settings, "whole", 1));
  std::string checkpoint;
  int64_t steps = 0;
  for (const Layout& layout : {kExpertsOfFour, kShards, kTwoReplicas}) {
    Config part = layout.of(settings);
    part.stop_at = ++steps;
    checkpoint = run(part, "parts", layout.ranks);
  }
  expect_same(one, left("parts", checkpoint), "in parts");
}

TEST_F(TrainTest, RefusesWhatDoesNotFit) {
  auto message = [&](Config settings, int ranks) -> std::string {
    settings.out = (folder_ / "refused").string();
    try {
      run_ranks(ranks, [&](Communicator& world) { train(settings, world); });
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_NE(message(config("dense"), 6).find("6 ranks need at least as many, got 5"), std::string::npos);
  Config vocab = config("dense");
  vocab.model.vocab = 100;
  EXPECT_NE(message(vocab, 2).find("model.vocab: is 100, the dataset"), std::string::npos);
  Config missing = config("dense");
  missing.data = (folder_ / "nowhere").string();
  EXPECT_NE(message(missing, 1).find("nowhere"), std::string::npos);
  run(config("dense"), "refused", 1);
  Config wider = config("dense");
  wider.model.width = 64;
  wider.steps = 20;
  EXPECT_NE(message(wider, 1).find("is [16] there, [32] in this model"), std::string::npos)
      << message(wider, 1);
  Config fresh = config("dense");
  fresh.resume = false;
  EXPECT_NE(message(fresh, 1).find("resume is false but"), std::string::npos);
}

}  // namespace
}  // namespace tessera
