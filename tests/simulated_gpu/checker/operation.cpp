#include "tests/simulated_gpu/checker/operation.h"

#include <algorithm>

namespace simulated_gpu {

void VectorClock::advance(int timeline) {
  const auto index = static_cast<size_t>(timeline);
  if (counts_.size() <= index) counts_.resize(index + 1);
  ++counts_[index];
}

void VectorClock::join(const VectorClock& other) {
  if (counts_.size() < other.counts_.size()) counts_.resize(other.counts_.size());
  for (size_t i = 0; i < other.counts_.size(); ++i) counts_[i] = std::max(counts_[i], other.counts_[i]);
}

uint64_t VectorClock::operator[](int timeline) const {
  const auto index = static_cast<size_t>(timeline);
  return index < counts_.size() ? counts_[index] : 0;
}

bool happens_before(const Operation& a, const Operation& b) {
  const uint64_t place = a.clock[a.timeline];
  if (a.timeline == b.timeline) return place < b.clock[b.timeline];
  return place <= b.clock[a.timeline];
}

}  // namespace simulated_gpu
