#pragma once
// Matrix products by vector instructions.
//
// f32: bf16 operands are widened; each element of C is one chain of fused multiply-adds in order of the summed index, rounded
// once to the dtype of C.
// bf16 pairs: f32 operands are rounded to bf16; the chain takes two terms a step (vdpbf16ps: the second one first, each added with
// one rounding, subnormals taken for zero), sums are f32, rounded once to the dtype of C.

#include <span>

#include "kernels/cpu/matmul_product.h"

namespace tessera::kernels::cpu {

/// Steps of a block of the summed dim.  Unfinished sums of more terms wait in scratch, a tile of them a thread.
constexpr int64_t kDepth = 256;

void multiply_f32(std::span<const Product> products, Stream stream);

/// From Isa::avx512_bf16 on.
void multiply_bf16_pairs(std::span<const Product> products, Stream stream);

}  // namespace tessera::kernels::cpu
