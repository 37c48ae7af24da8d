#pragma once
// Loss of independent yes-or-no predictions by logits: the negative log-likelihood of Bernoulli variables.
//
//   total[0] = scale sum_i (softplus(logits[i]) - targets[i] logits[i]),   softplus(l) = log(1 + exp(l))
//   dlogits[i] = dtotal[0] scale (sigmoid(logits[i]) - targets[i])
//
// logits, dlogits f32, targets u8 in {0, 1}, all of one shape, such as [rows, cols];  total, dtotal [1] f32
// A term is computed as softplus(m), m = -logits[i] where targets[i] is 1 and logits[i] elsewhere, and a gradient as
// sigmoid(m) with a sign: no digits cancel however large a logit is, and an infinite one gives 0 or infinity.
// Terms are added in f32, in a tree that the count alone decides, over blocks of kBinaryCrossEntropyBlock elements; blocks
// in f64, in order, rounded once.  total is 0 without elements.
// Throws Error on a shape or dtype mismatch and on a target that is neither 0 nor 1; on a GPU the stream throws it later
// (README.md).

#include "runtime/tensor.h"

namespace tessera::kernels {

inline constexpr int64_t kBinaryCrossEntropyBlock = 4096;

template <Backend B>
void binary_cross_entropy_forward(const Tensor& logits, const Tensor& targets, const Tensor& total,
                                  float scale, Stream stream);
template <Backend B>
void binary_cross_entropy_backward(const Tensor& logits, const Tensor& targets, const Tensor& dtotal,
                                   const Tensor& dlogits, float scale, Stream stream);

void binary_cross_entropy_forward(const Tensor& logits, const Tensor& targets, const Tensor& total,
                                  float scale, Stream stream);
void binary_cross_entropy_backward(const Tensor& logits, const Tensor& targets, const Tensor& dtotal,
                                   const Tensor& dlogits, float scale, Stream stream);

}  // namespace tessera::kernels
