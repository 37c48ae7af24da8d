// f32 and f64 arithmetic on NaN, infinities, zeros of both signs and subnormals, in every rounding.

#include <cfenv>
#include <functional>
#include <limits>

#include "tests/simulated_gpu/tests/ptx_evaluate.h"

namespace simulated_gpu {
namespace {

template <class T>
std::vector<T> edges() {
  using L = std::numeric_limits<T>;
  return {0,
          static_cast<T>(-0.0),
          1,
          -1,
          static_cast<T>(1) / 3,
          L::denorm_min(),
          -L::denorm_min(),
          L::min(),
          -L::min(),
          L::max(),
          L::lowest(),
          L::infinity(),
          -L::infinity(),
          L::quiet_NaN(),
          T(16777217),
          static_cast<T>(-2.5),
          L::epsilon(),
          static_cast<T>(3.14159265358979)};
}

float flushed(float v) { return std::fpclassify(v) == FP_SUBNORMAL ? std::copysign(0.0f, v) : v; }

uint32_t bits(float value) {
  uint32_t result;
  std::memcpy(&result, &value, sizeof result);
  return result;
}

TEST(Float, NearestArithmetic) {
  expect_binary<float>("add.rn.f32 d, a, b", edges<float>(), [](float a, float b) { return a + b; });
  expect_binary<float>("add.f32 d, a, b", edges<float>(), [](float a, float b) { return a + b; });
  expect_binary<float>("sub.rn.f32 d, a, b", edges<float>(), [](float a, float b) { return a - b; });
  expect_binary<float>("mul.rn.f32 d, a, b", edges<float>(), [](float a, float b) { return a * b; });
  expect_binary<float>("div.rn.f32 d, a, b", edges<float>(), [](float a, float b) { return a / b; });
  expect_binary<double>("add.rn.f64 d, a, b", edges<double>(), [](double a, double b) { return a + b; });
  expect_binary<double>("sub.f64 d, a, b", edges<double>(), [](double a, double b) { return a - b; });
  expect_binary<double>("mul.rn.f64 d, a, b", edges<double>(), [](double a, double b) { return a * b; });
  expect_binary<double>("div.rn.f64 d, a, b", edges<double>(), [](double a, double b) { return a / b; });
  expect_unary<float>("sqrt.rn.f32 d, a", edges<float>(), [](float a) { return std::sqrt(a); });
  expect_unary<double>("sqrt.rn.f64 d, a", edges<double>(), [](double a) { return std::sqrt(a); });
  expect_unary<float>("rcp.rn.f32 d, a", edges<float>(), [](float a) { return 1 / a; });
  expect_unary<double>("rcp.rn.f64 d, a", edges<double>(), [](double a) { return 1 / a; });
}

TEST(Float, MultiplyAddRoundsOnce) {
  const std::vector<float> few{1 + 0x1p-12f, -1 - 0x1p-12f, 0x1p-24f, 1, 3e38f, -0.0f, NAN, INFINITY};
  expect_ternary<float>("fma.rn.f32 d, a, b, c", few, few,
                        [](float a, float b, float c) { return std::fma(a, b, c); });
  expect_ternary<double>("fma.rn.f64 d, a, b, c", edges<double>(), std::vector<double>{1, -1, 0x1p-60},
                         [](double a, double b, double c) { return std::fma(a, b, c); });
  // The square of 1 + 2^-12 needs 25 bits: rounding the product first would lose the last one.
  EXPECT_EQ(evaluate<float>("fma.rn.f32 d, a, a, b", std::vector<float>{1 + 0x1p-12f},
                            std::vector<float>{-1 - 0x1p-11f})[0],
            0x1p-24f);
}

/// Directed rounding against double, whose sum and product of these are exact or whose error is far below a
/// float's.
TEST(Float, DirectedRounding) {
  const std::vector<float> values{1, -1, 1.0f / 3, -1.0f / 3, 16777216, 0x1p-30f, -0x1p-30f, 3e38f, -3e38f};
  struct Mode {
    const char* name;
    int mode;
  };
  for (const Mode& mode :
       {Mode{"rz", FE_TOWARDZERO}, {"rm", FE_DOWNWARD}, {"rp", FE_UPWARD}, {"rn", FE_TONEAREST}}) {
    const std::string r = mode.name;
    const auto narrowed = [&](double exact) {
      std::fesetround(mode.mode);
      const volatile double value = exact;
      const volatile auto result = static_cast<float>(value);
      std::fesetround(FE_TONEAREST);
      return float{result};
    };
    expect_binary<float>("add." + r + ".f32 d, a, b",
                         std::vector<float>{1, -1, 1.0f / 3, 16777216, 0x1p-24f, -0x1p-24f},
                         [&](float a, float b) {
                           const double sum = double{a} + b;
                           return sum == 0 && r == "rm" ? -0.0f : narrowed(sum);
                         });
    expect_binary<float>("mul." + r + ".f32 d, a, b", values,
                         [&](float a, float b) { return narrowed(double{a} * b); });
    expect_unary<float>("fma." + r + ".f32 d, a, 0f3F800000, 0f33800000",
                        std::vector<float>{1, -1, 1.0f / 3, 16777216, 0x1p-30f, -0x1p-30f},
                        [&](float a) { return narrowed(double{a} + 0x1p-24); });
    expect_unary<double>("add." + r + ".f64 d, a, 0d3CA0000000000000", std::vector<double>{1, -1},
                         [&](double a) {
                           std::fesetround(mode.mode);
                           const volatile double x = a, y = 0x1p-53;
                           const volatile double sum = x + y;
                           std::fesetround(FE_TONEAREST);
                           return double{sum};
                         });
  }
  // Named values, so that the mode of the host is not the only witness.
  const std::vector<float> one{1};
  EXPECT_EQ(evaluate<float>("add.rp.f32 d, a, 0f2B800000", one)[0], 1 + 0x1p-23f);
  EXPECT_EQ(evaluate<float>("add.rz.f32 d, a, 0f3F7FFFFF", one)[0], 2 - 0x1p-23f);
  EXPECT_EQ(evaluate<float>("sub.rm.f32 d, a, 0f2B800000", one)[0], 1 - 0x1p-24f);
  EXPECT_EQ(evaluate<float>("div.rz.f32 d, a, 0f40400000", one)[0], 0x1.555554p-2f);
  EXPECT_EQ(evaluate<float>("div.rp.f32 d, a, 0f40400000", one)[0], 0x1.555556p-2f);
  EXPECT_EQ(std::fegetround(), FE_TONEAREST);
}

TEST(Float, FlushesSubnormals) {
  expect_binary<float>("add.ftz.f32 d, a, b", edges<float>(),
                       [](float a, float b) { return flushed(flushed(a) + flushed(b)); });
  expect_binary<float>("mul.ftz.f32 d, a, b", edges<float>(),
                       [](float a, float b) { return flushed(flushed(a) * flushed(b)); });
  // Without .ftz they stay.
  EXPECT_EQ(evaluate<float>("mul.f32 d, a, 0f3F000000", std::vector<float>{0x1p-126f})[0], 0x1p-127f);
}

TEST(Float, SaturatesToOne) {
  expect_binary<float>("add.sat.f32 d, a, b", edges<float>(), [](float a, float b) {
    const float sum = a + b;
    return std::isnan(sum) || sum <= 0 ? 0.0f : std::min(sum, 1.0f);
  });
}

TEST(Float, MinAndMaxPreferNumbers) {
  const auto smaller = [](auto a, auto b) {
    if (std::isnan(a)) return b;
    if (std::isnan(b)) return a;
    if (a == 0 && b == 0) return std::signbit(a) ? a : b;
    return a < b ? a : b;
  };
  const auto larger = [&](auto a, auto b) { return -smaller(-a, -b); };
  expect_binary<float>("min.f32 d, a, b", edges<float>(), [&](float a, float b) { return smaller(a, b); });
  expect_binary<float>("max.f32 d, a, b", edges<float>(), [&](float a, float b) { return larger(a, b); });
  expect_binary<double>("min.f64 d, a, b", edges<double>(),
                        [&](double a, double b) { return smaller(a, b); });
  expect_binary<double>("max.f64 d, a, b", edges<double>(), [&](double a, double b) { return larger(a, b); });
  expect_binary<float>("max.NaN.f32 d, a, b", edges<float>(),
                       [&](float a, float b) { return std::isnan(a) || std::isnan(b) ? NAN : larger(a, b); });
  expect_binary<float>("min.NaN.f32 d, a, b", edges<float>(), [&](float a, float b) {
    return std::isnan(a) || std::isnan(b) ? NAN : smaller(a, b);
  });
}

TEST(Float, Signs) {
  expect_unary<float>("neg.f32 d, a", edges<float>(), [](float a) { return -a; });
  expect_unary<float>("abs.f32 d, a", edges<float>(), [](float a) { return std::fabs(a); });
  expect_unary<double>("neg.f64 d, a", edges<double>(), [](double a) { return -a; });
  expect_unary<double>("abs.f64 d, a", edges<double>(), [](double a) { return std::fabs(a); });
  expect_binary<float>("copysign.f32 d, a, b", edges<float>(),
                       [](float a, float b) { return std::copysign(b, a); });
  expect_binary<double>("copysign.f64 d, a, b", edges<double>(),
                        [](double a, double b) { return std::copysign(b, a); });
}

TEST(Float, SinglePrecisionHasOneNan) {
  const std::vector<float> zero{0.0f}, nan{-NAN};
  EXPECT_EQ(bits(evaluate<float>("div.rn.f32 d, a, a", zero)[0]), 0x7fffffffu);
  EXPECT_EQ(bits(evaluate<float>("add.f32 d, a, 0f3F800000", nan)[0]), 0x7fffffffu);
  EXPECT_EQ(bits(evaluate<float>("max.f32 d, a, a", nan)[0]), 0x7fffffffu);
  EXPECT_EQ(bits(evaluate<float>("fma.rn.f32 d, a, a, a", nan)[0]), 0x7fffffffu);
}

/// Within one unit in the last place of the true value; the rest of the contract is the special values.
void expect_near(const std::string& instruction, const std::vector<float>& values,
                 const std::function<double(double)>& exact) {
  const std::vector<float> results = evaluate<float>(instruction, values);
  for (size_t i = 0; i < values.size(); ++i) {
    const auto expected = static_cast<float>(exact(values[i]));
    if (std::isnan(expected) || std::isinf(expected) || expected == 0) {
      EXPECT_TRUE(same(results[i], expected)) << instruction << " of " << values[i] << ": " << results[i];
    } else {
      EXPECT_LE(std::fabs(results[i] - expected),
                std::fabs(std::nextafter(expected, 2 * expected) - expected))
          << instruction << " of " << values[i];
    }
  }
}

TEST(Float, Approximations) {
  const std::vector<float> values{0,   -0.0f, 1,        -1,        0.5f, 2,    -3.75f, 10.25f,
                                  100, -100,  INFINITY, -INFINITY, NAN,  0.1f, 1e-30f, 1e30f};
  expect_near("ex2.approx.f32 d, a", values, [](double a) { return std::exp2(a); });
  expect_near("lg2.approx.f32 d, a", values, [](double a) { return std::log2(a); });
  expect_near("rcp.approx.f32 d, a", values, [](double a) { return 1 / a; });
  expect_near("rsqrt.approx.f32 d, a", values, [](double a) { return 1 / std::sqrt(a); });
  expect_near("sqrt.approx.f32 d, a", values, [](double a) { return std::sqrt(a); });
  expect_near("tanh.approx.f32 d, a", values, [](double a) { return std::tanh(a); });
  expect_near("sin.approx.f32 d, a", values, [](double a) { return std::sin(a); });
  expect_near("cos.approx.f32 d, a", values, [](double a) { return std::cos(a); });
  expect_near("div.full.f32 d, a, 0f40400000", values, [](double a) { return a / 3; });
  expect_near("div.approx.f32 d, a, 0f40400000", values, [](double a) { return a / 3; });
  EXPECT_TRUE(same(evaluate<float>("ex2.approx.ftz.f32 d, a", std::vector<float>{-127})[0], 0.0f));
  EXPECT_TRUE(same(evaluate<float>("ex2.approx.f32 d, a", std::vector<float>{-127})[0], 0x1p-127f));
  EXPECT_TRUE(same(evaluate<float>("rcp.approx.ftz.f32 d, a", std::vector<float>{-0x1p-127f})[0], -INFINITY));
  EXPECT_TRUE(same(evaluate<float>("div.approx.f32 d, a, a", std::vector<float>{0x1p127f})[0], 0.0f));
  EXPECT_TRUE(same(evaluate<double>("rcp.approx.ftz.f64 d, a", std::vector<double>{3})[0], 0x1.55555p-2));
  EXPECT_TRUE(same(evaluate<double>("rsqrt.approx.f64 d, a", std::vector<double>{4})[0], 0.5));
}

}  // namespace
}  // namespace simulated_gpu
