// Routing of whole models: absent modalities, padding, tokens without an expert, pools, and the order of sums.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "layers/layer.h"
#include "layers/row_choice.h"
#include "runtime/random.h"
#include "tests/support/tiny_model.h"

namespace tessera {
namespace {

const std::vector<std::vector<int64_t>> kDocuments{{5, 6}, {1, 9}};

/// Elements of one expert, when the parameter has them expert by expert.
std::span<const double> expert_part(const Values& gradient, size_t experts, size_t expert) {
  const size_t each = gradient.size() / experts;
  return {gradient.data() + expert * each, each};
}

bool all_zero(std::span<const double> values) {
  return std::all_of(values.begin(), values.end(), [](double value) { return value == 0; });
}

struct Absence {
  const char* feed_forward;
  size_t experts, routed;
  size_t first_image;  ///< expert; in the router as well
};

void expect_absent(const Absence& model, Modalities present, DType compute) {
  SCOPED_TRACE(
      str(model.feed_forward, present == Modalities::text ? " text alone " : " images alone ", compute));
  CpuEngine engine;
  const TinyRows tiny = tiny_rows(kDocuments, present, engine.stream());
  const StepResult step = run_step(tiny_config({model.feed_forward}), tiny, compute, engine.stream());
  EXPECT_TRUE(std::isfinite(step.total));
  for (const auto& [name, gradient] : step.gradients) {
    EXPECT_TRUE(std::all_of(gradient.begin(), gradient.end(), [](double g) { return std::isfinite(g); }))
        << name;
    const bool is_router = name.ends_with("feed_forward.router");
    const bool is_image = name.find(".experts.image.") != std::string::npos;
    if (is_router) {
      for (size_t expert = 0; expert < model.routed; ++expert) {
        const bool absent = (expert >= model.first_image) == (present == Modalities::text);
        EXPECT_EQ(all_zero(expert_part(gradient, model.routed, expert)), absent)
            << name << ", expert " << expert;
      }
    } else if (is_image || name.find(".experts.text.") != std::string::npos) {
      const size_t experts = is_image ? model.experts - model.first_image : model.first_image;
      for (size_t expert = 0; expert < experts; ++expert)
        EXPECT_EQ(all_zero(expert_part(gradient, experts, expert)), is_image == (present == Modalities::text))
            << name << ", expert " << expert;
    } else {
      EXPECT_FALSE(all_zero(gradient)) << name;
    }
  }
}

TEST(Experts, OfAnAbsentModalityHaveZeroGradients) {
  for (const Absence& model : {Absence{"2t2i", 4, 4, 2}, Absence{"1t1i", 2, 0, 1}})
    for (Modalities present : {Modalities::text, Modalities::image})
      for (DType compute : {DType::f32, DType::bf16}) expect_absent(model, present, compute);
}

TEST(Experts, ReplayedRoutingGivesTheSameBits) {
  CpuEngine engine;
  const TinyRows tiny = tiny_rows(kDocuments, Modalities::both, engine.stream());
  const ModelConfig config = tiny_config({"2t2i"});
  const StepResult chosen = run_step(config, tiny, DType::f32, engine.stream());
  const StepResult replayed =
      run_step(config, tiny, DType::f32, engine.stream(), {.replay = &chosen.routing});
  EXPECT_EQ(chosen.total, replayed.total);
  EXPECT_EQ(chosen.gradients, replayed.gradients);

  reference::ModelRouting other = chosen.routing;
  std::swap(other.experts[0].index.front(),
            other.experts[0].index.back());  // a text expert takes an image and the reverse
  EXPECT_NE(run_step(config, tiny, DType::f32, engine.stream(), {.replay = &other}).total, chosen.total);
}

TEST(Experts, ASequenceChoosesForItself) {
  CpuEngine engine;
  ModelConfig config = tiny_config({"2t2i"});
  const TinyRows both = tiny_rows(kDocuments, Modalities::both, engine.stream());
  const TinyRows first = tiny_rows({kDocuments[0]}, Modalities::both, engine.stream());
  const auto first_unit = [&](const StepResult& step) {
    return std::vector<float>(step.nll.begin(), step.nll.begin() + std::ssize(first.host.tokens));
  };
  config.routing_pool = "sequence";
  EXPECT_EQ(first_unit(run_step(config, both, DType::f32, engine.stream())),
            run_step(config, first, DType::f32, engine.stream()).nll);
  config.routing_pool = "micro_batch";
  EXPECT_NE(first_unit(run_step(config, both, DType::f32, engine.stream())),
            run_step(config, first, DType::f32, engine.stream()).nll);
}

TEST(Experts, TakeTheirShareOfEachPool) {
  CpuEngine engine;
  const TinyRows tiny = tiny_rows({{11}, {4}, {2, 9}}, Modalities::both, engine.stream());
  for (const char* pool : {"sequence", "micro_batch"}) {
    ModelConfig config = tiny_config({"3t2i"});
    config.routing_pool = pool;
    const StepResult step = run_step(config, tiny, DType::f32, engine.stream());
    for (const auto& [layer, slots] : step.routing.experts)
      for (int64_t expert = 0; expert < 5; ++expert) {
        const Candidates& group = tiny.rows.of_modality[expert < 3 ? 0 : 1];
        const std::vector<int64_t> whole{0, group.index.count()};
        const std::vector<int64_t>& pools = config.routing_pool == "sequence" ? group.units : whole;
        int64_t expected = 0;
        for (size_t p = 0; p + 1 < pools.size(); ++p)
          expected += expert_slots(pools[p + 1] - pools[p], expert < 3 ? 3 : 2, 1);
        const auto e = static_cast<size_t>(expert);
        EXPECT_EQ(slots.offsets[e + 1] - slots.offsets[e], expected) << pool << ", expert " << expert;
        for (int64_t s = slots.offsets[e]; s < slots.offsets[e + 1]; ++s) {
          const auto candidates = group.index.values<int32_t>();
          EXPECT_TRUE(
              std::binary_search(candidates.begin(), candidates.end(), slots.index[static_cast<size_t>(s)]));
        }
      }
  }
}

TEST(Experts, SlotsOfAPoolAreAtLeastOneAndAtMostAll) {
  EXPECT_EQ(expert_slots(0, 4, 1), 0);
  EXPECT_EQ(expert_slots(1, 4, 1), 1);
  EXPECT_EQ(expert_slots(4, 4, 1), 1);
  EXPECT_EQ(expert_slots(5, 4, 1), 2);
  EXPECT_EQ(expert_slots(8, 4, 0.5), 1);
  EXPECT_EQ(expert_slots(8, 4, 3), 6);
  EXPECT_EQ(expert_slots(8, 4, 64), 8);
}

/// One expert layer outside a model, with values of its own.
struct LoneLayer {
  std::unique_ptr<Communicator> alone = solo_communicator();
  Sharded<MixtureOfExperts> layer;
  Shards shards;

  LoneLayer(const ModelConfig& config, Stream stream)
      : layer{MixtureOfExperts(config, parse_feed_forward(config.feed_forward_of(0)), 0)},
        shards(shard(layer, Mesh(*alone), stream, {}, 1, 1)) {}
};

TEST(Experts, RowsWithoutAnExpertPassThrough) {
  for (const char* feed_forward : {"1t1i", "4t4i", "moe_8x"})
    for (const char* norm : {"post", "pre"}) {
      CpuEngine engine;
      const Stream stream = engine.stream();
      ModelConfig config = tiny_config({feed_forward});
      config.norm = norm;
      config.capacity = 0.5;
      LoneLayer lone(config, stream);
      TinyRows tiny = tiny_rows({{20}, {30}}, Modalities::both, stream);
      Routings chosen;
      tiny.rows.record = &chosen;
      const int64_t rows = tiny.rows.tokens.count();
      std::vector<float> values;
      for (int64_t i = 0; i < rows * config.width; ++i)
        values.push_back(static_cast<float>(random_normal(2, Purpose("x"), static_cast<uint64_t>(i))));
      const Tensor x = Tensor::from(values, {rows, config.width}, stream);
      const Tensor y = lone.layer(x, tiny.rows).value();
      const std::span<const int32_t> slots = chosen.experts.at(0).routing.index.values<int32_t>();
      int64_t without = 0, padding = 0;
      for (int32_t row = 0; row < rows; ++row) {
        const bool taken = std::find(slots.begin(), slots.end(), row) != slots.end();
        const size_t bytes = static_cast<size_t>(config.width) * sizeof(float);
        const float *before = x.data<float>() + row * config.width,
                    *after = y.data<float>() + row * config.width;
        EXPECT_EQ(std::memcmp(before, after, bytes) == 0, !taken)
            << feed_forward << " " << norm << ", row " << row;
        without += !taken;
        if (tiny.host.tokens[static_cast<size_t>(row)] != 0) continue;
        EXPECT_FALSE(taken) << "padding row " << row;
        ++padding;
      }
      EXPECT_EQ(padding, 4);
      EXPECT_TRUE(without > padding || std::string(feed_forward) == "1t1i");
    }
}

// In f32, 1e8 + 1 - 1e8 is 0 or 1, as the order has it.
TEST(Experts, AreAddedInTheirOrder) {
  CpuEngine engine;
  const Stream stream = engine.stream();
  const auto combined = [&](const std::vector<float>& slots) {
    const Routing routing =
        make_routing(Tensor::from(std::vector<int32_t>{0, 0, 0}, {3}, stream), {0, 1, 2, 3}, 1);
    return combine(Tensor::from(slots, {3, 1}, stream), Var(), routing).value().values<float>()[0];
  };
  EXPECT_EQ(combined({1e8f, 1, -1e8f}), (1e8f + 1) - 1e8f);
  EXPECT_EQ(combined({1e8f, -1e8f, 1}), 1);
  EXPECT_NE(combined({1e8f, 1, -1e8f}), combined({1e8f, -1e8f, 1}));
}

/// "blocks.0.feed_forward.experts.text.up" -> "blocks.0.feed_forward.up"
std::string dense_name(std::string name) {
  const size_t experts = name.find(".experts.");
  if (experts != std::string::npos) name.erase(experts, name.rfind('.') - experts);
  return name;
}

void expect_dense(Modalities present, DType compute) {
  SCOPED_TRACE(str(present == Modalities::both ? "both" : "one", " ", compute));
  CpuEngine engine;
  const TinyRows tiny = tiny_rows({{9, 4}, {14}}, present, engine.stream(), 0);
  const StepResult dense = run_step(tiny_config({"dense"}), tiny, compute, engine.stream());
  const StepResult sparse =
      run_step(tiny_config({"1t1i"}), tiny, compute, engine.stream(), {.tied_experts = true});
  EXPECT_EQ(dense.nll, sparse.nll);
  const Roundings roundings = model_roundings(tiny_config({"dense"}), 14);
  for (const auto& [name, gradient] : dense.gradients) {
    Values together(gradient.size(), 0.0);
    for (const auto& [other, part] : sparse.gradients)
      if (dense_name(other) == name)
        for (size_t i = 0; i < part.size(); ++i) together[i] += part[i];
    if (present == Modalities::both)
      EXPECT_TRUE(close({name, together, gradient, compute, roundings}));
    else
      EXPECT_EQ(together, gradient) << name;
  }
}

TEST(Experts, OneTiedExpertPerModalityIsTheDenseModel) {
  for (Modalities present : {Modalities::text, Modalities::image, Modalities::both})
    for (DType compute : {DType::f32, DType::bf16}) expect_dense(present, compute);
}

TEST(Experts, PermutedTokensGivePermutedOutputs) {
  CpuEngine engine;
  const Stream stream = engine.stream();
  for (const char* feed_forward : {"4t4i", "moe_8x", "3t2i+shared"}) {
    const ModelConfig config = tiny_config({feed_forward});
    LoneLayer lone(config, stream);
    const TinyRows tiny = tiny_rows({{20}}, Modalities::both, stream, 1);
    const int64_t rows = tiny.rows.tokens.count(), width = config.width;
    std::vector<float> values(static_cast<size_t>(rows * width)), moved(values.size());
    std::vector<int32_t> tokens(static_cast<size_t>(rows));
    const auto place = [&](int64_t row) {
      return static_cast<int64_t>(random_permutation(3, Purpose("rows"), uint64_t(rows), uint64_t(row)));
    };
    for (int64_t i = 0; i < rows * width; ++i) {
      values[static_cast<size_t>(i)] =
          static_cast<float>(random_normal(2, Purpose("x"), static_cast<uint64_t>(i)));
      moved[static_cast<size_t>(place(i / width) * width + i % width)] = values[static_cast<size_t>(i)];
    }
    for (int64_t row = 0; row < rows; ++row)
      tokens[static_cast<size_t>(place(row))] = tiny.host.tokens[static_cast<size_t>(row)];
    const auto output = [&](const std::vector<float>& x, const Rows& of) {
      return lone.layer(Tensor::from(x, {rows, width}, stream), of).value().to_vector<float>();
    };
    const std::vector<float> straight = output(values, tiny.rows);
    const std::vector<float> permuted = output(moved, with_tokens(tiny, tokens).rows);
    for (int64_t row = 0; row < rows; ++row)
      EXPECT_EQ(std::memcmp(&straight[static_cast<size_t>(row * width)],
                            &permuted[static_cast<size_t>(place(row) * width)],
                            static_cast<size_t>(width) * sizeof(float)),
                0)
          << feed_forward << ", row " << row;
  }
}

/// k = min(b, max(1, ceil(capacity b / experts))) tokens for every expert, the highest scores, none twice.
void expect_contract(uint64_t round, Stream stream) {
  uint64_t draws = 0;
  const auto draw = [&](uint64_t most) {
    return static_cast<int64_t>(random_below(round, Purpose("routing"), draws++, most + 1));
  };
  const int64_t rows = draw(12), experts = 1 + draw(4);
  const double capacity = 0.25 * static_cast<double>(1 + draw(7));
  std::vector<float> scores(static_cast<size_t>(rows * experts));
  for (float& score : scores) score = 0.125f * static_cast<float>(draw(8));  // with ties
  std::vector<int32_t> candidates;
  for (int32_t row = 0; row < rows; ++row)
    if (draw(3) > 0) candidates.push_back(row);
  const int64_t tokens = std::ssize(candidates);
  const RowChoice choice = choose_by_rank(Tensor::from(scores, {rows, experts}, stream),
                                          {Tensor::from(candidates, {tokens}, stream), {0, tokens}},
                                          {.experts = experts, .capacity = capacity}, "micro_batch");
  const std::span<const int32_t> index = choice.index.values<int32_t>();
  const int64_t wanted = std::min(
      tokens,
      std::max<int64_t>(1, static_cast<int64_t>(std::ceil(capacity * double(tokens) / double(experts)))));
  size_t slot = 0;
  for (int64_t expert = 0; expert < experts; ++expert) {
    ASSERT_EQ(choice.counts[static_cast<size_t>(expert)], wanted) << "round " << round;
    const auto better = [&](int32_t a, int32_t b) {
      const float left = scores[static_cast<size_t>(a * experts + expert)],
                  right = scores[static_cast<size_t>(b * experts + expert)];
      return left > right || (left == right && a < b);
    };
    std::vector<int32_t> best = candidates;
    std::sort(best.begin(), best.end(), better);
    best.resize(static_cast<size_t>(wanted));
    std::sort(best.begin(), best.end());
    for (int32_t row : best) ASSERT_EQ(index[slot++], row) << "round " << round << ", expert " << expert;
  }
}

void expect_contracts(uint64_t rounds) {
  CpuEngine engine;
  for (uint64_t round = 0; round < rounds && !testing::Test::HasFatalFailure(); ++round)
    expect_contract(round, engine.stream());
}

TEST(Experts, RandomRoutingsKeepTheContract) { expect_contracts(2000); }
TEST(ExpertsFull, RandomRoutingsKeepTheContract) { expect_contracts(100000); }

}  // namespace
}  // namespace tessera
