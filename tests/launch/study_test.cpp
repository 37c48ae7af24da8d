#include "launch/study.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "launch/metrics.h"
#include "tests/data/temporary_folder.h"

namespace tessera {
namespace {

/// A run whose text loss falls by slope with each step from 6 on, at so many operations per step; image loss twice as fast.
ReportRun falling_run(double slope, double flops) {
  ReportRun run;
  for (int step = 0; step < 40; ++step) {
    run.steps.push_back(step);
    run.columns["loss_text"].push_back(6 - slope * step);
    run.columns["loss_image"].push_back(6 - 2 * slope * step);
    run.columns["flops"].push_back(flops);
  }
  return run;
}

TEST(Study, SavingFactorIsTheRatioOfOperationsToTheSameLoss) {
  const ReportRun baseline = falling_run(0.05, 1e9);
  // The moving mean of a line is the line itself; at the last point it is the mean of the last 6 of 40, at step 36.5.
  EXPECT_NEAR(*saving_factor(baseline, falling_run(0.05, 1e9), "loss_text"), 1, 1e-9);
  EXPECT_NEAR(*saving_factor(baseline, falling_run(0.05, 0.5e9), "loss_text"), 2, 1e-9);
  EXPECT_NEAR(*saving_factor(baseline, falling_run(0.10, 1e9), "loss_text"), 40 / (36.5 / 2 + 1), 1e-9);
  EXPECT_NEAR(*saving_factor(baseline, falling_run(0.025, 1e9), "loss_text"), (36.5 / 2 + 1) / 40, 1e-9);
  EXPECT_NEAR(*saving_factor(baseline, falling_run(-0.05, 1e9), "loss_text"), 1.0 / 40,
              1e-9);  // it got worse
  ReportRun diverged = baseline;
  diverged.columns["loss_text"].assign(40, std::nan(""));
  EXPECT_FALSE(saving_factor(baseline, diverged, "loss_text"));
}

class StudyFiles : public testing::Test {
 protected:
  std::string make_run(const std::string& name, double slope, bool is_evaluated = true) const {
    const std::string path = folder_ / name;
    std::filesystem::create_directories(path);
    Metrics metrics(path, 0);
    for (int64_t step = 0; step < 40; ++step) {
      const double loss = 6 - slope * static_cast<double>(step);
      metrics.write({.step = step,
                     .loss = loss,
                     .loss_text = loss,
                     .loss_image = loss,
                     .flops = 1000000,
                     .expert_load = {},
                     .unrouted = {},
                     .passes = {}});
    }
    const Json part{{"tokens", 10}, {"nats", 5.5 - slope}, {"unigram", 6.0}, {"bigram", 5.0}};
    if (is_evaluated)
      write_json(path + "/evaluation.json",
                 {{"checkpoint", "c"},
                  {"step", 40},
                  {"routing", "batch"},
                  {"text", part},
                  {"image", part},
                  {"causal", {{"thresholds", {{"text", {{"nats", 5.75}}}, {"image", {{"nats", 5.25}}}}}}}});
    return path;
  }
  std::string refusal(const std::vector<std::string>& variants) const {
    return message_of([&] { write_study(variants, folder_ / "study"); });
  }

  TemporaryFolder folder_;
};

TEST_F(StudyFiles, WritesAPageAndNumbersWithTheirSpread) {
  write_study({"dense=" + make_run("d1", 0.02) + "," + make_run("d2", 0.03),
               "<b>=" + make_run("e1", 0.04) + "," + make_run("e2", 0.03)},
              folder_ / "study");
  const Json study = read_json(folder_ / "study.json");
  ASSERT_EQ(study.size(), 2u);
  EXPECT_EQ(study[0]["variant"], "dense");
  EXPECT_EQ(study[1]["runs"].size(), 2u);
  EXPECT_EQ(study[0]["numbers"]["FLOPs"]["mean"], 40e6);
  EXPECT_NEAR(study[1]["numbers"]["Text held out"]["least"], 5.46, 1e-12);
  EXPECT_NEAR(study[1]["numbers"]["Text held out"]["most"], 5.47, 1e-12);
  EXPECT_EQ(study[1]["numbers"]["Text causal, thresholds"]["mean"], 5.75);
  EXPECT_TRUE(study[1]["numbers"]["Text causal, auxiliary_routers"].is_null());
  EXPECT_GT(study[1]["numbers"]["Image saving factor"]["most"], 1.5);
  EXPECT_NEAR(study[1]["numbers"]["Image saving factor"]["least"], 1, 1e-9);
  std::ifstream in(folder_ / "study.html");
  const std::string page{std::istreambuf_iterator<char>(in), {}};
  EXPECT_NE(page.find("Text loss"), std::string::npos);
  EXPECT_NE(page.find(">FLOPs</text>"), std::string::npos);
  EXPECT_NE(page.find("&lt;b&gt;"), std::string::npos);
  EXPECT_EQ(page.find("<b>="), std::string::npos);
}

TEST_F(StudyFiles, RefusesWhatCannotBeCompared) {
  const std::string one = make_run("one", 0.02), two = make_run("two", 0.02),
                    raw = make_run("raw", 0.02, false);
  EXPECT_EQ(refusal({}), "study: expected NAME=RUN,RUN,... for a baseline and its variants");
  EXPECT_EQ(refusal({one}), "study: expected NAME=RUN,RUN,..., got \"" + one + "\"");
  EXPECT_EQ(refusal({"a=" + one, "b=" + one + "," + two}),
            "study: b has 2 runs, a has 1: one for each seed is needed");
  EXPECT_EQ(refusal({"a=" + raw}), "study: " + raw + " is not evaluated yet: tessera evaluate --run " + raw);
  EXPECT_EQ(refusal({"a=" + (folder_ / "none")}), "report: no run folder " + (folder_ / "none"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "study.html"));
}

}  // namespace
}  // namespace tessera
