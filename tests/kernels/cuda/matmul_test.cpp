#include "kernels/matmul.h"

#include "kernels/pointwise.h"
#include "tests/kernels/cuda/cuda_kernel_test.h"

namespace tessera::kernels {
namespace {

using Offsets = std::vector<int64_t>;

struct Problem {
  Offsets offsets;
  int64_t in, out;
  DType x, weight, y;
  int64_t offset = 0;  ///< of every tensor from a 16-byte boundary

  int64_t rows() const { return offsets.back(); }
  Shape weight_shape() const {
    const int64_t groups = std::ssize(offsets) - 1;
    return groups == 1 ? Shape{out, in} : Shape{groups, out, in};
  }
  std::string name() const {
    return str("rows ", rows(), ", groups ", offsets.size() - 1, ", ", in, " to ", out, ", x ", x,
               ", weight ", weight, ", y ", y, ", offset ", offset);
  }
};

struct Inputs {
  Tensor x, weight, dy;
};

class CudaMatmul : public CudaKernelTest {
 protected:
  Inputs draw(const Problem& p) {
    return {uniform_tensor("x", {p.rows(), p.in}, p.x, cpu()),
            uniform_tensor("weight", p.weight_shape(), p.weight, cpu()),
            uniform_tensor("dy", {p.rows(), p.out}, p.y, cpu())};
  }
  /// y, dx, dweight
  static std::vector<Tensor> multiply(const Problem& p, const Inputs& in, Stream stream) {
    const Tensor x = copy_to(in.x, stream, p.offset), weight = copy_to(in.weight, stream, p.offset);
    const Tensor dy = copy_to(in.dy, stream, p.offset);
    const Tensor y = room(dy.shape(), p.y, stream, p.offset), dx = room(x.shape(), p.x, stream, p.offset);
    const Tensor dweight = room(weight.shape(), DType::f32, stream, p.offset);
    matmul_forward(x, weight, y, p.offsets, stream);
    matmul_backward_input(dy, weight, dx, p.offsets, stream);
    matmul_backward_weight(dy, x, dweight, p.offsets, {}, stream);
    return {y, dx, dweight};
  }
  /// Operands that meet bf16 are rounded to it, results are where they are bf16.
  void expect_like_cpu(const Problem& p) {
    SCOPED_TRACE(p.name());
    const Inputs in = draw(p);
    const std::vector<Tensor> expected = multiply(p, in, cpu()), actual = multiply(p, in, gpu());
    const int64_t depth[] = {p.in, p.out, p.rows()};
    const DType met[] = {p.weight, p.weight, p.x};
    const char* const names[] = {"y", "dx", "dweight"};
    for (size_t i = 0; i < 3; ++i) {
      const bool rounds = met[i] == DType::bf16 || expected[i].dtype() == DType::bf16;
      EXPECT_TRUE(
          close({names[i], values_of(actual[i]), values_of(expected[i]), rounds ? DType::bf16 : DType::f32,
                 Roundings{.terms = 2 * depth[i] + 1, .bf16_stores = 2}}));
    }
  }
};

constexpr DType kFloats[] = {DType::f32, DType::bf16};

TEST_F(CudaMatmul, AddsAFinishedGradientToSums) {
  for (const DType dtype : kFloats)
    for (const Offsets& offsets : {Offsets{0, 37}, Offsets{0, 21, 21, 58}}) {
      const Problem p{offsets, 40, 33, dtype, dtype, dtype};
      SCOPED_TRACE(p.name());
      const Inputs in = draw(p);
      std::vector<Tensor> sums;
      Tensor expected = multiply(p, in, gpu())[2];
      for (const char* name : {"nearest", "last"}) {
        sums.push_back(copy_to(uniform_tensor(name, p.weight_shape(), DType::f32, cpu()), gpu(), 0));
        const Tensor sum = Tensor::like(expected);
        add(sums.back(), expected, sum, gpu());
        expected = sum;
      }
      const Tensor x = copy_to(in.x, gpu(), 0), dy = copy_to(in.dy, gpu(), 0);
      matmul_backward_weight(dy, x, sums.back(), p.offsets, sums, gpu());
      EXPECT_EQ(sums.back().to_vector<float>(), expected.to_vector<float>());
    }
}

TEST_F(CudaMatmul, GroupsOnTensorCoresAreThoseOfTheProcessor) {
  for (const DType y : kFloats)
    for (const int64_t offset : {0, 3}) {
      expect_like_cpu({{0, 1, 1, 32, 65, 194}, 72, 136, DType::bf16, DType::bf16, y, offset});
      expect_like_cpu({{0, 127, 256}, 33, 31, DType::bf16, DType::bf16, y, offset});
    }
  expect_like_cpu({{0, 1, 34}, 40, 45, DType::f32, DType::bf16, DType::f32});
}

/// The chain of fused multiply-adds in f32: the processor's bits, unless an operand was rounded to meet a
/// bf16 one.
TEST_F(CudaMatmul, PlainGroupsHaveTheBitsOfTheProcessor) {
  for (const DType x : kFloats)
    for (const DType y : kFloats)
      for (const int64_t offset : {0, 3}) {
        const Problem p{{0, 1, 1, 32, 65, 194}, 72, 45, x, DType::f32, y, offset};
        SCOPED_TRACE(p.name());
        const Inputs in = draw(p);
        const std::vector<Tensor> expected = multiply(p, in, cpu()), actual = multiply(p, in, gpu());
        EXPECT_TRUE(same_bits(actual[0], expected[0]));
        EXPECT_TRUE(same_bits(actual[1], expected[1]));
        EXPECT_TRUE(x == DType::bf16 || same_bits(actual[2], expected[2]));
      }
}

TEST_F(CudaMatmul, RoutersHaveTheBitsOfTheProcessor) {
  for (const DType x : kFloats)
    for (const DType weight : kFloats)
      for (const int64_t out : {1, 7, 64}) {
        const Problem p{{0, 67}, 40, out, x, weight, DType::f32};
        SCOPED_TRACE(p.name());
        const Inputs in = draw(p);
        const std::vector<Tensor> expected = multiply(p, in, cpu()), actual = multiply(p, in, gpu());
        EXPECT_TRUE(same_bits(actual[0], expected[0]));
        EXPECT_TRUE(same_bits(actual[1], expected[1]));
      }
}

TEST_F(CudaMatmul, OneGroupIsThatOfTheProcessor) {
  for (const DType x : kFloats)
    for (const DType weight : kFloats)
      for (const DType y : kFloats) expect_like_cpu({{0, 33}, 40, 80, x, weight, y});
  expect_like_cpu({{0, 1}, 127, 129, DType::bf16, DType::bf16, DType::bf16, 3});
}

TEST_F(CudaMatmul, NoRowsGiveZeros) {
  for (const Offsets& offsets : {Offsets{0, 0}, Offsets{0, 0, 0}})
    for (const DType dtype : kFloats) {
      const Problem p{offsets, 33, 80, dtype, dtype, dtype};
      for (const double value : values_of(multiply(p, draw(p), gpu())[2])) ASSERT_EQ(value, 0);
    }
}

/// A row among others of its group, and of other groups, gives what it gives alone.
TEST_F(CudaMatmul, BitsOfARowOfGroupsDependOnItAlone) {
  const Problem all{{0, 150, 160}, 72, 136, DType::bf16, DType::bf16, DType::bf16};
  const Problem first{{0, 1, 1}, 72, 136, DType::bf16, DType::bf16, DType::bf16};
  const Inputs in = draw(all);
  const std::vector<Tensor> together = multiply(all, in, gpu());
  for (const int64_t row : {0, 17, 127, 128, 149}) {
    const std::vector<Tensor> alone =
        multiply(first, {rows_of(in.x, row, row + 1), in.weight, rows_of(in.dy, row, row + 1)}, gpu());
    for (const size_t i : {0, 1}) EXPECT_TRUE(same_bits(alone[i], rows_of(together[i], row, row + 1))) << row;
  }
}

}  // namespace
}  // namespace tessera::kernels
