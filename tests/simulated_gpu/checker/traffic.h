#pragma once
// What one memory instruction of a warp costs the memory system.
// Source: CUDA C++ Programming Guide, sections on global and shared memory accesses of compute capability 5
// and later.

#include <array>
#include <cstdint>
#include <unordered_map>

#include "tests/simulated_gpu/device/observer.h"

namespace simulated_gpu {

/// Distinct 32-byte sectors that the lanes touch.
uint32_t sectors(const Access& access);

/// Cycles beyond one per phase that an access to shared memory takes, because lanes want different words of
/// one bank.  There are 32 banks of 4 bytes.  Lanes go in phases: all 32 with up to 4 bytes each, 16 with 8
/// bytes, 8 with 16 bytes (also the rows of ldmatrix).  Lanes that want the same word get it together.
uint32_t bank_conflicts(const Access& access);

/// Counts distinct bytes.
class DistinctBytes {
 public:
  void add(const Access& access);
  uint64_t count() const;

 private:
  static constexpr uint64_t kPage = 4096;
  using Page = std::array<uint64_t, kPage / 64>;  ///< one bit per byte

  void add(uint64_t address, uint64_t bytes);

  std::unordered_map<uint64_t, Page> pages_;
  uint64_t last_index_ = UINT64_MAX;
  Page* last_ = nullptr;
};

}  // namespace simulated_gpu
