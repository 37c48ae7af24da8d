#pragma once
// The sharded parameters of a whole model, step by step.

#include <memory>
#include <span>
#include <vector>

#include "parallel/sharded.h"

namespace tessera {

/// All shard groups of a model, in the order of their first use.
class Shards {
 public:
  /// mesh: the one that the groups are bound to.
  Shards(std::vector<ShardGroup*> groups, std::unique_ptr<const Mesh> mesh);

  const Mesh& mesh() const { return *mesh_; }
  std::vector<ShardPiece> pieces() const;
  /// The round-th round of a step of so many leaves.  Throws Error when this replica has no such round.
  void begin_round(int64_t round, int64_t leaves);
  /// For ranks without a leaf, see ShardGroup.
  void idle_round();
  void idle_forward();  ///< the same for a forward pass alone, of any model
  /// After all rounds.
  void finish_step();
  void stepped();
  void invalidate();

  /// Euclidean norm of the whole gradient, after finish_step(); the same bits for any number of ranks
  /// (kernels/exact_norm.h).  0 when all are zero; infinity or NaN when one element is.  Collective.
  double gradient_norm() const;
  /// The same of single parameters, in order.
  std::vector<double> gradient_norms(std::span<const Parameter* const> parameters) const;

 private:
  std::vector<ShardGroup*> groups_;
  std::unique_ptr<const Mesh> mesh_;
  std::unique_ptr<ShardTraffic> traffic_;
  mutable int norm_exponent_ = 0;  ///< of the last gradient's norm
  int64_t leaves_ = 0;             ///< of the step
};

}  // namespace tessera
