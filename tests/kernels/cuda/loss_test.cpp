// The loss, its gradient, and the norm of gradients.
#include <bit>
#include <cmath>
#include <limits>

#include "kernels/binary_cross_entropy.h"
#include "kernels/cross_entropy.h"
#include "kernels/exact_norm.h"
#include "kernels/total_loss.h"
#include "tests/kernels/cuda/beside_cpu.h"

namespace tessera::kernels {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

class CudaLoss : public BesideCpuTest {
 protected:
  /// Every third row is not scored.
  Tensor draw_targets(int64_t rows, int64_t vocab) {
    std::vector<int32_t> targets;
    for (int64_t row = 0; row < rows; ++row)
      targets.push_back(row % 3 == 2 ? -1 : static_cast<int32_t>(row * 97 % vocab));
    return numbers(targets);
  }
  Tensor draw_answers(int64_t count) {
    std::vector<uint8_t> targets;
    for (int64_t i = 0; i < count; ++i) targets.push_back(i * 97 % 5 < 2);
    return Tensor::from(targets, {count}, cpu());
  }
};

TEST_F(CudaLoss, CrossEntropyIsThatOfTheProcessor) {
  for (const Shape& shape : {Shape{0, 4}, {2, 1}, {3, 31}, {5, 129}, {4, 2048}, {3, 5000}}) {
    const int64_t rows = shape[0], vocab = shape[1];
    const Tensor logits = uniform("logits", shape), targets = draw_targets(rows, vocab);
    const Tensor nll = unwritten({rows}, DType::f32), log_sum = unwritten({rows}, DType::f32);
    expect_like_cpu(
        {str("cross_entropy_forward ", shape),
         {logits, targets},
         {nll, log_sum},
         [](auto& in, auto& out, Stream s) { cross_entropy_forward(in[0], in[1], out[0], out[1], s); }},
        {{.terms = vocab + 7}, {.terms = vocab + 7}});
    cross_entropy_forward(logits, targets, nll, log_sum, cpu());
    expect_like_cpu({str("cross_entropy_backward ", shape),
                     {targets, log_sum},
                     {logits},
                     [](auto& in, auto& out, Stream s) {
                       cross_entropy_backward(out[0], in[0], in[1], {.scale = 0.25f, .z_loss = 1e-3f}, s);
                     }},
                    {{.terms = 12}});
  }
}

/// Rows with infinities and NaN; bits of NaN aside, the log_sum of each is that of the processor.
TEST_F(CudaLoss, InfinitiesAndNaNComeThrough) {
  constexpr int64_t kVocab = 33;
  const Tensor logits = uniform("logits", {5, kVocab});
  const std::span<float> x = logits.values<float>();
  std::fill_n(x.begin(), kVocab, -kInfinity);
  x[kVocab + 3] = kNaN;
  x[2 * kVocab + 1] = kInfinity;
  std::fill_n(x.begin() + 3 * kVocab, 20, -kInfinity);
  x[5 * kVocab - 1] = -kInfinity;
  const auto log_sums = [&](Stream stream) {
    const Tensor targets = Tensor::zeros({5}, DType::i32, stream),
                 nll = Tensor::empty({5}, DType::f32, stream),
                 log_sum = Tensor::empty({5}, DType::f32, stream);
    cross_entropy_forward(logits.to(stream), targets, nll, log_sum, stream);
    return values_of(log_sum);
  };
  const Values expected = log_sums(cpu()), actual = log_sums(gpu());
  for (size_t row = 0; row < expected.size(); ++row) {
    EXPECT_EQ(std::isnan(actual[row]), std::isnan(expected[row])) << "row " << row;
    if (std::isnan(expected[row])) continue;
    EXPECT_NEAR(actual[row], expected[row], 0x1p-20) << "row " << row;
  }
}

TEST_F(CudaLoss, TotalHasTheBitsOfTheProcessor) {
  for (const int64_t rows : {0, 1, 33, 1000})
    expect_same_bits({str("total_loss of ", rows),
                      {uniform("nll", {rows}), uniform("log_sum", {rows})},
                      {unwritten({1}, DType::f32)},
                      [](auto& in, auto& out, Stream s) {
                        total_loss(in[0], in[1], out[0], {.scale = 0.25f, .z_loss = 1e-3f}, s);
                      }});
}

/// Of one block, of several, and of a part of a vector.
TEST_F(CudaLoss, BinaryCrossEntropyIsThatOfTheProcessor) {
  for (const int64_t count : {0, 1, 31, 1025, 4096, 9001}) {
    const Tensor logits = uniform_tensor("logits", {count}, DType::f32, cpu(), 20),
                 targets = draw_answers(count);
    expect_like_cpu(
        {str("binary_cross_entropy_forward of ", count),
         {logits, targets},
         {unwritten({1}, DType::f32)},
         [](auto& in, auto& out, Stream s) { binary_cross_entropy_forward(in[0], in[1], out[0], 0.25f, s); }},
        {{.terms = 80}});
    expect_like_cpu({str("binary_cross_entropy_backward of ", count),
                     {logits, targets, uniform("dtotal", {1})},
                     {unwritten({count}, DType::f32)},
                     [](auto& in, auto& out, Stream s) {
                       binary_cross_entropy_backward(in[0], in[1], in[2], out[0], 0.25f, s);
                     }},
                    {{.terms = 7}});
  }
}

TEST_F(CudaLoss, BinaryCrossEntropyStandsInfiniteLogitsAndShowsNaN) {
  const auto loss = [&](float logit, uint8_t target) {
    const Tensor x = Tensor::from(std::vector{logit}, {1}, gpu()),
                 t = Tensor::from(std::vector{target}, {1}, gpu()),
                 one = Tensor::from(std::vector{1.0f}, {1}, gpu()), total = Tensor::like(x),
                 dx = Tensor::like(x);
    binary_cross_entropy_forward(x, t, total, 1, gpu());
    binary_cross_entropy_backward(x, t, one, dx, 1, gpu());
    return std::pair{values_of(total)[0], values_of(dx)[0]};
  };
  EXPECT_EQ(loss(kInfinity, 1), std::pair(0.0, 0.0));
  EXPECT_EQ(loss(-kInfinity, 0), std::pair(0.0, 0.0));
  EXPECT_EQ(loss(-kInfinity, 1), std::pair(double{kInfinity}, -1.0));
  EXPECT_EQ(loss(1e30f, 0), std::pair(double{1e30f}, 1.0));
  EXPECT_TRUE(std::isnan(loss(kNaN, 0).first));
  EXPECT_TRUE(std::isnan(loss(kNaN, 1).second));
}

/// What the device finds wrong stops it for good, so that a process of its own tries it.
TEST_F(CudaLoss, AnAnswerThatIsNeitherYesNorNoStopsTheDevice) {
  const auto lose = [&](uint8_t target) {
    try {
      const Tensor x = Tensor::zeros({1}, DType::f32, gpu()), total = Tensor::like(x);
      binary_cross_entropy_forward(x, Tensor::from(std::vector{target}, {1}, gpu()), total, 1, gpu());
      total.to(cpu());
    } catch (const Error& error) {
      std::fputs(error.what(), stderr);
      std::_Exit(1);
    }
    std::_Exit(0);
  };
  EXPECT_EXIT(lose(1), testing::ExitedWithCode(0), "");
  EXPECT_EXIT(lose(2), testing::ExitedWithCode(1), "launch failure");
}

TEST_F(CudaLoss, PartsOfTheNormHaveTheBitsOfTheProcessor) {
  for (const int64_t count : {0, 1, 33, 5000})
    for (const int64_t offset : {0, 1}) {
      SCOPED_TRACE(str(count, " elements, offset ", offset));
      const Tensor x = uniform("x", {count}), there = copy_to(x, gpu(), offset);
      const NormParts expected = norm_parts(x, 4, cpu()), parts = norm_parts(there, 4, gpu());
      EXPECT_EQ(parts.largest, expected.largest);
      EXPECT_TRUE(parts.squares == expected.squares);
      EXPECT_EQ(norm_parts(there, -120, gpu()).largest, expected.largest);  // squares that do not fit
      if (count == 0) continue;
      x.values<float>()[count / 2] = kNaN;
      EXPECT_TRUE(std::isnan(norm_parts(copy_to(x, gpu(), offset), 4, gpu()).largest));
    }
}

}  // namespace
}  // namespace tessera::kernels
