// The vector code below the kernels, at every level.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "tests/kernels/tensors.h"

#define TESSERA_KERNELS "tests/kernels/vector_functions.inc"
#define TESSERA_KERNELS_OF_BF16_PAIRS
#include "kernels/cpu/each_isa.h"

namespace tessera::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

/// Distance in units of the last place of the expected f32.
double units(float actual, double expected) {
  const float nearest = static_cast<float>(expected);
  const double unit = static_cast<double>(std::nextafter(std::abs(nearest), kInfinity)) - std::abs(nearest);
  return std::abs(actual - expected) / unit;
}

template <class Function>
void on_each_level(Function* avx2, Function* avx512, Function* avx512_bf16,
                   const std::function<void(Function*)>& body) {
  body(avx2);
  if (supports(Isa::avx512)) body(avx512);
  if (supports(Isa::avx512_bf16)) body(avx512_bf16);
}

TEST(Vector, ExpIsWithinOneUnit) {
  std::vector<float> x;
  for (float value = -87.2f; value < 88.0f; value += 0.00137f) x.push_back(value);
  on_each_level<decltype(avx2::exponentials)>(
      avx2::exponentials, avx512::exponentials, avx512_bf16::exponentials, [&](auto* exponentials) {
        std::vector<float> y(x.size());
        exponentials(x.data(), y.data(), std::ssize(x));
        for (size_t i = 0; i < x.size(); ++i)
          ASSERT_LE(units(y[i], std::exp(static_cast<double>(x[i]))), 1) << x[i];
      });
}

TEST(Vector, ExpAtItsEnds) {
  const std::vector<float> x = {0, -0.0f, -88, -kInfinity, kInfinity, 1000, kNaN};
  on_each_level<decltype(avx2::exponentials)>(avx2::exponentials, avx512::exponentials,
                                              avx512_bf16::exponentials, [&](auto* exponentials) {
                                                std::vector<float> y(x.size());
                                                exponentials(x.data(), y.data(), std::ssize(x));
                                                EXPECT_EQ(y[0], 1);
                                                EXPECT_EQ(y[1], 1);
                                                EXPECT_EQ(y[2], 0);
                                                EXPECT_EQ(y[3], 0);
                                                EXPECT_LE(units(y[4], std::exp(88.0)), 1);
                                                EXPECT_EQ(y[5], y[4]);
                                                EXPECT_TRUE(std::isnan(y[6]));
                                              });
}

TEST(Vector, LogIsWithinTwoUnits) {
  std::vector<float> x;
  for (float value = 1.2e-38f; value < 1e38f; value *= 1.00073f) x.push_back(value);
  for (float value = 0.5f; value < 2.0f; value += 0.0001f) x.push_back(value);
  on_each_level<decltype(avx2::logarithms)>(
      avx2::logarithms, avx512::logarithms, avx512_bf16::logarithms, [&](auto* logarithms) {
        std::vector<float> y(x.size());
        logarithms(x.data(), y.data(), std::ssize(x));
        for (size_t i = 0; i < x.size(); ++i)
          ASSERT_LE(units(y[i], std::log(static_cast<double>(x[i]))), 2) << x[i];
      });
}

TEST(Vector, LogAtItsEnds) {
  const std::vector<float> x = {1, kInfinity, kNaN};
  on_each_level<decltype(avx2::logarithms)>(avx2::logarithms, avx512::logarithms, avx512_bf16::logarithms,
                                            [&](auto* logarithms) {
                                              std::vector<float> y(x.size());
                                              logarithms(x.data(), y.data(), std::ssize(x));
                                              EXPECT_EQ(y[0], 0);
                                              EXPECT_EQ(y[1], kInfinity);
                                              EXPECT_TRUE(std::isnan(y[2]));
                                            });
}

/// Every upper half, with lower halves on both sides of and at the middle.
TEST(Vector, RoundsToBf16LikeTheScalar) {
  std::vector<float> x;
  for (uint32_t upper = 0; upper < 0x10000u; ++upper)
    for (const uint32_t lower : {0x0u, 0x1u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu})
      x.push_back(std::bit_cast<float>(upper << 16 | lower));
  on_each_level<decltype(avx2::round_to_bf16)>(
      avx2::round_to_bf16, avx512::round_to_bf16, avx512_bf16::round_to_bf16, [&](auto* round_to_bf16) {
        std::vector<bf16> y(x.size());
        round_to_bf16(x.data(), y.data(), std::ssize(x));
        for (size_t i = 0; i < x.size(); ++i) ASSERT_EQ(y[i], bf16(x[i])) << std::bit_cast<uint32_t>(x[i]);
      });
}

TEST(Vector, WidensBytesOfAnyCount) {
  std::vector<uint8_t> x;
  for (int value = 255; value >= 0; --value) x.push_back(static_cast<uint8_t>(value));
  on_each_level<decltype(avx2::bytes_as_floats)>(avx2::bytes_as_floats, avx512::bytes_as_floats,
                                                 avx512_bf16::bytes_as_floats, [&](auto* bytes_as_floats) {
                                                   for (const int64_t count : {1, 15, 16, 31, 256}) {
                                                     std::vector<float> y(static_cast<size_t>(count));
                                                     bytes_as_floats(x.data(), y.data(), count);
                                                     for (size_t i = 0; i < y.size(); ++i)
                                                       ASSERT_EQ(y[i], x[i]);
                                                   }
                                                 });
}

TEST(Vector, SumsWholeNumbersOfAnyCount) {
  std::vector<float> x(300);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i + 1);
  on_each_level<decltype(avx2::total)>(avx2::total, avx512::total, avx512_bf16::total, [&](auto* total) {
    for (int64_t count = 0; count <= 300; ++count)
      ASSERT_EQ(total(x.data(), count), static_cast<float>(count * (count + 1) / 2));
  });
}

TEST(Vector, FindsTheLargestLane) {
  on_each_level<decltype(avx2::largest)>(avx2::largest, avx512::largest, avx512_bf16::largest,
                                         [&](auto* largest) {
                                           for (size_t at = 0; at < 16; ++at) {
                                             std::vector<float> x(16, -3.0f);
                                             x[at] = -2;
                                             EXPECT_EQ(largest(x.data()), -2) << at;
                                           }
                                         });
}

TEST(Vector, Transposes) {
  std::vector<float> x(64), y(64);
  for (size_t i = 0; i < 64; ++i) x[i] = static_cast<float>(i);
  on_each_level<decltype(avx2::transposed_8x8)>(avx2::transposed_8x8, avx512::transposed_8x8,
                                                avx512_bf16::transposed_8x8, [&](auto* transposed_8x8) {
                                                  transposed_8x8(x.data(), y.data());
                                                  for (size_t row = 0; row < 8; ++row)
                                                    for (size_t col = 0; col < 8; ++col)
                                                      EXPECT_EQ(y[8 * col + row], x[8 * row + col]);
                                                });
}

}  // namespace
}  // namespace tessera::kernels
