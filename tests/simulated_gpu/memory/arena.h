#pragma once
// Global memory of one simulated device.
//
// The range is mapped twice.  Device addresses lie in a view without access rights, so that host code which
// follows a device pointer faults at the guilty line; the simulator itself reads and writes through the other
// view.

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

  /// Address of a new block filled with NaN bits, or 0 when the capacity is used up.  bytes > 0.  The range
  /// is several times the capacity: addresses go round it, so that a released one comes back late and its use
  /// is noticed.
  uint64_t allocate(uint64_t bytes);
  /// False when no live block begins at the address.
  bool release(uint64_t address);
  /// The live block that contains the address, if any.
  std::optional<Block> find(uint64_t address) const;
  /// True for any address of the range, live or not: tells device pointers from host pointers.
  bool contains(uint64_t address) const { return address - base() < range_; }
  /// Where the simulator reads and writes the byte of an address inside the range.
  std::byte* at(uint64_t address) const { return simulator_view_ + (address - base()); }

  uint64_t capacity() const { return capacity_; }
  uint64_t used() const { return used_; }  ///< sum of live blocks, each rounded up to its alignment
  uint64_t range_bytes() const {
    return range_;
  }  ///< device addresses are base() to before base() + range_bytes()
  uint64_t base() const { return reinterpret_cast<uint64_t>(device_view_); }  ///< the lowest device address

 private:
  uint64_t find_gap(uint64_t from, uint64_t until, uint64_t bytes) const;

  uint64_t capacity_, range_;
  uint64_t used_ = 0;
  uint64_t next_ = 0;                  ///< where the search for the next block begins
  std::map<uint64_t, uint64_t> live_;  ///< address to bytes
  int file_ = -1;
  std::byte* device_view_ = nullptr;
  std::byte* simulator_view_ = nullptr;
};

}  // namespace simulated_gpu
