// The shipped configurations: their sizes against the published counts, and their operations counted twice, by the closed
// form and by running the model without storage.
#include "launch/config.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <filesystem>

#include "launch/rows.h"
#include "layers/transformer.h"
#include "runtime/random.h"

namespace tessera {
namespace {

using Counts = std::map<std::string, int64_t>;

std::vector<std::string> shipped() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(TESSERA_CONFIGS)) {
    const std::string name = entry.path().stem().string();
    if (name.starts_with("moma_") || name.starts_with("cpu_")) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

Config load(const std::string& name) {
  return load_config(std::string(TESSERA_CONFIGS) + "/" + name + ".json", {});
}

int64_t total(const Counts& counts) {
  int64_t sum = 0;
  for (const auto& [part, count] : counts) sum += count;
  return sum;
}

/// By walking the parameters of a model that has no storage.
Counts counted(const ModelConfig& config) {
  Counts counts{{"embedding", 0}, {"head", 0},    {"attention", 0},     {"feed_forward", 0},     {"norms", 0},
                {"qk_norms", 0},  {"routers", 0}, {"depth_routers", 0}, {"auxiliary_routers", 0}};
  Transformer model(config);
  name_parameters(model);
  for_each_parameter(model, "", [&](const std::string& path, Parameter& parameter) {
    const std::string last = path.substr(path.rfind('.') + 1);
    const bool of_head_dim = path.find("q_norm.") != path.npos || path.find("k_norm.") != path.npos;
    const std::string part = of_head_dim                             ? "qk_norms"
                             : last == "norm"                        ? "norms"
                             : is_auxiliary(parameter)               ? "auxiliary_routers"
                             : path.ends_with("depth.router")        ? "depth_routers"
                             : last == "router"                      ? "routers"
                             : path == "embedding.weight"            ? "embedding"
                             : path == "head.weight"                 ? "head"
                             : path.find(".attention.") != path.npos ? "attention"
                                                                     : "feed_forward";
    counts.at(part) += parameter.shape.count();
  });
  return counts;
}

TEST(Config, ShipsEveryClassAndKind) {
  const std::vector<std::string> names = shipped();
  for (const char* size : {"moma_90m_", "moma_435m_", "moma_1.4b_", "cpu_tiny_", "cpu_small_", "cpu_large_"})
    for (const char* kind : {"dense", "1t1i", "4t4i", "moe_8x"})
      EXPECT_TRUE(std::binary_search(names.begin(), names.end(), std::string(size) + kind)) << size << kind;
  EXPECT_TRUE(std::binary_search(names.begin(), names.end(), "cpu_large_mod_4t4i"));
  for (const char* size : {"moma_90m_", "moma_435m_", "moma_1.4b_", "cpu_tiny_", "cpu_small_"})
    for (const char* kind : {"mod_1t1i", "mod_4t4i"})
      EXPECT_TRUE(std::binary_search(names.begin(), names.end(), std::string(size) + kind)) << size << kind;
}

TEST(Config, ClosedFormCountsEqualTheParametersOfTheModel) {
  for (const std::string& name : shipped()) {
    ModelConfig model = load(name).model;
    EXPECT_EQ(parameter_counts(model), counted(model)) << name;
    if (!model.routes_by_rank()) continue;
    model.auxiliary_routers = true;
    EXPECT_EQ(parameter_counts(model), counted(model)) << name << " with auxiliary routers";
    EXPECT_GT(parameter_counts(model).at("auxiliary_routers"), 0) << name;
  }
}

// Weights alone, without norms and routers.  Source: the reconstruction of table 1 of MoMa (arXiv 2407.21770).
TEST(Config, PaperClassesHaveThePublishedCounts) {
  struct Class {
    const char* name;
    int64_t width, layers, head_dim;
    int64_t dense, pair, eight;
  };
  for (const Class& c : {Class{"moma_90m", 512, 8, 64, 92'270'592, 109'043'712, 209'682'432},
                         Class{"moma_435m", 1024, 24, 64, 436'158'464, 637'435'904, 1'845'100'544},
                         Class{"moma_1.4b", 2048, 24, 128, 1'476'345'856, 2'281'603'072, 7'113'146'368}}) {
    const std::map<std::string, int64_t> published{
        {"dense", c.dense}, {"1t1i", c.pair}, {"4t4i", c.eight}, {"moe_8x", c.eight}};
    for (const auto& [kind, weights] : published) {
      SCOPED_TRACE(std::string(c.name) + "_" + kind);
      const Counts counts = parameter_counts(load(std::string(c.name) + "_" + kind).model);
      const int64_t routers = kind == "4t4i" || kind == "moe_8x" ? c.layers * 8 * c.width : 0;
      EXPECT_EQ(counts.at("norms"),
                (2 * c.layers + 1) * c.width);  // after attention and network, before the head
      EXPECT_EQ(counts.at("qk_norms"),
                c.layers * 2 * 2 * c.head_dim);  // weight and bias of queries and of keys
      EXPECT_EQ(counts.at("routers"), routers);
      EXPECT_EQ(total(counts), weights + counts.at("norms") + counts.at("qk_norms") + routers);
    }
  }
}

// Mixture-of-depths in every second layer: more layers (and for the largest class more width) for the same operations.
TEST(Config, PaperClassesWithDepthsHaveThePublishedCounts) {
  struct Class {
    const char* name;
    int64_t width, layers, head_dim;
    int64_t dense, pair, eight;
  };
  for (const Class& c : {Class{"moma_90m", 512, 14, 64, 111'141'888, 140'494'848, 316'612'608},
                         Class{"moma_435m", 1024, 40, 64, 637'452'288, 972'914'688, 2'985'689'088},
                         Class{"moma_1.4b", 2304, 32, 128, 2'340'421'632, 3'699'376'128, 11'853'103'104}}) {
    for (const auto& [kind, weights] :
         std::map<std::string, int64_t>{{"dense", c.dense}, {"1t1i", c.pair}, {"4t4i", c.eight}}) {
      SCOPED_TRACE(std::string(c.name) + "_mod_" + kind);
      const Counts counts = parameter_counts(load(std::string(c.name) + "_mod_" + kind).model);
      EXPECT_EQ(counts.at("norms"), (2 * c.layers + 1) * c.width);
      EXPECT_EQ(counts.at("qk_norms"), c.layers * 2 * 2 * c.head_dim);
      EXPECT_EQ(counts.at("routers"), kind == "4t4i" ? c.layers * 8 * c.width : 0);
      EXPECT_EQ(counts.at("depth_routers"), c.layers / 2 * c.width);
      EXPECT_EQ(total(counts), weights + counts.at("norms") + counts.at("qk_norms") + counts.at("routers") +
                                   counts.at("depth_routers"));
    }
  }
}

TEST(Config, PaperClassesTrainAsPublished) {
  constexpr int64_t kLength = 4096;
  for (const std::string& name : shipped()) {
    if (!name.starts_with("moma_")) continue;
    SCOPED_TRACE(name);
    const Config config = load(name);
    const bool largest = name.starts_with("moma_1.4b");
    EXPECT_EQ(config.loader.micro_batches * config.loader.mixed_units * kLength,
              largest ? 8'388'608 : 6'291'456);
    EXPECT_EQ(config.steps, largest ? 120'000 : 160'000);
    EXPECT_EQ(config.schedule.kind, "linear");
    EXPECT_EQ(config.schedule.warmup, 4000);
    EXPECT_EQ(config.schedule.peak, 1e-4f);
    EXPECT_EQ(config.schedule.end, 1e-6f);
    EXPECT_EQ(config.model.norm, "post");
    EXPECT_TRUE(config.model.qk_norm);
  }
}

/// Rows without storage: units of a length, split into documents, with so many text and image tokens and padding after.
struct MetaRows {
  Rows rows;
  FlopInputs flops;

  MetaRows(const ModelConfig& config, const std::vector<std::vector<int64_t>>& units, int64_t length,
           std::vector<int64_t> segment_lengths) {
    const Stream stream = Stream::meta();
    const auto index = [&](int64_t count) { return Tensor::empty({count}, DType::i32, stream); };
    const int64_t count = length * std::ssize(units);
    flops = {count, std::move(segment_lengths), {}, {}};
    rows = {index(count), index(count), {0}, {{{}, {0}}, {{}, {0}}}, {{}, {0}}};
    for (int64_t segment : flops.segment_lengths) rows.segments.push_back(rows.segments.back() + segment);
    std::vector<int64_t> sums{0, 0};
    for (const std::vector<int64_t>& unit : units) {
      for (size_t m = 0; m < 2; ++m) rows.of_modality[m].units.push_back(sums[m] += unit[m]);
      rows.all.units.push_back(sums[0] + sums[1]);
    }
    for (size_t m = 0; m < 2; ++m) rows.of_modality[m].index = index(sums[m]);
    rows.all.index = index(sums[0] + sums[1]);
    flops.tokens = config.routing_pool == "sequence" ? units : std::vector<std::vector<int64_t>>{sums};
  }
};

/// What the tape books for a forward and backward of the model on tensors without storage.
Cost ledger_cost(const ModelConfig& config, Rows rows, Routings& routings) {
  rows.record = &routings;
  Cost cost;
  run_ranks(1, [&](Communicator& world) {
    Transformer model(config);
    Shards shards = shard(model, Mesh(world), Stream::meta(), {}, 1, config.deviation);
    shards.begin_round(0, 1);
    Tape tape;
    const Loss loss =
        model.loss(model.hidden(rows), Tensor::empty(rows.tokens.shape(), DType::i32, Stream::meta()), 1, 0);
    tape.backward(loss.total);
    cost = tape.ledger().total();
  });
  return cost;
}

void expect_flops(const std::string& name, const ModelConfig& config,
                  const std::vector<std::vector<int64_t>>& units, int64_t length,
                  const std::vector<int64_t>& segments) {
  const MetaRows meta(config, units, length, segments);
  Routings routings;
  const Cost cost = ledger_cost(config, meta.rows, routings);
  if (routings.depths.empty()) {
    EXPECT_EQ(cost.forward_flops, forward_flops(config, meta.flops)) << name;
  }
  EXPECT_EQ(cost.forward_flops, forward_flops(config, flop_inputs(meta.rows, config, routings))) << name;
  EXPECT_EQ(cost.backward_flops, 2 * cost.forward_flops) << name;
}

TEST(Config, LedgerEqualsTheClosedForm) {
  for (const std::string& name : shipped()) {
    ModelConfig config = load(name).model;
    for (const char* pool : {"micro_batch", "sequence"}) {
      config.routing_pool = pool;
      expect_flops(name, config, {{200, 312}}, 512, {512});
      expect_flops(name, config, {{512, 0}, {0, 512}}, 512, {512, 512});
      expect_flops(name, config, {{100, 3}, {7, 60}, {0, 0}}, 127, {1, 126, 60, 7, 60, 127});
    }
  }
}

TEST(Config, LedgerEqualsTheClosedFormForAnyMix) {
  const char* feed_forwards[] = {"dense", "1t1i", "4t4i", "moe_8x", "3t1i", "1t7i", "moe_1x", "2t5i+shared"};
  uint64_t draws = 0;
  const auto draw = [&](int64_t least, int64_t most) {
    return least + static_cast<int64_t>(random_below(1, Purpose("mix"), draws++, uint64_t(most - least + 1)));
  };
  for (int round = 0; round < 60; ++round) {
    ModelConfig config;
    config.vocab = draw(8, 300);
    config.heads = draw(1, 5);
    config.width = config.heads * 2 * draw(1, 9);
    config.hidden = draw(0, 50);
    config.layers = draw(1, 3);
    config.norm = draw(0, 1) ? "post" : "pre";
    config.qk_norm = draw(0, 1);
    config.capacity = 0.25 * static_cast<double>(draw(1, 12));
    config.routing_pool = draw(0, 1) ? "sequence" : "micro_batch";
    config.feed_forward.clear();
    for (int64_t layer = 0; layer < config.layers; ++layer)
      config.feed_forward.push_back(feed_forwards[draw(0, 7)]);
    if (draw(0, 1)) config.depth_capacity = {0.125 * static_cast<double>(draw(1, 7)), 1};
    if (config.layers % 2 == 1) config.depth_capacity.resize(1);
    const int64_t length = draw(1, 64);
    std::vector<std::vector<int64_t>> units;
    std::vector<int64_t> segments;
    for (int64_t unit = draw(1, 4); unit > 0; --unit) {
      const int64_t text = draw(0, length), image = draw(0, length - text), first = draw(0, length);
      units.push_back({text, image});
      segments.insert(segments.end(), {first, length - first});
    }
    expect_flops(str("round ", round), config, units, length, segments);
  }
}

// 4096 tokens, half of them image codes, on tensors without storage.
TEST(Config, SiblingsOfAClassCostTheSamePerToken) {
  for (const char* size : {"moma_90m", "moma_435m", "moma_1.4b"}) {
    const auto flops = [&](const char* kind) {
      const ModelConfig config = load(str(size, "_", kind)).model;
      Routings routings;
      const MetaRows meta(config, {{2048, 2048}}, 4096, {4096});
      return static_cast<double>(ledger_cost(config, meta.rows, routings).forward_flops);
    };
    const double dense = flops("dense");
    for (const char* kind : {"1t1i", "4t4i", "moe_8x", "mod_dense", "mod_1t1i", "mod_4t4i"})
      EXPECT_NEAR(flops(kind) / dense, 1, 0.03) << size << " " << kind;
  }
}

// Known to three digits: 6 tokens (weights without the embedding + layers length width).
TEST(Config, SmallAndLargeStepsCostWhatTheyShould) {
  const auto step = [](const std::string& name, int64_t length, int64_t units) {
    const ModelConfig config = load(name).model;
    const FlopInputs inputs{
        length * units, std::vector<int64_t>(static_cast<size_t>(units), length), {{0, 0}}, {}};
    return 3 * static_cast<double>(forward_flops(config, inputs)) / 1e9;
  };
  EXPECT_NEAR(step("cpu_small_dense", 512, 4), 52.3, 0.1);
  EXPECT_NEAR(step("cpu_large_dense", 1024, 4), 837, 1);
}

// 7.1 billion parameters would take 28 GB; a forward and backward of 4096 rows as much again.
TEST(Config, CountingTakesNoMemory) {
  const auto peak_kilobytes = [] {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
  };
  const long before = peak_kilobytes();
  expect_flops("moma_1.4b_4t4i", load("moma_1.4b_4t4i").model, {{2048, 2048}}, 4096, {4096});
  EXPECT_LT(peak_kilobytes() - before, 64 * 1024);
}

}  // namespace
}  // namespace tessera
