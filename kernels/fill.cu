#include "kernels/fill.h"

#include "kernels/launch.cuh"
#include "kernels/vector_load.cuh"

namespace tessera::kernels {
namespace {

constexpr int kThreads = 256;

/// One thread fills N neighbouring elements.
template <int N>
__global__ void __launch_bounds__(kThreads) fill_elements(float* y, int64_t count, float value) {
  const int64_t at = N * (int64_t{blockIdx.x} * kThreads + threadIdx.x);
  float values[N];
#pragma unroll
  for (int n = 0; n < N; ++n) values[n] = value;
  store<(N > 1)>(y + at, count - at, values);
}

}  // namespace

template <>
void fill<Backend::cuda>(const Tensor& y, float value, Stream stream) {
  constexpr int kVector = kVectorElements<float>;
  const bool vectors = aligned_for_vectors(y.data<float>());
  launch("fill", vectors ? &fill_elements<kVector> : &fill_elements<1>,
         {blocks_for(y.count(), (vectors ? kVector : 1) * kThreads), kThreads}, stream, y.data<float>(),
         y.count(), value);
}

}  // namespace tessera::kernels
