// Where a contract lets an output be an input, the result is that of separate tensors.
#include <gtest/gtest.h>

#include "kernels/pointwise.h"
#include "kernels/qk_norm.h"
#include "kernels/rms_norm.h"
#include "kernels/rope.h"
#include "kernels/swiglu.h"
#include "tests/kernels/tensors.h"

namespace tessera::kernels {
namespace {

class InPlace : public testing::TestWithParam<DType> {
 protected:
  CpuEngine engine{2};
  Stream stream = engine.stream();
  const Shape shape{301, 74};  // two tasks, the last vector of a row partly filled

  Tensor input(const char* name) const { return uniform_tensor(name, shape, GetParam(), stream); }
  Tensor vector(const char* name) const { return uniform_tensor(name, {shape[1]}, GetParam(), stream); }
  Tensor output() const { return Tensor::empty(shape, GetParam(), stream); }
  Tensor statistics(Shape of_rows) const { return uniform_tensor("statistics", of_rows, DType::f32, stream); }

  /// A function of two inputs may write onto the first or the second.
  void expect_onto_either(void (*function)(const Tensor&, const Tensor&, const Tensor&, Stream)) const {
    const Tensor a = input("a"), b = input("b"), y = output();
    function(a, b, y, stream);
    const Tensor onto_a = copy_of(a), onto_b = copy_of(b);
    function(onto_a, b, onto_a, stream);
    function(a, onto_b, onto_b, stream);
    EXPECT_TRUE(same_bits(onto_a, y));
    EXPECT_TRUE(same_bits(onto_b, y));
  }
};

TEST_P(InPlace, Add) { expect_onto_either(add); }

TEST_P(InPlace, SigmoidBackward) {
  const Tensor y = input("y"), dy = input("dy"), dx = output();
  sigmoid_backward(y, dy, dx, stream);
  sigmoid_backward(y, dy, dy, stream);
  EXPECT_TRUE(same_bits(dy, dx));
}

TEST_P(InPlace, Subtract) { expect_onto_either(subtract); }

TEST_P(InPlace, Negate) {
  const Tensor x = input("x"), y = output();
  negate(x, y, stream);
  negate(x, x, stream);
  EXPECT_TRUE(same_bits(x, y));
}

TEST_P(InPlace, SiluBackward) {
  const Tensor x = input("x"), dy = input("dy"), dx = output();
  silu_backward(x, dy, dx, stream);
  silu_backward(x, dy, dy, stream);
  EXPECT_TRUE(same_bits(dy, dx));
}

TEST_P(InPlace, SwigluBackward) {
  const Tensor gate = input("gate"), up = input("up"), dy = input("dy"), dgate = output(), dup = output();
  swiglu_backward(gate, up, dy, dgate, dup, stream);
  swiglu_backward(gate, up, dy, gate, up, stream);
  EXPECT_TRUE(same_bits(gate, dgate));
  EXPECT_TRUE(same_bits(up, dup));
}

TEST_P(InPlace, Rope) {
  const Shape heads{301, 1, 74};
  std::vector<int32_t> each(301);
  for (int32_t row = 0; row < 301; ++row) each[static_cast<size_t>(row)] = 7 * row;
  const Tensor table = Tensor::empty({301, 74}, DType::f32, stream);
  rope_table(Tensor::from(each, {301}, stream), table, 1e4, stream);
  const Tensor x = input("x").reshape(heads), y = output().reshape(heads), dx = output().reshape(heads);
  rope_forward(x, table, y, stream);
  rope_backward(y, table, dx, stream);
  rope_forward(x, table, x, stream);
  EXPECT_TRUE(same_bits(x, y));
  rope_backward(x, table, x, stream);
  EXPECT_TRUE(same_bits(x, dx));
}

TEST_P(InPlace, RmsNorm) {
  const Tensor x = input("x"), weight = vector("weight"), residual = input("residual"), y = output();
  const Tensor inverse = Tensor::empty({301}, DType::f32, stream);
  rms_norm_forward(x, weight, residual, y, inverse, 1e-5f, stream);
  rms_norm_forward(x, weight, residual, residual, inverse, 1e-5f, stream);
  EXPECT_TRUE(same_bits(residual, y));
  const Tensor dy = input("dy"), dx = output(), dweight = Tensor::empty({74}, DType::f32, stream);
  const Tensor same_dweight = Tensor::like(dweight);
  rms_norm_backward(x, weight, inverse, dy, dx, dweight, stream);
  rms_norm_backward(x, weight, inverse, dy, dy, same_dweight, stream);
  EXPECT_TRUE(same_bits(dy, dx));
  EXPECT_TRUE(same_bits(same_dweight, dweight));
}

TEST_P(InPlace, QkNormBackward) {
  const Shape heads{301, 1, 74};
  const Tensor x = input("x").reshape(heads), weight = vector("weight"), of_heads = statistics({301, 2}),
               dy = input("dy").reshape(heads), dx = output().reshape(heads);
  const Tensor table = uniform_tensor("table", {301, 74}, DType::f32, stream);
  const Tensor dweight = Tensor::empty({74}, DType::f32, stream), dbias = Tensor::like(dweight);
  const Tensor same_dweight = Tensor::like(dweight), same_dbias = Tensor::like(dbias);
  qk_norm_backward({x, weight, table, of_heads, dy, dx, dweight, dbias}, stream);
  qk_norm_backward({x, weight, table, of_heads, dy, dy, same_dweight, same_dbias}, stream);
  EXPECT_TRUE(same_bits(dy, dx));
  EXPECT_TRUE(same_bits(same_dweight, dweight));
  EXPECT_TRUE(same_bits(same_dbias, dbias));
}

INSTANTIATE_TEST_SUITE_P(, InPlace, testing::Values(DType::f32, DType::bf16),
                         [](const auto& dtype) { return name_of(dtype.param); });

}  // namespace
}  // namespace tessera::kernels
