// Decoding with a cache of keys and values: the logits of the full forward pass, for every kind of layer.
#include <gtest/gtest.h>

#include "layers/key_value_cache.h"
#include "tests/support/causal_models.h"

namespace tessera {
namespace {

constexpr size_t kVocab = 23;

/// Two sequences of 17 and 9 tokens: one at a time after a prompt, side by side, and in lumps.
const std::vector<std::vector<std::vector<Piece>>> kOrders{
    {{{0, 0, 6}}, {{0, 6, 1}, {1, 0, 1}}, {{1, 1, 1}}, {{1, 2, 3}, {0, 7, 1}}, {{0, 8, 9}, {1, 5, 4}}},
    {{{1, 0, 9}, {0, 0, 17}}},
    {{{0, 0, 1}}, {{0, 1, 1}}, {{0, 2, 1}}, {{0, 3, 1}}, {{0, 4, 12}}, {{0, 16, 1}, {1, 0, 8}}, {{1, 8, 1}}}};

TEST(Decoding, GivesTheLogitsOfTheFullPass) {
  CpuEngine engine;
  TinyRows tiny = tiny_rows({{17}, {9}}, Modalities::both, engine.stream(), 0);
  for (const CausalCase& causal : causal_cases()) {
    SCOPED_TRACE(causal.name);
    const Thresholds thresholds = thresholds_of(causal.config);
    tiny.rows.thresholds = causal.by_prediction ? nullptr : &thresholds;
    tiny.rows.by_prediction = causal.by_prediction;
    with_tiny_model(causal.config, causal.compute, engine.stream(), {}, [&](Transformer& model, Shards&) {
      const std::vector<float> full = model.head(model.hidden(tiny.rows)).value().to_vector<float>();
      Roundings roundings = model_roundings(causal.config, 17);
      roundings.terms /= 3;  // forward alone
      roundings.bf16_stores /= 2;
      KeyValueCache cache(causal.config, 2, 17);
      for (const auto& order : kOrders) {
        cache.clear(0);
        cache.clear(1);
        Comparison logits{"logits", decoded_logits(model, tiny, order, cache, engine.stream()),
                          Values(full.begin(), full.end()), causal.compute, roundings};
        EXPECT_TRUE(close(logits));
      }
      // Without what came before, the logits are others.
      cache.clear(0);
      cache.clear(1);
      const Values fresh = decoded_logits(model, tiny, {{{0, 9, 8}}}, cache, engine.stream());
      EXPECT_FALSE(
          close({"logits", Values(fresh.begin() + 16 * kVocab, fresh.begin() + 17 * kVocab),
                 Values(full.begin() + 16 * kVocab, full.begin() + 17 * kVocab), causal.compute, roundings}));
    });
  }
}

TEST(Decoding, RefusesMoreRowsThanThereIsRoomFor) {
  CpuEngine engine;
  const ModelConfig config = tiny_config({"1t1i"});
  with_tiny_model(config, DType::f32, engine.stream(), {}, [&](Transformer& model, Shards&) {
    KeyValueCache cache(config, 1, 8);
    TinyRows tiny = tiny_rows({{6}}, Modalities::both, engine.stream(), 0);
    tiny.rows.cache = &cache;
    tiny.rows.sequences = {0};
    model.hidden(tiny.rows);
    EXPECT_THROW(
        {
          try {
            model.hidden(tiny.rows);
          } catch (const Error& error) {
            EXPECT_EQ(std::string(error.what()),
                      "key-value cache: sequence 0 has 6 of 8 rows, no room for 6 more");
            throw;
          }
        },
        Error);
  });
}

}  // namespace
}  // namespace tessera
