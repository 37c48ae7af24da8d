#include "kernels/random_fill.h"

#include "kernels/launch.cuh"
#include "runtime/logistic_quantile.h"
#include "runtime/normal_quantile.h"

namespace tessera::kernels {
namespace {

constexpr int kThreads = 256;

__device__ float drawn(const NormalOptions& options, double uniform) {
  return options.deviation * static_cast<float>(normal_quantile(uniform));
}
__device__ float drawn(const LogisticOptions&, double uniform) {
  return static_cast<float>(logistic_quantile(uniform));
}

/// One thread draws one number: bound by arithmetic in f64, and run once for each parameter or step.
template <class Options>
__global__ void __launch_bounds__(kThreads) draw(float* y, int64_t count, Options options) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= count) return;
  y[i] = drawn(options,
               random_uniform(options.seed, options.purpose, static_cast<uint64_t>(options.begin + i)));
}

template <class Options>
void launch_draw(const char* name, const Tensor& y, const Options& options, Stream stream) {
  launch(name, &draw<Options>, {blocks_for(y.count(), kThreads), kThreads}, stream, y.data<float>(),
         y.count(), options);
}

}  // namespace

template <>
void fill_normal<Backend::cuda>(const Tensor& y, NormalOptions options, Stream stream) {
  launch_draw("fill_normal", y, options, stream);
}

template <>
void fill_logistic<Backend::cuda>(const Tensor& y, LogisticOptions options, Stream stream) {
  launch_draw("fill_logistic", y, options, stream);
}

}  // namespace tessera::kernels
