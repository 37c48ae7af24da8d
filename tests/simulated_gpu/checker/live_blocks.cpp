#include "tests/simulated_gpu/checker/live_blocks.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <iterator>
#include <utility>

namespace simulated_gpu {
namespace {

constexpr size_t kReleasedKept = 1024;  // for messages only

std::string block_text(uint64_t address, uint64_t bytes) {
  return "block of " + std::to_string(bytes) + " bytes at " + hexadecimal(address);
}

}  // namespace

std::string hexadecimal(uint64_t address) {
  char text[24];
  std::snprintf(text, sizeof text, "0x%" PRIx64, address);
  return text;
}

void LiveBlocks::add(uint64_t address, uint64_t bytes, OperationPointer allocation) {
  blocks_.insert_or_assign(address, LiveBlock{address, bytes, ShadowCells(bytes), std::move(allocation)});
}

void LiveBlocks::remove(uint64_t address, const Operation& release) {
  const auto block = blocks_.find(address);
  if (block == blocks_.end()) return;
  released_.push_front({address, block->second.bytes, release.name});
  if (released_.size() > kReleasedKept) released_.pop_back();
  blocks_.erase(block);
}

LiveBlock* LiveBlocks::find(uint64_t address) {
  auto after = blocks_.upper_bound(address);
  if (after == blocks_.begin()) return nullptr;
  LiveBlock& block = std::prev(after)->second;
  return block.holds(address, 1) ? &block : nullptr;
}

std::string LiveBlocks::whereabouts(uint64_t address, uint64_t bytes) const {
  if (address == 0) return "a null pointer";
  if (!memory_.contains(address)) return "not device memory";
  const auto freed = std::find_if(released_.begin(), released_.end(), [&](const Released& block) {
    return address < block.address + block.bytes && block.address < address + bytes;
  });
  const auto after = blocks_.upper_bound(address);
  const LiveBlock* before = after == blocks_.begin() ? nullptr : &std::prev(after)->second;
  if (before && address < before->address + before->bytes) {
    return std::to_string(address + bytes - before->address - before->bytes) +
           " bytes across the end of the " + block_text(before->address, before->bytes);
  }
  if (freed != released_.end()) {
    return "byte " + std::to_string(static_cast<int64_t>(address - freed->address)) + " of the " +
           block_text(freed->address, freed->bytes) + " that " + freed->by + " gave back";
  }
  const uint64_t past = before ? address - before->address - before->bytes : UINT64_MAX;
  const uint64_t ahead = after != blocks_.end() ? after->first - address : UINT64_MAX;
  if (!before && after == blocks_.end()) return "device memory of which no block is live";
  if (past <= ahead)
    return std::to_string(past) + " bytes past the end of the " + block_text(before->address, before->bytes);
  return std::to_string(ahead) + " bytes before the " +
         block_text(after->second.address, after->second.bytes);
}

}  // namespace simulated_gpu
