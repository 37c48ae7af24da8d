// cvt among integers, f32 and f64, setp, set, selp and mov.

#include <cfenv>
#include <climits>
#include <functional>
#include <limits>
#include <utility>

#include "tests/simulated_gpu/tests/ptx_evaluate.h"

namespace simulated_gpu {
namespace {

template <class T>
T clamped(double value) {
  using L = std::numeric_limits<T>;
  // Both ends as long double are exact.
  if (static_cast<long double>(value) <= static_cast<long double>(L::min())) return L::min();
  if (static_cast<long double>(value) >= static_cast<long double>(L::max())) return L::max();
  return static_cast<T>(value);
}

const std::vector<double> kDoubles{
    0,     -0.0,   0.5,      -0.5,     1.5,  2.5,          -2.5,          0.49999999999999994, 127.5,
    128,   255.5,  -129,     1e9,      -1e9, 2147483647.5, -2147483648.5, 4294967295.5,        1e19,
    -1e19, 9.2e18, INFINITY, -INFINITY};

template <class T>
void expect_to_integer(const std::string& type) {
  const std::pair<const char*, double (*)(double)> roundings[] = {
      {"rni", std::nearbyint}, {"rzi", std::trunc}, {"rmi", std::floor}, {"rpi", std::ceil}};
  std::vector<float> singles(kDoubles.begin(), kDoubles.end());
  for (const auto& [name, rounded] : roundings) {
    expect_unary<T>("cvt." + std::string(name) + "." + type + ".f64 d, a", kDoubles,
                    [&](double a) { return clamped<T>(rounded(a)); });
    expect_unary<T>("cvt." + std::string(name) + "." + type + ".f32 d, a", singles,
                    [&](float a) { return clamped<T>(rounded(a)); });
  }
}

TEST(Conversion, FloatToInteger) {
  expect_to_integer<int32_t>("s32");
  expect_to_integer<uint32_t>("u32");
  expect_to_integer<int64_t>("s64");
  expect_to_integer<uint64_t>("u64");
  expect_to_integer<int16_t>("s16");
  expect_to_integer<uint16_t>("u16");
}

TEST(Conversion, NotANumberToInteger) {
  const std::vector<float> single{NAN};
  const std::vector<double> wide{NAN};
  EXPECT_EQ(evaluate<int32_t>("cvt.rzi.s32.f32 d, a", single)[0], 0);
  EXPECT_EQ(evaluate<uint32_t>("cvt.rzi.u32.f32 d, a", single)[0], 0u);
  EXPECT_EQ(evaluate<int64_t>("cvt.rzi.s64.f32 d, a", single)[0], LLONG_MIN);
  EXPECT_EQ(evaluate<uint64_t>("cvt.rzi.u64.f64 d, a", wide)[0], uint64_t{1} << 63);
  EXPECT_EQ(evaluate<int32_t>("cvt.rzi.s32.f64 d, a", wide)[0], INT_MIN);
}

TEST(Conversion, IntegerToFloatInEveryRounding) {
  const std::vector<int64_t> values{0,
                                    1,
                                    -1,
                                    16777217,
                                    -16777217,
                                    16777219,
                                    LLONG_MAX,
                                    LLONG_MIN,
                                    (int64_t{1} << 53) + 1,
                                    0x123456789abcdef};
  for (const auto& [name, mode] : {std::pair<const char*, int>{"rn", FE_TONEAREST},
                                   {"rz", FE_TOWARDZERO},
                                   {"rm", FE_DOWNWARD},
                                   {"rp", FE_UPWARD}}) {
    const std::string r = name;
    const auto under = [mode = mode](auto compute) {
      std::fesetround(mode);
      const auto result = compute();
      std::fesetround(FE_TONEAREST);
      return result;
    };
    expect_unary<float>("cvt." + r + ".f32.s64 d, a", values, [&](int64_t a) {
      return under([a] {
        const volatile int64_t v = a;
        const volatile auto f = static_cast<float>(int64_t{v});
        return float{f};
      });
    });
    expect_unary<double>("cvt." + r + ".f64.s64 d, a", values, [&](int64_t a) {
      return under([a] {
        const volatile int64_t v = a;
        const volatile auto f = static_cast<double>(int64_t{v});
        return double{f};
      });
    });
  }
  // Between 2^63 and 2^64 a float has 40 bits less than the integer.
  EXPECT_EQ(evaluate<float>("cvt.rn.f32.u64 d, a", std::vector<uint64_t>{~uint64_t{0}})[0], 0x1p64f);
  EXPECT_EQ(evaluate<float>("cvt.rz.f32.u64 d, a", std::vector<uint64_t>{~uint64_t{0}})[0], 0x1.fffffep63f);
  EXPECT_EQ(evaluate<float>("cvt.rn.f32.u64 d, a",
                            std::vector<uint64_t>{(uint64_t{1} << 63) + (uint64_t{1} << 39) + 1})[0],
            0x1.000002p63f);
  EXPECT_EQ(evaluate<double>("cvt.rn.f64.u64 d, a", std::vector<uint64_t>{~uint64_t{0}})[0], 0x1p64);
  const std::vector<int32_t> ints{0, -1, INT_MAX, INT_MIN, 33554435};
  expect_unary<float>("cvt.rn.f32.s32 d, a", ints, [](int32_t a) { return static_cast<float>(a); });
  expect_unary<float>("cvt.rn.f32.u32 d, a", std::vector<uint32_t>{0, ~0u, 1u << 31},
                      [](uint32_t a) { return static_cast<float>(a); });
  expect_unary<double>("cvt.rn.f64.s32 d, a", ints, [](int32_t a) { return double{static_cast<double>(a)}; });
  expect_unary<float>("cvt.rn.f32.s16 d, a", std::vector<int16_t>{-3, 3},
                      [](int16_t a) { return float{static_cast<float>(a)}; });
}

TEST(Conversion, AmongFloats) {
  expect_unary<float>("cvt.rn.f32.f64 d, a",
                      std::vector<double>{0, -0.0, 1e40, 1e-46, 1 + 0x1p-24, 1 + 0x1p-24 + 0x1p-50, NAN},
                      [](double a) { return static_cast<float>(a); });
  EXPECT_EQ(evaluate<float>("cvt.rz.f32.f64 d, a", std::vector<double>{1e40})[0],
            std::numeric_limits<float>::max());
  EXPECT_EQ(evaluate<float>("cvt.rp.f32.f64 d, a", std::vector<double>{1e-60})[0],
            std::numeric_limits<float>::denorm_min());
  EXPECT_EQ(evaluate<float>("cvt.rm.f32.f64 d, a", std::vector<double>{-1e-60})[0],
            -std::numeric_limits<float>::denorm_min());
  expect_unary<double>("cvt.f64.f32 d, a", std::vector<float>{1e-40f, -0.0f, 3e38f, NAN},
                       [](float a) { return double{a}; });
  EXPECT_EQ(evaluate<double>("cvt.ftz.f64.f32 d, a", std::vector<float>{1e-40f})[0], 0);
  const std::vector<float> values{-2.5f, -0.4f, -0.0f, 0.5f, 1.5f, 2.5f, 8388609.0f, INFINITY, NAN};
  expect_unary<float>("cvt.rni.f32.f32 d, a", values, [](float a) { return std::nearbyint(a); });
  expect_unary<float>("cvt.rzi.f32.f32 d, a", values, [](float a) { return std::trunc(a); });
  expect_unary<float>("cvt.rmi.f32.f32 d, a", values, [](float a) { return std::floor(a); });
  expect_unary<float>("cvt.rpi.f32.f32 d, a", values, [](float a) { return std::ceil(a); });
  expect_unary<float>("cvt.sat.f32.f32 d, a", values,
                      [](float a) { return a > 0 ? std::fmin(a, 1.0f) : 0.0f; });
  expect_unary<double>("cvt.rmi.f64.f64 d, a", kDoubles, [](double a) { return std::floor(a); });
}

TEST(Conversion, AmongIntegers) {
  const std::vector<int32_t> values{0, -1, 127, 128, -129, 255, 256, 32768, INT_MAX, INT_MIN};
  expect_unary<int64_t>("cvt.s64.s32 d, a", values, [](int32_t a) { return int64_t{a}; });
  expect_unary<uint64_t>("cvt.u64.u32 d, a", values,
                         [](int32_t a) { return uint64_t{static_cast<uint32_t>(a)}; });
  expect_unary<uint16_t>("cvt.u16.u32 d, a", values, [](int32_t a) { return static_cast<uint16_t>(a); });
  expect_unary<int32_t>("cvt.s32.s8 d, a", values, [](int32_t a) { return int32_t{static_cast<int8_t>(a)}; });
  expect_unary<int32_t>("cvt.s8.s32 d, a", values, [](int32_t a) { return int32_t{static_cast<int8_t>(a)}; });
  expect_unary<uint32_t>("cvt.u8.u32 d, a", values,
                         [](int32_t a) { return uint32_t{static_cast<uint8_t>(a)}; });
  expect_unary<int32_t>("cvt.s32.s16 d, a", std::vector<int16_t>{-1, 5, -32768},
                        [](int16_t a) { return int32_t{a}; });
  expect_unary<uint32_t>("cvt.u32.u64 d, a", std::vector<uint64_t>{~uint64_t{0}, uint64_t{1} << 32},
                         [](uint64_t a) { return static_cast<uint32_t>(a); });
  expect_unary<int32_t>("cvt.sat.s8.s32 d, a", values, [](int32_t a) {
    return a > 127 ? 127 : a < -128 ? -128 : a;
  });
  expect_unary<uint32_t>("cvt.sat.u8.s32 d, a", values, [](int32_t a) {
    return a > 255 ? 255u : a < 0 ? 0u : static_cast<uint32_t>(a);
  });
  expect_unary<int32_t>("cvt.sat.s32.s64 d, a", std::vector<int64_t>{LLONG_MAX, LLONG_MIN, -7},
                        [](int64_t a) {
                          return static_cast<int32_t>(a > INT_MAX ? INT_MAX : a < INT_MIN ? INT_MIN : a);
                        });
}

template <class T>
void expect_relation(const std::string& name, const std::string& type, const std::vector<T>& values,
                     std::function<bool(T, T)> holds) {
  expect_binary<uint32_t>("setp." + name + "." + type + " p, a, b; selp.u32 d, 1, 0, p", values,
                          [&](T a, T b) { return static_cast<uint32_t>(holds(a, b)); });
  expect_binary<uint32_t>("setp." + name + "." + type + " p|q, a, b; selp.u32 d, 1, 0, q", values,
                          [&](T a, T b) { return static_cast<uint32_t>(!holds(a, b)); });
}

template <class T>
void expect_ordered_relations(const std::string& type, const std::vector<T>& values) {
  expect_relation<T>("eq", type, values, [](T a, T b) { return a == b; });
  expect_relation<T>("ne", type, values, [](T a, T b) { return a < b || a > b; });
  expect_relation<T>("lt", type, values, [](T a, T b) { return a < b; });
  expect_relation<T>("le", type, values, [](T a, T b) { return a <= b; });
  expect_relation<T>("gt", type, values, [](T a, T b) { return a > b; });
  expect_relation<T>("ge", type, values, [](T a, T b) { return a >= b; });
}

template <class T>
void expect_unordered_relations(const std::string& type, const std::vector<T>& values) {
  const auto un = [](T a, T b) { return std::isnan(a) || std::isnan(b); };
  expect_relation<T>("equ", type, values, [=](T a, T b) { return un(a, b) || a == b; });
  expect_relation<T>("neu", type, values, [=](T a, T b) { return un(a, b) || a != b; });
  expect_relation<T>("ltu", type, values, [=](T a, T b) { return un(a, b) || a < b; });
  expect_relation<T>("leu", type, values, [=](T a, T b) { return un(a, b) || a <= b; });
  expect_relation<T>("gtu", type, values, [=](T a, T b) { return un(a, b) || a > b; });
  expect_relation<T>("geu", type, values, [=](T a, T b) { return un(a, b) || a >= b; });
  expect_relation<T>("num", type, values, [=](T a, T b) { return !un(a, b); });
  expect_relation<T>("nan", type, values, [=](T a, T b) { return un(a, b); });
}

TEST(Comparison, OfEveryType) {
  expect_ordered_relations<int32_t>("s32", {0, 1, -1, INT_MAX, INT_MIN});
  expect_ordered_relations<uint32_t>("u32", {0, 1, ~0u, 1u << 31});
  expect_ordered_relations<int64_t>("s64", {0, 1, -1, LLONG_MAX, LLONG_MIN});
  expect_ordered_relations<uint64_t>("u64", {0, 1, ~uint64_t{0}});
  expect_ordered_relations<int16_t>("s16", {0, 1, -1, SHRT_MIN});
  expect_relation<uint32_t>("lo", "u32", {0, 1, ~0u}, [](uint32_t a, uint32_t b) { return a < b; });
  expect_relation<uint32_t>("hs", "u32", {0, 1, ~0u}, [](uint32_t a, uint32_t b) { return a >= b; });
  expect_relation<uint32_t>("eq", "b32", {0, 1, ~0u}, [](uint32_t a, uint32_t b) { return a == b; });
  const std::vector<float> singles{0, -0.0f, 1, -1, INFINITY, -INFINITY, NAN, 1e-40f};
  expect_ordered_relations<float>("f32", singles);
  expect_unordered_relations<float>("f32", singles);
  const std::vector<double> doubles(singles.begin(), singles.end());
  expect_ordered_relations<double>("f64", doubles);
  expect_unordered_relations<double>("f64", doubles);
  expect_relation<float>("eq.ftz", "f32", {0, 1e-40f, 1},
                         [](float a, float b) { return (a < 0.5f) == (b < 0.5f); });
  expect_relation<uint16_t>("lt", "bf16", {0x3f80, 0xbf80, 0x0000, 0x7fff}, [](uint16_t a, uint16_t b) {
    const auto rank = [](uint16_t v) { return v == 0xbf80 ? -1 : v == 0 ? 0 : 1; };
    return a != 0x7fff && b != 0x7fff && rank(a) < rank(b);
  });
}

TEST(Comparison, CombinesWithAPredicate) {
  const std::vector<uint32_t> values{0, 1, 2, 3};
  for (const auto& [name, combined] :
       {std::pair<std::string, bool (*)(bool, bool)>{"and", [](bool x, bool y) { return x && y; }},
        {"or", [](bool x, bool y) { return x || y; }},
        {"xor", [](bool x, bool y) { return x != y; }}}) {
    expect_binary<uint32_t>(
        "setp.ge.u32 q, b, 2; setp.lt." + name + ".u32 p, a, 2, q; selp.u32 d, 1, 0, p", values,
        [&](uint32_t a, uint32_t b) { return static_cast<uint32_t>(combined(a < 2, b >= 2)); });
    expect_binary<uint32_t>(
        "setp.ge.u32 q, b, 2; setp.lt." + name + ".u32 p, a, 2, !q; selp.u32 d, 1, 0, p", values,
        [&](uint32_t a, uint32_t b) { return static_cast<uint32_t>(combined(a < 2, b < 2)); });
  }
}

TEST(Comparison, SetAndSelect) {
  const std::vector<float> values{1, 2, NAN};
  expect_binary<uint32_t>("set.lt.u32.f32 d, a, b", values,
                          [](float a, float b) { return a < b ? ~0u : 0u; });
  expect_binary<float>("set.gtu.f32.f32 d, a, b", values,
                       [](float a, float b) { return !(a <= b) ? 1.0f : 0.0f; });
  expect_binary<uint64_t>("setp.lt.s64 p, a, b; selp.b64 d, a, b, p", std::vector<int64_t>{-5, 9},
                          [](int64_t a, int64_t b) { return static_cast<uint64_t>(std::min(a, b)); });
  expect_unary<float>("setp.gt.f32 p, a, 0f00000000; selp.f32 d, a, 0f3F800000, !p", values,
                      [](float a) { return a > 0 ? 1.0f : a; });
  expect_unary<uint16_t>("setp.ne.u32 p, a, 0; selp.u16 d, 7, 9, p", std::vector<uint32_t>{0, 1},
                         [](uint32_t a) { return static_cast<uint16_t>(a != 0 ? 7 : 9); });
}

TEST(Move, PacksAndUnpacks) {
  expect_binary<uint32_t>("mov.b32 d, {a, b}", std::vector<uint16_t>{0x1234, 0xffff},
                          [](uint16_t a, uint16_t b) { return a | static_cast<uint32_t>(b) << 16; });
  expect_binary<uint64_t>("mov.b64 d, {a, b}", std::vector<uint32_t>{1, ~0u},
                          [](uint32_t a, uint32_t b) { return a | uint64_t{b} << 32; });
  expect_unary<uint32_t>(".reg .b32 t; mov.b64 {t, d}, a", std::vector<uint64_t>{0x123456789abcdef0},
                         [](uint64_t) { return 0x12345678u; });
  expect_unary<uint32_t>("mov.b64 {d, _}, a", std::vector<uint64_t>{0x123456789abcdef0},
                         [](uint64_t) { return 0x9abcdef0u; });
  expect_unary<uint16_t>(".reg .b16 x, y, z; mov.b64 {x, y, d, z}, a",
                         std::vector<uint64_t>{0x123456789abcdef0},
                         [](uint64_t) { return static_cast<uint16_t>(0x5678); });
  expect_unary<uint32_t>("mov.b32 d, {0, a}", std::vector<uint16_t>{0x3f80},
                         [](uint16_t) { return 0x3f800000u; });
}

}  // namespace
}  // namespace simulated_gpu
