#include "parallel/shards.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <mutex>

#include "autograd/functions.h"
#include "autograd/optimizer.h"
#include "kernels/fill.h"
#include "runtime/cpu_engine.h"
#include "runtime/random.h"
#include "tests/support/late.h"

namespace tessera {
namespace {

constexpr uint64_t kSeed = 7;
constexpr float kDeviation = 0.5f;
constexpr int64_t kRows = 6;

/// Sizes that no rank count divides; one parameter that no gradient reaches.
struct Lower {
  Parameter weight{{7, 5}};
  Parameter scale{{7}, Init::ones};
  Parameter unused{{2, 3}};

  Var operator()(const Var& x) { return rms_norm(matmul(x, weight), scale, 1e-6f); }
};

/// Uses its parameter twice.
struct Upper {
  Parameter weight{{3, 7}};
  Parameter offset{{2}, Init::zeros};

  Var operator()(const Var& x) { return add(matmul(x, weight), matmul(x, weight)); }
};

struct Model {
  Sharded<Lower> lower;
  Sharded<Upper> upper;

  Shards shard(Communicator& world, Stream stream, ShardOptions options, const MeshConfig& config = {}) {
    auto mesh = std::make_unique<const Mesh>(world, config);
    bind(*mesh, stream, options);
    return {{&lower.group, &upper.group}, std::move(mesh)};
  }
  void bind(const Mesh& mesh, Stream stream, ShardOptions options) {
    lower.layer.weight.name = "lower.weight";
    lower.layer.scale.name = "lower.scale";
    lower.layer.unused.name = "lower.unused";
    upper.layer.weight.name = "upper.weight";
    upper.layer.offset.name = "upper.offset";
    lower.group.bind({&lower.layer.weight, &lower.layer.scale, &lower.layer.unused}, mesh, stream, options,
                     kSeed, kDeviation);
    upper.group.bind({&upper.layer.weight, &upper.layer.offset}, mesh, stream, options, kSeed, kDeviation);
  }
  Var operator()(const Var& x) { return upper(lower(x)); }
};

Tensor drawn(const char* purpose, int64_t leaf, Shape shape, DType dtype, Stream stream) {
  std::vector<float> values;
  for (int64_t i = 0; i < shape.count(); ++i)
    values.push_back(
        static_cast<float>(random_normal(kSeed, Purpose(purpose), static_cast<uint64_t>(leaf * 1000 + i))));
  return cast(Tensor::from(values, shape, stream), dtype).value();
}

/// Forward and backward of one micro-batch.
void run_leaf(Model& model, int64_t leaf, DType compute, Stream stream) {
  Tape tape;
  const Var y = model(drawn("x", leaf, {kRows, 5}, compute, stream));
  tape.backward(y, drawn("dy", leaf, {kRows, 3}, compute, stream));
}

/// Whole parameters by name, put together from the pieces of all ranks.
class Whole {
 public:
  void add(const ShardPiece& piece, const Tensor& part) {
    std::lock_guard hold(lock_);
    std::vector<float>& values = values_[piece.parameter->name];
    values.resize(static_cast<size_t>(piece.parameter->shape.count()),
                  std::numeric_limits<float>::quiet_NaN());
    std::ranges::copy(part.values<float>(), values.begin() + piece.begin);
  }
  const std::map<std::string, std::vector<float>>& values() const { return values_; }
  friend bool operator==(const Whole& a, const Whole& b) {
    return a.values_ == b.values_;
  }  // NaN never equals

 private:
  std::mutex lock_;
  std::map<std::string, std::vector<float>> values_;
};

struct Training {
  int ranks = 1;
  int64_t leaves = 1;
  ShardOptions options{};
  int threads = 1;
  int64_t steps = 2;
  MeshConfig mesh{};
};

struct Result {
  Whole values, gradients;    ///< after the last step
  std::vector<double> norms;  ///< of each step
};

void run_round(Model& model, Shards& shards, int64_t round, const Training& training, Stream stream) {
  shards.begin_round(round, training.leaves);
  if (const std::optional<int64_t> leaf = shards.mesh().leaf(round, training.leaves))
    run_leaf(model, *leaf, training.options.compute, stream);
  else
    shards.idle_round();
}

void train_on(Communicator& world, const Training& training, Result& result) {
  CpuEngine engine(training.threads);
  Model model;
  Shards shards = model.shard(world, engine.stream(), training.options, training.mesh);
  const std::vector<ShardPiece> pieces = shards.pieces();
  AdamW optimizer = adamw_over(pieces, {});
  for (int64_t step = 0; step < training.steps; ++step) {
    for (int64_t round = 0; round < shards.mesh().rounds(training.leaves); ++round)
      run_round(model, shards, round, training, engine.stream());
    shards.finish_step();
    const double norm = shards.gradient_norm();
    if (world.rank() == 0) result.norms.push_back(norm);
    optimizer.step(step, 0.1f, 1.0f);
    shards.stepped();
  }
  for (const ShardPiece& piece : pieces) {
    result.values.add(piece, piece.value);
    result.gradients.add(piece, piece.grad);
  }
}

void train(const Training& training, Result& result) {
  run_ranks(training.ranks, [&](Communicator& world) { train_on(*late(checked(world)), training, result); });
}

void expect_same(const Result& one, const Result& other) {
  EXPECT_TRUE(one.values == other.values);
  EXPECT_TRUE(one.gradients == other.gradients);
  EXPECT_EQ(one.norms, other.norms);
}

TEST(Sharded, AnyNumberOfRanksTrainsLikeOne) {
  for (DType compute : {DType::f32, DType::bf16}) {
    for (int64_t leaves : {1, 2, 3, 5, 8}) {
      Result one;
      train({.ranks = 1, .leaves = leaves, .options = {compute, true}}, one);
      for (int ranks : {2, 3, 4, 5}) {
        SCOPED_TRACE(str(compute, ", ", leaves, " leaves, ", ranks, " ranks"));
        Result other;
        train({.ranks = ranks, .leaves = leaves, .options = {compute, true}}, other);
        expect_same(one, other);
      }
    }
  }
}

TEST(Sharded, AnyNumberOfReplicasTrainsLikeOne) {
  for (int64_t leaves : {5, 6, 8, 11}) {
    Result one;
    train({.ranks = 1, .leaves = leaves}, one);
    for (const auto& [ranks, replicas] : {std::pair(2, 2), {4, 2}, {4, 4}, {6, 2}, {6, 3}, {5, 5}}) {
      SCOPED_TRACE(str(leaves, " leaves, ", ranks, " ranks, ", replicas, " replicas"));
      Result other;
      train({.ranks = ranks, .leaves = leaves, .mesh = {.replicate = replicas}}, other);
      expect_same(one, other);
    }
  }
}

TEST(Sharded, KeepingWholeParametersChangesNothing) {
  for (int ranks : {1, 3}) {
    Result resharded, kept;
    train({.ranks = ranks, .leaves = 4, .options = {DType::bf16, true}}, resharded);
    train({.ranks = ranks, .leaves = 4, .options = {DType::bf16, false}}, kept);
    expect_same(resharded, kept);
  }
}

TEST(Sharded, ThreadsChangeNothing) {
  Result one, two;
  train({.ranks = 2, .leaves = 3, .threads = 1}, one);
  train({.ranks = 2, .leaves = 3, .threads = 2}, two);
  expect_same(one, two);
}

TEST(Sharded, TrainingMovesEveryReachedParameter) {
  Result before, after;
  train({.ranks = 2, .leaves = 3, .steps = 0}, before);
  train({.ranks = 2, .leaves = 3, .steps = 2}, after);
  for (const auto& [name, values] : before.values.values()) {
    const std::vector<float>& gradient = after.gradients.values().at(name);
    const bool reached = name != "lower.unused" && name != "upper.offset";
    EXPECT_EQ(std::ranges::any_of(gradient, [](float g) { return g != 0; }), reached) << name;
    EXPECT_EQ(values != after.values.values().at(name), name != "upper.offset") << name;
  }
}

/// The gradients of one leaf without any sharding.
std::map<std::string, std::vector<float>> plain_gradients(int64_t leaf, DType compute) {
  std::map<std::string, std::vector<float>> gradients;
  run_ranks(1, [&](Communicator& world) {
    CpuEngine engine;
    const Stream stream = engine.stream();
    Model model;
    const Mesh mesh(world);
    model.bind(mesh, stream, {});
    std::map<Parameter*, Tensor> masters;
    for (ShardGroup* group : {&model.lower.group, &model.upper.group})
      for (const ShardPiece& piece : group->pieces())
        masters[const_cast<Parameter*>(piece.parameter)] = piece.value;  // NOLINT: the test owns the model
    for (auto& [parameter, value] : masters) {
      parameter->value = cast(value.reshape(parameter->shape), compute).value();
      parameter->grad = Tensor::zeros(parameter->shape, DType::f32, stream);
    }
    Tape tape;
    const Var y = model.upper.layer(model.lower.layer(drawn("x", leaf, {kRows, 5}, compute, stream)));
    tape.backward(y, drawn("dy", leaf, {kRows, 3}, compute, stream));
    for (auto& [parameter, value] : masters) {
      const std::span<float> values = parameter->grad.values<float>();
      gradients[parameter->name] = {values.begin(), values.end()};
    }
  });
  return gradients;
}

TEST(Sharded, GradientsAreTheTreeSumOfPlainOnes) {
  // Three leaves: (0 + 1) + 2, in f32 whatever the layers compute in.
  for (DType compute : {DType::f32, DType::bf16}) {
    std::map<std::string, std::vector<float>> expected = plain_gradients(0, compute);
    for (int64_t leaf : {1, 2})
      for (const auto& [name, gradient] : plain_gradients(leaf, compute))
        for (size_t i = 0; i < gradient.size(); ++i) expected[name][i] += gradient[i];
    for (int ranks : {1, 2, 3}) {
      Result result;
      train({.ranks = ranks, .leaves = 3, .options = {compute, true}, .steps = 1}, result);
      EXPECT_EQ(result.gradients.values(), expected) << ranks << " ranks, " << compute;
    }
  }
}

/// Of one group by itself, over six leaves.
std::vector<float> gradient_of_one_group(int ranks) {
  constexpr int64_t kLeaves = 6;
  Whole gradient;
  run_ranks(ranks, [&](Communicator& world) {
    CpuEngine engine;
    const Stream stream = engine.stream();
    const std::unique_ptr<Communicator> careful = late(checked(world));
    Sharded<Upper> upper;
    upper.layer.weight.name = "weight";
    auto mesh = std::make_unique<const Mesh>(*careful);
    upper.group.bind({&upper.layer.weight}, *mesh, stream, {}, kSeed, kDeviation);
    Shards shards({&upper.group}, std::move(mesh));
    for (int64_t round = 0; round < kLeaves / ranks; ++round) {
      shards.begin_round(round, kLeaves);
      const int64_t leaf = shards.mesh().leaf(round, kLeaves).value();
      Tape tape;
      const Var y = upper(drawn("x", leaf, {kRows, 7}, DType::f32, stream));
      tape.backward(y, drawn("dy", leaf, {kRows, 3}, DType::f32, stream));
    }
    shards.finish_step();
    for (const ShardPiece& piece : shards.pieces()) gradient.add(piece, piece.grad);
  });
  return gradient.values().at("weight");
}

TEST(Sharded, AGroupByItselfKeepsItsRoundsApart) {
  const std::vector<float> one = gradient_of_one_group(1);
  for (int ranks : {2, 3}) EXPECT_EQ(gradient_of_one_group(ranks), one) << ranks << " ranks";
}

TEST(Sharded, InitialValuesAreFunctionsOfSeedNameAndElement) {
  for (int ranks : {1, 2, 3, 4}) {
    Result start;
    train({.ranks = ranks, .steps = 0}, start);
    for (const auto& [name, values] : start.values.values()) {
      for (size_t i = 0; i < values.size(); ++i) {
        const float expected = name == "lower.scale" ? 1
                               : name == "upper.offset"
                                   ? 0
                                   : kDeviation * static_cast<float>(random_normal(kSeed, Purpose(name), i));
        ASSERT_EQ(values[i], expected) << name << ", element " << i << ", " << ranks << " ranks";
      }
    }
    EXPECT_EQ(start.values.values().size(), 5u);
  }
}

TEST(Sharded, DrawingDoesNotDependOnThreads) {
  auto draw = [](int threads) {
    std::vector<float> values;
    run_ranks(1, [&values, threads](Communicator& world) {
      CpuEngine engine(threads);
      Parameter parameter({300, 333});
      parameter.name = "large";
      ShardGroup group;
      const Mesh mesh(world);
      group.bind({&parameter}, mesh, engine.stream(), {}, kSeed, 1);
      const Tensor drawn = group.pieces().at(0).value;
      values.assign(drawn.values<float>().begin(), drawn.values<float>().end());
    });
    return values;
  };
  EXPECT_EQ(draw(1), draw(2));
}

TEST(Sharded, EvaluationNeedsNoTapeAndNoRound) {
  for (int ranks : {1, 3}) {
    std::vector<float> values;
    run_ranks(ranks, [&values](Communicator& world) {
      CpuEngine engine;
      const std::unique_ptr<Communicator> careful = checked(world);
      Model model;
      const Mesh mesh(*careful);
      model.bind(mesh, engine.stream(), {});
      const Var y = model(drawn("x", 0, {kRows, 5}, DType::f32, engine.stream()));
      EXPECT_FALSE(y.tracked());
      if (world.rank() == 0)
        values.assign(y.value().values<float>().begin(), y.value().values<float>().end());
    });
    static const std::vector<float> one = values;
    EXPECT_EQ(values, one);
  }
}

int64_t live_bytes(const CpuEngine& engine) { return engine.memory.statistics().live_bytes; }

TEST(Sharded, WholeParametersLiveOnlyWhileUsed) {
  run_ranks(2, [](Communicator& world) {
    CpuEngine engine;
    Parameter parameter({100, 100});
    parameter.name = "p";
    ShardGroup group;
    const Mesh mesh(world);
    group.bind({&parameter}, mesh, engine.stream(), {}, kSeed, 1);
    const int64_t whole = Arena::rounded(40000), part = Arena::rounded(20000);
    EXPECT_EQ(live_bytes(engine), 2 * part);
    Tensor captured;
    {
      ShardGroup::Use use(group);
      EXPECT_EQ(live_bytes(engine), 2 * part + whole);
      captured = parameter.value;
    }
    EXPECT_EQ(live_bytes(engine), 2 * part);
    EXPECT_THROW((void)captured.data<float>(), Error);
    EXPECT_THROW((void)Var(parameter), Error);
    ShardGroup::Use use(group);
    EXPECT_EQ(captured.data<float>(), parameter.value.data<float>());
  });
}

TEST(Sharded, ATapeDoesNotKeepWholeParameters) {
  for (bool reshard : {true, false}) {
    run_ranks(2, [reshard](Communicator& world) {
      CpuEngine engine;
      const Stream stream = engine.stream();
      Model model;
      Shards shards = model.shard(world, stream, {DType::f32, reshard});
      const int64_t bound = live_bytes(engine);
      // 35 + 7 + 6 and 21 + 2 elements over two ranks.
      const int64_t wholes = Arena::rounded(4 * 48) + Arena::rounded(4 * 24);
      // Of the lower group what was sent and what arrived waits to be added, of the upper one the sum is there.
      const int64_t gradients = 2 * Arena::rounded(4 * 48) + Arena::rounded(4 * 12);
      shards.begin_round(0, 2);
      run_leaf(model, world.rank(), DType::f32, stream);
      EXPECT_EQ(live_bytes(engine), bound + gradients + (reshard ? 0 : wholes));
      shards.finish_step();
      shards.invalidate();
      EXPECT_EQ(live_bytes(engine), bound);
      EXPECT_FALSE(model.lower.layer.weight.grad);
    });
  }
}

// A copy that outlives the step is what a gather would round anew, also where values do not change or something else changed them.
TEST(Sharded, OptimizersRoundTheCopyThatIsKept) {
  for (bool reshard : {true, false})
    run_ranks(1, [reshard](Communicator& world) {
      CpuEngine engine;
      Parameter trained({30, 41}), constant({7, 5});
      trained.name = "trained";
      constant.name = "constant";
      constant.trained = false;
      ShardGroup group;
      const Mesh mesh(world);
      group.bind({&trained, &constant}, mesh, engine.stream(), {DType::bf16, reshard}, kSeed, 1);
      const std::vector<ShardPiece> pieces = group.pieces();
      AdamW optimizer = adamw_over(pieces, {});
      const auto expect_rounded = [&](const char* when) {
        ShardGroup::Use use(group);
        for (const ShardPiece& piece : pieces) {
          const Tensor rounded = cast(piece.value, DType::bf16).value();
          EXPECT_EQ(piece.parameter->value.to_vector<bf16>(), rounded.to_vector<bf16>())
              << piece.parameter->name << " " << when << ", reshard " << reshard;
        }
      };
      expect_rounded("drawn");
      for (int64_t step = 0; step < 2; ++step) {
        for (const ShardPiece& piece : pieces) kernels::fill(piece.grad, 1, engine.stream());
        const float before = pieces[0].value.values<float>()[0];
        optimizer.step(step, 0.1f, 1);
        EXPECT_NE(pieces[0].value.values<float>()[0], before);
        group.stepped();
        expect_rounded("after a step");
      }
      kernels::fill(pieces[1].value, 3, engine.stream());
      group.invalidate();
      expect_rounded("filled");
    });
}

TEST(Sharded, OneRankFormsItsGradientWhereTheStepKeepsIt) {
  run_ranks(1, [](Communicator& world) {
    CpuEngine engine;
    Parameter parameter({64, 1024});
    parameter.name = "p";
    ShardGroup group;
    const Mesh mesh(world);
    group.bind({&parameter}, mesh, engine.stream(), {}, kSeed, 1);
    const int64_t bound = live_bytes(engine), size = Arena::rounded(4 * 64 * 1024);
    for (const int64_t round : {0, 1, 2, 3}) {
      group.begin_round({round, round + 1});
      Tape tape;
      { ShardGroup::Use use(group); }
      tape.backward(tape.leaf(Tensor::zeros({1}, DType::f32, engine.stream()), [](const Tensor&) {}));
      EXPECT_EQ(live_bytes(engine), bound + (round == 2 ? size : 0)) << "round " << round;
    }
  });
}

TEST(Sharded, RefusesWhatItCannotDo) {
  run_ranks(1, [](Communicator& world) {
    CpuEngine engine;
    const Stream stream = engine.stream();
    Parameter nameless({2});
    ShardGroup group;
    const Mesh mesh(world);
    EXPECT_THROW(group.bind({&nameless}, mesh, stream, {}, kSeed, 1), Error);
    Model model;
    Shards shards = model.shard(world, stream, {});
    EXPECT_THROW(model.bind(mesh, stream, {}), Error);
    EXPECT_THROW((void)model.lower.layer(drawn("x", 0, {kRows, 5}, DType::f32, stream)), Error);  // no Use
    EXPECT_THROW(run_leaf(model, 0, DType::f32, stream), Error);                                  // no round
    EXPECT_THROW(shards.begin_round(1, 1), Error);
    shards.begin_round(0, 1);
    Tape tape;  // the same group twice in one round would push two leaves
    const Var x = drawn("x", 0, {kRows, 5}, DType::f32, stream);
    const Var y = add(model(x), model(x));
    EXPECT_THROW(tape.backward(y, y.value()), Error);
  });
}

TEST(Sharded, WorksWithoutStorage) {
  run_ranks(2, [](Communicator& world) {
    const Stream meta = Stream::meta();
    Model model;
    Shards shards = model.shard(world, meta, {DType::bf16, true});
    for (int64_t round : {0, 1}) {
      shards.begin_round(round, 3);
      if (!shards.mesh().leaf(round, 3)) {
        shards.idle_round();
        continue;
      }
      Tape tape;
      const Var y = model(Tensor::empty({kRows, 5}, DType::bf16, meta));
      EXPECT_EQ(tape.ledger().total().forward_flops, 2 * kRows * (35 + 2 * 21));
      tape.backward(y, Tensor::like(y.value()));
    }
    shards.finish_step();
    EXPECT_EQ(shards.gradient_norm(), 0);
    int64_t owned = 0;
    for (const ShardPiece& piece : shards.pieces()) owned += piece.value.count();
    EXPECT_EQ(owned, world.rank() == 0 ? 24 + 12 : 24 + 11);
  });
}

/// Norm over ranks of gradients set by hand.
double norm_of(int ranks, const std::vector<float>& gradient) {
  double norm = 0;
  run_ranks(ranks, [&](Communicator& world) {
    CpuEngine engine;
    Parameter first({3}), rest({static_cast<int64_t>(gradient.size()) - 3});
    first.name = "first";
    rest.name = "rest";
    ShardGroup group;
    auto mesh = std::make_unique<const Mesh>(world);
    group.bind({&first, &rest}, *mesh, engine.stream(), {}, kSeed, 1);
    const Shards shards({&group}, std::move(mesh));
    for (const ShardPiece& piece : shards.pieces()) {
      const int64_t begin = piece.begin + (piece.parameter == &rest ? 3 : 0);
      std::copy_n(gradient.begin() + begin, piece.grad.count(), piece.grad.data<float>());
    }
    const double own = shards.gradient_norm();
    if (world.rank() == 0) norm = own;
  });
  return norm;
}

TEST(GradientNorm, HasTheSameBitsForAnyNumberOfRanks) {
  std::vector<float> gradient;
  double squares = 0;
  for (uint64_t i = 0; i < 10'007; ++i) {
    gradient.push_back(
        static_cast<float>(std::ldexp(random_normal(3, Purpose("g"), i), static_cast<int>(i % 40) - 30)));
    squares += double(gradient.back()) * gradient.back();
  }
  const double one = norm_of(1, gradient);
  // Each square is cut to a multiple of 2^-52 of the largest, which itself is part of the sum.
  EXPECT_NEAR(one, std::sqrt(squares), std::sqrt(squares) * static_cast<double>(gradient.size()) * 0x1p-51);
  for (int ranks : {2, 3, 4}) EXPECT_EQ(norm_of(ranks, gradient), one) << ranks << " ranks";
}

TEST(GradientNorm, KeepsZeroInfinityAndNaN) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (int ranks : {1, 2, 3, 4}) {
    std::vector<float> gradient(11, 0.0f);
    EXPECT_EQ(norm_of(ranks, gradient), 0);
    for (size_t at : {size_t{0}, size_t{5}, size_t{10}}) {
      gradient.assign(11, 1.0f);
      gradient[at] = kInfinity;
      EXPECT_EQ(norm_of(ranks, gradient), kInfinity);
      gradient[at] = std::nanf("");
      EXPECT_TRUE(std::isnan(norm_of(ranks, gradient)));
      gradient[(at + 3) % 11] = kInfinity;
      EXPECT_TRUE(std::isnan(norm_of(ranks, gradient)));
    }
    EXPECT_EQ(norm_of(ranks, std::vector<float>(16, 3.0f)), 12);
  }
}

}  // namespace
}  // namespace tessera
