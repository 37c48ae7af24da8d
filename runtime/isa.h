#pragma once
// Instruction-set levels of the CPU backend.  One build carries all of them; the level is chosen at run time,
// agreed over all ranks (the least wins) and stored in checkpoints, since results may depend on it (docs/design.md).

#include <string>

namespace tessera {

enum class Isa : int {
  avx2,         ///< x86-64-v3: what every build needs
  avx512,       ///< x86-64-v4
  avx512_bf16,  ///< with products of bf16 pairs: bf16 matrix products run on bf16 operands
  amx,          ///< and AMX: these products, and those of attention, run on matrix units
};

/// Whether this processor and operating system can run a level.
bool supports(Isa isa);

/// The fastest level that they support.  avx512_bf16 is not it where its products are slower than those of f32 (Intel).
Isa detect_isa();

const char* name_of(Isa isa);

/// "avx2", "avx512", "avx512_bf16", "amx" or "auto" (= detect_isa()).  Throws Error for other names and for a level the processor lacks.
Isa parse_isa(const std::string& name);

}  // namespace tessera
