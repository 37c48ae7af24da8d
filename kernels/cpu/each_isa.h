// Compiles one file of kernels once per instruction-set level, into the namespaces avx2 and avx512, and, when
// TESSERA_KERNELS_OF_BF16_PAIRS is defined before, avx512_bf16.
//
//   #define TESSERA_KERNELS "kernels/cpu/rms_norm.inc"
//   #include "kernels/cpu/each_isa.h"
//
// The level is a function attribute set by pragma and not a compiler flag of the file: templates of the standard
// library, included before this point, stay at the build's base level, so that the linker can never pick a copy with
// instructions that an older processor lacks.  No include guard: every kernel source includes this once.

// GCC 12 takes the undefined operands inside its own intrinsics for a mistake (GCC bug 105593).
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "kernels/cpu/select.h"
#include "runtime/dtype.h"

#define TESSERA_ISA_LANES_PER_REGISTER 8
namespace tessera::kernels::avx2 {
namespace {
#include "kernels/cpu/vector.inc"
#include TESSERA_KERNELS
}  // namespace
}  // namespace tessera::kernels::avx2
#undef TESSERA_ISA_LANES_PER_REGISTER

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512")
#define TESSERA_ISA_LANES_PER_REGISTER 16
namespace tessera::kernels::avx512 {
namespace {
#include "kernels/cpu/vector.inc"
#include TESSERA_KERNELS
}  // namespace
}  // namespace tessera::kernels::avx512
#pragma GCC pop_options

#ifdef TESSERA_KERNELS_OF_BF16_PAIRS
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,prefer-vector-width=512")
#define TESSERA_ISA_BF16_PAIRS
namespace tessera::kernels::avx512_bf16 {
namespace {
#include "kernels/cpu/vector.inc"
#include TESSERA_KERNELS
}  // namespace
}  // namespace tessera::kernels::avx512_bf16
#undef TESSERA_ISA_BF16_PAIRS
#undef TESSERA_KERNELS_OF_BF16_PAIRS
#pragma GCC pop_options
#endif
#undef TESSERA_ISA_LANES_PER_REGISTER
#pragma GCC diagnostic pop

#undef TESSERA_KERNELS
