#include "launch/train_routers.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "data/synthetic.h"
#include "launch/metrics.h"
#include "launch/train.h"
#include "launch/trained_model.h"
#include "parallel/checkpoint.h"
#include "tests/data/temporary_folder.h"
#include "tests/support/run_results.h"
#include "tests/support/tiny_run.h"

namespace tessera {
namespace {

class TrainRoutersTest : public testing::Test {
 protected:
  TrainRoutersTest() {
    write_synthetic_dataset(folder_ / "data", 7);
    config_ = tiny_run(folder_ / "data", "2t2i");
    config_.out = folder_ / "seed";
    config_.steps = 8;
    config_.model.depth_capacity = {1, 0.5};
    config_.model.router_noise = true;
    config_.loader.micro_batches = 5;  // not a multiple of 2 or 4 ranks
  }

  void train_model() const {
    run_ranks(1, [&](Communicator& world) { EXPECT_EQ(train(config_, world), 0); });
  }
  /// Returns the folder of the new run.
  std::string train_routers_on(int ranks, const std::string& name, std::vector<std::string> overrides) const {
    overrides.push_back("out=" + (folder_ / name));
    run_ranks(ranks, [&](Communicator& world) {
      const TrainRoutersOptions options{config_.out, overrides};
      EXPECT_EQ(train_routers(options, routers_config(options), world), 0);
    });
    return folder_ / name;
  }

  TemporaryFolder folder_;
  Config config_;
};

TEST_F(TrainRoutersTest, TeachesThemAloneAndReportsHowWellTheyPredict) {
  train_model();
  const std::string run = train_routers_on(1, "routers", {"steps=68", "schedule.peak=0.01"});
  const auto before = checkpoint_bits(*latest_checkpoint(config_.out)),
             after = checkpoint_bits(*latest_checkpoint(run));
  size_t kept = 0, learnt = 0;
  for (const auto& [name, bits] : after) {
    if (name.find(".auxiliary.") != std::string::npos) {
      ++learnt;
    } else if (name.find("first") == std::string::npos && name.find("second") == std::string::npos) {
      EXPECT_EQ(bits, before.at(name)) << name;
      ++kept;
    }
  }
  EXPECT_GT(kept, 20u);
  EXPECT_GT(learnt, 8u);

  const std::vector<MetricsLine> lines = read_metrics(run + "/metrics.jsonl");
  ASSERT_EQ(lines.size(), 60u);
  EXPECT_EQ(lines[0].json["step"], 8);  // at the next sample
  const auto mean = [&](size_t first, size_t last) {
    double sum = 0;
    for (size_t i = first; i < last; ++i) sum += lines[i].json["prediction_loss"].get<double>();
    return sum / static_cast<double>(last - first);
  };
  EXPECT_LT(mean(50, 60), 0.9 * mean(0, 5));
  for (const char* router : {"0/text", "0/image", "1/depth", "1/text", "1/image"}) {
    EXPECT_TRUE(lines.back().json["prediction_accuracy"].contains(router)) << router;
    EXPECT_GT(lines.back().json["router_gradient"].size(), 0u);
  }
  for (const auto& [router, norm] : lines.back().json["router_gradient"].items())
    EXPECT_EQ(norm, 0.0) << router;

  const Json evaluation = read_json(run + "/evaluation.json");
  double better = 0;
  for (const auto& [router, row] : evaluation["auxiliary_routers"].items()) {
    const double taken = row["taken"], accuracy = row["accuracy"];
    EXPECT_TRUE(0 < taken && taken < 1) << router;
    better += accuracy - std::max(taken, 1 - taken);
  }
  EXPECT_GT(better, 0) << "no better than to say always the same";
  for (const char* way : {"thresholds", "auxiliary_routers"})
    EXPECT_GT(evaluation["causal"][way]["overall"]["nats"], 0.5) << way;
}

TEST_F(TrainRoutersTest, GivesTheSameBitsOnAnyNumberOfRanksAndAfterAPause) {
  train_model();
  const auto bits = [&](const std::string& run) {
    return std::pair(checkpoint_bits(*latest_checkpoint(run)),
                     read_json(run + "/evaluation.json")["auxiliary_routers"]);
  };
  const auto one = bits(train_routers_on(1, "one", {"steps=14"}));
  EXPECT_EQ(bits(train_routers_on(2, "two", {"steps=14"})), one);
  EXPECT_EQ(bits(train_routers_on(4, "four", {"steps=14", "reshard_after_forward=true"})), one);
  train_routers_on(1, "paused", {"steps=14", "stop_at=11"});
  EXPECT_EQ(bits(train_routers_on(2, "paused", {"steps=14"})), one);
}

TEST_F(TrainRoutersTest, TakesATenthOfTheStepsUnlessToldOtherwise) {
  train_model();
  const Json config = read_json(train_routers_on(1, "routers", {}) + "/config.json");
  EXPECT_EQ(config["steps"], 9);
  EXPECT_EQ(config["trained"], "auxiliary_routers");
  EXPECT_EQ(config["schedule"]["kind"], "linear");
  EXPECT_EQ(config["schedule"]["first_step"], 8);
}

TEST_F(TrainRoutersTest, RefusesAModelThatIsCausalAlready) {
  config_.model.feed_forward = {"1t1i"};
  config_.model.depth_capacity = {1};
  train_model();
  EXPECT_EQ(message_of([&] {
              routers_config({config_.out, {"out=" + (folder_ / "routers")}});
            }),
            config_.out + ": the model has no router that sees later tokens: it is causal already");
  EXPECT_EQ(message_of([&] {
              routers_config({folder_ / "nothing", {"out=x"}});
            }),
            (folder_ / "nothing") + ": holds no checkpoint to train routers for");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "routers"));
}

}  // namespace
}  // namespace tessera
