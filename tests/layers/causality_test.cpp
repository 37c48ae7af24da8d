// Routing by thresholds and by auxiliary routers: no logit depends on a later token, for every kind of layer; routing by rank
// does leak.
#include <gtest/gtest.h>

#include <cstring>

#include "tests/support/causal_models.h"

namespace tessera {
namespace {

constexpr int kVocab = 23, kFirstImage = 4;

TEST(Causality, ThresholdsAndAuxiliaryRoutersLookAtNoLaterToken) {
  CpuEngine engine;
  TinyRows tiny = tiny_rows({{17, 3}, {9}}, Modalities::both, engine.stream());
  for (const CausalCase& causal : causal_cases()) {
    SCOPED_TRACE(causal.name);
    const Thresholds thresholds = thresholds_of(causal.config);
    tiny.rows.thresholds = causal.by_prediction ? nullptr : &thresholds;
    tiny.rows.by_prediction = causal.by_prediction;
    const auto logits = [&](const TinyRows& rows) {
      return tiny_logits(causal.config, rows, causal.compute, engine.stream());
    };
    const std::vector<float> before = logits(tiny);
    for (size_t changed : {16u, 11u, 1u}) {  // of the first document
      std::vector<int32_t> tokens = tiny.host.tokens;
      for (int32_t token : {kFirstImage + 1, kVocab - 1}) {  // an image code, a piece of text
        if (tokens[changed] == token) continue;
        tokens[changed] = token;
        const std::vector<float> after = logits(with_tokens(tiny, tokens));
        EXPECT_EQ(std::memcmp(before.data(), after.data(), changed * kVocab * sizeof(float)), 0)
            << "token " << changed << " became " << token;
        EXPECT_NE(std::memcmp(before.data() + changed * kVocab, after.data() + changed * kVocab,
                              kVocab * sizeof(float)),
                  0);
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
