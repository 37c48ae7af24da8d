#include "parallel/mesh.h"

#include <gtest/gtest.h>

#include <map>
#include <mutex>
#include <set>

namespace tessera {
namespace {

std::vector<MeshConfig> configs_of(int ranks) {
  std::vector<MeshConfig> configs;
  for (int64_t replicate = 1; replicate <= ranks; ++replicate)
    for (int64_t expert = 1; expert <= ranks; ++expert)
      if (ranks % (replicate * expert) == 0) configs.push_back({replicate, expert});
  return configs;
}

std::string message_of(const MeshConfig& config, int ranks) {
  try {
    check(config, ranks);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Mesh, RefusesWhatDoesNotDivideTheRanks) {
  EXPECT_EQ(message_of({2, 2}, 8), "");
  EXPECT_EQ(message_of({2, 4}, 4), "mesh: replicate x expert is 2 x 4, which does not divide 4 ranks");
  EXPECT_EQ(message_of({1, 2}, 1), "mesh: replicate x expert is 1 x 2, which does not divide 1 rank");
}

/// The members of a group, by their ranks of the world.
std::vector<int> members(Communicator& group, Communicator& world) {
  const double own = world.rank();
  std::vector<int> ranks;
  for (double rank : all_gather_values(group, {&own, 1})) ranks.push_back(static_cast<int>(rank));
  return ranks;
}

TEST(Mesh, EveryReplicaNeedsALeaf) {
  run_ranks(2, [](Communicator& world) {
    const Mesh mesh(world, {.replicate = 2});
    EXPECT_EQ(mesh.rounds(2), 1);
    EXPECT_THROW((void)mesh.rounds(1), Error);
  });
}

TEST(Mesh, AxesAreThoseOfTheGrid) {
  run_ranks(8, [](Communicator& world) {
    const Mesh mesh(world, {.replicate = 2, .expert = 2});
    const int replica = world.rank() / 4, shard = world.rank() / 2 % 2, expert = world.rank() % 2;
    const int base = 4 * replica;
    EXPECT_EQ(members(mesh.replica(), world), (std::vector<int>{base, base + 1, base + 2, base + 3}));
    EXPECT_EQ(members(mesh.across(), world), (std::vector<int>{world.rank() % 4, world.rank() % 4 + 4}));
    EXPECT_EQ(members(mesh.shard(), world), (std::vector<int>{base + expert, base + 2 + expert}));
    EXPECT_EQ(members(mesh.expert(), world), (std::vector<int>{base + 2 * shard, base + 2 * shard + 1}));
  });
}

TEST(Mesh, EveryLeafIsWorkedOnOnce) {
  for (int ranks = 1; ranks <= 8; ++ranks)
    for (const MeshConfig& config : configs_of(ranks)) {
      std::mutex lock;
      std::map<int64_t, std::map<int64_t, std::pair<int, int64_t>>> done;  // by leaves of the step, by leaf
      run_ranks(ranks, [&](Communicator& world) {
        const Mesh mesh(world, config);
        for (int64_t leaves = ranks; leaves <= ranks + 20; ++leaves)
          for (int64_t round = 0; round < mesh.rounds(leaves); ++round) {
            const std::optional<int64_t> leaf = mesh.leaf(round, leaves);
            if (!leaf) continue;
            const Mesh::Turn turn = mesh.turn_of(*leaf, leaves);
            EXPECT_EQ(turn.rank, world.rank());
            EXPECT_EQ(turn.round, round);
            const std::lock_guard hold(lock);
            EXPECT_TRUE(done[leaves].try_emplace(*leaf, world.rank(), round).second) << "twice";
          }
      });
      for (int64_t leaves = ranks; leaves <= ranks + 20; ++leaves) {
        ASSERT_EQ(std::ssize(done[leaves]), leaves)
            << ranks << " ranks, " << config.replicate << " replicas, expert axis of " << config.expert;
        EXPECT_EQ(done[leaves].begin()->first, 0);
        EXPECT_EQ(done[leaves].rbegin()->first, leaves - 1);
      }
    }
}

TEST(Mesh, AnExpertAxisHoldsConsecutiveLeaves) {
  run_ranks(8, [](Communicator& world) {
    const Mesh mesh(world, {.replicate = 2, .expert = 2});
    for (int64_t round = 0; round < mesh.rounds(16); ++round) {
      const double leaf = static_cast<double>(mesh.leaf(round, 16).value());
      const std::vector<double> leaves = all_gather_values(mesh.expert(), {&leaf, 1});
      EXPECT_EQ(leaves[1], leaves[0] + 1);
      EXPECT_EQ(static_cast<int64_t>(leaves[0]) % 2, 0);
    }
  });
}

}  // namespace
}  // namespace tessera
