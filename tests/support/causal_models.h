#pragma once
// Models of every kind of layer, with ways to route that look at no later token.

#include <string>
#include <vector>

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

}  // namespace tessera
