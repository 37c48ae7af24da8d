#pragma once
// Matrix products of bf16 operands with sums in f32, by oneDNN: for processors whose matrix units (AMX) make them many
// times faster than products of f32.
//
// Libraries choose their order of summation by shape, alignment and number of threads.  So every call into oneDNN here
// is one panel of 64 rows of C (the last one filled up with zeros) on one thread: an element's bits depend on its row of
// A, its column of B and the sizes n and k alone.  Where A is transposed, k counts the rows of a batch, which differ
// from call to call, and sums are taken over consecutive chunks of 128 of them.

#include <span>

#include "kernels/cpu/matmul_product.h"

namespace tessera::kernels::cpu {

/// b of every product is bf16; an f32 a is rounded to bf16; c of a product with a transposed a is f32.  All products
/// have the same n > 0, strides and dtypes, and the same k > 0 unless a is transposed.  Throws Error when oneDNN cannot
/// do it.
void multiply_amx(std::span<const Product> products, Stream stream);

}  // namespace tessera::kernels::cpu
