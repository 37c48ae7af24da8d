#include "parallel/canonical_sum.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <functional>
#include <numeric>

#include "runtime/cpu_engine.h"
#include "runtime/random.h"

namespace tessera {
namespace {

constexpr int64_t kMostLeaves = 33;

/// Numbers of very different size, so that every order of additions rounds differently.
double leaf_value(int64_t leaf, int64_t element) {
  const auto index = static_cast<uint64_t>(leaf * 1000 + element);
  return std::ldexp(random_normal(1, Purpose("leaf"), index),
                    static_cast<int>(random_below(1, Purpose("scale"), index, 20)));
}

/// The definition: the largest complete binary tree that leaves something over, then the rest in the same way.
template <class Value>
Value tree(int64_t begin, int64_t count, const std::function<Value(int64_t)>& leaf,
           const std::function<Value(Value, Value)>& add) {
  if (count == 1) return leaf(begin);
  const auto low = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(count - 1)));
  return add(tree(begin, low, leaf, add), tree(begin + low, count - low, leaf, add));
}

TEST(CanonicalSum, IsTheTreeOfItsDefinition) {
  int64_t unlike_sequential = 0;
  for (int64_t count = 1; count <= kMostLeaves; ++count) {
    CanonicalSum<double> sum;
    double sequential = 0;
    for (int64_t leaf = 0; leaf < count; ++leaf) {
      sum.push(leaf_value(leaf, 0));
      sequential += leaf_value(leaf, 0);
    }
    const double expected = tree<double>(
        0, count, [](int64_t leaf) { return leaf_value(leaf, 0); }, std::plus<double>());
    const double total = sum.total();
    EXPECT_EQ(total, expected) << count << " leaves";
    EXPECT_TRUE(sum.empty());
    unlike_sequential += total != sequential;
  }
  EXPECT_GT(unlike_sequential, 10);  // otherwise any order would have passed
}

TEST(CanonicalSum, AddsTensorsInTheSameTree) {
  constexpr int64_t kElements = 37;
  CpuEngine engine;
  for (int64_t count : {1, 2, 3, 4, 7, 8, 13, 33}) {
    CanonicalSum<Tensor> sum;
    for (int64_t leaf = 0; leaf < count; ++leaf) {
      std::vector<float> values;
      for (int64_t i = 0; i < kElements; ++i) values.push_back(static_cast<float>(leaf_value(leaf, i)));
      sum.push(Tensor::from(values, {kElements}, engine.stream()));
    }
    const Tensor total = sum.total();
    for (int64_t i = 0; i < kElements; ++i) {
      const float expected = tree<float>(
          0, count, [i](int64_t leaf) { return static_cast<float>(leaf_value(leaf, i)); },
          std::plus<float>());
      EXPECT_EQ(total.data<float>()[i], expected) << count << " leaves, element " << i;
    }
  }
}

TEST(CanonicalSum, LiesWhereItsFirstLeafLay) {
  CpuEngine engine;
  for (const int leaves : {1, 2, 3, 4, 7}) {
    CanonicalSum<Tensor> sum;
    const Tensor first = Tensor::from(std::vector<float>{1, 2}, {2}, engine.stream());
    sum.push(first);
    for (int leaf = 1; leaf < leaves; ++leaf)
      sum.push(Tensor::from(std::vector<float>{1, 2}, {2}, engine.stream()));
    EXPECT_EQ(sum.total().bytes_data(), first.bytes_data());
    EXPECT_EQ(first.data<float>()[1], 2.0f * static_cast<float>(leaves));
  }
}

TEST(CanonicalSum, GivesWhatALeafMergesWith) {
  for (int64_t leaves = 1; leaves < 20; ++leaves) {
    CanonicalSum<double> pushed, carried;
    for (int64_t leaf = 0; leaf < leaves; ++leaf) {
      const double value = leaf_value(leaf, 0);
      pushed.push(value);
      const auto carry = carried.take_carry(leaf);
      EXPECT_EQ(std::ssize(carry.sums), std::countr_one(static_cast<uint64_t>(leaf)));
      EXPECT_EQ(carry.node.end(), leaf + 1);
      double sum = value;
      for (const double with : carry.sums) sum = with + sum;
      carried.push(carry.node, sum);
    }
    EXPECT_EQ(carried.total(), pushed.total());
  }
}

TEST(CanonicalSum, HoldsFewPartialSums) {
  CpuEngine engine;
  CanonicalSum<Tensor> sum;
  const int64_t size = Arena::rounded(4000);
  for (int leaf = 0; leaf < 32; ++leaf) sum.push(Tensor::zeros({1000}, DType::f32, engine.stream()));
  EXPECT_EQ(engine.memory.statistics().live_bytes, size);
  EXPECT_LE(engine.memory.statistics().peak_bytes, 6 * size);  // heights 0 to 4 and the leaf in hand
}

TEST(CanonicalSum, StartsOver) {
  CanonicalSum<double> sum;
  EXPECT_EQ(sum.total(), 0);
  sum.push(3);
  EXPECT_EQ(sum.total(), 3);
  sum.push(4);
  EXPECT_EQ(sum.total(), 4);
  EXPECT_FALSE(CanonicalSum<Tensor>().total());
}

TEST(CanonicalSum, NodesCoverARangeOnceAndAreAsFewAsCanBe) {
  for (int64_t first = 0; first < 40; ++first)
    for (int64_t end = first; end < 80; ++end) {
      int64_t at = first;
      const std::vector<CanonicalNode> nodes = canonical_nodes(first, end);
      for (const CanonicalNode& node : nodes) {
        EXPECT_EQ(node.first, at);
        EXPECT_EQ(node.first % (int64_t{1} << node.height), 0);
        at = node.end();
        // Its parent would stick out.
        const int64_t parent = node.is_left() ? node.first : node.first - (node.end() - node.first);
        EXPECT_TRUE(parent < first || parent + 2 * (node.end() - node.first) > end);
      }
      EXPECT_EQ(at, end);
    }
}

TEST(CanonicalSum, PartsOfTheLeavesMakeUpTheSameTree) {
  for (int64_t count = 1; count <= kMostLeaves; ++count)
    for (int64_t parts = 1; parts <= 6; ++parts) {
      CanonicalSum<double> whole, together;
      for (int64_t leaf = 0; leaf < count; ++leaf) whole.push(leaf_value(leaf, 0));
      for (int64_t part = 0; part < parts; ++part) {
        const int64_t first = part * count / parts, end = (part + 1) * count / parts;
        CanonicalSum<double> some;
        for (int64_t leaf = first; leaf < end; ++leaf) some.push({leaf, 0}, leaf_value(leaf, 0));
        const std::vector<CanonicalNode> nodes = canonical_nodes(first, end);
        const std::vector<double> sums = some.take();
        ASSERT_EQ(sums.size(), nodes.size());
        for (size_t i = 0; i < nodes.size(); ++i) together.push(nodes[i], sums[i]);
      }
      EXPECT_EQ(together.total(), whole.total()) << count << " leaves in " << parts << " parts";
    }
}

}  // namespace
}  // namespace tessera
