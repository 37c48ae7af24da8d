#include "kernels/rope.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "tests/kernels/tensors.h"

namespace tessera::kernels {
namespace {

/// Compared with the C library's in long double.
TEST(Rope, TableIsExactAtAnyPosition) {
  const std::vector<int32_t> positions = {0, 1, 2, 3, 100, 8191, 99999, 1000000, 123456789, 2147483647};
  for (const Isa isa : vector_levels()) {
    CpuEngine engine(1, isa);
    for (const int64_t head_dim : {2, 32, 64, 128, 130})
      for (const double base : {10000.0, 500000.0}) {
        const int64_t rows = std::ssize(positions);
        const Tensor table = Tensor::empty({rows, head_dim}, DType::f32, engine.stream());
        rope_table(Tensor::from(positions, {rows}, engine.stream()), table, base, engine.stream());
        for (int64_t row = 0; row < rows; ++row)
          for (int64_t i = 0; i < head_dim; i += 2) {
            const long double frequency =
                std::pow(static_cast<long double>(base), static_cast<long double>(-i) / head_dim);
            const long double angle = positions[static_cast<size_t>(row)] * frequency;
            // Half a unit of f32 below 1, and the rounding of frequency and angle in f64.
            const auto allowed = static_cast<double>(0x1p-25L + 16 * angle * 0x1p-53L);
            const float* pair = table.data<float>() + row * head_dim + i;
            ASSERT_NEAR(pair[0], static_cast<double>(std::cos(angle)), allowed)
                << "position " << positions[static_cast<size_t>(row)] << ", element " << i;
            ASSERT_NEAR(pair[1], static_cast<double>(std::sin(angle)), allowed)
                << "position " << positions[static_cast<size_t>(row)] << ", element " << i;
          }
      }
  }
}

TEST(Rope, LeavesPositionZeroAlone) {
  CpuEngine engine(1);
  const Tensor x = uniform_tensor("x", {1, 3, 64}, DType::f32, engine.stream()), y = Tensor::like(x);
  const Tensor table = Tensor::empty({1, 64}, DType::f32, engine.stream());
  rope_table(Tensor::zeros({1}, DType::i32, engine.stream()), table, 1e4, engine.stream());
  rope_forward(x, table, y, engine.stream());
  EXPECT_TRUE(same_bits(x, y));
}

}  // namespace
}  // namespace tessera::kernels
