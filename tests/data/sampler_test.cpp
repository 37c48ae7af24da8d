#include "data/sampler.h"

#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <set>

#include "runtime/random.h"
#include "tests/data/temporary_folder.h"

namespace tessera {
namespace {

PoolsPerKind all_of(int64_t mixed, int64_t text) { return {{{{0, mixed}}, {{0, text}}}}; }

TEST(Sampler, APassVisitsEveryUnitOnce) {
  const Sampler sampler(all_of(10, 7), {2, 1}, 5,
                        42);  // a step takes all 10 mixed units, and 5 of the 7 text units
  for (int64_t step = 0; step < 3; ++step) {
    std::set<int64_t> seen;
    for (int64_t leaf = 0; leaf < 5; ++leaf)
      for (const UnitRef ref : sampler.micro_batch(step, leaf))
        if (ref.kind == UnitKind::mixed) seen.insert(ref.unit);
    EXPECT_EQ(seen.size(), 10u);
  }
  std::vector<int64_t> text;
  for (int64_t step = 0; step < 7; ++step)
    for (int64_t leaf = 0; leaf < 5; ++leaf) text.push_back(sampler.at(step, leaf, 2).unit);
  for (size_t pass = 0; pass < 5; ++pass)
    EXPECT_EQ(std::set(text.begin() + int64_t(pass) * 7, text.begin() + int64_t(pass + 1) * 7).size(), 7u);
  EXPECT_FALSE(std::equal(text.begin(), text.begin() + 7, text.begin() + 7)) << "passes have the same order";
  EXPECT_EQ(sampler.passes(UnitKind::mixed, 0, 3), 3.0);
  EXPECT_EQ(sampler.passes(UnitKind::text, 0, 7), 5.0);
}

TEST(Sampler, DependsOnTheSeedAlone) {
  const Sampler a(all_of(100, 0), {4, 0}, 2, 1), same(all_of(100, 0), {4, 0}, 2, 1),
      other(all_of(100, 0), {4, 0}, 2, 2);
  EXPECT_EQ(a.micro_batch(7, 1), same.micro_batch(7, 1));
  EXPECT_NE(a.micro_batch(7, 1), other.micro_batch(7, 1));
}

TEST(Sampler, PassesCountPerPool) {
  const Sampler sampler({{{{0, 10, 3}, {10, 4, 1}, {14, 9, 0}}, {}}}, {4, 0}, 2, 1);
  // Eight slots a step: six of the first pool, two of the second.
  EXPECT_EQ(sampler.passes(UnitKind::mixed, 0, 5), 3.0);
  EXPECT_EQ(sampler.passes(UnitKind::mixed, 1, 5), 2.5);
  EXPECT_EQ(sampler.passes(UnitKind::mixed, 2, 5), 0.0);
}

TEST(Sampler, RefusesKindsWithoutUnits) {
  EXPECT_EQ(message_of([] {
              Sampler(all_of(10, 0), {2, 3}, 2, 1);
            }),
            "sampler: micro-batches ask for 3 text units each, but the dataset has none");
  EXPECT_EQ(message_of([] {
              Sampler({{{{0, 10, 0}, {10, 0, 5}}, {}}}, {2, 0}, 2, 1);
            }),
            "sampler: micro-batches ask for 2 mixed units each, but no source with a weight has any");
  EXPECT_EQ(message_of([] {
              Sampler(all_of(10, 0), {0, 0}, 2, 1);
            }),
            "sampler: a micro-batch has at least one unit, got 0 mixed and 0 text");
  const Sampler sampler(all_of(10, 0), {2, 0}, 3, 1);
  EXPECT_EQ(message_of([&] { sampler.at(5, 3, 1); }),
            "sampler: no step 5 leaf 3 slot 1: 3 leaves of 2 slots");
}

TEST(Turns, RefusesWeightsThatMakeNoPeriod) {
  EXPECT_EQ(message_of([] { Turns({0, 0}); }), "sampler: at least one weight must be positive");
  EXPECT_EQ(message_of([] { Turns({2, -1}); }), "sampler: a weight is not negative, got -1");
  EXPECT_EQ(message_of([] {
              Turns({65536, 1});
            }),
            "sampler: weights without their common divisor sum to at most 65536");
  EXPECT_EQ(message_of([] { Turns({65535, 1}); }), "");
  EXPECT_EQ(message_of([] { Turns({500'000, 1'000'000}); }), "");
}

/// Draws of one trial, numbered on.
class Draws {
 public:
  explicit Draws(uint64_t trial) : trial_(trial) {}
  int64_t below(int64_t bound) {
    return static_cast<int64_t>(random_below(trial_, kDraw, next_++, static_cast<uint64_t>(bound)));
  }

 private:
  static constexpr Purpose kDraw{"test of the sampler"};
  uint64_t trial_, next_ = 0;
};

/// Weights, the first of which is positive.
std::vector<int64_t> draw_weights(Draws& draws, int64_t most) {
  std::vector<int64_t> weights{1 + draws.below(most)};
  for (int64_t others = draws.below(5); others > 0; --others) weights.push_back(draws.below(most + 1));
  return weights;
}

TEST(Turns, EveryPrefixHoldsTheWeightsToWithinOneTurn) {
  for (uint64_t trial = 0; trial < 400; ++trial) {
    Draws draws(trial);
    const std::vector<int64_t> weights = draw_weights(draws, trial % 2 ? 6 : 200);
    const int64_t sum = std::accumulate(weights.begin(), weights.end(), int64_t{0});
    const Turns turns(weights);
    std::vector<int64_t> had(weights.size(), 0);
    for (int64_t turn = 0; turn < 2 * sum + 3; ++turn) {
      const Turns::Turn next = turns.at(turn);
      const auto pool = static_cast<size_t>(next.pool);
      ASSERT_EQ(next.number, had[pool]) << "trial " << trial << " turn " << turn;
      ASSERT_EQ(turns.count(next.pool, turn), had[pool]) << "trial " << trial << " turn " << turn;
      ++had[pool];
      for (size_t p = 0; p < weights.size(); ++p)
        ASSERT_LT(std::abs(had[p] * sum - weights[p] * (turn + 1)), sum)
            << "trial " << trial << " turn " << turn;
    }
  }
}

/// A random composition, and a walk over some steps of it.
struct Walk {
  PoolsPerKind pools;
  PerKind slots;
  int64_t leaves, first_step, steps;
  uint64_t seed;

  explicit Walk(Draws& draws) : seed(static_cast<uint64_t>(draws.below(1 << 30))) {
    for (auto& of_kind : pools) {
      int64_t first = 0;
      for (const int64_t weight : draw_weights(draws, 7)) {
        const int64_t units = (of_kind.empty() ? 1 : 0) + draws.below(12);
        of_kind.push_back({first, units, weight});
        first += units;
      }
    }
    slots = {draws.below(4), draws.below(4)};
    if (slots[0] + slots[1] == 0) slots[0] = 1;
    leaves = 1 + draws.below(9);
    steps = 1 + draws.below(8);
    first_step = draws.below(steps);
  }
  Sampler sampler() const { return Sampler(pools, slots, leaves, seed); }
};

using Place = std::pair<int64_t, int64_t>;  ///< step, leaf
using MicroBatches = std::map<Place, std::vector<UnitRef>>;

/// What `ranks` ranks read together from a step on; each asks a sampler of its own, which knows nothing of earlier steps.
MicroBatches read_on(const Walk& walk, int64_t first_step, int64_t ranks) {
  MicroBatches found;
  for (int64_t rank = 0; rank < ranks; ++rank) {
    const Sampler sampler = walk.sampler();
    for (int64_t step = first_step; step < walk.steps; ++step)
      for (int64_t leaf = rank; leaf < walk.leaves; leaf += ranks)
        found[{step, leaf}] = sampler.micro_batch(step, leaf);
  }
  return found;
}

/// The units of every pool in the order of their slots, and that micro-batches are composed as asked.
std::map<std::pair<size_t, size_t>, std::vector<int64_t>> units_by_pool(const Walk& walk,
                                                                        const MicroBatches& read) {
  std::map<std::pair<size_t, size_t>, std::vector<int64_t>> units;
  for (const auto& [place, micro_batch] : read) {
    PerKind of_kind{};
    for (const UnitRef ref : micro_batch) {
      const auto kind = static_cast<size_t>(ref.kind);
      ++of_kind[kind];
      size_t pool = 0;
      while (ref.unit >= walk.pools[kind][pool].first + walk.pools[kind][pool].units) ++pool;
      units[{kind, pool}].push_back(ref.unit);
    }
    EXPECT_EQ(of_kind, walk.slots);
  }
  return units;
}

void check_passes(const Walk& walk, const MicroBatches& read) {
  PerKind sums{};  // of the weights of pools that have units
  for (size_t kind = 0; kind < kUnitKinds; ++kind)
    for (const UnitPool& pool : walk.pools[kind]) sums[kind] += pool.units > 0 ? pool.weight : 0;
  const Sampler sampler = walk.sampler();
  auto read_of = units_by_pool(walk, read);
  for (size_t kind = 0; kind < kUnitKinds; ++kind)
    for (size_t number = 0; number < walk.pools[kind].size(); ++number) {
      const UnitPool& pool = walk.pools[kind][number];
      const std::vector<int64_t>& units = read_of[{kind, number}];
      if (pool.units == 0) continue;
      for (int64_t begin = 0; begin < std::ssize(units); begin += pool.units) {
        const int64_t end = std::min(std::ssize(units), begin + pool.units);
        const std::set<int64_t> pass(units.begin() + begin, units.begin() + end);
        EXPECT_EQ(std::ssize(pass), end - begin) << "a unit comes twice in a pass";
      }
      const int64_t slots = walk.steps * walk.leaves * walk.slots[kind];
      EXPECT_LT(std::abs(std::ssize(units) * sums[kind] - pool.weight * slots), sums[kind])
          << "share of a pool";
      EXPECT_EQ(sampler.passes(static_cast<UnitKind>(kind), number, walk.steps),
                static_cast<double>(units.size()) / static_cast<double>(pool.units));
    }
}

/// Random compositions on random numbers of ranks, resumed on another number of them at a random step.
void try_walks(uint64_t trials) {
  for (uint64_t trial = 0; trial < trials && !::testing::Test::HasFailure(); ++trial) {
    SCOPED_TRACE(trial);
    Draws draws(trial);
    const Walk walk(draws);
    const MicroBatches whole = read_on(walk, 0, 1 + draws.below(8));
    EXPECT_EQ(std::ssize(whole), walk.steps * walk.leaves);
    check_passes(walk, whole);
    const MicroBatches resumed = read_on(walk, walk.first_step, 1 + draws.below(8));
    EXPECT_TRUE(
        std::equal(resumed.begin(), resumed.end(), whole.lower_bound({walk.first_step, 0}), whole.end()));
  }
}

TEST(SamplerWalks, UseEveryUnitOncePerPassOnAnyRanksFromAnyStep) { try_walks(3000); }
TEST(SamplerWalksFull, UseEveryUnitOncePerPassOnAnyRanksFromAnyStep) { try_walks(100'000); }

}  // namespace
}  // namespace tessera
