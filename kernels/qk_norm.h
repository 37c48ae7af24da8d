#pragma once
// QK-norm: layer normalisation of every head of queries or keys, and their rotary positions, in one pass.
//
//   y = rope(weight n + bias),   n = (x - mean) inverse_std over head_dim,   inverse_std = 1 / sqrt(variance + epsilon),
//   variance by a second pass;   rope by the row's table (kernels/rope.h), in f32 and rounded once
//   with d = rope_backward(dy) and g = weight d:   dx = inverse_std (g - mean(g) - n mean(g n))
//   dweight = sum over rows and heads of d n,   dbias = sum of d
//
// x, y, dy, dx [rows, heads, head_dim], weight, bias [head_dim]: f32 or bf16, all the same; head_dim > 0 and even
// table [rows, head_dim] f32      statistics [rows heads, 2] f32: mean, inverse_std
// dweight, dbias [head_dim] f32; overwritten;  dx may be dy
// Throws Error on an odd head_dim and on a shape or dtype mismatch.
// Source: Ba et al., Layer normalization, 2016; Chameleon (arXiv 2405.09818), 2.3; Su et al., RoFormer, 2021, eq. 34.

#include "runtime/tensor.h"

namespace tessera::kernels {

struct QkNormForward {
  Tensor x, weight, bias, table;
  Tensor y, statistics;
};
template <Backend B>
void qk_norm_forward(const QkNormForward& tensors, float epsilon, Stream stream);
void qk_norm_forward(const QkNormForward& tensors, float epsilon, Stream stream);

/// What forward read and left, and where the gradients go.
struct QkNormBackward {
  Tensor x, weight, table, statistics, dy;
  Tensor dx, dweight, dbias;
};
template <Backend B>
void qk_norm_backward(const QkNormBackward& tensors, Stream stream);
void qk_norm_backward(const QkNormBackward& tensors, Stream stream);

}  // namespace tessera::kernels
