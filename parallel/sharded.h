#pragma once
// Fully sharded data parallelism.
//
// The parameters of a group lie end to end in one flat f32 array, padded to a multiple of the rank count; rank r keeps
// elements [r n, (r + 1) n), the only copy that the optimizer sees.  A Use makes the parameters whole for as long as it
// lives and leaves two marks on the tape, so that backward gathers, reduces and drops at the mirrored points:
//
//   program order      forward    when backward passes
//   Use constructed    gather     send gradient shards to their owners, who push them to the canonical sum; drop
//   layer runs         compute    compute gradients
//   Use destroyed      drop       gather again, make room for gradients
//
// Traffic runs beside computation where the communicator can: while a group is in use its neighbour in the direction of the
// pass is already being gathered, and its gradients travel while the next ones are computed.  At most two groups at a time are
// on their way, in the same order on every rank.
//
// Micro-batches are leaves of the step; rank r works on leaf round * ranks + r in each round.  In the last round some
// ranks may have no leaf: they issue the same collectives through idle_round() and send nothing.

#include <optional>
#include <vector>

#include "autograd/optimizer.h"
#include "autograd/parameter.h"
#include "parallel/canonical_sum.h"
#include "parallel/communicator.h"
#include "runtime/fields.h"

namespace tessera {

struct ShardOptions {
  DType compute =
      DType::f32;  ///< of the gathered copies; bf16 is rounded from the f32 shards before the gather
  bool reshard_after_forward =
      true;  ///< false: gathered once per step and kept, for more memory and less traffic
};

/// A range of one parameter that this rank owns.
struct ShardPiece {
  const Parameter* parameter;
  int64_t begin;       ///< first element, in the flattened parameter
  Tensor value, grad;  ///< f32 [n], views of the group's shard and its gradient
};

/// An optimizer whose ranges are the pieces, in order.
AdamW adamw_over(const std::vector<ShardPiece>& pieces, const AdamWConfig& config);

class ShardGroup {
 public:
  ShardGroup() = default;
  ShardGroup(ShardGroup&&) = default;  ///< before bind() only: tapes refer to the group by address

  /// Takes over named parameters and draws their initial values: element i of a parameter is a function of (seed, name,
  /// i).  normal is scaled by deviation.  Throws Error when a parameter has no name or the group is bound already.
  void bind(std::vector<Parameter*> parameters, Communicator& communicator, Stream stream,
            ShardOptions options, uint64_t seed, float deviation);

  /// The groups used before and after this one in a forward pass; null at the ends.
  void set_neighbours(ShardGroup* previous, ShardGroup* next) {
    previous_ = previous;
    next_ = next;
  }

  /// The ranges of parameters in this rank's shard, in order; padding belongs to none.
  std::vector<ShardPiece> pieces() const;

  /// f32 [n], this rank's share of the gradient after finish_step(), padding (zeros) included.
  const Tensor& gradient() const { return shard_grad_; }

  /// How many ranks (0 .. present - 1) hold a leaf in the round that starts.  Each round takes one backward pass through
  /// the group; another one throws Error.
  void begin_round(int present) { present_ = present; }
  /// The collectives of a round for a rank without a leaf; forward() in program order, then backward() in reverse.
  void idle_forward();
  void idle_backward();
  /// Folds the canonical sum over the leaves of the step into the shard's gradient.
  void finish_step();
  /// Values changed: whole copies must be gathered again.
  void invalidate();

  class [[nodiscard]] Use {
   public:
    explicit Use(ShardGroup& group);
    ~Use();
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

   private:
    ShardGroup& group_;
  };

 private:
  void start_gather();
  void gather(ShardGroup* neighbour);
  void drop();
  void make_room();
  void reduce();
  void exchange(Tensor flat_grad);
  void complete_exchange();

  std::vector<Parameter*> parameters_;
  Communicator* communicator_ = nullptr;
  ShardGroup *previous_ = nullptr, *next_ = nullptr;
  Stream stream_;
  ShardOptions options_;
  int64_t share_ = 0;  ///< elements per rank
  int present_ = 0;
  bool whole_valid_ = false;
  Tensor shard_, shard_grad_;  ///< f32 [share]
  Tensor whole_;               ///< compute dtype [ranks * share]; has memory only while gathered
  Tensor whole_grad_;          ///< f32 [ranks * share] between make_room() and reduce()
  std::optional<Pending<Tensor>> arriving_whole_;   ///< from start_gather() to gather()
  std::optional<Pending<Tensor>> arriving_shards_;  ///< from exchange() to complete_exchange()
  CanonicalSum<Tensor> sum_;
};

/// A layer whose parameters are one shard group.
template <class Layer>
struct Sharded {
  Layer layer;
  ShardGroup group{};

  template <class... Args>
  auto operator()(Args&&... args) {
    ShardGroup::Use use(group);
    return layer(std::forward<Args>(args)...);
  }
  auto fields() { return layer.fields(); }
};

/// All shard groups of a model, in the order of their use.
class Shards {
 public:
  Shards(std::vector<ShardGroup*> groups, Communicator& communicator);

  std::vector<ShardPiece> pieces() const;
  void begin_round(int present);
  void idle_round();
  void idle_forward();  ///< the same for a forward pass alone
  void finish_step();
  void invalidate();

  /// Euclidean norm of the whole gradient, after finish_step(); the same bits for any number of ranks
  /// (kernels/exact_norm.h).  0 when all are zero; infinity or NaN when one element is.  Collective.
  double gradient_norm() const;
  /// The same of single parameters, in order.
  std::vector<double> gradient_norms(std::span<const Parameter* const> parameters) const;

 private:
  std::vector<ShardGroup*> groups_;
  Communicator* communicator_;
};

}  // namespace tessera
