#pragma once
// Causal stand-in for expert choice: an expert takes a token when its score is above the expert's threshold, whatever the
// other tokens are.  A threshold is a running mean of the cut-offs of training, the least scores that were taken:
//
//   mean <- decay mean + (1 - decay) cutoff,   threshold = mean / (1 - decay^updates)
//
// Source: Expert Threshold (arXiv 2603.11535), on sigmoid scores instead of logits.

#include <map>
#include <string>

#include "runtime/fields.h"

namespace tessera {

class Thresholds {
 public:
  /// One step: least scores taken, by router column: "3/image/0" (block and expert label), "3/depth".  Columns that are not
  /// named took nothing and stay as they are.
  void update(const std::map<std::string, double>& cutoffs, double decay);

  bool empty() const { return means_.empty(); }
  /// Throws Error for a column that never took anything.
  float at(const std::string& column) const;

  auto fields() { return std::tuple{Field{"means", means_}}; }

 private:
  struct RunningMean {
    double mean = 0;    ///< before the correction for its start at 0
    double weight = 0;  ///< 1 - decay^updates

    auto fields() { return std::tuple{Field{"mean", mean}, Field{"weight", weight}}; }
  };
  std::map<std::string, RunningMean> means_;
};

}  // namespace tessera
