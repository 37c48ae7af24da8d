#pragma once
// The networks of experts, and where their rows are worked on: here, or with the ranks of an expert axis.

#include <string>
#include <vector>

#include "autograd/functions.h"
#include "layers/model_config.h"
#include "layers/rows.h"
#include "parallel/sharded.h"

namespace tessera {

/// down(silu(gate(x)) up(x)), each with as many matrices as offsets has groups.
Var swiglu_network(const Var& x, Parameter& gate, Parameter& up, Parameter& down, RowOffsets offsets);

/// The experts of one modality group.
struct ExpertNetworks {
  Parameter gate, up, down;         ///< [experts, hidden, width] twice, [experts, width, hidden]
  std::string name;                 ///< of the group
  std::vector<std::string> labels;  ///< of the experts, e.g. "image/2", for the ledger

  ExpertNetworks(const ModelConfig& config, const ExpertGroup& group);
  /// What stands for the group in the names of its parameters.
  const std::string& path() const { return name; }
  auto fields() { return std::tuple{Field{"gate", gate}, Field{"up", up}, Field{"down", down}}; }
};

/// Slots by group and expert.
using SlotCounts = std::vector<std::vector<int64_t>>;

/// Every expert's network on its slots: rows [slots, width] in the order of groups and experts -> the same.
///
/// Groups that are dealt over an expert axis send their rows to the ranks that hold the experts, which keep the rows of
/// different micro-batches apart, and get them back.  While the rows of one group travel, another group's are worked on.
/// own: the slots of this rank's micro-batch; of_peers: by rank of the expert axis, empty when nothing is dealt.
/// again: run the networks again in backward (autograd/recompute.h).
Var run_experts(std::vector<Sharded<ExpertNetworks>>& groups, const Var& slots, const SlotCounts& own,
                const std::vector<SlotCounts>& of_peers, bool again);

}  // namespace tessera
