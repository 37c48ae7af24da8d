#include "tests/simulated_gpu/runtime/pinned.h"

#include <sys/mman.h>

#include <cstring>
#include <iterator>
#include <map>

#include "tests/simulated_gpu/runtime/error.h"
#include "tests/simulated_gpu/runtime/stream.h"

namespace simulated_gpu {
namespace {

std::map<uintptr_t, PinnedBlock>& blocks() {
  static auto& map = *new std::map<uintptr_t, PinnedBlock>;
  return map;
}

bool overlaps_a_block(uintptr_t begin, size_t bytes) {
  const auto after = blocks().lower_bound(begin + bytes);
  return after != blocks().begin() &&
         std::prev(after)->second.address + std::prev(after)->second.bytes > begin;
}

cudaError_t allocate_pinned(void** pointer, size_t bytes, unsigned flags) {
  constexpr unsigned kKnown = cudaHostAllocPortable | cudaHostAllocMapped | cudaHostAllocWriteCombined;
  if (!pointer || (flags & ~kKnown)) return cudaErrorInvalidValue;
  *pointer = nullptr;
  if (bytes == 0) return cudaSuccess;
  // Pages of its own, so that protecting them touches nothing else.
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return cudaErrorMemoryAllocation;
  std::memset(memory, 0xff, bytes);
  const auto address = reinterpret_cast<uintptr_t>(memory);
  blocks()[address] = {address, bytes, flags, false};
  *pointer = memory;
  return cudaSuccess;
}

/// As the real call does, waits for the work that may use the memory.
cudaError_t forget_block(void* pointer, bool is_registered, cudaError_t when_unknown) {
  const auto block = blocks().find(reinterpret_cast<uintptr_t>(pointer));
  if (block == blocks().end() || block->second.is_registered != is_registered) return when_unknown;
  synchronise_everything();
  if (!is_registered) munmap(pointer, block->second.bytes);
  blocks().erase(block);
  return cudaSuccess;
}

}  // namespace

std::optional<PinnedBlock> pinned_block_of(const void* address) {
  const auto value = reinterpret_cast<uintptr_t>(address);
  const auto after = blocks().upper_bound(value);
  if (after == blocks().begin()) return std::nullopt;
  const PinnedBlock& block = std::prev(after)->second;
  if (value >= block.address + block.bytes) return std::nullopt;
  return block;
}

}  // namespace simulated_gpu

using namespace simulated_gpu;

extern "C" {

cudaError_t cudaHostAlloc(void** pointer, size_t bytes, unsigned flags) {
  return api_call([&] { return allocate_pinned(pointer, bytes, flags); });
}

cudaError_t cudaMallocHost(void** pointer, size_t bytes) {
  return api_call([&] { return allocate_pinned(pointer, bytes, cudaHostAllocDefault); });
}

cudaError_t cudaFreeHost(void* pointer) {
  return query_call([&] {
    if (!pointer) return cudaSuccess;
    return forget_block(pointer, false, cudaErrorInvalidValue);
  });
}

cudaError_t cudaHostRegister(void* pointer, size_t bytes, unsigned flags) {
  return api_call([&] {
    constexpr unsigned kKnown = cudaHostRegisterPortable | cudaHostRegisterMapped | cudaHostRegisterReadOnly;
    if (!pointer || bytes == 0 || (flags & ~kKnown)) return cudaErrorInvalidValue;
    const auto address = reinterpret_cast<uintptr_t>(pointer);
    if (overlaps_a_block(address, bytes)) return cudaErrorHostMemoryAlreadyRegistered;
    blocks()[address] = {address, bytes, flags, true};
    return cudaSuccess;
  });
}

cudaError_t cudaHostUnregister(void* pointer) {
  return query_call([&] { return forget_block(pointer, true, cudaErrorHostMemoryNotRegistered); });
}

cudaError_t cudaHostGetFlags(unsigned* flags, void* pointer) {
  return query_call([&] {
    const auto block = pinned_block_of(pointer);
    if (!flags || !block) return cudaErrorInvalidValue;
    *flags = block->flags;
    return cudaSuccess;
  });
}

}  // extern "C"
