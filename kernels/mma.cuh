#pragma once
// Tensor-core instructions, one per function.  Layouts are those of the PTX manual, "Warp-level Matrix
// Instructions".
//
// All 32 lanes of a warp call together.  lane = 4 group + member; a 32-bit register holds two bf16, the
// element with the lower column (row, where a matrix is said to be by columns) in its lower half.

#include <cstdint>

#include "runtime/dtype.h"

namespace tessera::kernels {

/// A 16 x 16 matrix over a warp, as the left operand of mma_16x8x16; as the right one, two matrices 16 x 8
/// side by side: registers 0 and 1, 2 and 3.
using Fragment = uint32_t[4];
/// A 16 x 8 matrix of f32 over a warp: see mma_16x8x16.
using Accumulator = float[4];

/// d[16, 8] += a[16, 16] b[16, 8]:  mma.sync.m16n8k16, bf16 products, f32 sums.
///
///   a0  rows group,     columns 2 member, 2 member + 1     b0  rows 2 member, 2 member + 1, column group
///   a1  rows group + 8, same columns                       b1  those rows + 8
///   a2  rows group,     those columns + 8                  d0, d1  row group,     columns 2 member, 2 member + 1
///   a3  rows group + 8, those columns + 8                  d2, d3  row group + 8, same columns
__device__ __forceinline__ void mma_16x8x16(Accumulator& d, const Fragment& a, uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/// Four 8 x 8 matrices from shared memory:  ldmatrix.m8n8.x4.  Lane 8 i + r gives the address of row r of
/// matrix i: eight bf16 in a row, 16-byte aligned.  Register i takes row group, columns 2 member and
/// 2 member + 1 of matrix i.
__device__ __forceinline__ void load_matrices(Fragment& to, const bf16* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
}

/// The same, every matrix transposed:  ldmatrix.m8n8.x4.trans.  Register i takes rows 2 member and
/// 2 member + 1, column group of matrix i as it lies in memory.
__device__ __forceinline__ void load_matrices_transposed(Fragment& to, const bf16* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
}

/// Two f32 rounded to nearest even, `low` in the lower half:  cvt.rn.bf16x2.f32.
__device__ __forceinline__ uint32_t pack_bf16(float low, float high) {
  uint32_t packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}

}  // namespace tessera::kernels
