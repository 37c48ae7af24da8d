#pragma once
// Rotary position embedding: rotates pairs (2i, 2i + 1) of each head by position * base^(-2i / head_dim); backward
// rotates back.
//
// x, y, dy, dx [rows, heads, head_dim]  f32 or bf16; head_dim even; y may be x, dx may be dy
// positions [rows] i32, not negative    base > 1; 10000 in the source
// Angles are formed and reduced in f64.  Throws Error on an odd head_dim, a shape or dtype mismatch, and on a negative
// position; for this, on a GPU, the stream throws it later (README.md).
// Source: Su et al., RoFormer, 2021, eq. 34.

#include "runtime/tensor.h"

namespace tessera::kernels {

template <Backend B>
void rope_forward(const Tensor& x, const Tensor& positions, const Tensor& y, double base, Stream stream);
template <Backend B>
void rope_backward(const Tensor& dy, const Tensor& positions, const Tensor& dx, double base, Stream stream);

void rope_forward(const Tensor& x, const Tensor& positions, const Tensor& y, double base, Stream stream);
void rope_backward(const Tensor& dy, const Tensor& positions, const Tensor& dx, double base, Stream stream);

}  // namespace tessera::kernels
