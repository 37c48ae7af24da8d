#pragma once
// The world as a grid of ranks: replicate x shard x expert, the expert axis innermost.
//
//   world rank = (replica * shards + shard) * experts + expert
//
// A replica (hybrid sharding) holds the whole model between its shards x experts ranks: parameters are gathered and gradients
// exchanged inside it in every round, and across replicas once per step.  The expert axis deals the experts of a layer to
// its ranks, between which token rows travel (parallel/row_exchange.h); everything else is sharded over the whole replica.
//
// Micro-batches are leaves of the step (docs/design.md, determinism).  A replica works on one range of consecutive leaves,
// so that the partial sums it sends to the others are few; inside it, rank r takes leaf first + round * size + r.  So the
// ranks of an expert axis hold consecutive leaves.

#include <memory>
#include <optional>
#include <tuple>
#include <vector>

#include "parallel/communicator.h"
#include "runtime/fields.h"

namespace tessera {

struct MeshConfig {
  int64_t replicate = 1;
  int64_t expert = 1;

  auto fields() {
    return std::tuple{
        Field{"replicate", replicate,
              "hybrid sharding: copies of the model, each sharded over ranks / replicate ranks; "
              "nodes are a good choice",
              1, 1 << 20},
        Field{"expert", expert,
              "expert parallelism: ranks between which the experts of a layer are dealt; groups "
              "whose expert count it does not divide stay sharded like the rest",
              1, 1 << 20}};
  }
};

/// Throws Error naming the fields when they do not fit that many ranks.
void check(const MeshConfig& config, int ranks);

/// Leaves [first, end).
struct LeafRange {
  int64_t first = 0, end = 0;
  int64_t count() const { return end - first; }
};

class Mesh {
 public:
  /// Collective; world must outlive it.  Throws Error when config does not fit the ranks.
  explicit Mesh(Communicator& world, const MeshConfig& config = {});

  Communicator& world() const { return *world_; }
  /// The ranks that hold one copy of the model.
  Communicator& replica() const { return *replica_; }
  /// One rank of each replica: those with the same place in it.
  Communicator& across() const { return *across_; }
  /// The ranks of the replica with the same place on the expert axis.
  Communicator& shard() const { return *shard_; }
  /// The ranks between which experts are dealt.
  Communicator& expert() const { return *expert_; }

  /// The leaves of a replica, of so many in a step.  Throws Error when some replica would have none.
  LeafRange leaves_of(int replica, int64_t leaves) const;
  LeafRange leaves_of_this_replica(int64_t leaves) const { return leaves_of(across_->rank(), leaves); }
  /// Those of one of its rounds.
  LeafRange round_of_this_replica(int64_t round, int64_t leaves) const;
  /// Rounds that this replica takes for its leaves; other replicas may take one more or less.
  int64_t rounds(int64_t leaves) const;
  /// The leaf of this rank, none when others of its replica have taken the last one.
  std::optional<int64_t> leaf(int64_t round, int64_t leaves) const;

  /// Who works on a leaf, and the how manieth of its leaves it is.
  struct Turn {
    int rank = 0;  ///< of the world
    int64_t round = 0;
  };
  Turn turn_of(int64_t leaf, int64_t leaves) const;

 private:
  Communicator* world_;
  std::vector<std::unique_ptr<Communicator>> made_;  ///< those that are not the world itself
  Communicator *replica_, *across_, *shard_, *expert_;
};

}  // namespace tessera
