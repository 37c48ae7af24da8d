#include "launch/placement.h"

#include <gtest/gtest.h>

namespace tessera {
namespace {

TEST(Placement, FollowsMachinesNotLaunchers) {
  const std::vector<RankPlace> places{{"a", {0, 1}, "0,1"},
                                      {"b", {0, 1, 2, 3}, "0"},
                                      {"a", {0, 1}, "0,1"},
                                      {"b", {4, 5, 6, 7}, "1"},
                                      {"c", {}, ""}};
  const auto expect = [&](int rank, int local_rank, int local_ranks, int threads, int gpu) {
    const Placement place = placement_of(rank, places);
    EXPECT_EQ(place.local_rank, local_rank) << rank;
    EXPECT_EQ(place.local_ranks, local_ranks) << rank;
    EXPECT_EQ(place.threads(), threads) << rank;
    EXPECT_EQ(place.gpu, gpu) << rank;
  };
  expect(0, 0, 2, 1, 0);
  expect(2, 1, 2, 1, 1);
  expect(1, 0, 2, 4, 0);  // --gpus-per-task: each sees its own GPU as the first
  expect(3, 1, 2, 4, 0);
  expect(4, 0, 1, 1, 0);  // a system that does not say its cores
}

}  // namespace
}  // namespace tessera
