// The straight-through rule: what no table of derivatives can show.
#include <gtest/gtest.h>

#include "autograd/functions.h"
#include "runtime/cpu_engine.h"

namespace tessera {
namespace {

TEST(StraightThrough, ValueOfTheCodeGradientOfTheRow) {
  CpuEngine engine;
  const Stream stream = engine.stream();
  const auto matrix = [&](const std::vector<float>& values) {
    return Tensor::from(values, {std::ssize(values) / 2, 2}, stream);
  };
  const Tensor table = matrix({0, 0, 4, 4}), target = matrix({0, 0, 0, 0});
  Tensor dx, dtable;
  Tape tape;
  const Var x = tape.leaf(matrix({3, 5, 1, -1}), [&](const Tensor& gradient) { dx = gradient; });
  const Var codes = tape.leaf(table, [&](const Tensor& gradient) { dtable = gradient; });
  const Tensor nearest = nearest_code(x.value(), codes.value());
  EXPECT_EQ(nearest.to_vector<int32_t>(), (std::vector<int32_t>{1, 0}));
  const Var quantised = straight_through(x, embedding(nearest, codes).value());
  EXPECT_EQ(quantised.value().to_vector<float>(), (std::vector<float>{4, 4, 0, 0}));
  tape.backward(squared_error(quantised, target, 0.5f).total);
  EXPECT_EQ(dx.to_vector<float>(),
            (std::vector<float>{4, 4, 0, 0}));  // 2 0.5 (code - target), not (x - target)
  EXPECT_FALSE(dtable);
}

TEST(StraightThrough, RefusesAnotherShape) {
  CpuEngine engine;
  const Tensor x = Tensor::zeros({2, 3}, DType::f32, engine.stream());
  EXPECT_THROW(straight_through(x, Tensor::zeros({3, 2}, DType::f32, engine.stream())), Error);
}

}  // namespace
}  // namespace tessera
