#include "tests/simulated_gpu/checker/thread_clocks.h"

#include <algorithm>

namespace simulated_gpu {

void MeetingClock::meet(uint32_t members, uint32_t now) {
  Row joined{};
  for (size_t i = 0; i < 32; ++i)
    if (members >> i & 1)
      for (size_t j = 0; j < 32; ++j) joined[j] = std::max(joined[j], known_[i][j]);
  for (size_t i = 0; i < 32; ++i)
    if (members >> i & 1) joined[i] = now;
  for (size_t i = 0; i < 32; ++i)
    if (members >> i & 1) known_[i] = joined;
}

void ThreadClocks::barrier(uint32_t warps) {
  warps_.meet(warps, now_);
  advance();
}

void ThreadClocks::warp_synchronises(int warp, uint32_t lanes) {
  lanes_[warp].meet(lanes, now_);
  advance();
}

ThreadClocks::Snapshot ThreadClocks::snapshot(int observer) const {
  return {observer, now_, warps_.known_to(observer / 32), lanes_[observer / 32].known_to(observer % 32)};
}

uint32_t ThreadClocks::Snapshot::known(int thread) const {
  if (thread == observer) return taken;
  const uint32_t by_barrier = warps[thread / 32];
  return thread / 32 == observer / 32 ? std::max(by_barrier, lanes[thread % 32]) : by_barrier;
}

}  // namespace simulated_gpu
