#pragma once
// Models of every kind of layer, with ways to route that look at no later token.

#include <string>
#include <vector>

#include "layers/key_value_cache.h"
#include "tests/support/tiny_model.h"

namespace tessera {

/// Every kind of feed-forward network, with and without mixture-of-depths, both norms and gate orders; those with routers have
/// auxiliary ones too.
std::vector<ModelConfig> causal_models();

/// Thresholds near the middle of the scores, different for every column.
Thresholds thresholds_of(const ModelConfig& config);

/// A model, a causal way to route it, and a dtype; name is for messages.
struct CausalCase {
  ModelConfig config;
  bool by_prediction = false;
  DType compute = DType::f32;
  std::string name;
};
std::vector<CausalCase> causal_cases();

/// Some tokens of each of some sequences, and where they stand.
struct Piece {
  int64_t sequence, begin, count;
};

/// The logits of pieces that are read with a cache, in the order of the documents of tiny.
Values decoded_logits(Transformer& model, const TinyRows& tiny,
                      const std::vector<std::vector<Piece>>& readings, KeyValueCache& cache, Stream stream);

}  // namespace tessera
