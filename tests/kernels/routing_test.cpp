// Expert choice, inversion and picking against plain code.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "kernels/expert_choice.h"
#include "kernels/permute.h"
#include "tests/kernels/tensors.h"

namespace tessera::kernels {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

using Numbers = std::vector<int64_t>;

/// Scores [rows, columns] and who chooses what from where.
struct Choice {
  std::vector<float> scores;
  int64_t columns, column, experts;
  std::vector<int32_t> candidates;
  Numbers pools, counts;

  int64_t rows() const { return std::ssize(scores) / columns; }
  int64_t total() const { return std::accumulate(counts.begin(), counts.end(), int64_t{0}); }
};

std::vector<int32_t> chosen_by_kernel(const Choice& choice, Stream stream) {
  Outputs out(stream);
  const Tensor chosen = out.make({choice.experts, choice.total()}, DType::i32);
  const Tensor scores = Tensor::from(choice.scores, {choice.rows(), choice.columns}, stream);
  const Tensor candidates = Tensor::from(choice.candidates, {std::ssize(choice.candidates)}, stream);
  expert_choice(scores, candidates, chosen, {choice.column, choice.pools, choice.counts}, stream);
  out.expect_intact("expert_choice");
  return {chosen.values<int32_t>().begin(), chosen.values<int32_t>().end()};
}

/// Stable sorting by falling score leaves the lower of equal rows in front.
std::vector<int32_t> chosen_by_sorting(const Choice& choice) {
  std::vector<int32_t> all;
  for (int64_t expert = 0; expert < choice.experts; ++expert)
    for (size_t pool = 0; pool < choice.counts.size(); ++pool) {
      std::vector<int32_t> rows(choice.candidates.begin() + choice.pools[pool],
                                choice.candidates.begin() + choice.pools[pool + 1]);
      const auto score = [&](int32_t row) {
        return choice.scores[row * choice.columns + choice.column + expert];
      };
      std::stable_sort(rows.begin(), rows.end(), [&](int32_t a, int32_t b) {
        if (std::isnan(score(a)) || std::isnan(score(b)))
          return !std::isnan(score(a)) && std::isnan(score(b));
        return score(a) > score(b);
      });
      rows.resize(choice.counts[pool]);
      std::sort(rows.begin(), rows.end());
      all.insert(all.end(), rows.begin(), rows.end());
    }
  return all;
}

/// Few distinct scores, so that ties are common; a tenth of the rows are no candidates.
Choice random_choice(uint64_t index) {
  uint64_t draws = index << 20;
  const auto below = [&](uint64_t bound) {
    return static_cast<int64_t>(random_below(7, Purpose("choice"), draws++, bound));
  };
  Choice choice{{}, 1 + below(4), 0, 0, {}, {0}, {}};
  choice.column = below(choice.columns);
  choice.experts = 1 + below(choice.columns - choice.column);
  const float values[] = {kNaN, -kInfinity, -1.5f, -0.0f, 0.0f, 1e-40f, 0.25f, 1, kInfinity};
  for (int64_t row = 0, rows = below(40); row < rows; ++row) {
    if (below(10) > 0) choice.candidates.push_back(static_cast<int32_t>(row));
    for (int64_t column = 0; column < choice.columns; ++column) choice.scores.push_back(values[below(9)]);
  }
  const int64_t candidates = std::ssize(choice.candidates);
  for (int64_t pool = below(3); pool > 0; --pool) choice.pools.push_back(below(candidates + 1));
  choice.pools.push_back(candidates);
  std::sort(choice.pools.begin(), choice.pools.end());
  for (size_t pool = 0; pool + 1 < choice.pools.size(); ++pool)
    choice.counts.push_back(below(choice.pools[pool + 1] - choice.pools[pool] + 1));
  return choice;
}

TEST(ExpertChoice, EqualsSorting) {
  CpuEngine one(1), two(2);
  for (uint64_t index = 0; index < 10000; ++index) {
    const Choice choice = random_choice(index);
    ASSERT_EQ(chosen_by_kernel(choice, (index % 8 ? one : two).stream()), chosen_by_sorting(choice))
        << "case " << index;
  }
}

TEST(ExpertChoice, LowerRowWinsATie) {
  CpuEngine engine(1);
  const Choice choice{{2, 1, 2, 1, 1}, 1, 0, 1, {0, 1, 2, 3, 4}, {0, 5}, {3}};
  EXPECT_EQ(chosen_by_kernel(choice, engine.stream()), (std::vector<int32_t>{0, 1, 2}));
}

TEST(ExpertChoice, TakesNaNLast) {
  CpuEngine engine(1);
  const Choice choice{{kNaN, -kInfinity, kNaN, 0}, 1, 0, 1, {0, 1, 2, 3}, {0, 4}, {3}};
  EXPECT_EQ(chosen_by_kernel(choice, engine.stream()), (std::vector<int32_t>{0, 1, 3}));
}

TEST(ExpertChoice, BothZerosTie) {
  CpuEngine engine(1);
  const Choice choice{{-0.0f, 0.0f}, 1, 0, 1, {0, 1}, {0, 2}, {1}};
  EXPECT_EQ(chosen_by_kernel(choice, engine.stream()), std::vector<int32_t>{0});
}

TEST(Invert, ListsTheSlotsOfEachRowInOrder) {
  CpuEngine engine(1);
  for (const int64_t rows : {1, 3, 50})
    for (const int64_t slots : {0, 1, 70}) {
      std::vector<int32_t> index;
      for (int64_t slot = 0; slot < slots; ++slot)
        index.push_back(static_cast<int32_t>(random_below(3, Purpose("invert"), slot, rows)));
      Outputs out(engine.stream());
      const Tensor offsets = out.make({rows + 1}, DType::i32), order = out.make({slots}, DType::i32);
      invert(Tensor::from(index, {slots}, engine.stream()), offsets, order, engine.stream());
      out.expect_intact("invert");
      std::vector<int32_t> expected_offsets = {0}, expected_order;
      for (int32_t row = 0; row < rows; ++row) {
        for (int32_t slot = 0; slot < slots; ++slot)
          if (index[slot] == row) expected_order.push_back(slot);
        expected_offsets.push_back(static_cast<int32_t>(expected_order.size()));
      }
      EXPECT_EQ(std::vector<int32_t>(offsets.values<int32_t>().begin(), offsets.values<int32_t>().end()),
                expected_offsets);
      EXPECT_EQ(std::vector<int32_t>(order.values<int32_t>().begin(), order.values<int32_t>().end()),
                expected_order);
    }
}

TEST(Pick, BackwardPutsEachElementBack) {
  CpuEngine engine(1);
  const std::vector<int32_t> index = {4, 0, 2, 0, 1};
  const Numbers columns = {0, 2, 2, 5};
  const Tensor rows = Tensor::from(index, {5}, engine.stream());
  const Tensor x = uniform_tensor("x", {6, 3}, DType::f32, engine.stream());
  Outputs out(engine.stream());
  const Tensor y = out.make({5}, DType::f32), dx = out.make({6, 3}, DType::f32);
  pick(x, rows, columns, y, engine.stream());
  pick_backward(y, rows, columns, dx, engine.stream());
  out.expect_intact("pick");
  std::vector<float> expected(18);
  for (const int64_t element : {12, 0, 8, 2, 5}) expected[element] = x.values<float>()[element];
  EXPECT_EQ(std::vector<float>(dx.values<float>().begin(), dx.values<float>().end()), expected);
}

TEST(Combine, OfOneUngatedSlotIsACopy) {
  CpuEngine engine(2);
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const Tensor x = uniform_tensor("x", {5, 37}, dtype, engine.stream());
    const std::vector<int32_t> each = {0, 1, 2, 3, 4}, offsets = {0, 1, 2, 3, 4, 5};
    Outputs out(engine.stream());
    const Tensor y = out.make({5, 37}, dtype);
    combine(x, Tensor(),
            {Tensor::from(offsets, {6}, engine.stream()), Tensor::from(each, {5}, engine.stream())}, y,
            engine.stream());
    out.expect_intact("combine");
    EXPECT_TRUE(same_bits(x, y));
  }
}

}  // namespace
}  // namespace tessera::kernels
