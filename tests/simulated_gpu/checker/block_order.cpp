#include "tests/simulated_gpu/checker/block_order.h"

#include <algorithm>

namespace simulated_gpu {

void BlockOrder::block_begins(uint32_t block, int threads) {
  block_ = block;
  acquisitions_.clear();
  if (has_fenced_ || fences_.size() != static_cast<size_t>(threads))
    fences_.assign(static_cast<size_t>(threads), {});
  has_fenced_ = false;
}

void BlockOrder::fence(int thread, const ThreadClocks& clocks) {
  has_fenced_ = true;
  fences_[thread] = {clocks.snapshot(thread), true};
}

void BlockOrder::atomic(uint64_t address, int thread, const ThreadClocks& clocks) {
  if (!has_fenced_ && locations_.empty()) return;
  const auto known = locations_.find(address);
  if (known != locations_.end()) {
    const Location& location = known->second;
    const auto earlier = std::find_if(
        acquisitions_.begin(), acquisitions_.end(),
        [&](const Acquisition& seen) { return seen.location == &location && seen.thread == thread; });
    // An acquisition that is there already serves all that a second one would: no other block ran in between.
    if (earlier == acquisitions_.end())
      acquisitions_.push_back({&location, location.releases.size(), thread, clocks.now()});
  }
  if (has_fenced_) release(locations_[address], thread, clocks);
}

void BlockOrder::release(Location& location, int thread, const ThreadClocks& clocks) {
  const auto [place, is_new] = location.of_block.try_emplace(block_, location.releases.size());
  if (is_new) location.releases.push_back({block_, std::vector<uint32_t>(fences_.size(), 0), {}});
  Release& release = location.releases[place->second];
  const Fence& own = fences_[thread];
  for (size_t i = 0; i < fences_.size(); ++i) {
    const int other = static_cast<int>(i);
    uint32_t until = own.is_set ? own.known.known(other) : 0;
    const Fence& fence = fences_[i];
    if (fence.is_set && fence.known.taken <= clocks.known(thread, other))
      until = std::max(until, fence.known.taken);
    release.until[i] = std::max(release.until[i], until);
  }
  for (const Acquisition& seen : acquisitions_) {
    const bool is_listed =
        std::any_of(release.through.begin(), release.through.end(),
                    [&](const Acquisition& listed) { return listed.location == seen.location; });
    if (seen.location != &location && !is_listed && seen.time <= clocks.known(thread, seen.thread))
      release.through.push_back(seen);
  }
}

bool BlockOrder::is_ordered(uint32_t block, int thread, uint32_t time, int observer,
                            const ThreadClocks& clocks) const {
  if (acquisitions_.empty()) return false;
  std::vector<Acquisition> open;
  for (const Acquisition& seen : acquisitions_)
    if (seen.time <= clocks.known(observer, seen.thread)) open.push_back(seen);
  std::unordered_map<const Location*, size_t> visited;  // releases of it that were looked at
  while (!open.empty()) {
    const Acquisition seen = open.back();
    open.pop_back();
    const Location& location = *seen.location;
    const auto direct = location.of_block.find(block);
    if (direct != location.of_block.end() && direct->second < seen.releases &&
        time <= location.releases[direct->second].until[thread])
      return true;
    size_t& done = visited[&location];
    for (; done < seen.releases; ++done) {
      const auto& through = location.releases[done].through;
      open.insert(open.end(), through.begin(), through.end());
    }
  }
  return false;
}

}  // namespace simulated_gpu
