#pragma once
// Numbers the accesses on a device and knows which come before which: by stream order between operations, by
// barriers and warp synchronisations between the threads of a block, by fences with atomics between blocks.
//
// Bytes that several lanes of an instruction read count as read by all lanes that executed it: a warp
// synchronisation that leaves some of these out does not order the read before a write.  The rule of the
// project is full masks.

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "tests/simulated_gpu/checker/block_order.h"
#include "tests/simulated_gpu/checker/operation_index.h"
#include "tests/simulated_gpu/checker/thread_clocks.h"
#include "tests/simulated_gpu/device/observer.h"

namespace simulated_gpu {

/// What the number of an access of the running launch stands for.
struct AccessContext {
  const ptx::Instruction* instruction = nullptr;  ///< null: a set of earlier operations
  uint32_t block = 0;
  uint32_t time = 0;  ///< of ThreadClocks
  uint32_t mask = 0;  ///< lanes that executed it
  int warp = 0;       ///< kSeveralWarps: atomics of threads of several warps of the block
  bool is_atomic = false;

  static constexpr int kSeveralWarps = 32;
};

class History {
 public:
  OperationIndex operations;  ///< begin() of the launch's operation comes before launch_begins()

  void launch_begins(const LaunchInfo& launch);
  void launch_ends();
  void block_begins(uint32_t block);
  void barrier(const std::vector<uint32_t>& warps);
  void warp_synchronises(int warp, uint32_t lanes);
  void fence(int warp, uint32_t lanes);
  /// An atomic on global memory: may release and acquire.
  void atomic(uint64_t address, int thread) { blocks_->atomic(address, thread, *clocks_); }

  /// The number of an access.  The same for the same instruction of a warp until the warp synchronises.
  uint32_t number_of_access(const Access& access);
  /// The number of an asynchronous copy from its wait on, given that from its issue.
  uint32_t number_of_completion(uint32_t issue);
  /// The number of an access together with an earlier one of the same warp: of all lanes that executed
  /// either.
  uint32_t number_of_both(uint32_t earlier, uint32_t access);
  /// The number of atomics of the running block by threads of several warps up to now.
  uint32_t number_of_several_warps(const Access& access);
  /// Null when the number stands for operations.
  const AccessContext* context(uint32_t number) const {
    const uint32_t index = number - launch_first_;
    if (number < launch_first_ || index >= contexts_.size() || !contexts_[index].instruction) return nullptr;
    return &contexts_[index];
  }
  /// Null, too, when the access was made by another block.
  const AccessContext* context_in_block(uint32_t number) const {
    return number < block_first_ ? nullptr : context(number);
  }
  bool is_in_block(const AccessContext& context) const { return context.block == block_; }
  /// Whether an access of the warp itself comes before what any of its lanes does next; false where lanes
  /// differ.
  bool is_ordered_in_warp(const AccessContext& context) const {
    return context.time <= warps_[context.warp].all_synchronised;
  }
  /// Whether the warp has not synchronised since an access of its own, not even some of its lanes.
  bool is_same_epoch(const AccessContext& context) const {
    return context.time > warps_[context.warp].synchronised;
  }
  /// Something may order accesses of earlier blocks before what this block does.
  bool has_block_order() const { return blocks_->has_acquired(); }

  /// Whether the earlier access comes before what the thread of the running block does next.  The thread is
  /// of no account when no launch runs.
  bool is_ordered(Accessor earlier, int thread);
  /// Numbers of accesses in the running block begin here.
  uint32_t block_first() const { return block_first_; }
  /// Those from block_first() to before this are ordered before everything that the warp does next.
  uint32_t ordered_to(int warp) const { return warps_[warp].ordered_to; }
  /// Of two readers, neither ordered before the thread, the one to keep: readers of other operations before
  /// readers of other blocks before readers of the own block.
  Accessor farther_reader(Accessor kept, Accessor candidate, int thread);
  /// True when farther_reader() answers the candidate whatever is ordered.
  bool gives_way(Accessor kept, Accessor candidate) const {
    const Distance distance_kept = distance(kept);
    return distance_kept != Distance::other_operation && distance_kept <= distance(candidate);
  }

 private:
  enum class Distance { own_block, other_block, other_operation };

  Distance distance(Accessor accessor) const;
  uint32_t add(AccessContext context);
  bool is_ordered_within_block(Accessor earlier, const AccessContext& context, int thread) const;
  bool is_ordered_between_blocks(Accessor earlier, const AccessContext& context, int thread) const;

  struct Warp {
    uint32_t lanes = 0;             ///< that exist
    uint32_t synchronised = 0;      ///< time of its last synchronisation or fence
    uint32_t all_synchronised = 0;  ///< of the last one of all its lanes
    uint32_t ordered_to = 0;
    uint32_t issue = 0, completion = 0;         ///< last answer of number_of_completion
    uint32_t earlier = 0, later = 0, both = 0;  ///< last answer of number_of_both
    std::vector<uint32_t> numbers;              ///< by instruction: its latest, 0 for none
  };
  bool is_current(uint32_t number) const {
    return number >= block_first_ && is_same_epoch(contexts_[number - launch_first_]);
  }

  // Of the running launch:
  uint32_t launch_first_ = std::numeric_limits<uint32_t>::max();
  std::vector<AccessContext> contexts_;  ///< by number, from launch_first_
  std::optional<ThreadClocks> clocks_;
  std::optional<BlockOrder> blocks_;
  std::vector<Warp> warps_;
  int threads_ = 0;
  uint32_t block_ = 0;
  uint32_t block_first_ = 0;
  uint32_t several_warps_ = 0;  ///< last answer of number_of_several_warps
};

}  // namespace simulated_gpu
