#pragma once
// What a step measured, summed over micro-batches in the canonical tree, so that reported losses have the same bits for
// any number of ranks.

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "autograd/functions.h"
#include "data/batch.h"
#include "data/loader.h"
#include "layers/transformer.h"
#include "parallel/communicator.h"

namespace tessera {

struct StepSummary {
  double loss = 0;                             ///< nats per scored target, without z-loss
  std::vector<std::optional<double>> loss_of;  ///< by modality of the target; none without targets
  double tokens = 0;                           ///< rows, padding included
  double flops = 0;                            ///< of the ledger: forward and backward
  std::map<std::string, double> expert_load;   ///< "block/expert": slots per candidate token of the group
  std::map<std::string, double> unrouted;      ///< "block/group": share of candidate tokens without an expert
};

/// Sums by column over leaves in the canonical tree.  Leaf l is row l / ranks of rank l % ranks; each row has width numbers.
/// Collective: every rank gets the sums.
std::vector<double> sum_over_leaves(const std::vector<std::vector<double>>& rows, int64_t leaves,
                                    size_t width, Communicator& world);

class StepStatistics {
 public:
  StepStatistics(const Transformer& model, const Vocabulary& vocabulary)
      : model_(model), vocabulary_(vocabulary) {}

  /// One micro-batch of this rank, in order of its leaves.
  void add(const Batch& batch, const Loss& loss, const Rows& rows, const Ledger& ledger);

  /// Collective; starts over.
  StepSummary total(const StepPlan& plan, Communicator& world);

 private:
  const Transformer& model_;
  Vocabulary vocabulary_;
  std::vector<std::vector<double>> leaves_;  ///< a row of numbers per leaf of this rank
};

}  // namespace tessera
