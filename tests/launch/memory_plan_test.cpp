#include "launch/memory_plan.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "data/synthetic.h"
#include "launch/dry_run.h"
#include "launch/metrics.h"
#include "launch/train.h"
#include "parallel/agree.h"
#include "tests/data/temporary_folder.h"

namespace tessera {
namespace {

constexpr double kTolerance = 0.02;

struct Case {
  std::string config;
  int ranks = 1;
  std::vector<std::string> settings{};
};

class MemoryPlanTest : public testing::Test {
 protected:
  static constexpr int64_t kSteps = 3;

  Config config_of(const Case& one) const {
    std::vector<std::string> settings{"data=" + (folder_ / "tokens"), "out=" + (folder_ / "run"),
                                      str("steps=", kSteps), "threads=1", "loader.micro_batches=4"};
    settings.insert(settings.end(), one.settings.begin(), one.settings.end());
    return load_config(str(TESSERA_CONFIGS, "/", one.config, ".json"), settings);
  }

  /// What metrics.jsonl says of rank 0 beside what was planned for it.
  void expect_planned(const Case& one) const {
    std::string name = str(one.config, ", ", one.ranks, " ranks");
    for (const std::string& setting : one.settings) name += " " + setting;
    SCOPED_TRACE(name);
    const Config config = config_of(one);
    const auto alone = solo_communicator();
    const MemoryPlan plan =
        plan_ranks(config, {.steps = kSteps, .scratch = product_scratch(config, 1)}, one.ranks, *alone)[0];
    run_ranks(one.ranks, [&](Communicator& world) { EXPECT_EQ(train(config, world), 0); });
    const double measured =
        read_metrics(config.out + "/metrics.jsonl").back().json.at("memory_bytes").get<double>();
    EXPECT_NEAR(static_cast<double>(plan.peak) / measured, 1, kTolerance)
        << "planned " << plan.peak << ", scratch " << plan.scratch << ", measured " << measured;
    std::filesystem::remove_all(config.out);
  }

  void expect_all_planned(const std::string& size) const {
    for (const char* variant : {"dense", "1t1i", "4t4i", "mod_4t4i"}) {
      const std::string config = size + variant;
      for (const char* compute : {"compute=f32", "compute=bf16"}) expect_planned({config, 1, {compute}});
      expect_planned({config, 2, {"reshard_after_forward=true"}});
      expect_planned({config, 4, {"compute=bf16", "recompute=[\"blocks\"]"}});
    }
    expect_planned({size + "4t4i", 2, {"mesh.expert=2"}});
    expect_planned({size + "mod_4t4i", 2, {"mesh.expert=2"}});
    expect_planned(
        {size + "4t4i", 4, {"mesh.expert=2", "mesh.replicate=2", "recompute=[\"attention\",\"experts\"]"}});
    expect_planned({size + "4t4i", 4, {"mesh.replicate=2", "reshard_after_forward=true", "compute=bf16"}});
  }

  TemporaryFolder folder_;
};

TEST_F(MemoryPlanTest, IsWhatTrainingTakes) {
  write_synthetic_dataset(folder_ / "tokens", 3);
  expect_all_planned("cpu_tiny_");
}

TEST_F(MemoryPlanTest, TheCheapestFixFitsAndIsNoMoreThanNeeded) {
  write_synthetic_dataset(folder_ / "tokens", 3);
  const auto alone = solo_communicator();
  const PlanOptions one_step{.steps = 1};
  const Config config = config_of({"cpu_tiny_4t4i", 2, {"loader.mixed_units=4", "recompute=[]"}});
  const auto need = [&](const Config& of, int ranks) {
    int64_t most = 0;
    for (const MemoryPlan& plan : plan_ranks(of, one_step, ranks, *alone))
      most = std::max(most, plan.total());
    return most;
  };
  EXPECT_TRUE(cheapest_fix(config, one_step, 2, need(config, 2), *alone)->settings.empty());
  int64_t room = need(config, 2) - 1;
  std::vector<std::string> prices;
  for (int i = 0; i < 4; ++i) {
    const std::optional<MemoryFix> fix = cheapest_fix(config, one_step, 2, room, *alone);
    ASSERT_TRUE(fix) << testing::PrintToString(prices);
    prices.push_back(str(fix->ranks, " ", testing::PrintToString(fix->settings)));
    ASSERT_LE(fix->need, room);
    std::vector<std::string> settings{"loader.mixed_units=4"};
    settings.insert(settings.end(), fix->settings.begin(), fix->settings.end());
    EXPECT_EQ(need(config_of({"cpu_tiny_4t4i", 2, settings}), fix->ranks), fix->need) << prices.back();
    room = fix->need - 1;
  }
  EXPECT_EQ(prices[0], "2 { \"reshard_after_forward=true\" }") << testing::PrintToString(prices);
}

TEST_F(MemoryPlanTest, ReadsBytes) {
  EXPECT_EQ(parse_bytes("x", "16GiB"), int64_t{16} << 30);
  EXPECT_EQ(parse_bytes("x", "1.5 KiB"), 1536);
  EXPECT_EQ(parse_bytes("x", "20MB"), 20'000'000);
  EXPECT_EQ(parse_bytes("x", "77"), 77);
  for (const char* wrong : {"", "GiB", "-1GiB", "0", "1 elephant", "nan", "1e300TiB"})
    EXPECT_THROW(parse_bytes("x", wrong), Error) << wrong;
}

using MemoryPlanTestFull = MemoryPlanTest;

TEST_F(MemoryPlanTestFull, IsWhatSmallModelsTake) {
  write_synthetic_dataset(folder_ / "tokens", 3,
                          {.length = 512,
                           .codes_per_image = 59,
                           .images_per_unit = 4,
                           .image_codes = 512,
                           .text_pieces = 2048 - Vocabulary{512, 0}.size()});
  expect_all_planned("cpu_small_");
}

}  // namespace
}  // namespace tessera
