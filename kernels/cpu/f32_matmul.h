#pragma once
// Matrix products in f32 at Isa::avx2 and Isa::avx512.
//
// bf16 operands are widened; each element of C is one chain of fused multiply-adds in order of the summed index,
// rounded once to the dtype of C.

#include <span>

#include "kernels/cpu/matmul_product.h"

namespace tessera::kernels::cpu {

void multiply_f32(std::span<const Product> products, Stream stream);

}  // namespace tessera::kernels::cpu
