#include "kernels/cross_entropy.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "tests/kernels/tensors.h"

namespace tessera::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Loss {
  std::vector<float> nll, log_sum, dlogits;
};

Loss loss_of(const std::vector<float>& logits, const std::vector<int32_t>& targets,
             CrossEntropyOptions options, Stream stream) {
  const int64_t rows = std::ssize(targets), vocab = std::ssize(logits) / rows;
  Outputs out(stream);
  const Tensor nll = out.make({rows}, DType::f32), log_sum = out.make({rows}, DType::f32);
  const Tensor x = out.make_like(Tensor::from(logits, {rows, vocab}, stream)),
               t = Tensor::from(targets, {rows}, stream);
  cross_entropy_forward(x, t, nll, log_sum, stream);
  cross_entropy_backward(x, t, log_sum, options, stream);
  out.expect_intact("cross_entropy");
  const auto floats = [](const Tensor& tensor) {
    return std::vector<float>(tensor.values<float>().begin(), tensor.values<float>().end());
  };
  return {floats(nll), floats(log_sum), floats(x)};
}

TEST(CrossEntropy, GivesUnscoredRowsZeros) {
  CpuEngine engine(2);
  const Tensor logits = uniform_tensor("x", {3, 37}, DType::f32, engine.stream(), 5);
  const std::vector<float> values(logits.values<float>().begin(), logits.values<float>().end());
  const Loss loss = loss_of(values, {5, -1, 36}, {0.5f, 1e-3f}, engine.stream());
  EXPECT_EQ(loss.nll[1], 0);
  EXPECT_EQ(loss.log_sum[1], 0);
  for (size_t i = 0; i < 37; ++i) EXPECT_EQ(loss.dlogits[37 + i], 0);
  EXPECT_GT(loss.nll[0], 0);
  EXPECT_GT(loss.nll[2], 0);
}

TEST(CrossEntropy, ToleratesExcludedWords) {
  CpuEngine engine(1);
  std::vector<float> logits(40, -kInfinity);
  logits[3] = 1;
  logits[30] = 1;
  const Loss loss = loss_of(logits, {30}, {}, engine.stream());
  EXPECT_FLOAT_EQ(loss.nll[0], std::log(2.0f));
  EXPECT_FLOAT_EQ(loss.dlogits[3], 0.5f);
  EXPECT_FLOAT_EQ(loss.dlogits[30], -0.5f);
  EXPECT_EQ(loss.dlogits[0], 0);
}

TEST(CrossEntropy, StandsLargeLogits) {
  CpuEngine engine(1);
  const Loss loss = loss_of({1e30f, 0, -1e30f}, {0}, {}, engine.stream());
  EXPECT_EQ(loss.nll[0], 0);
  EXPECT_EQ(loss.dlogits, (std::vector<float>{0, 0, 0}));
}

TEST(CrossEntropy, ShowsNaN) {
  for (const Isa isa : vector_levels()) {
    CpuEngine engine(1, isa);
    for (const size_t at : {0, 15, 16, 38}) {
      std::vector<float> logits(39, 1.0f);
      logits[at] = std::numeric_limits<float>::quiet_NaN();
      EXPECT_TRUE(std::isnan(loss_of(logits, {20}, {}, engine.stream()).nll[0])) << at;
    }
  }
}

}  // namespace
}  // namespace tessera::kernels
