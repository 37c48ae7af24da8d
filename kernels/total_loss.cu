#include "kernels/total_loss.h"

#include "kernels/launch.cuh"

namespace tessera::kernels {
namespace {

constexpr int kThreads = 256;

/// One block forms the terms; its first thread adds them in row order, as the contract asks.
__global__ void __launch_bounds__(kThreads)
    sum_in_order(const float* __restrict__ nll, const float* __restrict__ log_sum, int64_t rows,
                 CrossEntropyOptions options, float* total) {
  __shared__ double terms[kThreads];
  double sum = 0;
  for (int64_t first = 0; first < rows; first += kThreads) {
    const int64_t row = first + threadIdx.x;
    if (row < rows) {
      const double log = log_sum[row];
      terms[threadIdx.x] = nll[row] + double{options.z_loss} * log * log;
    }
    __syncthreads();
    if (threadIdx.x == 0)
      for (int64_t i = 0; i < min(int64_t{kThreads}, rows - first); ++i) sum += terms[i];
    __syncthreads();
  }
  if (threadIdx.x == 0) *total = static_cast<float>(options.scale * sum);
}

}  // namespace

template <>
void total_loss<Backend::cuda>(const Tensor& nll, const Tensor& log_sum, const Tensor& total,
                               CrossEntropyOptions options, Stream stream) {
  launch("total_loss", &sum_in_order, {1, kThreads}, stream, nll.data<float>(), log_sum.data<float>(),
         nll.count(), options, total.data<float>());
}

}  // namespace tessera::kernels
