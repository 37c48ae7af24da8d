#include "launch/upcycle.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "data/synthetic.h"
#include "launch/metrics.h"
#include "launch/train.h"
#include "launch/trained_model.h"
#include "parallel/checkpoint.h"
#include "runtime/hdf5.h"
#include "tests/data/temporary_folder.h"
#include "tests/support/tiny_run.h"

namespace tessera {
namespace {

constexpr int64_t kSteps = 6;

class UpcycleTest : public testing::Test {
 protected:
  UpcycleTest() { write_synthetic_dataset(folder_ / "data", 7); }

  Config config(const std::string& feed_forward) const {
    Config config = tiny_run(folder_ / "data", feed_forward);
    config.steps = kSteps;
    config.loader.micro_batches = 2;
    return config;
  }

  /// Trains the seed and returns its folder.
  std::string seed(Config config) const {
    config.out = folder_ / "seed";
    run_ranks(1, [&](Communicator& world) { EXPECT_EQ(train(config, world), 0); });
    return config.out;
  }

  Upcycled upcycled(UpcycleOptions options) const {
    Upcycled made;
    run_ranks(1, [&](Communicator& world) { made = upcycle(options, world); });
    return made;
  }

  std::string refusal(UpcycleOptions options) const {
    try {
      upcycled(std::move(options));
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }

  std::vector<std::string> settings(const std::string& feed_forward) const {
    return {"out=" + (folder_ / "new"), "model.feed_forward=[\"" + feed_forward + "\"]", "steps=12"};
  }

  /// Values of a parameter in the latest checkpoint of a run.
  static std::vector<float> values(const std::string& run, const std::string& group,
                                   const std::string& name) {
    const hdf5::File file = hdf5::File::open(*latest_checkpoint(run) + "/rank_00000.h5");
    return file.read<float>("/" + group + "/" + name);
  }

  TemporaryFolder folder_;
};

// Every expert is the parent: whatever the gates are, RMSNorm takes their sum away, but for epsilon and rounding.  2^-24 per
// rounding, some hundreds of them on the way to a loss of about 4.
TEST_F(UpcycleTest, KeepsTheLossWhereEveryTokenReachesAnExpert) {
  for (const char* from : {"1t1i", "dense"}) {
    Config settings_of_seed = config(from);
    settings_of_seed.model.epsilon = 1e-12f;
    std::filesystem::remove_all(folder_ / "seed");
    const std::string source = seed(settings_of_seed);
    for (const char* to : {"2t2i", "4t4i"}) {
      std::filesystem::remove_all(folder_ / "new");
      std::vector<std::string> overrides = settings(to);
      overrides.push_back("model.capacity=4");
      const Upcycled made = upcycled({source, overrides});
      EXPECT_EQ(made.step, kSteps);
      EXPECT_NEAR(made.loss, made.seed_loss, 1e-4) << from << " to " << to;
    }
    std::filesystem::remove_all(folder_ / "new");
    EXPECT_GT(std::abs([&] {
                const Upcycled made = upcycled({source, settings("4t4i")});
                return made.loss - made.seed_loss;
              }()),
              1e-4)
        << "tokens without an expert must show";
  }
}

TEST_F(UpcycleTest, GoesOnAtTheNextSampleWithTheScheduleAnew) {
  const std::string source = seed(config("1t1i"));
  upcycled({source, settings("2t2i")});
  Config continued = config("2t2i");
  from_json(read_json(folder_ / "new/config.json"), "config", continued);
  EXPECT_EQ(continued.schedule.first_step, kSteps);
  EXPECT_EQ(continued.adamw.first_step, kSteps);
  run_ranks(1, [&](Communicator& world) { EXPECT_EQ(train(continued, world), 0); });
  const std::vector<MetricsLine> before = read_metrics(source + "/metrics.jsonl"),
                                 after = read_metrics(folder_ / "new/metrics.jsonl");
  ASSERT_EQ(after.size(), 12u - kSteps);
  EXPECT_EQ(after[0].json["step"], kSteps);
  EXPECT_EQ(after[0].json["learning_rate"], before[0].json["learning_rate"]);
  const double per_step =
      before[1].json["passes"]["mixed"].get<double>() - before[0].json["passes"]["mixed"].get<double>();
  EXPECT_NEAR(after[0].json["passes"]["mixed"].get<double>(),
              before.back().json["passes"]["mixed"].get<double>() + per_step, 1e-12);
}

TEST_F(UpcycleTest, ExpertsAreClonesAndMomentsAreResetOrCloned) {
  const std::string source = seed(config("1t1i")), out = folder_ / "new";
  for (const char* moments : {"reset", "clone"}) {
    std::filesystem::remove_all(out);
    upcycled({source, settings("2t3i+shared"), moments});
    for (const char* group : {"parameters", "first"}) {
      const bool zero = std::string(group) == "first" && std::string(moments) == "reset";
      const auto matrix = [](const char* experts) {
        return str("blocks.1.feed_forward.experts.", experts, ".up");
      };
      for (const auto& [parent, child, experts] : {std::tuple("text", "text", 2),
                                                   {"image", "image", 3},
                                                   {"text", "shared_text", 1},
                                                   {"image", "shared_image", 1}}) {
        const std::vector<float> from = values(source, group, matrix(parent)),
                                 to = values(out, group, matrix(child));
        ASSERT_EQ(to.size(), static_cast<size_t>(experts) * from.size());
        for (size_t i = 0; i < to.size(); ++i)
          ASSERT_EQ(to[i], zero ? 0 : from[i % from.size()])
              << group << " " << moments << " " << child << " " << i;
      }
    }
    EXPECT_EQ(values(out, "parameters", "embedding.weight"),
              values(source, "parameters", "embedding.weight"));
  }
}

TEST_F(UpcycleTest, DrawsAShareOfTheHiddenUnitsAnew) {
  const std::string source = seed(config("1t1i")), out = folder_ / "new";
  upcycled({source, settings("2t2i"), "reset", 0.5});
  const size_t width = 32, hidden = 48;
  for (const auto& [group, matrix] : {std::pair("text", "gate"), {"text", "up"}, {"image", "down"}}) {
    const std::string name = str("blocks.0.feed_forward.experts.", group, ".", matrix);
    const std::vector<float> from = values(source, "parameters", name), to = values(out, "parameters", name);
    for (size_t expert = 0; expert < 2; ++expert) {
      size_t changed = 0;
      for (size_t unit = 0; unit < hidden; ++unit) {
        size_t different = 0;
        for (size_t j = 0; j < width; ++j) {
          const size_t at = std::string(matrix) == "down" ? j * hidden + unit : unit * width + j;
          different += to[expert * width * hidden + at] != from[at];
        }
        EXPECT_TRUE(different == 0 || different == width) << name << " expert " << expert << " unit " << unit;
        changed += different > 0;
      }
      EXPECT_EQ(changed, hidden / 2) << name << " expert " << expert;
    }
  }
}

TEST_F(UpcycleTest, RefusesInOneSentence) {
  const std::string nowhere = folder_ / "nowhere";
  EXPECT_EQ(refusal({nowhere, settings("2t2i")}), nowhere + ": holds no checkpoint to upcycle");
  const std::string source = seed(config("2t2i"));
  EXPECT_NE(refusal({source, {"model.feed_forward=[\"4t4i\"]"}}).find("out: name the folder"),
            std::string::npos);
  std::vector<std::string> few = settings("4t4i");
  few.back() = "steps=6";
  EXPECT_NE(refusal({source, few}).find("the seed has done 6 steps"), std::string::npos);
  EXPECT_NE(
      refusal({source, settings("moe_8x")}).find("the seed has no network for the modalities of group mixed"),
      std::string::npos);
  EXPECT_NE(refusal({source, settings("dense")}).find("experts cannot become a dense network"),
            std::string::npos);
  EXPECT_NE(refusal({source, settings("1t1i")}).find("the seed's blocks.0.feed_forward.router has no place"),
            std::string::npos);
  std::vector<std::string> wider = settings("4t4i");
  wider.push_back("model.hidden=64");
  EXPECT_NE(refusal({source, wider}).find("widths must agree"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "new"));
}

}  // namespace
}  // namespace tessera
