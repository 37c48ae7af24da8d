// The gate of determinism, over real processes: every mesh of 1 to 8 ranks, under mpirun and as threads, with 1 and 2 compute
// threads, with and without resharding, recomputation and accumulation, on micro-batches of both modalities or of one, gives
// the bits of one rank: every loss, parameter and moment.  So does a run that is saved under one layout and goes on under
// another.  `make verify-layouts` runs it whole; a plain test run takes a sample.

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "data/synthetic.h"
#include "parallel/checkpoint.h"
#include "runtime/json.h"
#include "runtime/random.h"
#include "tests/support/images_alone.h"
#include "tests/support/run_results.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

using Words = std::vector<std::string>;

/// Replicate x shard x expert.
struct Layout {
  int replicate = 1, shard = 1, expert = 1;
  bool under_mpi = false;
  Words options{};

  int ranks() const { return replicate * shard * expert; }
  std::string name() const {
    std::string text = str(replicate, "x", shard, "x", expert, under_mpi ? " processes" : " threads");
    for (const std::string& option : options) text += " " + option;
    return text;
  }
};

/// Every mesh of so many ranks; the expert axis has 1, 2 or 4.
std::vector<Layout> meshes(int ranks) {
  std::vector<Layout> all;
  for (int replicate = 1; replicate <= ranks; ++replicate)
    for (int expert : {1, 2, 4})
      if (ranks % (replicate * expert) == 0) all.push_back({replicate, ranks / (replicate * expert), expert});
  return all;
}

/// What a layout is combined with, in turn.
const std::vector<Words> kOptions{{},
                                  {"reshard_after_forward=true"},
                                  {"recompute=[\"blocks\"]"},
                                  {"threads=2"},
                                  {"recompute=[\"attention\",\"experts\"]", "reshard_after_forward=true"}};

class VerifyLayouts : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("tessera_layouts_" + std::to_string(::getpid()) + "_" +
                                           testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    write_synthetic_dataset((folder_ / "data").string(), 11);
    write_images_alone((folder_ / "images").string());
    // Sizes that no rank count divides; 9 micro-batches, so that some ranks have more than others, or none.
    write_json((folder_ / "config.json").string(),
               {{"data", (folder_ / "data").string()},
                {"save_every", 1000},
                {"keep", 1000},
                {"threads", 1},
                {"model",
                 {{"vocab", 64},
                  {"width", 24},
                  {"layers", 2},
                  {"heads", 2},
                  {"hidden", 37},
                  {"feed_forward", {"4t4i", "4t2i+shared"}}}},
                {"loader", {{"micro_batches", 9}, {"mixed_units", 1}, {"text_units", 1}}},
                {"schedule", {{"warmup", 4}, {"peak", 0.003}}}});
  }
  void TearDown() override { fs::remove_all(folder_); }

  /// Runs the program and expects success.
  void train(const Layout& layout, const std::string& out, int steps, const Words& overrides,
             int stop_at = 0) const {
    const std::string mpirun =
        "mpirun --allow-run-as-root --oversubscribe --bind-to none --mca mpi_yield_when_idle 1 -n ";
    std::string command = layout.under_mpi ? str(mpirun, layout.ranks(), " ") : "";
    command += str(TESSERA_PROGRAM, " train ", (folder_ / "config.json").string(), " steps=", steps,
                   " thread_ranks=", layout.under_mpi ? 1 : layout.ranks(), " stop_at=", stop_at,
                   " mesh.replicate=", layout.replicate, " mesh.expert=", layout.expert,
                   " out=", (folder_ / out).string());
    for (const Words& words : {overrides, layout.options})
      for (const std::string& word : words) command += " '" + word + "'";
    command += str(" > ", (folder_ / "log").string(), " 2>&1");
    ASSERT_EQ(std::system(command.c_str()), 0) << command << "\n" << read_text(folder_ / "log");
  }

  static std::string read_text(const fs::path& path) {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  struct Result {
    std::map<std::string, std::vector<float>> bits;
    std::vector<double> loss;
    friend bool operator==(const Result&, const Result&) = default;
  };
  Result result(const std::string& out) const {
    return {checkpoint_bits(latest_checkpoint((folder_ / out).string()).value()), losses(folder_ / out)};
  }

  /// What one rank gives.
  Result expected(int steps, const Words& overrides) const {
    fs::remove_all(folder_ / "one");
    train({}, "one", steps, overrides);
    const Result one = result("one");
    EXPECT_EQ(one.loss.size(), static_cast<size_t>(steps));
    EXPECT_GT(one.bits.size(), 60u);
    EXPECT_NE(one.loss.front(), one.loss.back());
    return one;
  }

  void verify(const std::vector<Layout>& layouts, int steps, const Words& overrides) const {
    const Result one = expected(steps, overrides);
    for (const Layout& layout : layouts) {
      fs::remove_all(folder_ / "other");
      train(layout, "other", steps, overrides);
      EXPECT_TRUE(result("other") == one) << layout.name();
      std::printf("%s: %s\n", HasFailure() ? "DIFFERS" : "the same bits", layout.name().c_str());
      std::fflush(stdout);
    }
  }

  /// Stops under each layout in turn at the steps given, and ends under the last.
  void verify_resumes(const Result& one, const std::vector<std::pair<Layout, int>>& parts, int steps,
                      const Words& overrides) const {
    fs::remove_all(folder_ / "other");
    std::string name;
    for (const auto& [layout, stop_at] : parts) {
      train(layout, "other", steps, overrides, stop_at);
      name += str(" -> ", layout.name(), " to step ", stop_at);
    }
    EXPECT_TRUE(result("other") == one) << name;
  }

  fs::path folder_;
};

TEST_F(VerifyLayouts, Sample) {
  verify(
      {{1, 3, 1}, {2, 1, 2, true, kOptions[1]}, {1, 1, 4, false, kOptions[4]}, {1, 2, 1, true, kOptions[2]}},
      8, {});
  verify({{1, 2, 2}}, 6, {"compute=bf16", "model.depth_capacity=[0.5,1]", "model.router_noise=true"});
}

TEST_F(VerifyLayouts, ResumesSample) {
  const Result one = expected(6, {});
  verify_resumes(one, {{{1, 1, 4}, 2}, {{1, 1, 1}, 4}, {{1, 1, 2, true}, 6}}, 6, {});
  verify_resumes(one, {{{2, 2, 2}, 3}, {{1, 3, 1}, 6}}, 6, {});
}

class VerifyLayoutsFull : public VerifyLayouts {
 protected:
  static constexpr int kSteps = 50;

  static std::vector<Layout> every_layout(const std::vector<int>& sizes) {
    std::vector<Layout> layouts;
    for (int ranks : sizes)
      for (Layout layout : meshes(ranks))
        for (bool under_mpi : {false, true}) {
          layout.under_mpi = under_mpi;
          layout.options = kOptions[layouts.size() % kOptions.size()];
          layouts.push_back(layout);
        }
    return layouts;
  }
};

TEST_F(VerifyLayoutsFull, PowersOfTwo) { verify(every_layout({1, 2, 4, 8}), kSteps, {}); }

TEST_F(VerifyLayoutsFull, OtherRankCounts) { verify(every_layout({3, 5, 6, 7}), kSteps, {}); }

// Without accumulation: as many micro-batches as ranks, or one more.
TEST_F(VerifyLayoutsFull, OneRoundOrTwo) {
  verify({{1, 4, 1}, {2, 2, 1, true}, {1, 1, 4}}, kSteps, {"loader.micro_batches=4"});
  verify({{1, 4, 1, true}, {2, 2, 1}, {1, 2, 2, true}}, kSteps, {"loader.micro_batches=5"});
}

TEST_F(VerifyLayoutsFull, MicroBatchesOfOneModality) {
  const std::vector<Layout> layouts{
      {1, 2, 1}, {2, 1, 2, true}, {1, 2, 2, false, kOptions[2]}, {1, 1, 4, true}};
  verify(layouts, kSteps, {"loader.mixed_units=0", "loader.text_units=2"});
  verify(layouts, kSteps,
         {"data=" + (folder_ / "images").string(), "loader.mixed_units=2", "loader.text_units=0"});
}

TEST_F(VerifyLayoutsFull, OtherModelsAndBf16) {
  const std::vector<Layout> layouts{
      {1, 2, 1, true}, {2, 2, 1, false, kOptions[2]}, {1, 1, 2, true, kOptions[4]}, {1, 1, 4}, {2, 2, 2}};
  verify(layouts, kSteps, {"compute=bf16"});
  verify(layouts, kSteps, {"model.feed_forward=[\"moe_8x\",\"dense\"]", "model.routing_pool=sequence"});
  verify(layouts, kSteps,
         {"compute=bf16", "model.depth_capacity=[0.5,1]", "model.router_noise=true",
          "model.auxiliary_routers=true", "model.gate_order=norm_then_gate"});
}

// Two hundred pairs of layouts and steps, by a seed that is printed.
TEST_F(VerifyLayoutsFull, SavedUnderOneLayoutResumedUnderAnother) {
  constexpr int kPairs = 200, kWholeRun = 10;
  constexpr uint64_t kSeed = 5;
  std::vector<Layout> layouts;
  for (int ranks = 1; ranks <= 8; ++ranks)
    for (const Layout& mesh : meshes(ranks)) layouts.push_back(mesh);
  const Result one = expected(kWholeRun, {});
  verify_resumes(one, {{{1, 1, 4}, 3}, {{1, 1, 1}, 6}, {{1, 1, 2}, kWholeRun}}, kWholeRun, {});
  verify_resumes(one, {{{2, 2, 2, true}, 5}, {{1, 3, 1, true}, kWholeRun}}, kWholeRun, {});
  std::printf("seed %d\n", static_cast<int>(kSeed));
  for (uint64_t pair = 0; pair < kPairs; ++pair) {
    const auto draw = [&](const char* what, size_t below) {
      return static_cast<size_t>(random_below(kSeed, Purpose(what), pair, below));
    };
    Layout first = layouts[draw("first", layouts.size())], second = layouts[draw("second", layouts.size())];
    first.under_mpi = draw("first under mpi", 4) == 0;
    second.under_mpi = draw("second under mpi", 4) == 0;
    first.options = kOptions[draw("first options", kOptions.size())];
    second.options = kOptions[draw("second options", kOptions.size())];
    const int stop_at = 1 + static_cast<int>(draw("step", kWholeRun - 1));
    verify_resumes(one, {{first, stop_at}, {second, kWholeRun}}, kWholeRun, {});
  }
}

}  // namespace
}  // namespace tessera
