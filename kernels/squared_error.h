#pragma once
// Squared distance of rows to targets; kernels/total_loss.h adds the rows up.
//
//   by_row[r] = sum_c (x[r, c] - target[r, c])^2
//   dx[r, c]  = 2 scale dtotal[0] (x[r, c] - target[r, c])     of total = scale sum_r by_row[r]
//
// x, target, dx [rows, cols] f32; by_row [rows], dtotal [1] f32; dx may be x or target.
// Throws Error on a shape or dtype mismatch.

#include "runtime/tensor.h"

namespace tessera::kernels {

template <Backend B>
void squared_error_forward(const Tensor& x, const Tensor& target, const Tensor& by_row, Stream stream);
void squared_error_forward(const Tensor& x, const Tensor& target, const Tensor& by_row, Stream stream);

/// What forward read, the gradient of the total, and where that of x goes.
struct SquaredErrorBackward {
  Tensor x, target, dtotal;
  Tensor dx;
};
template <Backend B>
void squared_error_backward(const SquaredErrorBackward& tensors, float scale, Stream stream);
void squared_error_backward(const SquaredErrorBackward& tensors, float scale, Stream stream);

}  // namespace tessera::kernels
