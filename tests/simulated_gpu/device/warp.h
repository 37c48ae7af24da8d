#pragma once
// The state of a running block and of its warps.

#include <array>
#include <cstddef>
#include <cstdint>
#include <random>
#include <stdexcept>
#include <vector>

#include "tests/simulated_gpu/device/execute.h"
#include "tests/simulated_gpu/device/program.h"

namespace simulated_gpu {

inline constexpr uint32_t kAllLanes = ~0u;
inline constexpr int kBarriers = 16;  ///< named barriers of a block

/// Generic addresses: shared and local memory and kernel parameters are seen through windows that no device
/// address falls into.
inline constexpr uint64_t kWindowBytes = uint64_t{1} << 32;
inline constexpr uint64_t kSharedWindow = uint64_t{1} << 60;
inline constexpr uint64_t kLocalWindow = uint64_t{2} << 60;
inline constexpr uint64_t kParameterWindow = uint64_t{3} << 60;

/// Every byte that nobody wrote: NaN as f16, bf16, f32 and f64, and an index out of any range.
inline constexpr unsigned char kPoison = 0xff;

/// Ends the launch; text is the outcome's.
struct Trapped : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// One cp.async of one lane that has been issued but is not yet visible.
struct PendingCopy {
  uint64_t shared, global;
  uint32_t bytes, source_bytes;  ///< what lies beyond source_bytes becomes zero
};

struct Barrier {
  const Step* first = nullptr;  ///< of those that have arrived; null while nobody has
  uint32_t threads = 0;         ///< to wait for; 0: all that live
  uint32_t arrived = 0;
  std::vector<uint32_t> waiting, arrivals;  ///< per warp: lanes that wait, lanes that only arrived
  uint32_t true_count = 0;                  ///< for bar.red
};

struct ThreadBlock;

struct Warp {
  ThreadBlock* block = nullptr;
  int index = 0;
  uint32_t existing = 0, exited = 0;
  uint32_t in_collective = 0, in_barrier = 0;  ///< lanes that wait
  uint32_t carry = 0;                          ///< of add.cc and its like
  std::array<int, 32> pc{};
  std::array<uint32_t, 32> collective_mask{};  ///< of lanes in_collective: the mask they gave
  std::byte* banks[2] = {nullptr, nullptr};    ///< registers, constants
  std::vector<uint64_t> storage;               ///< of the registers
  std::vector<std::byte> local, frame;         ///< lane by lane
  struct LaneCopies {
    std::vector<PendingCopy> open;                 ///< not yet committed
    std::vector<std::vector<PendingCopy>> groups;  ///< oldest first
  };
  std::array<LaneCopies, 32> copies;

  uint32_t live() const { return existing & ~exited; }
  uint32_t runnable() const { return live() & ~in_collective & ~in_barrier; }

  /// Registers have no type of their own; each handler views one as the type that its instruction gives it.
  template <class T>
  T* lanes(uint32_t offset) {
    return reinterpret_cast<T*>(banks[0] + offset);
  }
  template <class T>
  const T* lanes(Source source) const {
    return reinterpret_cast<const T*>(banks[source.is_constant] + source.offset);
  }
  uint32_t predicate(Source source) const {
    const uint32_t bits = *lanes<uint32_t>(source);
    return source.is_negated ? ~bits : bits;
  }
  void set_predicate(uint32_t offset, uint32_t bits, uint32_t mask) {
    uint32_t& place = *lanes<uint32_t>(offset);
    place = (place & ~mask) | (bits & mask);
  }
};

/// What one launch shares among its blocks, and the block that runs.
struct ThreadBlock {
  const Launch& launch;
  const Schedule& schedule;
  const Arena& memory;
  Observer& observer;
  std::shared_ptr<const Program> program;
  std::mt19937_64 random{};
  std::vector<Warp> warps{};
  std::vector<std::byte> shared{};
  uint32_t index[3] = {0, 0, 0};
  uint32_t threads = 0, exited = 0;
  std::array<Barrier, kBarriers> barriers{};
  uint64_t clock = 0;  ///< warp instructions executed in this launch

  /// Sets up warps and memory for the block with this index.
  void begin(const uint32_t block_index[3]);
};

/// Runs the block to its end: finished, trapped, or deadlocked.
Outcome run_block(ThreadBlock& block);

/// Lanes go on behind the step they stand at.
void advance(Warp& warp, uint32_t lanes);

/// Barriers of the block (barrier.cpp).  arrive() parks the lanes, if the barrier is one that waits.
void arrive(Warp& warp, const Step& step, uint32_t lanes);
/// Releases what threads that have exited no longer hold up.
void release_barriers(ThreadBlock& block);

}  // namespace simulated_gpu
