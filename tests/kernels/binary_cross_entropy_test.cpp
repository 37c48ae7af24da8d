#include "kernels/binary_cross_entropy.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "tests/kernels/tensors.h"

namespace tessera::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Loss {
  float total;
  std::vector<float> dlogits;
};

Loss loss_of(const std::vector<float>& logits, const std::vector<uint8_t>& targets, float dtotal,
             Stream stream) {
  Outputs out(stream);
  const Shape shape{std::ssize(logits)};
  const Tensor x = Tensor::from(logits, shape, stream), t = Tensor::from(targets, shape, stream);
  const Tensor total = out.make({1}, DType::f32), dlogits = out.make(shape, DType::f32);
  binary_cross_entropy_forward(x, t, total, 1, stream);
  binary_cross_entropy_backward(x, t, Tensor::from(std::vector{dtotal}, {1}, stream), dlogits, 1, stream);
  out.expect_intact("binary_cross_entropy");
  return {total.values<float>()[0], dlogits.to_vector<float>()};
}

/// What is right costs nothing, what is wrong costs its logit; a slope that underflows is at most the least normal number.
TEST(BinaryCrossEntropy, StandsHugeAndInfiniteLogits) {
  constexpr float kLeast = std::numeric_limits<float>::min();
  for (const Isa isa : vector_levels()) {
    CpuEngine engine(1, isa);
    for (const float logit : {100.0f, 1e30f, kInfinity}) {
      const Loss right = loss_of({logit, -logit}, {1, 0}, 1, engine.stream());
      EXPECT_EQ(right.total, 0);
      EXPECT_LE(std::abs(right.dlogits[0]), kLeast);
      EXPECT_LE(std::abs(right.dlogits[1]), kLeast);
      const Loss too_low = loss_of({-logit}, {1}, 1, engine.stream());
      EXPECT_EQ(too_low.total, logit);
      EXPECT_EQ(too_low.dlogits[0], -1);
      const Loss too_high = loss_of({logit}, {0}, 1, engine.stream());
      EXPECT_EQ(too_high.total, logit);
      EXPECT_EQ(too_high.dlogits[0], 1);
    }
  }
}

/// e^-20 is far below an epsilon of 1, which a logarithm of 1 + e^-20 would lose.
TEST(BinaryCrossEntropy, KeepsDigitsOfSmallLosses) {
  CpuEngine engine(1);
  for (const float logit : {5.0f, 20.0f, 60.0f}) {
    const Loss loss = loss_of({logit}, {1}, 0.5f, engine.stream());
    EXPECT_NEAR(loss.total / std::log1p(std::exp(-static_cast<double>(logit))), 1, 4 * 0x1p-23);
    EXPECT_NEAR(loss.dlogits[0] * -2 * (1 + std::exp(static_cast<double>(logit))), 1, 4 * 0x1p-23);
  }
}

TEST(BinaryCrossEntropy, OfNothingIsZero) {
  CpuEngine engine(2);
  EXPECT_EQ(loss_of({}, {}, 1, engine.stream()).total, 0);
}

TEST(BinaryCrossEntropy, ShowsNaN) {
  for (const Isa isa : vector_levels()) {
    CpuEngine engine(1, isa);
    for (const size_t at : {0, 15, 16, 38}) {
      std::vector<float> logits(39, 1.0f);
      logits[at] = std::numeric_limits<float>::quiet_NaN();
      const Loss loss = loss_of(logits, std::vector<uint8_t>(39, at % 2), 1, engine.stream());
      EXPECT_TRUE(std::isnan(loss.total)) << at;
      EXPECT_TRUE(std::isnan(loss.dlogits[at])) << at;
    }
  }
}

}  // namespace
}  // namespace tessera::kernels
