// Simulated device memory: addresses, poison, capacity, and what the host may not do.

#include "tests/simulated_gpu/memory/arena.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <set>

namespace simulated_gpu {
namespace {

TEST(Arena, BlocksAreAlignedApartAndFilledWithNaN) {
  Arena arena(1 << 20);
  const uint64_t a = arena.allocate(100), b = arena.allocate(512);
  EXPECT_EQ(a % 256, 0u);
  EXPECT_EQ(b % 256, 0u);
  EXPECT_GE(b, a + 100 + 256);
  float value;
  std::memcpy(&value, arena.at(b + 508), sizeof value);
  EXPECT_TRUE(std::isnan(value));
  EXPECT_EQ(arena.find(a + 99)->address, a);
  EXPECT_FALSE(arena.find(a + 100));
  EXPECT_FALSE(arena.find(b + 512));
  EXPECT_EQ(arena.find(b)->bytes, 512u);
}

TEST(Arena, TellsItsAddressesFromOthers) {
  Arena arena(1 << 20);
  int local = 0;
  EXPECT_TRUE(arena.contains(arena.allocate(8)));
  EXPECT_TRUE(arena.contains(arena.base()));
  EXPECT_FALSE(arena.contains(reinterpret_cast<uint64_t>(&local)));
  EXPECT_FALSE(arena.contains(arena.base() - 1));
  EXPECT_FALSE(arena.contains(0));
}

TEST(Arena, RunsOutAtItsCapacityAndComesBack) {
  Arena arena(4096);
  EXPECT_EQ(arena.allocate(4097), 0u);
  EXPECT_EQ(arena.allocate(UINT64_MAX), 0u);
  const uint64_t whole = arena.allocate(4096);
  EXPECT_NE(whole, 0u);
  EXPECT_EQ(arena.used(), 4096u);
  EXPECT_EQ(arena.allocate(1), 0u);
  EXPECT_TRUE(arena.release(whole));
  EXPECT_EQ(arena.used(), 0u);
  EXPECT_NE(arena.allocate(1), 0u);
}

TEST(Arena, ReleasesOnlyLiveBlocks) {
  Arena arena(4096);
  const uint64_t a = arena.allocate(16);
  EXPECT_FALSE(arena.release(a + 1));
  EXPECT_TRUE(arena.release(a));
  EXPECT_FALSE(arena.release(a));
}

TEST(Arena, AnAddressComesBackLate) {
  Arena arena(1 << 16);
  std::set<uint64_t> seen;
  for (int i = 0; i < 7; ++i) {
    const uint64_t address = arena.allocate(1 << 16);
    ASSERT_NE(address, 0u);
    EXPECT_TRUE(seen.insert(address).second) << "allocation " << i;
    arena.release(address);
  }
  // Ever after, there is a place.
  for (int i = 0; i < 100; ++i) {
    const uint64_t address = arena.allocate(1 << 16);
    ASSERT_NE(address, 0u);
    arena.release(address);
  }
}

TEST(Arena, FragmentsStayUsable) {
  Arena arena(1 << 16);
  std::set<uint64_t> live;
  for (int i = 0; i < 256; ++i) live.insert(arena.allocate(256));
  EXPECT_EQ(live.count(0), 0u);
  EXPECT_EQ(arena.allocate(256), 0u);
  for (int i = 0; i < 10000; ++i) {
    const uint64_t released = *std::next(live.begin(), i * 37 % 256);
    arena.release(released);
    live.erase(released);
    const uint64_t address = arena.allocate(256);
    ASSERT_NE(address, 0u);
    ASSERT_TRUE(live.insert(address).second);
  }
}

TEST(ArenaDeathTest, HostCodeThatFollowsADevicePointerFaults) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  Arena arena(4096);
  const uint64_t address = arena.allocate(16);
  EXPECT_DEATH(*reinterpret_cast<volatile int*>(address) = 1, "");
}

}  // namespace
}  // namespace simulated_gpu
