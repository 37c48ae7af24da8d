#pragma once
// Stream-ordered allocation: blocks that cudaFreeAsync has given back and cudaMallocAsync may hand out again.

#include <cstdint>
#include <list>
#include <map>

#include "tests/simulated_gpu/checker/operation.h"
#include "tests/simulated_gpu/memory/arena.h"

namespace simulated_gpu {

/// A block is handed out again before its release has run when the release comes before the new allocation in
/// every interleaving.  Blocks are reused for requests of exactly their size, so that one past the end is
/// found.
class MemoryPool {
 public:
  explicit MemoryPool(Arena& memory) : memory_(memory) {}

  /// 0 when the device has no memory left.  The block belongs to the pool until give_back().
  uint64_t allocate(uint64_t bytes, const Operation& allocation);
  bool owns(uint64_t address) const { return live_.contains(address); }
  /// The block of an address that it owns may be reused after the release.
  void give_back(uint64_t address, OperationPointer release);
  /// Returns blocks whose release has run and which the host knows to have run until at most `keep` bytes are
  /// left unused.
  void trim(uint64_t keep, const VectorClock& host);

  uint64_t release_threshold = 0;  ///< bytes kept over a synchronisation
  uint64_t used() const { return used_; }
  uint64_t reserved() const { return used_ + unused_; }

 private:
  struct Unused {
    uint64_t address, bytes;
    OperationPointer release;
  };

  Arena& memory_;
  std::map<uint64_t, uint64_t> live_;  ///< address to bytes
  std::list<Unused> unused_blocks_;
  uint64_t used_ = 0, unused_ = 0;
};

}  // namespace simulated_gpu
