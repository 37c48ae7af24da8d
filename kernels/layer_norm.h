#pragma once
// Layer normalisation of rows.  For QK-norm a row is one head of one token.
//
//   y = weight (x - mean) inverse_std + bias,   inverse_std = 1 / sqrt(variance + epsilon), variance by a second pass
//   with n = (x - mean) inverse_std and g = weight dy:   dx = inverse_std (g - mean(g) - n mean(g n))
//   dweight = sum_r dy n,   dbias = sum_r dy
//
// x, y, dy, dx [rows, cols > 0], weight, bias [cols]: f32 or bf16, all the same
// statistics [rows, 2] f32: mean, inverse_std        dweight, dbias [cols] f32; overwritten;  dx may be dy
// Throws Error on a shape or dtype mismatch.   Source: Ba et al., 2016.

#include "runtime/tensor.h"

namespace tessera::kernels {

template <Backend B>
void layer_norm_forward(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& y,
                        const Tensor& statistics, float epsilon, Stream stream);
template <Backend B>
void layer_norm_backward(const Tensor& x, const Tensor& weight, const Tensor& statistics, const Tensor& dy,
                         const Tensor& dx, const Tensor& dweight, const Tensor& dbias, Stream stream);

void layer_norm_forward(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& y,
                        const Tensor& statistics, float epsilon, Stream stream);
void layer_norm_backward(const Tensor& x, const Tensor& weight, const Tensor& statistics, const Tensor& dy,
                         const Tensor& dx, const Tensor& dweight, const Tensor& dbias, Stream stream);

}  // namespace tessera::kernels
