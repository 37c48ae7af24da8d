#include "tests/simulated_gpu/checker/live_blocks.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <iterator>
#include <utility>

namespace simulated_gpu {
namespace {

constexpr size_t kReleasedKept = 1024;  // for messages only

}  // namespace

std::string hexadecimal(uint64_t address) {
  char text[24];
  std::snprintf(text, sizeof text, "0x%" PRIx64, address);
  return text;
}

std::string block_name(uint64_t address, uint64_t bytes) {
  return "the block of " + std::to_string(bytes) + " bytes at " + hexadecimal(address);
}

std::string LiveBlock::name() const { return block_name(address, bytes); }

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
  const auto next = blocks_.upper_bound(address);
  const LiveBlock* after = next == blocks_.end() ? nullptr : &next->second;
  const LiveBlock* before = next == blocks_.begin() ? nullptr : &std::prev(next)->second;
  if (before && before->holds(address, 1))
    return std::to_string(address + bytes - before->address - before->bytes) + " bytes across the end of " +
           before->name();
  const auto released = std::find_if(released_.begin(), released_.end(), [&](const Released& block) {
    return address >= block.address && address < block.address + block.bytes;
  });
  if (released != released_.end())
    return "byte " + std::to_string(address - released->address) + " of " +
           block_name(released->address, released->bytes) + ", which " + released->by + " gave back";
  if (!before && !after) return "device memory of which no block is live";
  const uint64_t past = before ? address - before->address - before->bytes : UINT64_MAX;
  const uint64_t ahead = after ? after->address - address : UINT64_MAX;
  return past <= ahead ? std::to_string(past) + " bytes past the end of " + before->name()
                       : std::to_string(ahead) + " bytes before " + after->name();
}

}  // namespace simulated_gpu
