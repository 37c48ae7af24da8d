#include "autograd/at_once.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>

#include "parallel/shards.h"
#include "runtime/cpu_engine.h"
#include "runtime/random.h"
#include "tests/support/late.h"

namespace tessera {
namespace {

constexpr int64_t kRows = 10, kIn = 5, kWidth = 7, kVocab = 9, kLeaves = 4;

struct Body {
  Parameter weight{{kWidth, kIn}};

  Var operator()(const Var& x) { return matmul(x, weight); }
};

/// Its loss takes three chunks.
struct End {
  Parameter norm{{kWidth}, Init::ones};
  Parameter weight{{kVocab, kWidth}};
  Parameter unused{{2, 3}};

  Loss operator()(const Var& x, const Tensor& targets) {
    return linear_cross_entropy(rms_norm(x, norm, 1e-6f), weight, targets, 0.25f, 0.01f, 4);
  }
};

enum class Way : uint8_t { at_once, by_marks };

struct Result {
  std::map<std::string, std::map<int64_t, float>> gradients;
  std::map<int64_t, float> losses;  ///< by leaf
  friend bool operator==(const Result&, const Result&) = default;
};

class Trained {
 public:
  Trained(Communicator& world, ShardOptions options) : mesh_(world), options_(options) {
    body_.layer.weight.name = "body.weight";
    end_.layer.norm.name = "end.norm";
    end_.layer.weight.name = "end.weight";
    end_.layer.unused.name = "end.unused";
    body_.group.bind({&body_.layer.weight}, mesh_, engine_.stream(), options, 7, 0.5f);
    end_.group.bind({&end_.layer.norm, &end_.layer.weight, &end_.layer.unused}, mesh_, engine_.stream(),
                    options, 7, 0.5f);
  }

  float leaf(int64_t round, Way way) {
    for (ShardGroup* group : {&body_.group, &end_.group})
      group->begin_round(mesh_.round_of_this_replica(round, kLeaves));
    const int64_t leaf = *mesh_.leaf(round, kLeaves);
    Tape tape;
    const Var y = body_(rows(leaf));
    const Tensor wanted = targets(leaf);
    const auto end = [&](const Var& x) { return end_.layer(x, wanted); };
    const Loss loss =
        way == Way::at_once ? end_.group.at_once([&] { return at_once(y, end); }) : end_(y, wanted);
    EXPECT_EQ(tape.ledger().total().flops(), 6 * kRows * kWidth * (kIn + kVocab));
    tape.backward(loss.total);
    return loss.total.value().values<float>()[0];
  }

  void finish_step() {
    for (ShardGroup* group : {&body_.group, &end_.group}) {
      group->send_to_replicas(kLeaves);
      group->finish_step();
    }
  }
  void add_gradients(Result& result) const {
    for (const ShardGroup* group : {&body_.group, &end_.group})
      for (const ShardPiece& piece : group->pieces())
        for (int64_t i = 0; i < piece.grad.count(); ++i)
          result.gradients[piece.parameter->name][piece.begin + i] =
              piece.grad.values<float>()[static_cast<size_t>(i)];
  }

  const Mesh& mesh() const { return mesh_; }

 private:
  Tensor rows(int64_t leaf) {
    std::vector<float> values;
    for (int64_t i = 0; i < kRows * kIn; ++i)
      values.push_back(
          static_cast<float>(random_normal(7, Purpose("x"), static_cast<uint64_t>(leaf * 1000 + i))));
    return cast(Tensor::from(values, {kRows, kIn}, engine_.stream()), options_.compute).value();
  }
  Tensor targets(int64_t leaf) {
    std::vector<int32_t> values;
    for (int64_t i = 0; i < kRows; ++i) values.push_back(static_cast<int32_t>((leaf + 3 * i) % kVocab));
    values[2] = -1;
    return Tensor::from(values, {kRows}, engine_.stream());
  }

  CpuEngine engine_;
  const Mesh mesh_;
  const ShardOptions options_;
  Sharded<Body> body_;
  Sharded<End> end_;
};

Result train(int ranks, ShardOptions options, Way way) {
  Result result;
  std::mutex lock;
  run_ranks(ranks, [&](Communicator& world) {
    const std::unique_ptr<Communicator> careful = late(checked(world));
    Trained trained(*careful, options);
    std::map<int64_t, float> losses;
    for (int64_t round = 0; round < trained.mesh().rounds(kLeaves); ++round)
      losses[*trained.mesh().leaf(round, kLeaves)] = trained.leaf(round, way);
    trained.finish_step();
    const std::lock_guard hold(lock);
    result.losses.merge(losses);
    trained.add_gradients(result);
  });
  return result;
}

// One rank adds the chunks of a leaf to each other and then to the sums of earlier leaves, several ranks send them; backward at the
// marks gives memory of its own to what the loss forms before the group has made room.
TEST(AtOnce, HasTheBitsOfMarksOnAnyNumberOfRanks) {
  for (const DType compute : {DType::f32, DType::bf16}) {
    const Result one = train(1, {compute, false}, Way::by_marks);
    for (const auto& [name, gradient] : one.gradients)
      EXPECT_EQ(std::ranges::any_of(gradient, [](const auto& at) { return at.second != 0; }),
                name != "end.unused")
          << name;
    for (const int ranks : {1, 2, 4})
      for (const bool reshard : {false, true})
        for (const Way way : {Way::at_once, Way::by_marks})
          EXPECT_EQ(train(ranks, {compute, reshard}, way), one)
              << ranks << " ranks, reshard " << reshard << ", "
              << (way == Way::at_once ? "at once" : "marks");
  }
}

TEST(AtOnce, WithoutATapeIsTheEndAlone) {
  CpuEngine engine;
  const Var x = Tensor::from(std::vector<float>(6, 0.5f), {2, 3}, engine.stream()),
            weight = Tensor::from(std::vector<float>(12, 0.25f), {4, 3}, engine.stream());
  const Tensor targets = Tensor::from(std::vector<int32_t>{1, -1}, {2}, engine.stream());
  const Loss loss =
      at_once(x, [&](const Var& in) { return linear_cross_entropy(in, weight, targets, 1, 0); });
  EXPECT_FALSE(loss.total.tracked());
  EXPECT_FLOAT_EQ(loss.total.value().values<float>()[0], std::log(4.0f));
  EXPECT_EQ(loss.nll.values<float>()[1], 0);
}

}  // namespace
}  // namespace tessera
