// Compiles one file of kernels for Isa::amx alone, into the namespace amx; like each_isa.h otherwise.
//
//   #define TESSERA_KERNELS "kernels/cpu/amx_matmul.inc"
//   #include "kernels/cpu/amx_isa.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "runtime/dtype.h"

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,prefer-vector-width=512")
#define TESSERA_ISA_LANES_PER_REGISTER 16
#define TESSERA_ISA_BF16_PAIRS
namespace tessera::kernels::amx {
namespace {
#include "kernels/cpu/vector.inc"
#include TESSERA_KERNELS
}  // namespace
}  // namespace tessera::kernels::amx
#undef TESSERA_ISA_BF16_PAIRS
#undef TESSERA_ISA_LANES_PER_REGISTER
#pragma GCC pop_options
#pragma GCC diagnostic pop

#undef TESSERA_KERNELS
