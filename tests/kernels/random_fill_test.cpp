#include "kernels/random_fill.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "runtime/logistic_quantile.h"
#include "tests/kernels/tensors.h"

namespace tessera::kernels {
namespace {

constexpr double kPi = std::numbers::pi;
// A sample's statistic is further than this many of its own standard deviations from the truth once in 10^6 seeds.
constexpr double kDeviations = 5;

std::vector<double> logistic_sample(int64_t count, int64_t begin, Stream stream) {
  const Tensor y = Tensor::empty({count}, DType::f32, stream);
  fill_logistic(y, {.seed = 3, .purpose = Purpose("noise"), .begin = begin}, stream);
  return values_of(y);
}

/// The n-th central moments of the standard logistic distribution: 0 for odd n; pi^2 / 3, 7 pi^4 / 15, 31 pi^6 / 21 for 2, 4, 6.
TEST(FillLogistic, HasTheMomentsOfTheLogisticDistribution) {
  CpuEngine engine(2);
  const std::vector<double> sample = logistic_sample(1 << 20, 0, engine.stream());
  const auto count = static_cast<double>(sample.size());
  double first = 0, second = 0, third = 0, below = 0, inside = 0;
  for (const double y : sample) {
    first += y / count, second += y * y / count, third += y * y * y / count;
    below += y < 0, inside += std::abs(y) < 1;
  }
  const double variance = kPi * kPi / 3, fourth = 7 * std::pow(kPi, 4) / 15,
               sixth = 31 * std::pow(kPi, 6) / 21;
  EXPECT_NEAR(first, 0, kDeviations * std::sqrt(variance / count));
  EXPECT_NEAR(second, variance, kDeviations * std::sqrt((fourth - variance * variance) / count));
  EXPECT_NEAR(third, 0, kDeviations * std::sqrt(sixth / count));
  EXPECT_NEAR(below / count, 0.5, kDeviations * std::sqrt(0.25 / count));
  const double share = std::tanh(0.5);  // of |y| < 1
  EXPECT_NEAR(inside / count, share, kDeviations * std::sqrt(share * (1 - share) / count));
}

/// Half a unit for rounding to f32, and what the cancellation of two logarithms near u = 1/2 leaves.
TEST(FillLogistic, IsTheDifferenceOfTwoLogarithms) {
  CpuEngine engine(1);
  const int64_t begin = int64_t{1} << 40;
  const std::vector<double> sample = logistic_sample(20000, begin, engine.stream());
  for (size_t i = 0; i < sample.size(); ++i) {
    const double u = random_uniform(3, Purpose("noise"), static_cast<uint64_t>(begin) + i);
    const double expected = std::log(u) - std::log1p(-u);
    ASSERT_NEAR(sample[i], expected, std::abs(expected) * 0x1p-24 + 0x1p-50) << "index " << i;
  }
}

/// Uniform numbers end at 2^-54 and, by rounding, at 1.
TEST(FillLogistic, IsFiniteAtTheEnds) {
  EXPECT_NEAR(logistic_quantile(0x1p-54), -54 * std::numbers::ln2, 1e-13);
  EXPECT_NEAR(logistic_quantile(1 - 0x1p-53), 53 * std::numbers::ln2, 1e-13);
  EXPECT_TRUE(std::isfinite(logistic_quantile(1)));
}

TEST(FillLogistic, DependsOnTheIndexAlone) {
  CpuEngine engine(3, vector_levels().back()), plain(1, Isa::avx2);
  const std::vector<double> whole = logistic_sample(40000, 0, engine.stream()),
                            part = logistic_sample(30000, 10000, plain.stream());
  EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.begin() + 10000));
}

TEST(FillLogistic, TakesF32Alone) {
  CpuEngine engine(1);
  const Tensor y = Tensor::empty({4}, DType::bf16, engine.stream());
  EXPECT_THROW(fill_logistic(y, {.seed = 1, .purpose = Purpose("noise")}, engine.stream()), Error);
}

}  // namespace
}  // namespace tessera::kernels
