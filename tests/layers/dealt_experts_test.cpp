// Experts that are dealt to ranks, with another number of rows for each: routing by rank never gives that, other routings do.
#include <gtest/gtest.h>

#include <map>
#include <mutex>

#include "layers/expert_networks.h"
#include "layers/layer.h"
#include "runtime/cpu_engine.h"
#include "runtime/random.h"
#include "tests/support/late.h"

namespace tessera {
namespace {

constexpr int64_t kLeaves = 4, kExperts = 4, kWidth = 6;
constexpr uint64_t kSeed = 5;

struct Experts {
  std::vector<Sharded<ExpertNetworks>> groups;
  auto fields() { return std::tuple{Field{"experts", groups}}; }
};

/// Rows by expert; expert 2 has none.
std::vector<int64_t> slots_of(int64_t leaf) { return {leaf + 1, 3, 0, 5 - leaf}; }

Tensor drawn(const char* purpose, int64_t leaf, Stream stream) {
  const int64_t rows = leaf + 1 + 3 + 5 - leaf;
  std::vector<float> values;
  for (int64_t i = 0; i < rows * kWidth; ++i)
    values.push_back(
        static_cast<float>(random_normal(kSeed, Purpose(purpose), static_cast<uint64_t>(leaf * 1000 + i))));
  return Tensor::from(values, {rows, kWidth}, stream);
}

struct Result {
  std::map<int64_t, std::vector<float>> outputs, gradients;  ///< of the rows, by leaf
  std::map<std::pair<std::string, int64_t>, float> weights;  ///< gradients by parameter and element
  friend bool operator==(const Result&, const Result&) = default;
};

/// A step over all leaves, the experts dealt to all ranks.
Result run_on(int ranks, bool again) {
  Result result;
  std::mutex lock;
  run_ranks(ranks, [&](Communicator& world) {
    CpuEngine engine;
    const Stream stream = engine.stream();
    const std::unique_ptr<Communicator> careful = late(checked(world));
    ModelConfig config;
    config.width = kWidth;
    config.hidden = 7;
    Experts model;
    model.groups.push_back({ExpertNetworks(config, {"text", kExperts, {0}})});
    Shards shards = shard(model, Mesh(*careful, {.expert = ranks}), stream, {}, kSeed, 0.5f);
    for (int64_t round = 0; round < kLeaves / ranks; ++round) {
      shards.begin_round(round, kLeaves);
      const int64_t leaf = shards.mesh().leaf(round, kLeaves).value();
      std::vector<SlotCounts> of_peers;
      for (int rank = 0; rank < ranks; ++rank) of_peers.push_back({slots_of(round * ranks + rank)});
      Tape tape;
      Tensor dx;
      const Var x = tape.leaf(drawn("x", leaf, stream), [&dx](Tensor gradient) { dx = std::move(gradient); });
      const Var y = run_experts(model.groups, x, {slots_of(leaf)}, of_peers, again);
      tape.backward(y, drawn("dy", leaf, stream));
      const std::lock_guard hold(lock);
      result.outputs[leaf] = y.value().to_vector<float>();
      result.gradients[leaf] = dx.to_vector<float>();
    }
    shards.finish_step();
    const std::lock_guard hold(lock);
    for (const ShardPiece& piece : shards.pieces())
      for (int64_t i = 0; i < piece.grad.count(); ++i)
        result.weights[{piece.parameter->name, piece.begin + i}] = piece.grad.data<float>()[i];
  });
  return result;
}

TEST(DealtExperts, GiveTheBitsOfOneRankWhateverTheirRows) {
  const Result one = run_on(1, false);
  ASSERT_EQ(std::ssize(one.outputs), kLeaves);
  ASSERT_EQ(std::ssize(one.weights), 3 * kExperts * kWidth * 7);
  for (int ranks : {1, 2, 4})
    for (bool again : {false, true})
      EXPECT_TRUE(run_on(ranks, again) == one) << ranks << " ranks" << (again ? ", run again" : "");
}

}  // namespace
}  // namespace tessera
