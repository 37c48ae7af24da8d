#pragma once
// What a step measured, summed over micro-batches in the canonical tree, so that reported losses have the same bits for
// any number of ranks.

#include <array>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "autograd/functions.h"
#include "data/batch.h"
#include "data/loader.h"
#include "launch/prediction_counts.h"
#include "layers/transformer.h"
#include "parallel/mesh.h"

namespace tessera {

/// Keys: "block/expert label", "block/group" or "block/modality", e.g. "3/image/0", "3/image".
struct StepSummary {
  double loss = 0;                             ///< nats per scored target, without z-loss
  std::vector<std::optional<double>> loss_of;  ///< by modality of the target; none without targets
  double tokens = 0;                           ///< rows, padding included
  double flops = 0;                            ///< of the ledger: forward and backward
  double output_norm = 0;                      ///< root mean square over rows of the last block's output norm
  std::map<std::string, double> expert_load;   ///< by expert: slots per candidate token of the group
  std::map<std::string, double> unrouted;      ///< by group: share of candidate tokens without an expert
  /// By modality: shares of the tokens that 0, 1, 2 and 3 or more routed experts took.
  std::map<std::string, std::array<double, 4>> fan_out;
  std::map<std::string, double> gate;   ///< by routed group: mean gate of its slots
  std::map<std::string, double> depth;  ///< by modality: share of the tokens that entered the block
  std::map<std::string, double>
      cutoff;  ///< by routed expert, and "block/depth": least score that was taken, mean over leaves
  std::map<std::string, PredictionCounts> predictions;  ///< by router, of models with auxiliary routers
};

/// Sums by column over leaves in the canonical tree.  rows: of this rank's leaves, in order; each has width numbers.
/// Collective: every rank gets the sums.
std::vector<double> sum_over_leaves(const std::vector<std::vector<double>>& rows, int64_t leaves,
                                    size_t width, const Mesh& mesh);

/// A micro-batch and its loss, in nats per scored target.
struct LeafLoss {
  int64_t leaf = 0;
  double loss = 0;
};

/// Nats per scored target of a micro-batch.
double loss_of_leaf(const Batch& batch, const Loss& loss);

class StepStatistics {
 public:
  StepStatistics(const Transformer& model, const ModelConfig& config, const Vocabulary& vocabulary);

  /// One micro-batch of this rank, in order of its leaves; rows.record and rows.output hold what the model left.
  void add(const Batch& batch, const Loss& loss, const Rows& rows, const Ledger& ledger);

  /// Collective; starts over.
  StepSummary total(const StepPlan& plan, const Mesh& mesh);

  /// This rank's micro-batches of the step that total() was for, in order.
  const std::vector<LeafLoss>& last_leaves() const { return last_leaves_; }

 private:
  using Numbers = std::map<std::string, double>;
  void add_routing(const Rows& rows, Numbers& numbers) const;
  void summarize_routing(const Numbers& sums, StepSummary& summary) const;

  const Transformer& model_;
  Vocabulary vocabulary_;
  std::vector<std::string> auxiliary_;       ///< names of routers that have an auxiliary one
  Numbers zeros_;                            ///< every number of a leaf, by name
  std::vector<std::vector<double>> leaves_;  ///< a row of numbers per leaf of this rank
  std::vector<LeafLoss> leaf_losses_, last_leaves_;
};

}  // namespace tessera
