#pragma once
// Runs one launch of one kernel, instruction by instruction.
//
// Blocks run one after the other in random order; warps of a block in random order for random quanta of
// instructions; the lanes of a warp that stand at the lowest program counter go together (or, with
// independent lanes, random subsets do). Everything random comes from the seed.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "tests/simulated_gpu/device/observer.h"
#include "tests/simulated_gpu/memory/arena.h"

namespace simulated_gpu {

struct Launch {
  const ptx::Kernel* kernel;
  uint32_t grid[3], block[3];
  uint32_t dynamic_shared_bytes = 0;
  std::span<const std::byte> parameters;  ///< kernel->parameter_bytes, laid out as the kernel declares them
};

struct Schedule {
  uint64_t seed = 1;
  bool independent_lanes =
      false;  ///< step random subsets of a warp's lanes, as independent thread scheduling may
  /// Warp instructions of one block.  A block that executes more waits for what never happens, and traps.
  uint64_t most_instructions = 2'000'000'000;
};

/// How a launch ended.
struct Outcome {
  enum class Kind { finished, trapped, deadlocked } kind = Kind::finished;
  std::string text;  ///< for people, when it did not finish
};

/// Variables of the kernel's module (`.global`, `.const`) must have addresses: Module::bind().
/// Throws std::runtime_error naming the instruction when it is one that the executor does not know.
Outcome execute(const Launch& launch, const Arena& memory, Observer& observer, const Schedule& schedule);

}  // namespace simulated_gpu
