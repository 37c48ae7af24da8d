#pragma once
// A kernel made ready to run: each instruction is a function pointer and the places of its operands.
//
// A value of a warp is an array of 32 lanes.  Registers and special registers lie in the register file of the
// warp, immediates and addresses of variables, already repeated 32 times, in the constants of the program.  A
// predicate is one 32-bit word with a bit per lane.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "tests/simulated_gpu/ptx/module.h"

namespace simulated_gpu {

struct Step;
struct Warp;

/// Executes the step for the lanes in mask, which is not 0.
using Handler = void (*)(Warp&, const Step&, uint32_t mask);

struct Source {
  uint32_t offset = 0;
  bool is_constant = false;
  bool is_negated = false;  ///< of a predicate
};

/// Who moves the program counter behind a step, and whether lanes wait for one another there.
enum class Flow : uint8_t {
  straight,    ///< to the next step
  branch,      ///< to `target` for lanes whose guard holds
  indexed,     ///< brx.idx: to targets[sources[0]]
  call,        ///< to `target`
  ret,         ///< out of a function
  exit,        ///< ends the thread
  collective,  ///< all lanes of a mask execute it together: `*.sync`
  barrier      ///< threads of the block wait for one another
};

enum class BarrierKind : uint8_t { sync, arrive, red_popc, red_and, red_or };

struct Step {
  Handler handler = nullptr;
  const ptx::Instruction* instruction = nullptr;
  Flow flow = Flow::straight;
  bool has_guard = false, is_guard_negated = false;
  uint32_t guard = 0;                    ///< offset of the predicate in the register file
  uint32_t destination = 0, paired = 0;  ///< offsets in the register file; a sink is a scratch place
  Source sources[4];
  std::vector<Source>
      elements;  ///< of vectors: the loaded or stored registers, fragments of matrices in order
  int64_t displacement = 0, source_displacement = 0;  ///< of an address; of the second one that cp.async has
  ptx::Space space = ptx::Space::none;
  uint32_t bytes = 0;  ///< of one element in memory
  int target = 0;
  uint32_t option = 0;  ///< what the handler wants to know besides: its family says what
  /// collective: the source that holds the mask of lanes, or -1: all lanes of the warp.
  int mask_source = -1;
  BarrierKind barrier = BarrierKind::sync;
  bool has_thread_count = false;  ///< of a barrier: sources[1]
};

struct SpecialPlace {
  ptx::Special special;
  uint32_t offset;
};

struct Program {
  std::vector<Step> steps;
  std::vector<std::byte> constants;
  std::vector<SpecialPlace> specials;  ///< of 32 bits each, to be filled in before the first step
  uint32_t register_bytes = 0;
};

/// Makes the program of a kernel, or takes the one made before.  Thread-safe.  Throws std::runtime_error
/// naming the instruction that it does not know.
std::shared_ptr<const Program> prepare(const ptx::Kernel& kernel);

}  // namespace simulated_gpu
