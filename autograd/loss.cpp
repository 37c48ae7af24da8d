// Losses and their rules.
#include <algorithm>

#include "autograd/functions.h"
#include "kernels/binary_cross_entropy.h"
#include "kernels/cross_entropy.h"
#include "kernels/matmul.h"
#include "kernels/total_loss.h"

namespace tessera {

Loss linear_cross_entropy(const Var& x, const Var& weight, const Tensor& targets, float scale, float z_loss,
                          int64_t chunk_rows) {
  TESSERA_CHECK(
      x.shape().rank() == 2 && weight.shape().rank() == 2 && chunk_rows > 0,
      "linear_cross_entropy: x must be [rows, width], weight [vocab, width] and chunk_rows positive, got ",
      x.shape(), ", ", weight.shape(), " and ", chunk_rows);
  const Stream stream = x.stream();
  const int64_t rows = x.shape()[0], width = x.shape()[1], vocab = weight.shape()[0];
  TESSERA_CHECK(targets.shape() == Shape({rows}), "linear_cross_entropy: targets must be [", rows, "], got ",
                targets.shape());
  const kernels::CrossEntropyOptions options{scale, z_loss};
  const Tensor nll = Tensor::empty({rows}, DType::f32, stream), log_sum = Tensor::like(nll);
  const Tensor dx = x.tracked() ? Tensor::like(x.value()) : Tensor();
  const GradientPlace place = weight.tracked() ? GradientRoom(weight).take_or_add() : GradientPlace();
  const bool one_chunk = rows <= chunk_rows;
  const Tensor dweight = one_chunk || place.sums.empty() ? place.at : Tensor::like(place.at);
  const Tensor all_logits = Tensor::empty({std::min(rows, chunk_rows), vocab}, DType::f32, stream);
  int64_t begin = 0;
  do {
    const int64_t count = std::min(chunk_rows, rows - begin);
    const auto of_chunk = [&](const Tensor& all) {
      return all.slice(begin * all.shape().with(0, 1).count(), all.shape().with(0, count));
    };
    const Tensor logits = all_logits.slice(0, {count, vocab}), in = of_chunk(x.value());
    const int64_t offsets[] = {0, count};
    kernels::matmul_forward(in, weight.value(), logits, offsets, stream);
    kernels::cross_entropy_forward(logits, of_chunk(targets), of_chunk(nll), of_chunk(log_sum), stream);
    if (dx || dweight)
      kernels::cross_entropy_backward(logits, of_chunk(targets), of_chunk(log_sum), options, stream);
    if (dx) kernels::matmul_backward_input(logits, weight.value(), of_chunk(dx), offsets, stream);
    if (dweight) {
      const bool is_last = begin + count == rows;
      std::vector<Tensor> sums;
      if (begin > 0) sums.push_back(dweight);
      if (is_last) sums.insert(sums.end(), place.sums.begin(), place.sums.end());
      kernels::matmul_backward_weight(logits, in, is_last ? place.at : dweight, offsets, sums, stream);
    }
    begin += count;
  } while (begin < rows);
  Tensor total = Tensor::empty({1}, DType::f32, stream);
  kernels::total_loss(nll, log_sum, total, options, stream);
  const int64_t flops = 2 * rows * width * vocab;
  // The gradient of the total is 1 by definition: backward() starts here.
  const Var recorded = record("linear_cross_entropy", total, {x, weight},
                              [dx, at = place.at](const Tensor&) {
                                return std::vector<Tensor>{dx, at};
                              },
                              {.forward_flops = flops,
                               .backward_flops = 2 * flops,
                               .bytes = x.value().bytes() + weight.value().bytes() + targets.bytes()});
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
