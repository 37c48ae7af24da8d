#include "parallel/clock.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <thread>

namespace tessera {
namespace {

/// A clock that shows begin when the real one shows 0, and runs rate times as fast.
int64_t shown(int64_t real_ns, int64_t begin, double rate) {
  return begin + static_cast<int64_t>(rate * static_cast<double>(real_ns));
}

TEST(Clock, FindsOffsetsToWithinHalfARoundTrip) {
  const int64_t start = Trace::now_ns();
  run_ranks(3, [start](Communicator& world) {
    const auto now = [&world, start] {
      return shown(Trace::now_ns() - start, 1'000'000'000'000 * (1 + world.rank() * world.rank()), 1);
    };
    const ClockPoint point = compare_clocks(world, now);
    const int64_t expected = -1'000'000'000'000 * world.rank() * world.rank();
    EXPECT_LE(std::abs(point.offset_ns - expected), point.round_trip_ns / 2 + 1) << world.rank();
    EXPECT_LT(point.round_trip_ns, 1'000'000'000) << world.rank();
    EXPECT_EQ(point.round_trip_ns == 0, world.rank() == 0);
  });
}

TEST(Clock, TwoPointsGiveTheDrift) {
  // Rank 1's clock runs one percent fast: from one point to the other the offset shrinks by one percent of the time between.
  const int64_t start = Trace::now_ns();
  run_ranks(2, [start](Communicator& world) {
    const double rate = world.rank() == 0 ? 1 : 1.01;
    const auto now = [start, rate] { return shown(Trace::now_ns() - start, 5'000'000'000, rate); };
    const ClockPoint first = compare_clocks(world, now);
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    const ClockPoint last = compare_clocks(world, now);
    if (world.rank() == 0) return;
    const auto expected = static_cast<double>(last.at_ns - first.at_ns) * (1 / rate - 1);
    const auto error = static_cast<double>(first.round_trip_ns + last.round_trip_ns) / 2 + 2;
    EXPECT_NEAR(static_cast<double>(last.offset_ns - first.offset_ns), expected, error);
  });
}

TEST(Clock, OneRankIsItsOwnReference) {
  const ClockPoint point = compare_clocks(*solo_communicator(), [] { return int64_t{42}; });
  EXPECT_EQ(point.at_ns, 42);
  EXPECT_EQ(point.offset_ns, 0);
}

}  // namespace
}  // namespace tessera
