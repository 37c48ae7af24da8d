// f16 and bf16 arithmetic and conversion.  The reference knows a format by its list of values: the nearest
// one is found by search, so nothing of the executor's bit arithmetic is repeated here.

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "tests/simulated_gpu/tests/ptx_evaluate.h"

namespace simulated_gpu {
namespace {

/// All non-negative finite values of a format with their bits, in order, and one beyond: where infinity
/// stands in for the value that would come next.
class Format16 {
 public:
  Format16(int exponent_bits, int mantissa_bits) {
    const int bias = (1 << (exponent_bits - 1)) - 1, per_exponent = 1 << mantissa_bits;
    for (int exponent = 0; exponent < (1 << exponent_bits) - 1; ++exponent) {
      for (int mantissa = 0; mantissa < per_exponent; ++mantissa) {
        const double significand = exponent == 0 ? mantissa : per_exponent + mantissa;
        values_.push_back(std::ldexp(significand, std::max(exponent, 1) - bias - mantissa_bits));
      }
    }
    values_.push_back(std::ldexp(1.0, (1 << exponent_bits) - 1 - bias));
  }

  uint16_t infinity() const { return static_cast<uint16_t>(values_.size() - 1); }

  /// Bits number the values; ties go to the even one, as long double tells them (64 bits of significand).
  uint16_t nearest(long double value) const {
    if (std::isnan(value)) return 0x7fff;
    const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
    const long double magnitude = std::fabs(value);
    const auto above = std::lower_bound(values_.begin(), values_.end(), magnitude);
    if (above == values_.end()) return sign | infinity();
    auto index = static_cast<size_t>(above - values_.begin());
    if (index > 0) {
      const long double up = values_[index] - magnitude, down = magnitude - values_[index - 1];
      if (down < up || (down == up && index % 2 == 1)) --index;
    }
    return static_cast<uint16_t>(sign | index);
  }

  double value(uint16_t bits) const {
    const uint16_t magnitude = bits & 0x7fff;
    if (magnitude > infinity()) return NAN;
    const double value = magnitude == infinity() ? INFINITY : values_[magnitude];
    return (bits & 0x8000) != 0 ? -value : value;
  }

 private:
  std::vector<double> values_;
};

const Format16& f16() {
  static const Format16 format(5, 10);
  return format;
}
const Format16& bf16() {
  static const Format16 format(8, 7);
  return format;
}

std::vector<uint16_t> edges(const Format16& format) {
  const uint16_t infinity = format.infinity();
  std::vector<uint16_t> values{0,        1,      2,      static_cast<uint16_t>(infinity - 1),
                               infinity, 0x7fff, 0x3c00, 0x3f80,
                               0x3555,   0x0400, 0x03ff, 0x0080,
                               0x4248};
  const size_t count = values.size();
  for (size_t i = 0; i < count; ++i) values.push_back(values[i] | 0x8000);
  return values;
}

/// The same value; any NaN equals any other.
void expect_same(const Format16& format, uint16_t got, uint16_t expected, const std::string& what) {
  if (std::isnan(format.value(got)) && std::isnan(format.value(expected))) return;
  EXPECT_EQ(got, expected) << what << ": " << format.value(got) << ", not " << format.value(expected);
}

using Formula = long double (*)(long double, long double);

void expect_halves(const std::string& name, const Format16& format, const std::string& type,
                   Formula formula) {
  std::vector<uint16_t> a, b;
  for (const uint16_t x : edges(format)) {
    for (const uint16_t y : edges(format)) {
      a.push_back(x);
      b.push_back(y);
    }
  }
  const auto single = evaluate<uint16_t>(name + "." + type + " d, a, b", a, b);
  std::vector<uint32_t> pair_a, pair_b;
  for (size_t i = 0; i < a.size(); ++i) {
    const size_t other = a.size() - 1 - i;
    pair_a.push_back(a[i] | static_cast<uint32_t>(a[other]) << 16);
    pair_b.push_back(b[i] | static_cast<uint32_t>(b[other]) << 16);
  }
  const auto pairs = evaluate<uint32_t>(name + "." + type + "x2 d, a, b", pair_a, pair_b);
  for (size_t i = 0; i < a.size(); ++i) {
    const uint16_t expected = format.nearest(formula(format.value(a[i]), format.value(b[i])));
    const std::string what = name + "." + type + " of " + std::to_string(format.value(a[i])) + ", " +
                             std::to_string(format.value(b[i]));
    expect_same(format, single[i], expected, what);
    expect_same(format, static_cast<uint16_t>(pairs[i]), expected, what + " low");
    expect_same(format, static_cast<uint16_t>(pairs[a.size() - 1 - i] >> 16), expected, what + " high");
  }
}

TEST(Half, Arithmetic) {
  for (const auto& [format, type] :
       {std::pair<const Format16&, const char*>(f16(), "f16"), {bf16(), "bf16"}}) {
    expect_halves("mul.rn", format, type, [](long double a, long double b) { return a * b; });
    const auto least = [](long double a, long double b) {
      return std::isnan(a) ? b : std::isnan(b) ? a : a == b ? (std::signbit(a) ? a : b) : std::min(a, b);
    };
    const auto most = [](long double a, long double b) {
      return std::isnan(a) ? b : std::isnan(b) ? a : a == b ? (std::signbit(a) ? b : a) : std::max(a, b);
    };
    expect_halves("min", format, type, least);
    expect_halves("max", format, type, most);
  }
  // The sum of any two f16 is exact in long double.
  expect_halves("add.rn", f16(), "f16", [](long double a, long double b) { return a + b; });
  expect_halves("sub", f16(), "f16", [](long double a, long double b) { return a - b; });
}

TEST(Half, SumsThatDoubleCannotHold) {
  // 1.5 (1 + 2^-7) lies in the middle between two bf16; what decides is c, far below a double's last bit.
  const std::vector<uint16_t> a{0x3f81, 0x3f81}, b{0x3fc0, 0x3fc0};
  const std::vector<uint16_t> tiny{bf16().nearest(0x1p-100L), bf16().nearest(-0x1p-100L)};
  const auto sums = evaluate<uint16_t>("fma.rn.bf16 d, a, b, c", a, b, tiny);
  EXPECT_EQ(bf16().value(sums[0]), 1.5 + 0x1p-6);
  EXPECT_EQ(bf16().value(sums[1]), 1.5 + 0x1p-7);
  // (1 + 2^-7)^2 = 1 + 2^-6 + 2^-14; with c = 2^-8 - 2^-14 it is a tie between 1 + 2^-6 and 1 + 2^-6 + 2^-7.
  const std::vector<uint16_t> x{0x3f81};
  const std::vector<uint16_t> c{bf16().nearest(0x1p-8L - 0x1p-14L)};
  EXPECT_EQ(bf16().value(c[0]), 0x1p-8 - 0x1p-14);
  EXPECT_EQ(bf16().value(evaluate<uint16_t>("fma.rn.bf16 d, a, a, b", x, c)[0]), 1 + 0x1p-6);
  // One step of c up or down decides it.
  const std::vector<uint16_t> up{static_cast<uint16_t>(c[0] + 1)};
  EXPECT_EQ(bf16().value(evaluate<uint16_t>("fma.rn.bf16 d, a, a, b", x, up)[0]), 1 + 0x1p-6 + 0x1p-7);
}

TEST(Half, MultiplyAdd) {
  const std::vector<uint16_t> few{0, 0x8000, 0x3c00, 0xbc01, 0x0001, 0x7bff, 0x7c00, 0x3555};
  std::vector<uint16_t> a, b, c;
  for (const uint16_t x : few) {
    for (const uint16_t y : few) {
      for (const uint16_t z : few) {
        a.push_back(x);
        b.push_back(y);
        c.push_back(z);
      }
    }
  }
  const auto results = evaluate<uint16_t>("fma.rn.f16 d, a, b, c", a, b, c);
  for (size_t i = 0; i < a.size(); ++i) {
    const long double exact =
        static_cast<long double>(f16().value(a[i])) * f16().value(b[i]) + f16().value(c[i]);
    expect_same(f16(), results[i], f16().nearest(exact), "fma.rn.f16 number " + std::to_string(i));
  }
}

TEST(Half, SignsAndOptions) {
  const std::vector<uint16_t> one{0x3f80}, minus{0xbf80};
  EXPECT_EQ(evaluate<uint16_t>("neg.bf16 d, a", one)[0], 0xbf80);
  EXPECT_EQ(evaluate<uint16_t>("abs.bf16 d, a", minus)[0], 0x3f80);
  EXPECT_EQ(evaluate<uint32_t>("neg.f16x2 d, a", std::vector<uint32_t>{0x3c00bc00})[0], 0xbc003c00u);
  EXPECT_EQ(evaluate<uint32_t>("abs.bf16x2 d, a", std::vector<uint32_t>{0xbf803f80})[0], 0x3f803f80u);
  EXPECT_EQ(evaluate<uint16_t>("fma.rn.relu.bf16 d, a, b, b", one, minus)[0], 0);
  EXPECT_EQ(evaluate<uint16_t>("add.sat.f16 d, a, a", std::vector<uint16_t>{0x3c00})[0], 0x3c00);
  EXPECT_TRUE(std::isnan(
      bf16().value(evaluate<uint16_t>("max.NaN.bf16 d, a, b", one, std::vector<uint16_t>{0x7fff})[0])));
}

std::vector<float> floats() {
  std::vector<float> values{0,
                            -0.0f,
                            1,
                            -1,
                            65504,
                            65519.99f,
                            65520,
                            1e6f,
                            5.9604645e-8f,
                            2.9802322e-8f,
                            3e-8f,
                            1e-40f,
                            -1e-40f,
                            6.1e-5f,
                            3.3895e38f,
                            3.4e38f,
                            INFINITY,
                            -INFINITY,
                            NAN};
  for (int i = 0; i < 200; ++i)
    values.push_back(std::ldexp(1.0f + static_cast<float>(i * 37 % 512) / 512.0f, i % 40 - 20));
  return values;
}

TEST(Half, FromSingle) {
  const auto to_bf16 = evaluate<uint16_t>("cvt.rn.bf16.f32 d, a", floats());
  const auto to_f16 = evaluate<uint16_t>("cvt.rn.f16.f32 d, a", floats());
  std::vector<float> reversed = floats();
  std::ranges::reverse(reversed);
  const auto bf16_pair = evaluate<uint32_t>("cvt.rn.bf16x2.f32 d, a, b", floats(), reversed);
  const auto f16_pair = evaluate<uint32_t>("cvt.rn.f16x2.f32 d, a, b", floats(), reversed);
  for (size_t i = 0; i < floats().size(); ++i) {
    const std::string what = std::to_string(floats()[i]);
    expect_same(bf16(), to_bf16[i], bf16().nearest(floats()[i]), what);
    expect_same(f16(), to_f16[i], f16().nearest(floats()[i]), what);
    expect_same(bf16(), static_cast<uint16_t>(bf16_pair[i] >> 16), bf16().nearest(floats()[i]), what);
    expect_same(bf16(), static_cast<uint16_t>(bf16_pair[i]), bf16().nearest(reversed[i]), what);
    expect_same(f16(), static_cast<uint16_t>(f16_pair[i] >> 16), f16().nearest(floats()[i]), what);
    expect_same(f16(), static_cast<uint16_t>(f16_pair[i]), f16().nearest(reversed[i]), what);
  }
}

TEST(Half, FromSingleInOtherRoundings) {
  const std::vector<float> values{1 + 0x1p-8f, -1 - 0x1p-8f, 1 + 0x1p-20f, -1 - 0x1p-20f, 3.4e38f, -3.4e38f};
  const auto convert = [&](const std::string& r) {
    std::vector<double> results;
    for (const uint16_t bits : evaluate<uint16_t>("cvt." + r + ".bf16.f32 d, a", values))
      results.push_back(bf16().value(bits));
    return results;
  };
  const double next = 1 + 0x1p-7, largest = bf16().value(0x7f7f);
  EXPECT_EQ(convert("rz"), (std::vector<double>{1, -1, 1, -1, largest, -largest}));
  EXPECT_EQ(convert("rm"), (std::vector<double>{1, -next, 1, -next, largest, -INFINITY}));
  EXPECT_EQ(convert("rp"), (std::vector<double>{next, -1, next, -1, INFINITY, -largest}));
  EXPECT_EQ(convert("rn.relu"), (std::vector<double>{1, 0, 1, 0, INFINITY, 0}));
  EXPECT_EQ(
      evaluate<uint32_t>("cvt.rna.tf32.f32 d, a", std::vector<uint32_t>{0x3f801000, 0x3f800fff, 0xbf801000}),
      (std::vector<uint32_t>{0x3f802000, 0x3f800000, 0xbf802000}));
  EXPECT_EQ(evaluate<uint32_t>("cvt.rn.tf32.f32 d, a", std::vector<uint32_t>{0x3f801000, 0x3f803000}),
            (std::vector<uint32_t>{0x3f800000, 0x3f804000}));
}

TEST(Half, ToWiderTypesExactly) {
  for (const auto& [format, type] :
       {std::pair<const Format16&, std::string>(f16(), "f16"), {bf16(), "bf16"}}) {
    std::vector<uint16_t> all;
    for (uint32_t bits = 0; bits < 0x10000; bits += 71) all.push_back(static_cast<uint16_t>(bits));
    for (const uint16_t edge : edges(format)) all.push_back(edge);
    const auto singles = evaluate<float>("cvt.f32." + type + " d, a", all);
    for (size_t i = 0; i < all.size(); ++i) {
      EXPECT_TRUE(same(singles[i], static_cast<float>(format.value(all[i])))) << all[i];
    }
  }
  EXPECT_EQ(evaluate<double>("cvt.f64.f16 d, a", std::vector<uint16_t>{0x3555})[0], f16().value(0x3555));
  EXPECT_EQ(evaluate<uint16_t>("cvt.rn.bf16.f64 d, a", std::vector<double>{1 + 0x1p-8 + 0x1p-40})[0], 0x3f81);
  EXPECT_EQ(evaluate<uint16_t>("cvt.rn.f16.s32 d, a", std::vector<int32_t>{-2049})[0], f16().nearest(-2049));
  EXPECT_EQ(evaluate<uint16_t>("cvt.rn.f16.u64 d, a", std::vector<uint64_t>{70000})[0], 0x7c00);
  EXPECT_EQ(evaluate<int32_t>("cvt.rni.s32.f16 d, a", std::vector<uint16_t>{0xc500})[0], -5);
}

}  // namespace
}  // namespace simulated_gpu
