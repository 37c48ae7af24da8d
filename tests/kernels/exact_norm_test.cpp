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
  const int exponent = norm_exponent(largest);
  const NormParts parts = norm_parts(x, exponent, engine.stream());
  EXPECT_EQ(parts.largest, largest);
  Squares expected = 0;
  double plain = 0;
  for (const float value : x.values<float>()) {
    expected += square_of(value, exponent);
    plain += static_cast<double>(value) * value;
  }
  EXPECT_TRUE(parts.squares == expected);
  // Each square is rounded by at most 2^-45 of the largest.
  EXPECT_NEAR(norm_from(parts.squares, exponent) / std::sqrt(plain), 1, 1e-12);
}

TEST(ExactNorm, AnyPiecesCombineToTheSame) {
  CpuEngine plain(1, Isa::avx2);
  const Tensor x = gradient(50021, plain.stream());
  const float largest = norm_parts(x, 0, plain.stream()).largest;
  const int exponent = norm_exponent(largest);
  const Squares whole = norm_parts(x, exponent, plain.stream()).squares;
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
          const NormParts parts = norm_parts(piece, exponent, engine.stream());
          most = std::max(most, parts.largest);
          sum += parts.squares;
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
      const int exponent = norm_exponent(std::abs(value));
      const NormParts parts = norm_parts(x, exponent, engine.stream());
      EXPECT_EQ(parts.largest, std::abs(value));
      EXPECT_TRUE(parts.squares == static_cast<Squares>(kCount) * square_of(value, exponent));
    }
  }
}

TEST(ExactNorm, TheExponentIsTheNextMultipleOfFour) {
  for (int exponent = -148; exponent <= 128; exponent += 4) {
    EXPECT_EQ(norm_exponent(std::ldexp(exponent < -120 ? 0.5f : 0.99f, exponent)), exponent);
    if (exponent < 128) {
      EXPECT_EQ(norm_exponent(std::ldexp(1.0f, exponent)), exponent + 4);
    }
  }
  EXPECT_EQ(norm_exponent(std::numeric_limits<float>::max()), 128);
}

TEST(ExactNorm, FindsNaNAndInfinity) {
  for (const Isa isa : vector_levels()) {
    CpuEngine engine(2, isa);
    for (const int64_t at : {0, 5, 40000}) {
      const Tensor x = gradient(40001, engine.stream());
      x.values<float>()[at] = -std::numeric_limits<float>::infinity();
      EXPECT_EQ(norm_parts(x, 0, engine.stream()).largest, std::numeric_limits<float>::infinity());
      x.values<float>()[at] = -std::numeric_limits<float>::quiet_NaN();
      EXPECT_TRUE(std::isnan(norm_parts(x, 0, engine.stream()).largest));
    }
  }
}

TEST(ExactNorm, IsZeroForNothingAndOnMeta) {
  CpuEngine engine(1);
  const NormParts nothing = norm_parts(Tensor::empty({0}, DType::f32, engine.stream()), 0, engine.stream());
  EXPECT_EQ(nothing.largest, 0);
  EXPECT_TRUE(nothing.squares == 0);
  const Tensor shape_only = Tensor::empty({1 << 20, 1 << 20}, DType::f32, Stream::meta());
  const NormParts unknown = norm_parts(shape_only, 0, Stream::meta());
  EXPECT_EQ(unknown.largest, 0);
  EXPECT_TRUE(unknown.squares == 0);
}

}  // namespace
}  // namespace tessera::kernels
