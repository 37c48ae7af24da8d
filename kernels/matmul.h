#pragma once
// Matrix products, of rows in groups: rows [offsets[g], offsets[g + 1]) meet the matrix of group g.  One group is the
// ordinary linear layer; one group per expert is a mixture of experts.
//
//   forward           y[r, n]     = sum_k x[r, k] weight[g(r), n, k]
//   backward_input    dx[r, k]    = sum_n dy[r, n] weight[g(r), n, k]
//   backward_weight   dweight[g, n, k] = sum_{r in g} dy[r, n] x[r, k]
//
// x, dx   [rows, in]     y, dy [rows, out]     f32 or bf16, each as it comes
// weight  [out, in] with one group, or [groups, out, in]; f32 or bf16
// dweight like weight, f32; exact zeros for a group without rows
// sums    like dweight, which may be one of them: added to the finished gradient g one after the other, ... sums[1] + (sums[0] + g),
//         with the bits of kernels::add()
// offsets groups + 1 row numbers, from 0 to rows, not decreasing; host
//
// Sums are in f32.  The bits of a row of y and dx depend on that row and the weight alone, those of dweight[g] on the
// rows of g and their order: never on other rows, threads, alignment or neighbours (docs/design.md, determinism).
// Below Isa::avx512_bf16 operands are widened to f32 and every element is one chain of fused multiply-adds in order of the
// summed index.  From there on, products with a bf16 weight (backward_weight: a bf16 x) round the other operand to bf16; at
// Isa::avx512_bf16 the chain then takes two terms at a time (kernels/cpu/vector_matmul.h), at Isa::amx 32 (kernels/cpu/amx_matmul.h).
// On cuda such products round it too, for tensor cores, and one group goes to cuBLAS, which may choose the order of sums by
// the number of rows.  But forward and backward_input with one group and out <= 64 (routers), and groups with an f32
// weight or x, are the chains of fused multiply-adds and have the bits of the CPU below Isa::avx512_bf16.
// Outputs must not overlap inputs.  Throws Error on a shape, dtype or offset mismatch.

#include <span>

#include "runtime/tensor.h"

namespace tessera::kernels {

using RowOffsets = std::span<const int64_t>;

template <Backend B>
void matmul_forward(const Tensor& x, const Tensor& weight, const Tensor& y, RowOffsets offsets,
                    Stream stream);
template <Backend B>
void matmul_backward_input(const Tensor& dy, const Tensor& weight, const Tensor& dx, RowOffsets offsets,
                           Stream stream);
template <Backend B>
void matmul_backward_weight(const Tensor& dy, const Tensor& x, const Tensor& dweight, RowOffsets offsets,
                            std::span<const Tensor> sums, Stream stream);

void matmul_forward(const Tensor& x, const Tensor& weight, const Tensor& y, RowOffsets offsets,
                    Stream stream);
void matmul_backward_input(const Tensor& dy, const Tensor& weight, const Tensor& dx, RowOffsets offsets,
                           Stream stream);
void matmul_backward_weight(const Tensor& dy, const Tensor& x, const Tensor& dweight, RowOffsets offsets,
                            std::span<const Tensor> sums, Stream stream);

}  // namespace tessera::kernels
