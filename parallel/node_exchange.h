#pragma once
// Sums over some of the leaves of a step on their way to the ranks that add them up.

#include <vector>

#include "parallel/canonical_sum.h"
#include "parallel/mesh.h"

namespace tessera {

/// Ranks with consecutive ranges of leaves hold flat arrays, one per node of the canonical tree that covers their leaves.  Each
/// array is cut into one part per rank; rank r gets part r of all arrays.  How many arrays come from whom follows from the
/// ranges, so nothing is asked beforehand, and ranks without leaves send nothing.
class NodeExchange {
 public:
  /// Collective.  nodes: f32 [ranks * part], those of canonical_nodes() over leaves[own rank].  leaves: by rank, in order.
  void start(Communicator& communicator, std::vector<Tensor> nodes, std::vector<LeafRange> leaves,
             int64_t part, Stream stream);

  bool under_way() const { return !leaves_.empty(); }

  /// Waits, and pushes the parts (f32 [part]) to sum in the order of leaves.
  void finish(CanonicalSum<Tensor>& sum, Stream stream);

 private:
  std::vector<Pending<Tensor>> turns_;  ///< the first nodes of all ranks, the second ones, ...
  std::vector<LeafRange> leaves_;
  int64_t part_ = 0;
};

}  // namespace tessera
