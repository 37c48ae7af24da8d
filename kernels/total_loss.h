#pragma once
// The value whose gradient cross_entropy_backward forms.
//
//   total[0] = scale sum_r (nll[r] + z_loss log_sum[r]^2), added in f64 in row order, rounded once
//
// nll, log_sum [rows] f32; total [1] f32.  Throws Error on a shape or dtype mismatch.

#include "kernels/cross_entropy.h"

namespace tessera::kernels {

template <Backend B>
void total_loss(const Tensor& nll, const Tensor& log_sum, const Tensor& total, CrossEntropyOptions options,
                Stream stream);
void total_loss(const Tensor& nll, const Tensor& log_sum, const Tensor& total, CrossEntropyOptions options,
                Stream stream);

}  // namespace tessera::kernels
