// Routing by thresholds: no logit depends on a later token, for every kind of layer; routing by rank does leak.
#include <gtest/gtest.h>

#include <cstring>

#include "runtime/random.h"
#include "tests/support/tiny_model.h"

namespace tessera {
namespace {

constexpr int kVocab = 23, kFirstImage = 4;

/// Thresholds near the middle of the scores, different for every column.
Thresholds thresholds_of(const ModelConfig& config) {
  std::map<std::string, double> cutoffs;
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    const auto add = [&](const std::string& label) {
      const std::string column = str(layer, "/", label);
      cutoffs[column] = 0.4 + 0.2 * random_uniform(1, Purpose(column), 0);
    };
    if (config.routes_depth(layer)) add("depth");
    for (const ExpertGroup& group : parse_feed_forward(config.feed_forward_of(layer)))
      for (int64_t expert = 0; expert < group.experts; ++expert) add(str(group.name, "/", expert));
  }
  Thresholds thresholds;
  thresholds.update(cutoffs, 0.5);
  return thresholds;
}

std::vector<ModelConfig> variants() {
  std::vector<ModelConfig> all;
  for (const char* feed_forward : {"dense", "1t1i", "2t3i", "moe_4x", "2t2i+shared", "moe_3x+shared"})
    for (const std::vector<double>& depth : {std::vector<double>{1}, std::vector<double>{0.5, 1}}) {
      all.push_back(tiny_config({feed_forward}));
      all.back().depth_capacity = depth;
      all.push_back(all.back());
      all.back().norm = "pre";
    }
  all.push_back(tiny_config({"2t2i"}));
  all.back().gate_order = "norm_then_gate";
  return all;
}

std::string name_of(const ModelConfig& config, DType compute) {
  return str(config.feed_forward[0], " ", config.norm, " ", config.gate_order, " depth ",
             config.depth_capacity[0], " ", compute);
}

TEST(Causality, ThresholdsLookAtNoLaterToken) {
  CpuEngine engine;
  TinyRows tiny = tiny_rows({{17, 3}, {9}}, Modalities::both, engine.stream());
  for (const ModelConfig& config : variants()) {
    const Thresholds thresholds = thresholds_of(config);
    tiny.rows.thresholds = &thresholds;
    for (DType compute : {DType::f32, DType::bf16}) {
      SCOPED_TRACE(name_of(config, compute));
      const std::vector<float> before = tiny_logits(config, tiny, compute, engine.stream());
      for (size_t changed : {16u, 11u, 1u}) {  // of the first document
        std::vector<int32_t> tokens = tiny.host.tokens;
        for (int32_t token : {kFirstImage + 1, kVocab - 1}) {  // an image code, a piece of text
          if (tokens[changed] == token) continue;
          tokens[changed] = token;
          const std::vector<float> after =
              tiny_logits(config, with_tokens(tiny, tokens), compute, engine.stream());
          EXPECT_EQ(std::memcmp(before.data(), after.data(), changed * kVocab * sizeof(float)), 0)
              << "token " << changed << " became " << token;
          EXPECT_NE(std::memcmp(before.data() + changed * kVocab, after.data() + changed * kVocab,
                                kVocab * sizeof(float)),
                    0);
        }
      }
    }
  }
}

TEST(Causality, RanksLookAtLaterTokens) {
  CpuEngine engine;
  const TinyRows tiny = tiny_rows({{17, 3}, {9}}, Modalities::both, engine.stream());
  for (const char* feed_forward : {"dense", "2t2i"})
    for (double depth : {1.0, 0.5}) {
      ModelConfig config = tiny_config({feed_forward});
      config.depth_capacity = {depth};
      const std::vector<float> before = tiny_logits(config, tiny, DType::f32, engine.stream());
      bool leaks = false;
      for (int32_t token = kFirstImage; token < kVocab; ++token) {
        std::vector<int32_t> tokens = tiny.host.tokens;
        tokens[16] = token;
        const std::vector<float> after =
            tiny_logits(config, with_tokens(tiny, tokens), DType::f32, engine.stream());
        leaks |= std::memcmp(before.data(), after.data(), 16 * kVocab * sizeof(float)) != 0;
      }
      EXPECT_EQ(leaks, std::string(feed_forward) != "dense" || depth < 1)
          << feed_forward << " depth " << depth;
    }
}

TEST(Thresholds, AreCorrectedRunningMeans) {
  Thresholds thresholds;
  EXPECT_TRUE(thresholds.empty());
  thresholds.update({{"0/text/0", 0.25}}, 0.75);
  EXPECT_FLOAT_EQ(thresholds.at("0/text/0"), 0.25f);
  thresholds.update({{"0/text/0", 0.5}, {"1/depth", 0.125}}, 0.75);
  EXPECT_FLOAT_EQ(thresholds.at("0/text/0"), (0.75f * 0.25f * 0.25f + 0.25f * 0.5f) / (1 - 0.75f * 0.75f));
  EXPECT_FLOAT_EQ(thresholds.at("1/depth"), 0.125f);
  EXPECT_THROW(thresholds.at("0/image/0"), Error);
}

}  // namespace
}  // namespace tessera
