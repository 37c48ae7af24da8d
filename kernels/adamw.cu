#include "kernels/adamw.h"

#include "kernels/launch.cuh"
#include "kernels/vector_load.cuh"

namespace tessera::kernels {
namespace {

constexpr int kThreads = 256;

struct Arguments {
  float* value;
  const float* grad;
  float *first, *second;
  bf16* rounded;  ///< or null
  int64_t count;
  AdamWOptions o;
};

/// One thread takes N neighbouring elements of every array.
template <int N>
__global__ void __launch_bounds__(kThreads, 6) step_elements(Arguments a) {
  constexpr bool kVectors = N > 1;
  const AdamWOptions& o = a.o;
  const int64_t at = N * (int64_t{blockIdx.x} * kThreads + threadIdx.x), count = a.count - at;
  float value[N], grad[N], first[N], second[N];
  load<kVectors>(a.value + at, count, value);
  load<kVectors>(a.grad + at, count, grad);
  load<kVectors>(a.first + at, count, first);
  load<kVectors>(a.second + at, count, second);
#pragma unroll
  for (int n = 0; n < N; ++n) {
    const float g = o.grad_scale * grad[n];
    first[n] = fmaf(o.beta1, first[n], (1 - o.beta1) * g);
    second[n] = fmaf(o.beta2, second[n], (1 - o.beta2) * (g * g));
    const float step = first[n] * o.correction1 / (sqrtf(second[n] * o.correction2) + o.epsilon);
    value[n] = fmaf(-o.rate, fmaf(o.decay, value[n], step), value[n]);
  }
  store<kVectors>(a.value + at, count, value);
  store<kVectors>(a.first + at, count, first);
  store<kVectors>(a.second + at, count, second);
  if (a.rounded) store<kVectors>(a.rounded + at, count, value);
}

}  // namespace

template <>
void adamw<Backend::cuda>(const Tensor& value, const Tensor& grad, const Tensor& first, const Tensor& second,
                          const Tensor& rounded, AdamWOptions options, Stream stream) {
  constexpr int kVector = kVectorElements<float>;
  const Arguments a{value.data<float>(),
                    grad.data<float>(),
                    first.data<float>(),
                    second.data<float>(),
                    rounded ? rounded.data<bf16>() : nullptr,
                    value.count(),
                    options};
  const bool vectors = aligned_for_vectors(a.value, a.grad, a.first, a.second, a.rounded);
  launch("adamw", vectors ? &step_elements<kVector> : &step_elements<1>,
         {blocks_for(a.count, (vectors ? kVector : 1) * kThreads), kThreads}, stream, a);
}

}  // namespace tessera::kernels
