#include "runtime/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace tessera {
namespace {

float from_bits(uint32_t bits) { return std::bit_cast<float>(bits); }

TEST(Bf16, EveryValueSurvivesTheWayToF32AndBack) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    bf16 value;
    value.bits = static_cast<uint16_t>(bits);
    const float wide = static_cast<float>(value);
    if (std::isnan(wide))
      EXPECT_TRUE(std::isnan(static_cast<float>(bf16(wide))));
    else
      EXPECT_EQ(bf16(wide).bits, bits);
  }
}

// Around every bf16 value: just below the middle to the next goes down, just above goes up, the middle to the even one.
TEST(Bf16, RoundsToNearestEven) {
  for (uint32_t sign : {0u, 0x8000u})
    for (uint32_t upper = 0; upper < 0x7f80; ++upper) {
      const uint32_t low = sign | upper, middle = low << 16 | 0x8000u;
      EXPECT_EQ(bf16(from_bits(middle - 1)).bits, low);
      EXPECT_EQ(bf16(from_bits(middle + 1)).bits, low + 1);
      EXPECT_EQ(bf16(from_bits(middle)).bits, low + (low & 1));
    }
}

TEST(Bf16, KeepsInfinitiesAndNaN) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(static_cast<float>(bf16(kInfinity)), kInfinity);
  EXPECT_EQ(static_cast<float>(bf16(-kInfinity)), -kInfinity);
  EXPECT_EQ(static_cast<float>(bf16(std::numeric_limits<float>::max())), kInfinity);
  for (uint32_t payload : {1u, 0x8000u, 0xffffu, 0x7fffffu, 0x400000u})
    for (uint32_t sign : {0u, 0x80000000u})
      EXPECT_TRUE(std::isnan(static_cast<float>(bf16(from_bits(sign | 0x7f800000u | payload))))) << payload;
}

TEST(DType, NamesSizesAndTypesAgree) {
  EXPECT_EQ(bytes_of(DType::f32), 4);
  EXPECT_EQ(bytes_of(DType::bf16), 2);
  EXPECT_EQ(bytes_of(DType::i32), 4);
  EXPECT_EQ(bytes_of(DType::u8), 1);
  EXPECT_EQ(str(DType::f32, ' ', DType::bf16, ' ', DType::i32, ' ', DType::u8), "f32 bf16 i32 u8");
  EXPECT_EQ(visit_float(DType::f32, []<class T>() { return dtype_of<T>; }), DType::f32);
  EXPECT_EQ(visit_float(DType::bf16, []<class T>() { return dtype_of<T>; }), DType::bf16);
  EXPECT_THROW(visit_float(DType::i32, []<class T>() {}), Error);
}

}  // namespace
}  // namespace tessera
