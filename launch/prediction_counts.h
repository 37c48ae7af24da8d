#pragma once
// How well an auxiliary router says which tokens are taken, counted over pairs of a token and an expert.

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "layers/model_config.h"
#include "layers/rows.h"

namespace tessera {

struct PredictionCounts {
  /// All pairs, those that were taken, those that are said to be, and both; and the cross-entropy of all in nats.
  enum Count : size_t { kPairs, kTaken, kSaid, kBoth, kNats, kCounts };
  std::array<double, kCounts> counts{};

  double accuracy() const {
    return (counts[kPairs] - counts[kTaken] - counts[kSaid] + 2 * counts[kBoth]) / counts[kPairs];
  }
  /// Of those said to be taken, the share that was; none when none was said to be.
  std::optional<double> precision() const { return share_of(kSaid); }
  /// Of those taken, the share that was said to be.
  std::optional<double> recall() const { return share_of(kTaken); }
  double loss() const { return counts[kNats] / counts[kPairs]; }  ///< nats per pair
  /// Accuracy of the answer "never" is 1 minus this.
  double taken() const { return counts[kTaken] / counts[kPairs]; }

 private:
  std::optional<double> share_of(Count whole) const {
    return counts[whole] > 0 ? std::optional(counts[kBoth] / counts[whole]) : std::nullopt;
  }
};

/// Waits for the stream.
PredictionCounts count_prediction(const Prediction& prediction);

/// Names of the routers of a model, as Routings::predictions has them: "3/image", "3/depth".
std::vector<std::string> router_names(const ModelConfig& config);

}  // namespace tessera
