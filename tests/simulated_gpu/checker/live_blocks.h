#pragma once
// The blocks of global memory that a program holds now, and those that it gave back lately.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <string>

#include "tests/simulated_gpu/checker/operation.h"
#include "tests/simulated_gpu/checker/shadow_cells.h"
#include "tests/simulated_gpu/memory/arena.h"

namespace simulated_gpu {

struct LiveBlock {
  uint64_t address, bytes;
  ShadowCells cells;
  OperationPointer allocation;

  std::string name() const;
  bool holds(uint64_t first, uint64_t count) const {
    return first >= address && first - address < bytes && count <= bytes - (first - address);
  }
};

class LiveBlocks {
 public:
  explicit LiveBlocks(const Arena& memory) : memory_(memory) {}

  void add(uint64_t address, uint64_t bytes, OperationPointer allocation);
  void remove(uint64_t address, const Operation& release);
  /// The block that holds the address, or null.
  LiveBlock* find(uint64_t address);
  std::map<uint64_t, LiveBlock>& all() { return blocks_; }

  /// Where bytes lie that are not inside one live block, as the end of a sentence: "that is 4 bytes past the
  /// end of ...".
  std::string whereabouts(uint64_t address, uint64_t bytes) const;

 private:
  struct Released {
    uint64_t address, bytes;
    std::string by;
  };

  const Arena& memory_;
  std::map<uint64_t, LiveBlock> blocks_;  ///< by address
  std::deque<Released> released_;         ///< the latest first
};

/// "0x7f0012345600"
std::string hexadecimal(uint64_t address);
/// "the block of 64 bytes at 0x7f0012345600"
std::string block_name(uint64_t address, uint64_t bytes);

}  // namespace simulated_gpu
