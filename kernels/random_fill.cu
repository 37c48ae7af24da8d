#include "kernels/random_fill.h"

#include "kernels/launch.cuh"
#include "runtime/normal_quantile.h"

namespace tessera::kernels {
namespace {

constexpr int kThreads = 256;

/// One thread draws one number: bound by arithmetic in f64, and run once for each parameter.
__global__ void __launch_bounds__(kThreads) draw(float* y, int64_t count, NormalOptions options) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= count) return;
  const double uniform =
      random_uniform(options.seed, options.purpose, static_cast<uint64_t>(options.begin + i));
  y[i] = options.deviation * static_cast<float>(normal_quantile(uniform));
}

}  // namespace

template <>
void fill_normal<Backend::cuda>(const Tensor& y, NormalOptions options, Stream stream) {
  launch("fill_normal", &draw, {blocks_for(y.count(), kThreads), kThreads}, stream, y.data<float>(),
         y.count(), options);
}

}  // namespace tessera::kernels
