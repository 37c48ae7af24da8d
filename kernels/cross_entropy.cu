#include "kernels/cross_entropy.h"

#include "kernels/launch.cuh"
#include "kernels/reduce.cuh"
#include "kernels/vector_load.cuh"

namespace tessera::kernels {
namespace {

constexpr int kThreads = 512;
constexpr int kVector = kVectorElements<float>;

/// sum_i exp(x_i - largest) over the values added so far.
/// Source: Milakov and Gimelshein, Online normalizer calculation for softmax, 2018.
struct LogSum {
  float largest = -INFINITY, sum = 0;

  /// The first count of the values.
  __device__ void add(const float (&x)[kVector], int64_t count) {
    float top = largest;
#pragma unroll
    for (int n = 0; n < kVector; ++n)
      if (n < count) top = fmaxf(top, x[n]);  // passes over NaN, which is left to the sum
    if (top > largest) {
      sum *= expf(largest - top);
      largest = top;
    }
    const float shift = largest == -INFINITY ? 0 : largest;  // as long as all are -inf, their terms are 0
#pragma unroll
    for (int n = 0; n < kVector; ++n)
      if (n < count) sum += expf(x[n] - shift);
  }
  /// Over all threads of the block.  NaN where the largest is infinite.
  __device__ float of_block() const {
    const float top = block_reduce(largest, Max{});
    return top + logf(block_reduce(sum * expf(largest - top), Sum{}));
  }
};

/// One block per row, whose logits are read once.
template <bool kVectors>
__global__ void __launch_bounds__(kThreads)
    forward_rows(const float* __restrict__ logits, const int32_t* __restrict__ targets, int64_t vocab,
                 float* __restrict__ nll, float* __restrict__ log_sum) {
  const int64_t row = blockIdx.x;
  const float* const x = logits + row * vocab;
  const int32_t target = targets[row];
  require(-1 <= target && target < vocab);
  if (target >= 0) {  // the same for all threads of the block
    LogSum mine;
#pragma unroll 4
    for (int64_t col = threadIdx.x * kVector; col < vocab; col += kThreads * kVector) {
      float values[kVector];
      load<kVectors>(x + col, vocab - col, values);
      mine.add(values, vocab - col);
    }
    const float log_of_sum = mine.of_block();
    if (threadIdx.x == 0) {
      log_sum[row] = log_of_sum;
      nll[row] = log_of_sum - x[target];
    }
  } else if (threadIdx.x == 0) {
    log_sum[row] = 0;
    nll[row] = 0;
  }
}

/// So many blocks share a row; its logits are read once and become the gradient.
template <bool kVectors>
__global__ void __launch_bounds__(kThreads)
    backward_rows(float* logits, const int32_t* __restrict__ targets, const float* __restrict__ log_sum,
                  int64_t vocab, unsigned row_blocks, CrossEntropyOptions options) {
  const int64_t row = blockIdx.x / row_blocks;
  float* const x = logits + row * vocab;
  const int32_t target = targets[row];
  require(-1 <= target && target < vocab);
  const float log_of_sum = log_sum[row];
  const float factor = options.scale * (1 + 2 * options.z_loss * log_of_sum);
  const int64_t col = (int64_t{blockIdx.x % row_blocks} * kThreads + threadIdx.x) * kVector;
  float values[kVector] = {};
  if (target >= 0) {
    load<kVectors>(x + col, vocab - col, values);
#pragma unroll
    for (int n = 0; n < kVector; ++n) {
      values[n] = factor * expf(values[n] - log_of_sum);
      if (col + n == target) values[n] -= options.scale;
    }
  }
  store<kVectors>(x + col, vocab - col, values);
}

}  // namespace

template <>
void cross_entropy_forward<Backend::cuda>(const Tensor& logits, const Tensor& targets, const Tensor& nll,
                                          const Tensor& log_sum, Stream stream) {
  const int64_t rows = logits.shape()[0], vocab = logits.shape()[1];
  const bool vectors = vocab % kVector == 0 && aligned_for_vectors(logits.data<float>());
  launch("cross_entropy_forward", vectors ? &forward_rows<true> : &forward_rows<false>,
         {blocks_for(rows, 1), kThreads}, stream, logits.data<float>(), targets.data<int32_t>(), vocab,
         nll.data<float>(), log_sum.data<float>());
}

template <>
void cross_entropy_backward<Backend::cuda>(const Tensor& logits, const Tensor& targets, const Tensor& log_sum,
                                           CrossEntropyOptions options, Stream stream) {
  const int64_t rows = logits.shape()[0], vocab = logits.shape()[1];
  const bool vectors = vocab % kVector == 0 && aligned_for_vectors(logits.data<float>());
  const unsigned row_blocks = blocks_for(vocab, kThreads * kVector);
  launch("cross_entropy_backward", vectors ? &backward_rows<true> : &backward_rows<false>,
         {blocks_for(rows * row_blocks, 1), kThreads}, stream, logits.data<float>(), targets.data<int32_t>(),
         log_sum.data<float>(), vocab, row_blocks, options);
}

}  // namespace tessera::kernels
