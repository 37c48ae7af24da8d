#include "tests/simulated_gpu/runtime/memory_pool.h"

#include <algorithm>

namespace simulated_gpu {

uint64_t MemoryPool::allocate(uint64_t bytes, const Operation& allocation) {
  const auto reusable = std::find_if(unused_blocks_.begin(), unused_blocks_.end(), [&](const Unused& block) {
    return block.bytes == bytes && happens_before(*block.release, allocation);
  });
  uint64_t address = 0;
  if (reusable != unused_blocks_.end()) {
    address = reusable->address;
    unused_ -= bytes;
    unused_blocks_.erase(reusable);
  } else {
    address = memory_.allocate(bytes);
  }
  if (address == 0) return 0;
  live_[address] = bytes;
  used_ += bytes;
  return address;
}

void MemoryPool::give_back(uint64_t address, OperationPointer release) {
  const auto block = live_.find(address);
  used_ -= block->second;
  unused_ += block->second;
  unused_blocks_.push_back({address, block->second, std::move(release)});
  live_.erase(block);
}

void MemoryPool::trim(uint64_t keep, const VectorClock& host) {
  for (auto block = unused_blocks_.begin(); block != unused_blocks_.end() && unused_ > keep;) {
    const Operation& release = *block->release;
    if (release.clock[release.timeline] > host[release.timeline]) {
      ++block;
      continue;
    }
    memory_.release(block->address);
    unused_ -= block->bytes;
    block = unused_blocks_.erase(block);
  }
}

}  // namespace simulated_gpu
