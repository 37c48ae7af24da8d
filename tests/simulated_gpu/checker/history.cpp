#include "tests/simulated_gpu/checker/history.h"

#include <algorithm>

namespace simulated_gpu {
namespace {

/// Calls visit(lane) for the lanes in the mask until one answers false; true when none does.
bool all_lanes(uint32_t mask, auto&& visit) {
  for (; mask; mask &= mask - 1)
    if (!visit(__builtin_ctz(mask))) return false;
  return true;
}

uint32_t lanes_of(Accessor accessor, const AccessContext& context) {
  const uint32_t lane = lane_of(accessor);
  return lane == kSeveralLanes ? context.mask : 1u << lane;
}

}  // namespace

void History::launch_begins(const LaunchInfo& launch) {
  launch_first_ = operations.next();
  contexts_.clear();
  threads_ = static_cast<int>(launch.block[0] * launch.block[1] * launch.block[2]);
  clocks_.emplace(threads_);
  blocks_.emplace();
  warps_.assign(static_cast<size_t>(clocks_->warps()), {});
  for (size_t i = 0; i < warps_.size(); ++i) {
    const uint64_t lanes = std::min<uint64_t>(32, static_cast<uint64_t>(threads_) - 32 * i);
    warps_[i].lanes = static_cast<uint32_t>((uint64_t{1} << lanes) - 1);
    warps_[i].numbers.assign(launch.kernel->code.size(), 0);
  }
}

void History::launch_ends() {
  launch_first_ = std::numeric_limits<uint32_t>::max();
  clocks_.reset();
  blocks_.reset();
  warps_.clear();
}

void History::block_begins(uint32_t block) {
  block_ = block;
  block_first_ = operations.next();
  several_warps_ = 0;
  clocks_->advance();
  blocks_->block_begins(block, threads_);
  for (Warp& warp : warps_) {
    warp.synchronised = warp.all_synchronised = clocks_->now() - 1;
    warp.ordered_to = block_first_;
    warp.issue = warp.completion = 0;
    warp.earlier = warp.later = 0;
  }
}

void History::barrier(const std::vector<uint32_t>& warps) {
  uint32_t members = 0;
  for (size_t i = 0; i < warps.size(); ++i)
    if (warps[i]) members |= 1u << i;
  const bool is_whole_block = static_cast<size_t>(__builtin_popcount(members)) == warps_.size();
  for (size_t i = 0; i < warps_.size(); ++i) {
    if (!(members >> i & 1)) continue;
    warps_[i].synchronised = warps_[i].all_synchronised = clocks_->now();
    if (is_whole_block) warps_[i].ordered_to = operations.next();
  }
  clocks_->barrier(members);
}

void History::warp_synchronises(int warp, uint32_t lanes) {
  Warp& meeting = warps_[warp];
  meeting.synchronised = clocks_->now();
  if ((lanes & meeting.lanes) == meeting.lanes) meeting.all_synchronised = clocks_->now();
  clocks_->warp_synchronises(warp, lanes);
}

void History::fence(int warp, uint32_t lanes) {
  warps_[warp].synchronised = clocks_->now();
  all_lanes(lanes, [&](int lane) {
    blocks_->fence(32 * warp + lane, *clocks_);
    return true;
  });
  clocks_->advance();
}

uint32_t History::add(AccessContext context) {
  const uint32_t number = operations.issue();
  // Numbers between are sets of operations, from OperationIndex::join().
  contexts_.resize(number - launch_first_);
  contexts_.push_back(context);
  return number;
}

uint32_t History::number_of_access(const Access& access) {
  uint32_t& number = warps_[access.warp].numbers[access.instruction->index];
  if (!is_current(number) || contexts_[number - launch_first_].mask != access.mask)
    number = add({access.instruction, block_, clocks_->now(), access.mask, access.warp,
                  access.kind == AccessKind::atomic});
  return number;
}

uint32_t History::number_of_completion(uint32_t issue) {
  AccessContext done = contexts_[issue - launch_first_];
  Warp& warp = warps_[done.warp];
  if (warp.issue != issue || !is_current(warp.completion)) {
    done.time = clocks_->now();
    warp.issue = issue;
    warp.completion = add(done);
  }
  return warp.completion;
}

uint32_t History::number_of_both(uint32_t earlier, uint32_t access) {
  AccessContext both = contexts_[access - launch_first_];
  const uint32_t lanes = contexts_[earlier - launch_first_].mask | both.mask;
  if (lanes == both.mask) return access;
  Warp& warp = warps_[both.warp];
  if (warp.earlier != earlier || warp.later != access) {
    both.mask = lanes;
    warp.earlier = earlier;
    warp.later = access;
    warp.both = add(both);
  }
  return warp.both;
}

uint32_t History::number_of_several_warps(const Access& access) {
  if (several_warps_ < block_first_ || contexts_[several_warps_ - launch_first_].time != clocks_->now() ||
      contexts_[several_warps_ - launch_first_].instruction != access.instruction)
    several_warps_ =
        add({access.instruction, block_, clocks_->now(), access.mask, AccessContext::kSeveralWarps, true});
  return several_warps_;
}

bool History::is_ordered(Accessor earlier, int thread) {
  const uint32_t number = number_of(earlier);
  const AccessContext* known = context(number);
  if (!known) return operations.is_ordered(number);
  return known->block == block_ ? is_ordered_within_block(earlier, *known, thread)
                                : is_ordered_between_blocks(earlier, *known, thread);
}

bool History::is_ordered_within_block(Accessor earlier, const AccessContext& context, int thread) const {
  const auto is_known = [&](int other) { return context.time <= clocks_->known(thread, other); };
  if (context.warp == AccessContext::kSeveralWarps) {
    for (int other = 0; other < threads_; ++other)
      if (other != thread && !is_known(other)) return false;
    return true;
  }
  return all_lanes(lanes_of(earlier, context), [&](int lane) { return is_known(32 * context.warp + lane); });
}

bool History::is_ordered_between_blocks(Accessor earlier, const AccessContext& context, int thread) const {
  const auto is_known = [&](int other) {
    return blocks_->is_ordered(context.block, other, context.time, thread, *clocks_);
  };
  if (context.warp == AccessContext::kSeveralWarps) {
    for (int other = 0; other < threads_; ++other)
      if (!is_known(other)) return false;
    return true;
  }
  return all_lanes(lanes_of(earlier, context), [&](int lane) { return is_known(32 * context.warp + lane); });
}

History::Distance History::distance(Accessor accessor) const {
  const AccessContext* known = context(number_of(accessor));
  if (!known) return Distance::other_operation;
  return known->block == block_ ? Distance::own_block : Distance::other_block;
}

Accessor History::farther_reader(Accessor kept, Accessor candidate, int thread) {
  if (!kept || is_ordered(kept, thread)) return candidate;
  const Distance old = distance(kept), later = distance(candidate);
  if (old == Distance::other_operation && later == Distance::other_operation)
    return accessor(operations.join(number_of(kept), number_of(candidate)));
  return old > later ? kept : candidate;
}

}  // namespace simulated_gpu
