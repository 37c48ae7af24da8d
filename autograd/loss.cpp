// Losses and their rules.
#include "autograd/functions.h"
#include "kernels/binary_cross_entropy.h"
#include "kernels/cross_entropy.h"
#include "kernels/total_loss.h"

namespace tessera {

Loss cross_entropy(const Var& logits, const Tensor& targets, float scale, float z_loss) {
  const Stream stream = logits.stream();
  const Tensor nll = Tensor::empty({logits.shape()[0]}, DType::f32, stream), log_sum = Tensor::like(nll);
  const kernels::CrossEntropyOptions options{scale, z_loss};
  kernels::cross_entropy_forward(logits.value(), targets, nll, log_sum, stream);
  Tensor total = Tensor::empty({1}, DType::f32, stream);
  kernels::total_loss(nll, log_sum, total, options, stream);
  // The gradient of the total is 1 by definition: backward() starts here.
  Var recorded = record("cross_entropy", total,
                        {{logits,
                          [logits = logits.value(), targets, log_sum, options, stream](const Tensor&) {
                            kernels::cross_entropy_backward(logits, targets, log_sum, options, stream);
                            return logits;
                          }}},
                        {.bytes = logits.value().bytes()});
  return {recorded, nll, log_sum};
}

Var binary_cross_entropy(const Var& logits, const Tensor& targets, float scale) {
  const Stream stream = logits.stream();
  Tensor total = Tensor::empty({1}, DType::f32, stream);
  kernels::binary_cross_entropy_forward(logits.value(), targets, total, scale, stream);
  return record("binary_cross_entropy", total,
                {{logits,
                  [logits = logits.value(), targets, scale, stream](const Tensor& dtotal) {
                    Tensor dlogits = Tensor::like(logits);
                    kernels::binary_cross_entropy_backward(logits, targets, dtotal, dlogits, scale, stream);
                    return dlogits;
                  }}},
                {.bytes = logits.value().bytes() + targets.bytes()});
}

}  // namespace tessera
