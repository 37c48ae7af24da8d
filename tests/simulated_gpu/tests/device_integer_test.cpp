// Integer arithmetic against formulas in arithmetic that is wide enough to be exact.

#include <climits>
#include <limits>

#include "tests/simulated_gpu/tests/ptx_evaluate.h"

namespace simulated_gpu {
namespace {

using Wide = __int128;

template <class T>
std::vector<T> edges() {
  using L = std::numeric_limits<T>;
  return {0,
          1,
          2,
          3,
          static_cast<T>(-1),
          static_cast<T>(-2),
          7,
          100,
          L::max(),
          L::min(),
          static_cast<T>(L::max() - 1),
          static_cast<T>(L::min() + 1),
          static_cast<T>(0x5555555555555555ull),
          static_cast<T>(0xaaaaaaaaaaaaaaaaull)};
}

template <class T>
T low(Wide value) {
  return static_cast<T>(static_cast<unsigned __int128>(value));
}

/// Modulo 2^128, of which the low bits are what matters.
Wide product(Wide a, Wide b) {
  return static_cast<Wide>(static_cast<unsigned __int128>(a) * static_cast<unsigned __int128>(b));
}

template <class T>
class IntegerOf : public testing::Test {
 public:
  static std::string suffix() {
    return std::string(std::is_signed_v<T> ? ".s" : ".u") + std::to_string(8 * sizeof(T));
  }
};
using Integers = testing::Types<uint16_t, int16_t, uint32_t, int32_t, uint64_t, int64_t>;
TYPED_TEST_SUITE(IntegerOf, Integers);

TYPED_TEST(IntegerOf, WrapsAround) {
  using T = TypeParam;
  const std::string s = TestFixture::suffix();
  expect_binary<T>("add" + s + " d, a, b", edges<T>(), [](T a, T b) { return low<T>(Wide{a} + b); });
  expect_binary<T>("sub" + s + " d, a, b", edges<T>(), [](T a, T b) { return low<T>(Wide{a} - b); });
  expect_binary<T>("mul.lo" + s + " d, a, b", edges<T>(), [](T a, T b) { return low<T>(product(a, b)); });
  expect_binary<T>("mul.hi" + s + " d, a, b", edges<T>(), [](T a, T b) {
    if constexpr (sizeof(T) == 8 && std::is_unsigned_v<T>) {
      return static_cast<T>((static_cast<unsigned __int128>(a) * b) >> 64);
    } else {
      return low<T>((Wide{a} * b) >> (8 * sizeof(T)));
    }
  });
}

TYPED_TEST(IntegerOf, OrdersByItsSign) {
  using T = TypeParam;
  const std::string s = TestFixture::suffix();
  expect_binary<T>("min" + s + " d, a, b", edges<T>(), [](T a, T b) { return Wide{a} < b ? a : b; });
  expect_binary<T>("max" + s + " d, a, b", edges<T>(), [](T a, T b) { return Wide{a} > b ? a : b; });
}

TYPED_TEST(IntegerOf, DividesTowardsZero) {
  using T = TypeParam;
  std::vector<T> divisors = edges<T>();
  std::erase(divisors, T{0});
  const std::string s = TestFixture::suffix();
  expect_binary<T>("div" + s + " d, a, b", edges<T>(), divisors,
                   [](T a, T b) { return low<T>(Wide{a} / b); });
  expect_binary<T>("rem" + s + " d, a, b", edges<T>(), divisors,
                   [](T a, T b) { return low<T>(Wide{a} % b); });
}

TYPED_TEST(IntegerOf, MultipliesAndAdds) {
  using T = TypeParam;
  const std::vector<T> few{
      0, 1, static_cast<T>(-1), std::numeric_limits<T>::max(), std::numeric_limits<T>::min(), 1234};
  expect_ternary<T>("mad.lo" + TestFixture::suffix() + " d, a, b, c", few, few,
                    [](T a, T b, T c) { return low<T>(static_cast<Wide>(low<T>(product(a, b))) + c); });
}

TEST(Integer, DivisionByZeroDoesNotStop) {
  expect_unary<uint32_t>("div.u32 d, a, 0", edges<uint32_t>(), [](uint32_t) { return ~0u; });
  expect_unary<uint32_t>("rem.u32 d, a, 0", edges<uint32_t>(), [](uint32_t a) { return a; });
}

TEST(Integer, WideProducts) {
  expect_binary<int64_t>("mul.wide.s32 d, a, b", edges<int32_t>(),
                         [](int32_t a, int32_t b) { return int64_t{a} * b; });
  expect_binary<uint64_t>("mul.wide.u32 d, a, b", edges<uint32_t>(),
                          [](uint32_t a, uint32_t b) { return uint64_t{a} * b; });
  expect_binary<int32_t>("mul.wide.s16 d, a, b", edges<int16_t>(),
                         [](int16_t a, int16_t b) { return a * b; });
  expect_ternary<int64_t>("mad.wide.s32 d, a, b, c", std::vector<int32_t>{0, -1, INT_MIN, INT_MAX},
                          std::vector<int64_t>{0, -1, LLONG_MAX},
                          [](int32_t a, int32_t b, int64_t c) { return low<int64_t>(Wide{a} * b + c); });
  expect_ternary<uint32_t>(
      "mad.hi.u32 d, a, b, c", std::vector<uint32_t>{0, 1, ~0u, 1u << 31}, std::vector<uint32_t>{0, 5, ~0u},
      [](uint32_t a, uint32_t b, uint32_t c) { return static_cast<uint32_t>((uint64_t{a} * b) >> 32) + c; });
}

TEST(Integer, Saturates) {
  const auto clamp = [](int64_t v) {
    return static_cast<int32_t>(v > INT_MAX ? INT_MAX : v < INT_MIN ? INT_MIN : v);
  };
  expect_binary<int32_t>("add.sat.s32 d, a, b", edges<int32_t>(),
                         [&](int32_t a, int32_t b) { return clamp(int64_t{a} + b); });
  expect_binary<int32_t>("sub.sat.s32 d, a, b", edges<int32_t>(),
                         [&](int32_t a, int32_t b) { return clamp(int64_t{a} - b); });
}

TEST(Integer, SignAndMagnitude) {
  expect_unary<int32_t>("neg.s32 d, a", edges<int32_t>(), [](int32_t a) { return low<int32_t>(-Wide{a}); });
  expect_unary<int32_t>("abs.s32 d, a", edges<int32_t>(),
                        [](int32_t a) { return low<int32_t>(a < 0 ? -Wide{a} : a); });
  expect_unary<int64_t>("abs.s64 d, a", edges<int64_t>(),
                        [](int64_t a) { return low<int64_t>(a < 0 ? -Wide{a} : a); });
  expect_ternary<uint32_t>("sad.u32 d, a, b, c", std::vector<uint32_t>{0, 1, ~0u, 77},
                           std::vector<uint32_t>{0, 9, ~0u},
                           [](uint32_t a, uint32_t b, uint32_t c) { return c + (a > b ? a - b : b - a); });
  expect_ternary<int32_t>("sad.s32 d, a, b, c", std::vector<int32_t>{0, -1, INT_MIN, 77},
                          std::vector<int32_t>{0, -9}, [](int32_t a, int32_t b, int32_t c) {
                            return low<int32_t>(Wide{c} + (Wide{a} > b ? Wide{a} - b : Wide{b} - a));
                          });
}

TEST(Integer, DotProductOfBytes) {
  const std::vector<uint32_t> words{0, ~0u, 0x7f80ff01, 0x01020304, 0x80808080};
  const auto dot = [](uint32_t a, uint32_t b, bool a_signed, bool b_signed) {
    int64_t sum = 0;
    for (int i = 0; i < 4; ++i) {
      const int64_t x = a >> 8 * i & 255, y = b >> 8 * i & 255;
      sum += (a_signed && x > 127 ? x - 256 : x) * (b_signed && y > 127 ? y - 256 : y);
    }
    return static_cast<uint32_t>(sum + 3);
  };
  expect_binary<uint32_t>("dp4a.s32.s32 d, a, b, 3", words,
                          [&](uint32_t a, uint32_t b) { return dot(a, b, true, true); });
  expect_binary<uint32_t>("dp4a.u32.u32 d, a, b, 3", words,
                          [&](uint32_t a, uint32_t b) { return dot(a, b, false, false); });
  expect_binary<uint32_t>("dp4a.s32.u32 d, a, b, 3", words,
                          [&](uint32_t a, uint32_t b) { return dot(a, b, true, false); });
}

/// 128-bit arithmetic in two words, as nvcc writes it.
TEST(Integer, CarriesBetweenWords) {
  using U = unsigned __int128;
  const auto high = [](U value) { return static_cast<uint64_t>(value >> 64); };
  const auto values = edges<uint64_t>();
  expect_binary<uint64_t>(".reg .b64 t; add.cc.u64 t, a, b; addc.u64 d, a, 5", values,
                          [&](uint64_t a, uint64_t b) { return high(U{a} + b) + a + 5; });
  expect_binary<uint64_t>(".reg .b64 t; sub.cc.s64 t, a, b; subc.cc.s64 d, a, 5", values,
                          [&](uint64_t a, uint64_t b) { return a - 5 - (a < b ? 1 : 0); });
  expect_binary<uint64_t>(".reg .b64 t; mad.lo.cc.u64 t, a, b, b; madc.hi.u64 d, a, b, 0", values,
                          [&](uint64_t a, uint64_t b) { return high(U{a} * b + b); });
  expect_binary<uint32_t>(
      ".reg .b32 t; mad.lo.cc.u32 t, a, b, a; madc.hi.cc.u32 d, a, b, 7; addc.u32 d, d, 0", edges<uint32_t>(),
      [](uint32_t a, uint32_t b) {
        const uint64_t middle = ((uint64_t{a} * b + a) >> 32) + 7;
        return static_cast<uint32_t>(middle) + static_cast<uint32_t>(middle >> 32);
      });
}

TEST(Integer, CarryIsEachThreadsOwn) {
  const std::vector<uint32_t> a{~0u, 0, ~0u, 5}, b{1, 1, 0, ~0u};
  EXPECT_EQ(
      evaluate<uint32_t>(".reg .b32 t; setp.ne.u32 p, a, 0; @p add.cc.u32 t, a, b; addc.u32 d, 0, 0", a, b),
      (std::vector<uint32_t>{1, 0, 0, 1}));
}

}  // namespace
}  // namespace simulated_gpu
