#pragma once
// Next-token loss over the vocabulary with z-loss.
//
//   log_sum[r] = log sum_i exp(logits[r, i]);   nll[r] = log_sum[r] - logits[r, targets[r]]
//   dlogits[r, i] = scale ((softmax(logits[r])_i - [i = targets[r]]) + 2 z_loss log_sum[r] softmax(logits[r])_i)
//   which is the gradient of scale sum_r (nll[r] + z_loss log_sum[r]^2)
//
// logits [rows, vocab > 0] f32;  targets [rows] i32 in [-1, vocab): -1 is not scored, its nll, log_sum and gradient are 0
// nll, log_sum [rows] f32
// Backward writes dlogits over logits: there is one buffer of this size.
// Throws Error on a shape or dtype mismatch and on a target out of range; on a GPU the stream throws it later (README.md).
// Source of the z-loss: Chameleon (arXiv 2405.09818), 2.3.

#include "runtime/tensor.h"

namespace tessera::kernels {

template <Backend B>
void cross_entropy_forward(const Tensor& logits, const Tensor& targets, const Tensor& nll,
                           const Tensor& log_sum, Stream stream);
void cross_entropy_forward(const Tensor& logits, const Tensor& targets, const Tensor& nll,
                           const Tensor& log_sum, Stream stream);

struct CrossEntropyOptions {
  float scale = 1;  ///< of every row's loss, usually 1 / scored targets of the step
  float z_loss = 0;
};
template <Backend B>
void cross_entropy_backward(const Tensor& logits, const Tensor& targets, const Tensor& log_sum,
                            CrossEntropyOptions options, Stream stream);
void cross_entropy_backward(const Tensor& logits, const Tensor& targets, const Tensor& log_sum,
                            CrossEntropyOptions options, Stream stream);

}  // namespace tessera::kernels
