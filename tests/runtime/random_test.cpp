#include "runtime/random.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "runtime/error.h"

namespace tessera {
namespace {

Purpose purpose_of(uint64_t id) {
  Purpose purpose("");
  purpose.id = id;
  return purpose;
}

// The known answers of the authors' library (Random123, kat_vectors, philox4x32 with 10 rounds).
TEST(Random, IsPhilox) {
  using Bits = std::array<uint32_t, 4>;
  EXPECT_EQ(random_bits(0, purpose_of(0), 0), (Bits{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  constexpr uint64_t kOnes = ~uint64_t{0};
  EXPECT_EQ(random_bits(kOnes, purpose_of(kOnes), kOnes),
            (Bits{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(random_bits(0x299f31d0a4093822, purpose_of(0x0370734413198a2e), 0x85a308d3243f6a88),
            (Bits{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Random, SeedPurposeAndIndexAllMatter) {
  const std::set<uint64_t> distinct = {random_u64(1, Purpose("a"), 0),  random_u64(2, Purpose("a"), 0),
                                       random_u64(1, Purpose("b"), 0),  random_u64(1, Purpose("a"), 1),
                                       random_u64(1, Purpose("ab"), 0), random_u64(1, Purpose("ba"), 0)};
  EXPECT_EQ(distinct.size(), 6u);
}

// Over n draws the mean of a uniform number has a standard deviation of 1 / sqrt(12 n); five of them are allowed.
TEST(Random, UniformNumbersFillTheOpenInterval) {
  constexpr uint64_t kDraws = 100'000;
  double sum = 0, least = 1, most = 0;
  for (uint64_t i = 0; i < kDraws; ++i) {
    const double value = random_uniform(7, Purpose("uniform"), i);
    ASSERT_TRUE(0 < value && value < 1);
    sum += value;
    least = std::min(least, value);
    most = std::max(most, value);
  }
  EXPECT_NEAR(sum / kDraws, 0.5, 5 / std::sqrt(12.0 * kDraws));
  EXPECT_LT(least, 10.0 / kDraws);
  EXPECT_GT(most, 1 - 10.0 / kDraws);
}

TEST(Random, WholeNumbersAreEvenlySpread) {
  constexpr uint64_t kDraws = 70'000, kBound = 7;
  std::vector<int> counts(kBound);
  for (uint64_t i = 0; i < kDraws; ++i) ++counts.at(random_below(3, Purpose("below"), i, kBound));
  const double expected = double(kDraws) / kBound, deviation = std::sqrt(expected * (1 - 1.0 / kBound));
  for (int count : counts) EXPECT_NEAR(count, expected, 5 * deviation);
  for (uint64_t i = 0; i < 100; ++i) EXPECT_EQ(random_below(3, Purpose("below"), i, 1), 0u);
}

// The distribution function of the C library takes a normal number back to the uniform one that it was made from.  Near
// z a relative error of 1e-16 in z moves the probability by about 1e-16 (1 + z^2) of itself; the rest is erfc's.
TEST(Random, NormalNumbersInvertTheDistribution) {
  double sum = 0, squares = 0, largest = 0;
  constexpr uint64_t kDraws = 100'000;
  for (uint64_t i = 0; i < kDraws; ++i) {
    const double uniform = random_uniform(5, Purpose("normal"), i),
                 z = random_normal(5, Purpose("normal"), i);
    const double tail = std::min(uniform, 1 - uniform);
    EXPECT_NEAR(0.5 * std::erfc(std::abs(z) / std::sqrt(2.0)), tail, 3e-15 * (1 + z * z) * tail + 1e-16);
    EXPECT_EQ(z < 0, uniform < 0.5);
    sum += z;
    squares += z * z;
    largest = std::max(largest, std::abs(z));
  }
  EXPECT_NEAR(sum / kDraws, 0, 5 / std::sqrt(double(kDraws)));
  EXPECT_NEAR(squares / kDraws, 1, 5 * std::sqrt(2.0 / kDraws));
  EXPECT_GT(largest, 3.5);  // fails with a chance of exp(-46)
}

TEST(Random, PermutationsVisitEveryPositionOnce) {
  for (uint64_t count : {1u, 2u, 3u, 4u, 5u, 17u, 64u, 1000u, 4097u}) {
    std::vector<bool> seen(count);
    for (uint64_t i = 0; i < count; ++i) {
      const uint64_t value = random_permutation(9, Purpose("shuffle"), count, i);
      ASSERT_LT(value, count);
      ASSERT_FALSE(seen[value]) << count;
      seen[value] = true;
    }
  }
}

TEST(Random, PermutationsAreShuffledByTheSeed) {
  constexpr uint64_t kCount = 1000;
  int fixed = 0, same = 0;
  for (uint64_t i = 0; i < kCount; ++i) {
    const uint64_t value = random_permutation(1, Purpose("shuffle"), kCount, i);
    fixed += value == i;
    same += value == random_permutation(2, Purpose("shuffle"), kCount, i);
  }
  // One of each is expected, by the Poisson law; more than 12 has a chance of 1e-10.
  EXPECT_LE(fixed, 12);
  EXPECT_LE(same, 12);
  EXPECT_THROW(random_permutation(1, Purpose("shuffle"), kCount, kCount), Error);
  EXPECT_THROW(random_permutation(1, Purpose("shuffle"), 0, 0), Error);
}

}  // namespace
}  // namespace tessera
