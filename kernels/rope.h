#pragma once
// Rotary position embedding: turns pairs (2i, 2i + 1) of each head by the angle position * base^(-2i / head_dim).
//
//   rope_table      table[r, 2i] = cos(angle),   table[r, 2i + 1] = sin(angle) for the position of row r
//   rope_forward    y[2i] = c x[2i] - s x[2i + 1],   y[2i + 1] = c x[2i + 1] + s x[2i],   c and s from the row's table
//   rope_backward   dx from dy: the same with -s
//
// positions [rows] i32, not negative    table [rows, head_dim] f32    base > 1; 10000 in the source
// x, y, dy, dx [rows, heads, head_dim]  f32 or bf16; head_dim even; y may be x, dx may be dy
// Angles are formed and reduced in f64.  Throws Error on an odd head_dim, a shape or dtype mismatch, and on a negative
// position; for this, on a GPU, the stream throws it later (README.md).
// Source: Su et al., RoFormer, 2021, eq. 34.

#include "runtime/tensor.h"

namespace tessera::kernels {

template <Backend B>
void rope_table(const Tensor& positions, const Tensor& table, double base, Stream stream);
template <Backend B>
void rope_forward(const Tensor& x, const Tensor& table, const Tensor& y, Stream stream);
template <Backend B>
void rope_backward(const Tensor& dy, const Tensor& table, const Tensor& dx, Stream stream);

void rope_table(const Tensor& positions, const Tensor& table, double base, Stream stream);
void rope_forward(const Tensor& x, const Tensor& table, const Tensor& y, Stream stream);
void rope_backward(const Tensor& dy, const Tensor& table, const Tensor& dx, Stream stream);

}  // namespace tessera::kernels
