#include "kernels/cross_entropy.h"

#include <cmath>

#include "kernels/backend.h"
#include "kernels/check.h"
#include "kernels/cpu/kernel_range.h"
#include "kernels/cpu/parallel_for.h"

#define TESSERA_KERNELS "kernels/cpu/cross_entropy.inc"
#include "kernels/cpu/each_isa.h"

namespace tessera::kernels {
namespace {

void check_logits(const Check& check, const Tensor& logits, const Tensor& targets) {
  check.floats("logits", logits, 2);
  TESSERA_CHECK(logits.dtype() == DType::f32 && logits.shape()[1] > 0, check.op,
                ": logits must be [rows, vocab > 0] f32, got ", logits.shape(), " ", logits.dtype());
  check.tensor("targets", targets, {logits.shape()[0]}, DType::i32);
}

}  // namespace

void cross_entropy_forward(const Tensor& logits, const Tensor& targets, const Tensor& nll,
                           const Tensor& log_sum, Stream stream) {
  const Check check{"cross_entropy_forward", stream};
  check_logits(check, logits, targets);
  check.tensor("nll", nll, targets.shape(), DType::f32);
  check.tensor("log_sum", log_sum, targets.shape(), DType::f32);
  on_backend(stream, [&]<Backend B>() { cross_entropy_forward<B>(logits, targets, nll, log_sum, stream); });
}

template <>
void cross_entropy_forward<Backend::cpu>(const Tensor& logits, const Tensor& targets, const Tensor& nll,
                                         const Tensor& log_sum, Stream stream) {
  const TraceRange range = cpu::kernel_range(stream, "cross_entropy_forward", logits, targets, log_sum);
  const int64_t rows = logits.shape()[0], vocab = logits.shape()[1];
  Check{"cross_entropy_forward", stream}.values("targets", targets.values<int32_t>(), -1, vocab);
  const float* const x = logits.data<float>();
  const int32_t* const target = targets.data<int32_t>();
  float* const losses = nll.data<float>();
  float* const log_sums = log_sum.data<float>();
  auto* const log_sum_exp = cpu::select(stream, avx2::log_sum_exp_row, avx512::log_sum_exp_row);
  cpu::parallel_for(stream, rows, cpu::task_rows(vocab), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const bool scored = target[row] >= 0;
      log_sums[row] = scored ? log_sum_exp(x + row * vocab, vocab) : 0;
      losses[row] = scored ? log_sums[row] - x[row * vocab + target[row]] : 0;
    }
  });
}

void cross_entropy_backward(const Tensor& logits, const Tensor& targets, const Tensor& log_sum,
                            CrossEntropyOptions options, Stream stream) {
  const Check check{"cross_entropy_backward", stream};
  check_logits(check, logits, targets);
  check.tensor("log_sum", log_sum, targets.shape(), DType::f32);
  on_backend(stream,
             [&]<Backend B>() { cross_entropy_backward<B>(logits, targets, log_sum, options, stream); });
}

template <>
void cross_entropy_backward<Backend::cpu>(const Tensor& logits, const Tensor& targets, const Tensor& log_sum,
                                          CrossEntropyOptions options, Stream stream) {
  const TraceRange range = cpu::kernel_range(stream, "cross_entropy_backward", logits, logits, targets);
  const int64_t rows = logits.shape()[0], vocab = logits.shape()[1];
  Check{"cross_entropy_backward", stream}.values("targets", targets.values<int32_t>(), -1, vocab);
  float* const x = logits.data<float>();
  const int32_t* const target = targets.data<int32_t>();
  const float* const log_sums = log_sum.data<float>();
  auto* const softmax = cpu::select(stream, avx2::softmax_row, avx512::softmax_row);
  cpu::parallel_for(stream, rows, cpu::task_rows(vocab), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      float* const gradient = x + row * vocab;
      if (target[row] < 0) {
        std::fill_n(gradient, vocab, 0.0f);
        continue;
      }
      softmax(gradient, vocab, log_sums[row], options.scale * (1 + 2 * options.z_loss * log_sums[row]));
      gradient[target[row]] -= options.scale;
    }
  });
}

}  // namespace tessera::kernels
