// The plain matrix unit against the processor's, on values of all magnitudes.
#include "kernels/cpu/tile_unit.h"

#include <gtest/gtest.h>

#include <vector>

#include "runtime/isa.h"
#include "runtime/random.h"

namespace tessera::kernels::cpu {
namespace {

using Words = std::vector<uint32_t>;

/// c + two products of the same operands, the second one by a part of b.
template <class Unit>
Words multiply_twice(const Words& a, const Words& b, const Words& c) {
  [[maybe_unused]] const Unit unit;
  Words sums(c.size());
  Unit::template load<1>(c.data(), kTileBytes);
  Unit::template load<5>(a.data(), kTileBytes);
  Unit::template load<7>(b.data(), kTileBytes);
  Unit::template multiply<1, 5, 7>();
  Unit::template multiply<1, 5, 7>();
  Unit::template store<1>(sums.data(), kTileBytes);
  return sums;
}

/// Words of two bf16 or one f32, their biased exponents from least to least + span - 1.
Words draw(uint64_t stream, int least, int span, bool pairs) {
  Words words(kTileRows * kTilePairs);
  for (size_t i = 0; i < words.size(); ++i) {
    const auto random = random_bits(stream, Purpose("tile_unit"), i);
    const auto value = [&](uint32_t bits) {
      const uint32_t exponent =
          static_cast<uint32_t>(least) + (bits >> 23 & 0xff) % static_cast<uint32_t>(span);
      return (bits & 0x807fffff) | exponent << 23;
    };
    words[i] = pairs ? (value(random[0]) & 0xffff0000) | value(random[1]) >> 16 : value(random[0]);
  }
  return words;
}

TEST(TileUnit, ThePlainOneHasTheBitsOfTheProcessors) {
  if (!supports(Isa::amx)) GTEST_SKIP() << "the processor has no AMX";
  uint64_t stream = 0;
  for (const int least : {0, 1, 30, 63, 64, 110, 127, 150})
    for (const int span : {1, 3, 20, 60}) {
      const Words a = draw(++stream, least, span, true), b = draw(++stream, least, span, true);
      for (const int c_least : {0, 1, std::max(0, 2 * least - 127), 127}) {
        const Words c = draw(++stream, std::min(c_least, 200), span, false);
        EXPECT_EQ(multiply_twice<PlainUnit>(a, b, c), multiply_twice<AmxUnit>(a, b, c))
            << "exponents from " << least << ", " << span << " of them, sums from " << c_least;
      }
    }
}

TEST(TileUnit, AddsStepsOfTwoChains) {
  // Row 0 of a is (1, 2^24) and 15 pairs of (1, 0); column 0 of b is ones: the even terms are 16, the odd ones 2^24.
  Words a(kTileRows * kTilePairs), b(kTileRows * kTilePairs), c(kTileRows * kTilePairs);
  const uint32_t one = 0x3f80, large = 0x4b80;
  for (size_t q = 0; q < kTilePairs; ++q) {
    a[q] = one | (q == 0 ? large << 16 : 0);
    b[q * kTilePairs] = one | one << 16;
  }
  const Words sums = multiply_twice<PlainUnit>(a, b, c);
  EXPECT_EQ(std::bit_cast<float>(sums[0]), 2 * (0x1p24f + 16));
  for (size_t i = 1; i < sums.size(); ++i) ASSERT_EQ(sums[i], 0u);
}

}  // namespace
}  // namespace tessera::kernels::cpu
