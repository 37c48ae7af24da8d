#include "kernels/binary_cross_entropy.h"

#include "kernels/launch.cuh"
#include "kernels/reduce.cuh"
#include "kernels/sigmoid.cuh"
#include "kernels/total_loss.h"
#include "kernels/vector_load.cuh"

namespace tessera::kernels {
namespace {

constexpr int kThreads = 256;
constexpr int kVector = kVectorElements<float>;

/// kVector neighbouring predictions; count: those that exist, the others are 0.
struct Predictions {
  float logit[kVector], target[kVector];

  template <bool kVectors>
  __device__ void load(const float* logits, const uint8_t* targets, int64_t count) {
    kernels::load<kVectors>(logits, count, logit);
    kernels::load<kVectors>(targets, count, target);
#pragma unroll
    for (int n = 0; n < kVector; ++n) require(target[n] <= 1);
  }
  /// How far the prediction is on the wrong side.
  __device__ float margin(int n) const { return target[n] > 0 ? -logit[n] : logit[n]; }
};

/// One block sums the losses of kBinaryCrossEntropyBlock elements.
template <bool kVectors>
__global__ void __launch_bounds__(kThreads)
    sum_losses(const float* __restrict__ logits, const uint8_t* __restrict__ targets, int64_t count,
               float* __restrict__ sums) {
  const int64_t first = blockIdx.x * kBinaryCrossEntropyBlock;
  const int64_t last = min(count, first + kBinaryCrossEntropyBlock);
  float sum = 0;
  for (int64_t at = first + threadIdx.x * kVector; at < last; at += kThreads * kVector) {
    Predictions x;
    x.load<kVectors>(logits + at, targets + at, last - at);
#pragma unroll
    for (int n = 0; n < kVector; ++n) {
      const float m = x.margin(n);
      // Not fmaxf, which would lose a NaN.
      if (at + n < last) sum += (m < 0 ? 0 : m) + log1pf(expf(-fabsf(m)));
    }
  }
  sum = block_reduce(sum, Sum{});
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

template <bool kVectors>
__global__ void __launch_bounds__(kThreads)
    differentiate(const float* __restrict__ logits, const uint8_t* __restrict__ targets, int64_t count,
                  const float* __restrict__ dtotal, float scale, float* __restrict__ dlogits) {
  const int64_t at = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * kVector;
  Predictions x;
  x.load<kVectors>(logits + at, targets + at, count - at);
  const float factor = *dtotal * scale;
  float gradient[kVector];
#pragma unroll
  for (int n = 0; n < kVector; ++n)
    gradient[n] = (x.target[n] > 0 ? -factor : factor) * sigmoid(x.margin(n));
  store<kVectors>(dlogits + at, count - at, gradient);
}

}  // namespace

template <>
void binary_cross_entropy_forward<Backend::cuda>(const Tensor& logits, const Tensor& targets,
                                                 const Tensor& total, float scale, Stream stream) {
  const unsigned blocks = blocks_for(logits.count(), kBinaryCrossEntropyBlock);
  const Tensor sums = Tensor::empty({blocks}, DType::f32, stream),
               no_log_sum = Tensor::zeros({blocks}, DType::f32, stream);
  const bool vectors = aligned_for_vectors(logits.data<float>(), targets.data<uint8_t>());
  launch("binary_cross_entropy_forward", vectors ? &sum_losses<true> : &sum_losses<false>, {blocks, kThreads},
         stream, logits.data<float>(), targets.data<uint8_t>(), logits.count(), sums.data<float>());
  total_loss<Backend::cuda>(sums, no_log_sum, total, {.scale = scale}, stream);
}

template <>
void binary_cross_entropy_backward<Backend::cuda>(const Tensor& logits, const Tensor& targets,
                                                  const Tensor& dtotal, const Tensor& dlogits, float scale,
                                                  Stream stream) {
  const bool vectors =
      aligned_for_vectors(logits.data<float>(), dlogits.data<float>()) && aligned_for_vectors(targets.data<uint8_t>());
  launch("binary_cross_entropy_backward", vectors ? &differentiate<true> : &differentiate<false>,
         {blocks_for(logits.count(), kThreads * kVector), kThreads}, stream, logits.data<float>(),
         targets.data<uint8_t>(), logits.count(), dtotal.data<float>(), scale, dlogits.data<float>());
}

}  // namespace tessera::kernels
