#include "kernels/attention.h"

#include <cmath>

#include "tests/kernels/cuda/cuda_kernel_test.h"

namespace tessera::kernels {
namespace {

using Segments = std::vector<int64_t>;

struct Problem {
  Segments segments;
  int64_t heads, head_dim;
  DType dtype;
  int64_t offset = 0;  ///< of every tensor from a 16-byte boundary

  Shape shape() const { return {segments.back(), heads, head_dim}; }
  AttentionOptions options() const { return {segments, 1 / std::sqrt(static_cast<float>(head_dim))}; }
  std::string name() const {
    return str("rows ", segments.back(), ", head_dim ", head_dim, ", ", dtype, ", offset ", offset);
  }
};

struct Inputs {
  Tensor q, k, v, dy;
};

Inputs draw(const Problem& problem, Stream stream) {
  return {uniform_tensor("q", problem.shape(), problem.dtype, stream, 2),
          uniform_tensor("k", problem.shape(), problem.dtype, stream, 2),
          uniform_tensor("v", problem.shape(), problem.dtype, stream),
          uniform_tensor("dy", problem.shape(), problem.dtype, stream)};
}

class CudaAttention : public CudaKernelTest {
 protected:
  /// y, log_sum, dq, dk, dv
  static std::vector<Tensor> attend(const Problem& problem, const Inputs& in, Stream stream) {
    const auto make = [&] { return room(problem.shape(), problem.dtype, stream, problem.offset); };
    const auto there = [&](const Tensor& tensor) { return copy_to(tensor, stream, problem.offset); };
    const Tensor q = there(in.q), k = there(in.k), v = there(in.v), dy = there(in.dy);
    const Tensor y = make(), dq = make(), dk = make(), dv = make();
    const Tensor log_sum = room({problem.heads, problem.segments.back()}, DType::f32, stream, problem.offset);
    attention_forward(q, k, v, y, log_sum, problem.options(), stream);
    attention_backward({q, k, v, y, log_sum, dy, dq, dk, dv}, problem.options(), stream);
    return {y, log_sum, dq, dk, dv};
  }

  void expect_like_cpu(const Problem& problem) {
    SCOPED_TRACE(problem.name());
    const Inputs in = draw(problem, cpu());
    const std::vector<Tensor> expected = attend(problem, in, cpu()), actual = attend(problem, in, gpu());
    const int64_t terms = 3 * problem.head_dim + 3 * problem.segments.back() + 16;
    const char* const names[] = {"y", "log_sum", "dq", "dk", "dv"};
    for (size_t i = 0; i < expected.size(); ++i)
      EXPECT_TRUE(close({names[i], values_of(actual[i]), values_of(expected[i]), expected[i].dtype(),
                         Roundings{.terms = terms, .bf16_stores = 2}}));
  }
};

TEST_F(CudaAttention, OnTensorCoresIsThatOfTheProcessor) {
  for (const int64_t head_dim : {16, 32, 48, 64, 96, 128})
    expect_like_cpu({{0, 1, 34, 34, 161}, 2, head_dim, DType::bf16});
  expect_like_cpu({{0, 129, 256}, 1, 64, DType::bf16});
}

TEST_F(CudaAttention, TakesTensorsThatAreNotAligned) {
  expect_like_cpu({{0, 7, 72}, 2, 48, DType::bf16, 3});
  expect_like_cpu({{0, 7, 72}, 1, 128, DType::bf16, 1});
  expect_like_cpu({{0, 7, 40}, 2, 16, DType::f32, 1});
}

TEST_F(CudaAttention, PlainIsThatOfTheProcessor) {
  expect_like_cpu({{0, 1, 34, 34, 67}, 2, 64, DType::f32});
  expect_like_cpu({{0, 9}, 1, 144, DType::f32});
  expect_like_cpu({{0, 31, 33}, 2, 40, DType::bf16});
  expect_like_cpu({{0, 9}, 1, 144, DType::bf16});
}

/// A segment alone gives what it gives among others.
TEST_F(CudaAttention, BitsDoNotDependOnOtherSegments) {
  const Segments segments = {0, 1, 34, 167};
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const Problem together{segments, 1, 32, dtype};
    const Inputs in = draw(together, cpu());
    const std::vector<Tensor> all = attend(together, in, gpu());
    for (size_t s = 0; s + 1 < segments.size(); ++s) {
      const int64_t begin = segments[s], end = segments[s + 1];
      const auto part = [&](const Tensor& tensor) { return rows_of(tensor, begin, end); };
      const std::vector<Tensor> one =
          attend({{0, end - begin}, 1, 32, dtype}, {part(in.q), part(in.k), part(in.v), part(in.dy)}, gpu());
      for (const size_t i : {0, 2, 3, 4}) EXPECT_TRUE(same_bits(one[i], part(all[i]))) << "output " << i;
      EXPECT_TRUE(same_bits(one[1].reshape({end - begin}), all[1].slice(begin, {end - begin})));
    }
  }
}

/// Rows that fill a tile up to its height have log_sum and delta too; e^-log_sum of a row that exists would
/// overflow there.
TEST_F(CudaAttention, RowsBehindTheLastAddNothing) {
  const Problem problem{{0, 33}, 1, 64, DType::bf16};
  Inputs in = draw(problem, cpu());
  for (bf16& value : in.q.values<bf16>()) value = bf16(static_cast<float>(value) - 60);
  for (bf16& value : in.k.values<bf16>()) value = bf16(1);
  const std::vector<Tensor> expected = attend(problem, in, cpu()), actual = attend(problem, in, gpu());
  EXPECT_LT(values_of(expected[1])[32], -400);
  for (const Tensor& tensor : actual)
    for (const double value : values_of(tensor)) ASSERT_TRUE(std::isfinite(value));
  EXPECT_TRUE(close({"dv", values_of(actual[4]), values_of(expected[4]), DType::bf16,
                     Roundings{.terms = 400, .bf16_stores = 2}}));
}

}  // namespace
}  // namespace tessera::kernels
