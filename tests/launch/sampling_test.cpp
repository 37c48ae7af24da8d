#include "launch/sampling.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>

#include "runtime/error.h"

namespace tessera {
namespace {

const std::vector<float> kLogits{0, 3, 1, 2, -1, 2};

int32_t drawn(const SamplingOptions& options, double uniform, const AllowedIds& allowed = {{0, 6}},
              const std::vector<int32_t>& seen = {}) {
  return sample(kLogits, allowed, seen, options, uniform);
}

TEST(Sampling, TakesTheLikeliestAtTemperatureZero) {
  for (double uniform : {0.001, 0.5, 0.999}) EXPECT_EQ(drawn({.temperature = 0}, uniform), 1);
  EXPECT_EQ(drawn({.temperature = 0}, 0.5, {{2, 6}}), 3);  // the lower of two equals
}

TEST(Sampling, TakesNothingThatIsNotAllowed) {
  const SamplingOptions options{.temperature = 5, .top_p = 1};
  for (int i = 0; i < 1000; ++i) {
    const int32_t id = drawn(options, (i + 0.5) / 1000, {{0, 1}, {4, 6}});
    EXPECT_TRUE(id == 0 || id == 4 || id == 5) << id;
  }
}

/// How often each id comes when uniform runs through its range, in thousandths.
std::map<int32_t, int> frequencies(const SamplingOptions& options, const std::vector<int32_t>& seen = {}) {
  std::map<int32_t, int> counts;
  for (int i = 0; i < 1000; ++i) ++counts[drawn(options, (i + 0.5) / 1000, {{0, 6}}, seen)];
  return counts;
}

TEST(Sampling, DrawsInProportionToTheSoftmax) {
  for (double temperature : {0.5, 1.0, 2.0}) {
    double sum = 0;
    for (float logit : kLogits) sum += std::exp(logit / temperature);
    const auto counts = frequencies({.temperature = temperature, .top_p = 1});
    for (int32_t id = 0; id < 6; ++id) {
      const double expected = 1000 * std::exp(kLogits[static_cast<size_t>(id)] / temperature) / sum;
      EXPECT_NEAR(counts.contains(id) ? counts.at(id) : 0, expected, 1) << id << " at " << temperature;
    }
  }
}

TEST(Sampling, KeepsTheFewestThatReachTopP) {
  // Shares at temperature 1: 1 has 0.516, 3 and 5 have 0.190 each, then 2, 0, 4.
  const auto ids = [](double top_p) {
    std::vector<int32_t> kept;
    for (const auto& [id, count] : frequencies({.temperature = 1, .top_p = top_p})) kept.push_back(id);
    return kept;
  };
  EXPECT_EQ(ids(0), (std::vector<int32_t>{1}));
  EXPECT_EQ(ids(0.5), (std::vector<int32_t>{1}));
  EXPECT_EQ(ids(0.6), (std::vector<int32_t>{1, 3}));
  EXPECT_EQ(ids(0.75), (std::vector<int32_t>{1, 3, 5}));
  EXPECT_EQ(ids(0.93), (std::vector<int32_t>{1, 2, 3, 5}));
}

TEST(Sampling, PenalisesWhatWasSeen) {
  EXPECT_EQ(drawn({.temperature = 0, .repetition_penalty = 2}, 0.5, {{0, 6}}, {1}), 3);  // 3 / 2 < 2
  EXPECT_EQ(drawn({.temperature = 0, .repetition_penalty = 1.2}, 0.5, {{0, 6}}, {1}), 1);
  // A negative logit goes down as well: -1 becomes -2.
  const double share =
      std::exp(-2.0) / (std::exp(0.0) + std::exp(3.0) + std::exp(1.0) + 2 * std::exp(2.0) + std::exp(-2.0));
  const auto counts = frequencies({.temperature = 1, .top_p = 1, .repetition_penalty = 2}, {4});
  EXPECT_NEAR(counts.contains(4) ? counts.at(4) : 0, 1000 * share, 1);
}

TEST(Sampling, RefusesWhatIsNoNumber) {
  const std::vector<float> logits{1, std::numeric_limits<float>::quiet_NaN()};
  EXPECT_THROW(sample(logits, {{0, 2}}, {}, {}, 0.5), Error);
  EXPECT_EQ(sample(logits, {{0, 1}}, {}, {}, 0.5), 0);
  EXPECT_THROW(sample(logits, {}, {}, {}, 0.5), Error);
}

TEST(Guidance, IsTheFormulaOfThreeContexts) {
  const std::vector<float> full{4, 1}, images{2, 3}, none{1, 1};
  EXPECT_EQ(guided(full, images, none, 1, 1), full);
  EXPECT_EQ(guided(full, images, none, 0, 1), images);
  EXPECT_EQ(guided(full, images, none, 0, 0), none);
  EXPECT_EQ(guided(full, images, none, 3, 2), (std::vector<float>{1 + 2 * 1 + 3 * 2, 1 + 2 * 2 - 3 * 2}));
}

}  // namespace
}  // namespace tessera
