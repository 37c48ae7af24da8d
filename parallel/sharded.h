#pragma once
// Fully sharded data parallelism over a mesh (parallel/mesh.h).
//
// The parameters of a group lie end to end in one flat f32 array, padded to a multiple of the rank count; of the ranks that
// share it, rank r keeps elements [r n, (r + 1) n), the only copy in its replica that an optimizer sees.  A Use makes the
// parameters whole for as long as it lives and leaves two marks on the tape, so that backward gathers, reduces and drops at
// the mirrored points:
//
//   program order      forward    when backward passes
//   Use constructed    gather     send gradient shards to their owners, who push them to the canonical sum; drop
//   layer runs         compute    compute gradients
//   Use destroyed      drop       gather again, make room for gradients
//
// The last group of a pass has its backward right after its forward (at_once): gathered once, and both marks passed there.
//
// Groups are shared by all ranks of a replica.  Groups of experts are shared by the ranks with the same place on the expert
// axis alone, each place holding its own experts: they see the rows of as many micro-batches as the axis is long and
// form the gradient of each by itself.
//
// Traffic runs beside computation where the communicator can: while a group is in use the one that will be gathered after it is
// already on its way (the order is learned in the first round), and its gradients travel while the next ones are computed.
// At most two groups at a time are on their way, in the same order on every rank.  What replicas exchange travels once per
// step, all groups at a time.
//
// Micro-batches are leaves of the step; Mesh says which rank works on which leaf in each round.  In the last round some ranks
// may have no leaf: they run the model on no rows, and what they would send is left out.

#include <optional>
#include <string>
#include <vector>

#include "autograd/optimizer.h"
#include "autograd/parameter.h"
#include "parallel/node_exchange.h"
#include "runtime/fields.h"

namespace tessera {

struct ShardOptions {
  DType compute =
      DType::f32;  ///< of the gathered copies; bf16 is rounded from the f32 shards before the gather
  bool reshard_after_forward =
      true;  ///< false: gathered once per step and kept, for more memory and less traffic
};

/// A range of one parameter that this rank owns; so does one rank of every other replica.
struct ShardPiece {
  const Parameter* parameter;
  int64_t begin;       ///< first element, in the flattened parameter
  Tensor value, grad;  ///< f32 [n], views of the group's shard and its gradient
  Tensor rounded;      ///< bf16 [n], a view of the compute copy where it outlives the step, else none
};

/// An optimizer whose ranges are the pieces, in order.
AdamW adamw_over(const std::vector<ShardPiece>& pieces, const AdamWConfig& config);

class ShardGroup;

/// What the groups of a model know of each other.
struct ShardTraffic {
  std::vector<ShardGroup*> gathers;  ///< the order of a round, as far as it is known
  size_t at = 0;                     ///< of the next one in it
  bool in_round = false;             ///< else a forward pass alone, which may be followed by the next one
  ShardGroup* reducing = nullptr;    ///< whose gradients are on their way
};

class ShardGroup {
 public:
  ShardGroup() = default;
  ShardGroup(ShardGroup&&) = default;  ///< before bind() only: tapes refer to the group by address

  /// Takes over named parameters and draws their initial values: element i of a parameter is a function of (seed, name,
  /// i).  normal is scaled by deviation.  Throws Error when a parameter has no name or the group is bound already.  The mesh
  /// must outlive the group.
  void bind(std::vector<Parameter*> parameters, const Mesh& mesh, Stream stream, ShardOptions options,
            uint64_t seed, float deviation);

  /// Of one model's groups; must outlive their use.
  void join(ShardTraffic& traffic) { traffic_ = &traffic; }

  /// The ranges of parameters in this rank's shard, in order; padding belongs to none.
  std::vector<ShardPiece> pieces() const;

  /// f32 [n], this rank's share of the gradient after finish_step(), padding (zeros) included.
  const Tensor& gradient() const { return shard_grad_; }

  /// What the names of its parameters have in common, e.g. "blocks.3.attention".
  const std::string& name() const { return name_; }

  /// Where the rows of experts travel; null for groups that are not dealt over an expert axis.
  Communicator* dealt_over() const { return dealt_over_; }

  /// A round of the replica, over these leaves.  Each round takes one backward pass through the group; another one throws Error.
  void begin_round(LeafRange leaves);
  /// The collectives of a round for a rank without a leaf, of models whose groups are used one after the other: forward() in
  /// program order, then backward() in reverse.
  void idle_forward();
  void idle_backward();

  /// Together: fold the canonical sum over the leaves of the step into the shard's gradient.  All groups of a model do the first
  /// before any does the second, and so on.
  void send_to_replicas(int64_t leaves);
  void sum_over_replicas();
  void finish_step();
  /// An optimizer changed the values of pieces(), and what is rounded from them: other whole copies must be gathered again.
  void stepped();
  /// Something else changed values: all whole copies must be gathered again.
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

  /// What f returns, which forms the gradients of the group's parameters, each used once at most.
  template <class F>
  auto at_once(F&& f) {
    gather();
    make_room();
    auto result = std::forward<F>(f)();
    reduce();
    return result;
  }

 private:
  /// Runs of one parameter in the flat array.
  struct Place {
    int64_t offset = 0;  ///< in the flat array
    int64_t begin = 0;   ///< first element, in the flattened parameter
    Shape shape;         ///< of what is held
  };

  bool alone() const { return communicator_->size() == 1; }
  bool whole_is_shard() const { return alone() && options_.compute == DType::f32; }
  bool whole_is_kept() const { return alone() && !options_.reshard_after_forward; }
  void draw(uint64_t seed, float deviation);
  void start_gather();
  void gather();
  ShardGroup* gathered_next();
  void drop();
  void make_room();
  Tensor room_of_leaf(int64_t leaf);
  void reduce();
  void complete_leaf(int64_t leaf);
  void exchange(std::vector<Tensor> nodes);
  void complete_exchange();
  LeafRange leaves_of_member(int member) const;

  std::vector<Parameter*> parameters_;
  std::vector<Place> places_;  ///< by parameter
  std::string name_;
  const Mesh* mesh_ = nullptr;
  Communicator* communicator_ = nullptr;  ///< of the ranks that share the group
  Communicator* dealt_over_ = nullptr;
  ShardTraffic* traffic_ = nullptr;
  Stream stream_;
  ShardOptions options_;
  int64_t share_ = 0;           ///< elements per rank
  int64_t leaves_each_ = 1;     ///< whose gradients a rank forms in a round
  LeafRange round_;             ///< of the replica
  bool round_is_open_ = false;  ///< no backward pass yet
  bool whole_valid_ = false;
  Tensor shard_, shard_grad_;        ///< f32 [share]
  Tensor whole_;                     ///< compute dtype [ranks * share]; has memory only while gathered
  std::vector<Tensor> whole_grads_;  ///< by leaf, f32 [ranks * share] between make_room() and reduce()
  CanonicalSum<Tensor>::Carry
      carry_;  ///< whose sums the gradients of an only leaf are added to; the last is whole_grads_[0]
  std::optional<Pending<Tensor>> arriving_whole_;  ///< from start_gather() to gather()
  NodeExchange arriving_nodes_;                    ///< from exchange() to complete_exchange()
  NodeExchange arriving_replicas_;                 ///< from send_to_replicas() to sum_over_replicas()
  std::optional<Pending<Tensor>> arriving_sum_;    ///< from sum_over_replicas() to finish_step()
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
  const std::string& path() const requires requires { layer.path(); }
  { return layer.path(); }
};

}  // namespace tessera
