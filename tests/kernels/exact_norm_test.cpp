#include "kernels/exact_norm.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/kernels/tensors.h"

namespace tessera::kernels {
namespace {

using Squares = unsigned __int128;

/// Normal values over many magnitudes.
Tensor gradient(int64_t count, Stream stream) {
  const Tensor x = Tensor::empty({count}, DType::f32, stream);
  for (int64_t i = 0; i < count; ++i)
    x.values<float>()[i] = static_cast<float>(random_normal(1, Purpose("value"), i) *
                                              std::exp(random_normal(1, Purpose("size"), i)));
  return x;
}

/// Of the smallest power of two above |x|.
int exponent_of(float x) { return std::ilogb(x) + 1; }

/// (x 2^-exponent)^2 2^52 as a whole number.  The square is a product of two numbers of 24 bits, so it has no rounding of its own.
uint64_t square_of(float x, int exponent) {
  const double scaled = std::ldexp(static_cast<double>(x), 26 - exponent);
  return static_cast<uint64_t>(std::nearbyint(scaled * scaled));
}

TEST(ExactNorm, IsTheFormula) {
  CpuEngine engine(2);
  const Tensor x = gradient(40001, engine.stream());
  float largest = 0;
  for (const float value : x.values<float>()) largest = std::max(largest, std::abs(value));
  EXPECT_EQ(largest_magnitude(x, engine.stream()), largest);
  const int exponent = exponent_of(largest);
  Squares expected = 0;
  double plain = 0;
  for (const float value : x.values<float>()) {
    expected += square_of(value, exponent);
    plain += static_cast<double>(value) * value;
  }
  const Squares squares = scaled_squares(x, exponent, engine.stream());
  EXPECT_TRUE(squares == expected);
  // Each square is rounded by at most 2^-51 of the largest.
  EXPECT_NEAR(std::ldexp(std::sqrt(static_cast<double>(squares) * 0x1p-52), exponent) / std::sqrt(plain), 1,
              1e-12);
}

TEST(ExactNorm, AnyPiecesCombineToTheSame) {
  CpuEngine plain(1, Isa::avx2);
  const Tensor x = gradient(50021, plain.stream());
  const float largest = largest_magnitude(x, plain.stream());
  const int exponent = exponent_of(largest);
  const Squares whole = scaled_squares(x, exponent, plain.stream());
  for (const Isa isa : vector_levels())
    for (const int threads : {1, 2}) {
      CpuEngine engine(threads, isa);
      for (uint64_t trial = 0; trial < 20; ++trial) {
        float most = 0;
        Squares sum = 0;
        for (int64_t begin = 0; begin < x.count();) {
          const auto wanted = static_cast<int64_t>(1 + random_below(trial, Purpose("cut"), begin, 20000));
          const int64_t count = std::min(x.count() - begin, wanted);
          const Tensor piece = x.slice(begin, {count});
          most = std::max(most, largest_magnitude(piece, engine.stream()));
          sum += scaled_squares(piece, exponent, engine.stream());
          begin += count;
        }
        EXPECT_EQ(most, largest);
        EXPECT_TRUE(sum == whole);
      }
    }
}

TEST(ExactNorm, HoldsTheSmallestAndTheLargestNumbers) {
  for (const Isa isa : vector_levels()) {
    CpuEngine engine(1, isa);
    for (const float value : {1.0f, -3.0f, 1e-45f, -3.4e38f, std::numeric_limits<float>::max()}) {
      constexpr int64_t kCount = 30011;  // more than a lane of 64 bits would hold without a break
      const Tensor x = Tensor::from(std::vector<float>(kCount, value), {kCount}, engine.stream());
      EXPECT_EQ(largest_magnitude(x, engine.stream()), std::abs(value));
      const int exponent = exponent_of(value);
      EXPECT_TRUE(scaled_squares(x, exponent, engine.stream()) ==
                  static_cast<Squares>(kCount) * square_of(value, exponent));
    }
  }
}

TEST(ExactNorm, FindsNaNAndInfinity) {
  for (const Isa isa : vector_levels()) {
    CpuEngine engine(2, isa);
    for (const int64_t at : {0, 5, 40000}) {
      const Tensor x = gradient(40001, engine.stream());
      x.values<float>()[at] = -std::numeric_limits<float>::infinity();
      EXPECT_EQ(largest_magnitude(x, engine.stream()), std::numeric_limits<float>::infinity());
      x.values<float>()[at] = -std::numeric_limits<float>::quiet_NaN();
      EXPECT_TRUE(std::isnan(largest_magnitude(x, engine.stream())));
    }
  }
}

TEST(ExactNorm, IsZeroForNothingAndOnMeta) {
  CpuEngine engine(1);
  EXPECT_EQ(largest_magnitude(Tensor::empty({0}, DType::f32, engine.stream()), engine.stream()), 0);
  const Tensor shape_only = Tensor::empty({1 << 20, 1 << 20}, DType::f32, Stream::meta());
  EXPECT_EQ(largest_magnitude(shape_only, Stream::meta()), 0);
  EXPECT_TRUE(scaled_squares(shape_only, 1, Stream::meta()) == 0);
}

}  // namespace
}  // namespace tessera::kernels
