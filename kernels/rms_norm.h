#pragma once
// Root-mean-square normalisation of rows, optionally added to a residual.
//
//   inverse_rms[r] = 1 / sqrt(mean_c x[r, c]^2 + epsilon)
//   y[r, c]  = (residual[r, c] +) weight[c] x[r, c] inverse_rms[r]
//   dx[r, c] = inverse_rms[r] (weight[c] dy[r, c] - x[r, c] inverse_rms[r]^2 mean_k(weight[k] dy[r, k] x[r, k]))
//   dweight[c] = sum_r dy[r, c] x[r, c] inverse_rms[r]
//
// x, y, dy, dx, residual [rows, cols > 0], weight [cols]: f32 or bf16, all the same; residual may be an empty handle
// inverse_rms [rows], dweight [cols]: f32; dweight is overwritten; y may be residual, dx may be dy
// Throws Error on a shape or dtype mismatch.   Source: Zhang and Sennrich, 2019.

#include "runtime/tensor.h"

namespace tessera::kernels {

template <Backend B>
void rms_norm_forward(const Tensor& x, const Tensor& weight, const Tensor& residual, const Tensor& y,
                      const Tensor& inverse_rms, float epsilon, Stream stream);
template <Backend B>
void rms_norm_backward(const Tensor& x, const Tensor& weight, const Tensor& inverse_rms, const Tensor& dy,
                       const Tensor& dx, const Tensor& dweight, Stream stream);

void rms_norm_forward(const Tensor& x, const Tensor& weight, const Tensor& residual, const Tensor& y,
                      const Tensor& inverse_rms, float epsilon, Stream stream);
void rms_norm_backward(const Tensor& x, const Tensor& weight, const Tensor& inverse_rms, const Tensor& dy,
                       const Tensor& dx, const Tensor& dweight, Stream stream);

}  // namespace tessera::kernels
