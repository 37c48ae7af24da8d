#pragma once
// One step of AdamW over flat f32 arrays, in place.
//
//   g = grad_scale grad;  first = beta1 first + (1 - beta1) g;  second = beta2 second + (1 - beta2) g^2
//   value -= rate (first correction1 / (sqrt(second correction2) + epsilon) + decay value)
//   rounded = value in bf16
//
// value, grad, first, second: f32 of equal count.  rounded: bf16 of that count, or no tensor.  correction_i = 1 / (1 - beta_i^t) at step t = 1, 2, ...
// Throws Error on a shape or dtype mismatch.   Source: Loshchilov and Hutter, 2019, algorithm 2.

#include "runtime/tensor.h"

namespace tessera::kernels {

struct AdamWOptions {
  float rate = 0, beta1 = 0.9f, beta2 = 0.95f, epsilon = 1e-8f, decay = 0;
  float correction1 = 1, correction2 = 1;
  float grad_scale = 1;
};

template <Backend B>
void adamw(const Tensor& value, const Tensor& grad, const Tensor& first, const Tensor& second,
           const Tensor& rounded, AdamWOptions options, Stream stream);
void adamw(const Tensor& value, const Tensor& grad, const Tensor& first, const Tensor& second,
           const Tensor& rounded, AdamWOptions options, Stream stream);

}  // namespace tessera::kernels
