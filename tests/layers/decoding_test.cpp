// Decoding with a cache of keys and values: the logits of the full forward pass, for every kind of layer.
#include <gtest/gtest.h>

#include "layers/key_value_cache.h"
#include "tests/support/causal_models.h"

namespace tessera {
namespace {

constexpr size_t kVocab = 23;

/// Some tokens of each of some sequences, and where they stand.
struct Piece {
  int64_t sequence, begin, count;
};

/// The logits of pieces that are read with a cache, back in the order of the documents of tiny.
Values decoded_logits(Transformer& model, const TinyRows& tiny,
                      const std::vector<std::vector<Piece>>& readings, KeyValueCache& cache, Stream stream) {
  Values logits(tiny.host.tokens.size() * kVocab);
  for (const std::vector<Piece>& pieces : readings) {
    std::vector<std::vector<int64_t>> documents;
    std::vector<int32_t> tokens, positions;
    std::vector<size_t> places;
    std::vector<int64_t> sequences;
    for (const auto& [sequence, begin, count] : pieces) {
      documents.push_back({count});
      sequences.push_back(sequence);
      for (int64_t i = begin; i < begin + count; ++i) {
        places.push_back(static_cast<size_t>(tiny.host.segments[static_cast<size_t>(sequence)] + i));
        tokens.push_back(tiny.host.tokens[places.back()]);
        positions.push_back(static_cast<int32_t>(i));
      }
    }
    TinyRows part = with_tokens(tiny_rows(documents, Modalities::both, stream, 0), tokens);
    part.rows.positions = Tensor::from(positions, {std::ssize(positions)}, stream);
    part.rows.thresholds = tiny.rows.thresholds;
    part.rows.by_prediction = tiny.rows.by_prediction;
    part.rows.cache = &cache;
    part.rows.sequences = sequences;
    const std::vector<float> read = model(part.rows).value().to_vector<float>();
    for (size_t row = 0; row < places.size(); ++row)
      std::copy_n(read.begin() + static_cast<int64_t>(row * kVocab), kVocab,
                  logits.begin() + static_cast<int64_t>(places[row] * kVocab));
  }
  return logits;
}

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
      const std::vector<float> full = model(tiny.rows).value().to_vector<float>();
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
    model(tiny.rows);
    EXPECT_THROW(
        {
          try {
            model(tiny.rows);
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
