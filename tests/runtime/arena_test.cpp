#include "runtime/arena.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "runtime/random.h"

namespace tessera {
namespace {

constexpr int64_t kNet = 1000 * 64 - 64;  // takes 1000 units of 64 bytes

TEST(Arena, RoundsToWholeUnitsWithPadding) {
  EXPECT_EQ(Arena::rounded(0), 64);
  EXPECT_EQ(Arena::rounded(1), 128);
  EXPECT_EQ(Arena::rounded(64), 128);
  EXPECT_EQ(Arena::rounded(65), 192);
  EXPECT_EQ(Arena::rounded(kNet), 64'000);
}

TEST(Arena, TakesTheSmallestBlockThatFitsAndTheLowestOfEqualOnes) {
  Arena arena;
  std::vector<int64_t> begins;
  for (int64_t units : {10, 1, 4, 1, 6, 1, 4, 1}) begins.push_back(arena.take(units * 64 - 64));
  EXPECT_EQ(arena.statistics().held_bytes, 28 * 64);
  arena.give_back(begins[0], 10 * 64 - 64);
  arena.give_back(begins[6], 4 * 64 - 64);
  arena.give_back(begins[4], 6 * 64 - 64);
  arena.give_back(begins[2], 4 * 64 - 64);
  EXPECT_EQ(arena.take(4 * 64 - 64), begins[2]);
  EXPECT_EQ(arena.take(4 * 64 - 64), begins[6]);
  EXPECT_EQ(arena.take(5 * 64 - 64), begins[4]);
  EXPECT_EQ(arena.take(64 - 64), begins[4] + 5 * 64) << "what was left of a block";
  EXPECT_EQ(arena.statistics().growths, 8);
}

TEST(Arena, JoinsFreeNeighbours) {
  for (const std::vector<size_t>& order :
       std::vector<std::vector<size_t>>{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}}) {
    Arena arena;
    std::vector<int64_t> begins;
    for (int i = 0; i < 4; ++i) begins.push_back(arena.take(kNet));
    for (size_t block : order) arena.give_back(begins[block], kNet);
    EXPECT_EQ(arena.grown(3 * 64'000 - 64), 0);
    EXPECT_EQ(arena.take(3 * 64'000 - 64), 0);
    EXPECT_EQ(arena.statistics().held_bytes, 4 * 64'000);
  }
}

TEST(Arena, GrowsFromTheFreeBlockAtItsEnd) {
  Arena arena;
  arena.take(kNet);
  arena.give_back(arena.take(kNet), kNet);
  EXPECT_EQ(arena.grown(2 * 64'000 - 64), 3 * 64'000);
  EXPECT_EQ(arena.take(2 * 64'000 - 64), 64'000);
  EXPECT_EQ(arena.statistics().held_bytes, 3 * 64'000);
}

TEST(Arena, CountsWhatIsLiveHeldAndPeak) {
  Arena arena;
  const int64_t a = arena.take(kNet), b = arena.take(kNet);
  arena.give_back(a, kNet);
  EXPECT_EQ(arena.statistics().live_bytes, 64'000);
  EXPECT_EQ(arena.statistics().peak_bytes, 128'000);
  EXPECT_EQ(arena.statistics().held_bytes, 128'000);
  EXPECT_EQ(arena.statistics().growths, 2);
  arena.give_back(b, kNet);
  EXPECT_EQ(arena.statistics().live_bytes, 0);
  EXPECT_EQ(arena.take(2 * 64'000 - 64), 0);
  EXPECT_EQ(arena.statistics().growths, 2);
}

/// Against a list of what is taken: blocks never overlap, and all of the range is free in one piece in the end.
TEST(Arena, DrawnRequestsNeverOverlap) {
  struct Block {
    int64_t begin, bytes;
  };
  Arena arena;
  std::vector<Block> blocks;
  uint64_t draws = 0;
  const auto draw = [&](int64_t below) {
    return static_cast<int64_t>(random_below(1, Purpose("arena"), draws++, static_cast<uint64_t>(below)));
  };
  for (int i = 0; i < 20'000; ++i) {
    if (blocks.empty() || draw(100) < 52) {
      const int64_t bytes = draw(10) == 0 ? draw(100'000) : draw(700);
      const Block taken{arena.take(bytes), bytes};
      const auto after =
          std::ranges::lower_bound(blocks, taken.begin, {}, [](const Block& block) { return block.begin; });
      const int64_t end = taken.begin + Arena::rounded(taken.bytes);
      ASSERT_TRUE(after == blocks.end() || end <= after->begin);
      ASSERT_TRUE(after == blocks.begin() ||
                  std::prev(after)->begin + Arena::rounded(std::prev(after)->bytes) <= taken.begin);
      ASSERT_LE(end, arena.statistics().held_bytes);
      blocks.insert(after, taken);
    } else {
      const auto block = blocks.begin() + draw(std::ssize(blocks));
      arena.give_back(block->begin, block->bytes);
      blocks.erase(block);
    }
  }
  for (const Block& block : blocks) arena.give_back(block.begin, block.bytes);
  const int64_t held = arena.statistics().held_bytes;
  EXPECT_EQ(arena.statistics().live_bytes, 0);
  EXPECT_EQ(arena.take(held - 64), 0);
  EXPECT_EQ(arena.statistics().held_bytes, held);
}

}  // namespace
}  // namespace tessera
