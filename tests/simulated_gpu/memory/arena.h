#pragma once
// Global memory of one simulated device.
//
// The range is mapped twice.  Device addresses lie in a view without access rights, so that host code which follows a
// device pointer faults at the guilty line; the simulator itself reads and writes through the other view.

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>

namespace simulated_gpu {

/// A live block.  Blocks are 256-byte aligned and lie apart, so that one past the end belongs to nobody.
struct Block {
  uint64_t address = 0;
  uint64_t bytes = 0;
};

class Arena {
 public:
  explicit Arena(
      uint64_t capacity_bytes);  ///< throws std::runtime_error when the system has no address space
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  /// Address of a new block filled with NaN bits, or 0 when the capacity is used up.  bytes > 0.
  uint64_t allocate(uint64_t bytes);
  /// False when no live block begins at the address.
  bool release(uint64_t address);
  /// The live block that contains the address, if any.
  std::optional<Block> find(uint64_t address) const;
  /// True for any address of the range, live or not: tells device pointers from host pointers.
  bool contains(uint64_t address) const;
  /// Where the simulator reads and writes the byte of an address inside the range.
  std::byte* at(uint64_t address) const;

  uint64_t capacity() const;
  uint64_t used() const;
  uint64_t base() const;  ///< the lowest device address
};

}  // namespace simulated_gpu
