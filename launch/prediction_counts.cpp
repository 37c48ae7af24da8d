#include "launch/prediction_counts.h"

#include <algorithm>
#include <cmath>

namespace tessera {

PredictionCounts count_prediction(const Prediction& prediction) {
  const std::vector<float> logits = prediction.logits.value().to_vector<float>();
  const std::vector<uint8_t> taken = prediction.taken.to_vector<uint8_t>();
  PredictionCounts result;
  auto& counts = result.counts;
  counts[PredictionCounts::kPairs] = static_cast<double>(logits.size());
  for (size_t i = 0; i < logits.size(); ++i) {
    const bool said = logits[i] > 0, was = taken[i] != 0;
    counts[PredictionCounts::kTaken] += was;
    counts[PredictionCounts::kSaid] += said;
    counts[PredictionCounts::kBoth] += said && was;
    const double logit = logits[i];
    counts[PredictionCounts::kNats] +=
        std::max(logit, 0.0) - (was ? logit : 0.0) + std::log1p(std::exp(-std::abs(logit)));
  }
  return result;
}

std::vector<std::string> router_names(const ModelConfig& config) {
  std::vector<std::string> names;
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    if (config.routes_depth(layer)) names.push_back(str(layer, "/depth"));
    for (const ExpertGroup& group : parse_feed_forward(config.feed_forward_of(layer)))
      if (group.routed()) names.push_back(str(layer, "/", group.name));
  }
  return names;
}

}  // namespace tessera
