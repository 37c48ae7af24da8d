#pragma once
// Matrix products of bf16 operands with sums in f32 on matrix units (AMX), which make them many times faster than products of f32.
//
// Each element of C takes steps of 32 terms in order of the summed index, the last one filled up with zeros.  A step adds to the element the sum
// of two chains of fused multiply-adds from zero, one over the even terms, the other one over the odd ones; subnormals are taken for
// zero (TDPBF16PS).  The element is rounded once to the dtype of C.

#include <span>

#include "kernels/cpu/matmul_product.h"

namespace tessera::kernels::cpu {

/// b of every product is bf16; an f32 a is rounded to bf16; c of a product with sums is f32.  Runs at Isa::amx, and in a plain way, for tests,
/// on processors with avx512_bf16 alone.
void multiply_amx(std::span<const Product> products, Stream stream);

}  // namespace tessera::kernels::cpu
